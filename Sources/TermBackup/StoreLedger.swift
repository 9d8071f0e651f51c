internal import TBKCore
internal import TBKFormat

/// The list of backups in a store: its `metadata.json`.
///
/// The ledger is read without checking its signature and history: `tbk-pull --list` does that. A ledger from an
/// untrusted store proves nothing; an archive is authenticated when it is opened.
public struct StoreLedger: Sendable {
  /// A file in the store: an archive, a sealed manifest, or a part of either.
  public struct File: Equatable, Sendable {
    /// Never contains a slash or starts with a dot.
    public let name: String
    /// In bytes.
    public let size: UInt64
    /// 32 bytes.
    public let sha256: [UInt8]
  }

  /// One backup as listed in the ledger.
  public struct Entry: Equatable, Sendable {
    /// 64 hexadecimal digits.
    public let id: String
    /// The name of the archive below the store's `backups/`; never contains a slash or starts with a dot. If
    /// `isInParts`, no file has this name.
    public let filename: String
    /// The parts of the archive, in order; empty if the store keeps it in one file. Where a part is stored depends on
    /// the kind of store.
    public let parts: [File]
    /// Whether the store keeps the archive in several parts.
    public var isInParts: Bool { !parts.isEmpty }
    /// Bytes of the archive.
    public let size: UInt64
    /// SHA-256 of the archive, 32 bytes.
    public let sha256: [UInt8]
    /// In ISO 8601.
    public let createdAt: String
    public let fileCount: UInt64
    /// "full" or "incremental"; nil if TermBackup 6 wrote the entry.
    public let mode: String?
    /// The group it belongs to, among the profiles that share the store; nil if the entry names none.
    public let group: String?
    /// The ids of the other backups with content of this one.
    public let dependsOn: [String]
    /// The sealed manifest, a small archive of only the manifest, below the store's `manifests/`, or nil.
    /// `tbk-open --manifest` opens it like an archive, with the same key.
    public let sealedManifest: File?
  }

  /// In the order in which they were stored.
  public let backups: [Entry]
  /// The random id of the store, 32 hexadecimal digits; nil if TermBackup 6 wrote the ledger last.
  public let storeID: String?
  /// How many times the ledger was changed; nil in the same case.
  public let sequence: UInt64?
  /// Whether it has a signature, which is not checked here.
  public let isSigned: Bool

  /// Fails with `.damaged` if it is not a ledger.
  ///
  /// - Parameter bytes: the whole `metadata.json`.
  public init(parsing bytes: [UInt8]) throws(ReadingError) {
    let ledger = try reading { () throws(Failure) in try Ledger(parsing: bytes) }
    backups = ledger.entries.map(Entry.init)
    (storeID, sequence) = (ledger.identity?.storeID.description, ledger.identity?.sequence)
    isSigned = ledger.signature != nil
  }

  /// A backup and those that it depends on, oldest first: the order for the archives in `Backup.init(archives:keys:)`.
  /// Ids that the ledger does not list are left out.
  public func chain(of backup: Entry) -> [Entry] {
    let wanted = Set(backup.dependsOn)
    return backups.filter { wanted.contains($0.id) && $0.id != backup.id } + [backup]
  }
}

extension StoreLedger.Entry {
  fileprivate init(_ entry: LedgerEntry) {
    self.init(
      id: entry.id.hex, filename: entry.filename.description, parts: entry.parts.map { StoreLedger.File($0.object) },
      size: entry.size,
      sha256: entry.sha256.bytes, createdAt: entry.createdAt, fileCount: entry.fileCount, mode: entry.mode,
      group: entry.group?.description, dependsOn: entry.dependsOn.map(\.hex),
      sealedManifest: entry.manifest.map { StoreLedger.File($0) })
  }
}

extension StoreLedger.File {
  fileprivate init(_ object: LedgerEntry.Object) {
    self.init(name: object.name.description, size: object.size, sha256: object.sha256.bytes)
  }
}
