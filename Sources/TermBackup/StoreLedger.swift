internal import TBKCore
internal import TBKFormat

/// The list of the backups in a store: its `metadata.json`.
///
/// A ledger is read as it stands. Its signature and its history are not checked here: `tbk-pull --list` does, and a
/// ledger from a store that is not trusted proves nothing. An archive that is opened by its file name proves itself.
public struct StoreLedger: Sendable {
  /// One backup as the ledger has it.
  public struct Entry: Equatable, Sendable {
    /// 64 hexadecimal digits.
    public let id: String
    /// The name of the archive below the store's `backups/`: never with a slash or a leading dot. If the store keeps
    /// the archive in several parts, no file has this name; `isInParts`.
    public let filename: String
    public let isInParts: Bool
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
  }

  /// In the order in which they were stored.
  public let backups: [Entry]

  /// Fails with `.damaged` for what is no ledger.
  ///
  /// - Parameter bytes: all of a `metadata.json`.
  public init(parsing bytes: [UInt8]) throws(ReadingError) {
    backups = try reading { () throws(Failure) in
      try Ledger(parsing: bytes).entries.map(Entry.init)
    }
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
      id: entry.id.hex, filename: entry.filename.description, isInParts: !entry.parts.isEmpty, size: entry.size,
      sha256: entry.sha256.bytes, createdAt: entry.createdAt, fileCount: entry.fileCount, mode: entry.mode,
      group: entry.group?.description, dependsOn: entry.dependsOn.map(\.hex))
  }
}
