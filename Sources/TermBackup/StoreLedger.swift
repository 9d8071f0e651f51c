internal import TBKCore
internal import TBKFormat

/// The list of the backups in a store: its `metadata.json`.
///
/// A ledger is read as it is. Its signature and its history are not checked here: `tbk-pull --list` does, and a
/// ledger from a store that is not trusted proves nothing. An archive that is opened by its file name proves itself.
public struct StoreLedger: Sendable {
  /// A file that the store keeps: an archive, a sealed manifest, or a part of either.
  public struct File: Equatable, Sendable {
    /// Never with a slash or a leading dot.
    public let name: String
    /// Bytes.
    public let size: UInt64
    /// 32 bytes.
    public let sha256: [UInt8]
  }

  /// One backup as the ledger has it.
  public struct Entry: Equatable, Sendable {
    /// 64 hexadecimal digits.
    public let id: String
    /// The name of the archive below the store's `backups/`: never with a slash or a leading dot. If the store keeps
    /// the archive in several parts, no file has this name; `isInParts`.
    public let filename: String
    /// The parts of the archive, in their order; empty if the store keeps it in one file. Where a part is depends on
    /// the kind of the store.
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
    /// Which of the profiles that share the store it belongs to; nil where the entry names none.
    public let group: String?
    /// The ids of the backups that hold content of this one.
    public let dependsOn: [String]
    /// The sealed manifest, a small archive of only the manifest, below the store's `manifests/`; nil if there is none.
    /// It is opened as an archive is, under the same key, by `tbk-open --manifest`.
    public let sealedManifest: File?
  }

  /// In the order in which they were stored.
  public let backups: [Entry]
  /// The random id of the store, 32 hexadecimal digits; nil if TermBackup 6 wrote the ledger last.
  public let storeID: String?
  /// How many times the ledger was changed; nil likewise.
  public let sequence: UInt64?
  /// Whether it has a signature, which is not checked here.
  public let isSigned: Bool

  /// Fails with `.damaged` for what is not a ledger.
  ///
  /// - Parameter bytes: all of a `metadata.json`.
  public init(parsing bytes: [UInt8]) throws(ReadingError) {
    let ledger = try reading { () throws(Failure) in try Ledger(parsing: bytes) }
    backups = ledger.entries.map(Entry.init)
    (storeID, sequence) = (ledger.identity?.storeID.description, ledger.identity?.sequence)
    isSigned = ledger.signature != nil
  }

  /// A backup and those that it depends on, the oldest first: in this order their archives are given to
  /// `Backup.init(archives:keys:)`. Ids that the ledger does not list are left out.
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
