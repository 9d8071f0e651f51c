internal import TBKCore
internal import TBKFormat

/// A file, directory or symbolic link in a backup.
public struct BackupEntry: Equatable, Sendable {
  /// What an entry is. Devices, FIFOs and sockets are never backed up.
  public enum Kind: Sendable {
    case file, directory, symbolicLink
  }

  /// Relative to the directory that was backed up, without "." or "..". Bytes, because a name on Linux need not be
  /// UTF-8, and two names that compare equal as a `String` may be two files.
  public let path: [UInt8]
  public let kind: Kind
  /// Bytes of content; 0 if it is not a file.
  public let size: UInt64
  /// The SHA-256 of a file's content, 32 bytes; nil if it has none.
  public let sha256: [UInt8]?
  /// `st_mode`, type bits included.
  public let mode: UInt32
  /// Seconds since 1970-01-01T00:00:00Z, rounded down; nil if the backup has no valid file time for it.
  public let modificationSeconds: Int64?
  /// 0...999,999,999, after `modificationSeconds`.
  public let modificationNanoseconds: UInt32
  public let userID: UInt32?
  public let groupID: UInt32?
  /// The target of a symbolic link.
  public let linkTarget: [UInt8]?
  /// The path of an earlier entry that is the same file.
  public let hardLink: [UInt8]?

  /// The path for display: unchanged if it is plain ASCII, else in double quotes with C escapes, as git shows names.
  public var displayName: String { RawPath(path).quoted }

  init(_ entry: ManifestEntry) {
    path = entry.path
    kind =
      switch entry.type {
      case .file: .file
      case .directory: .directory
      case .symlink: .symbolicLink
      }
    size = entry.size
    sha256 = entry.type == .file ? entry.sha256?.bytes : nil
    mode = entry.mode
    modificationSeconds = entry.modification?.seconds
    modificationNanoseconds = entry.modification?.nanoseconds ?? 0
    (userID, groupID) = (entry.uid, entry.gid)
    (linkTarget, hardLink) = (entry.linkTarget, entry.hardLink)
  }
}

/// The entries of a backup in the order of its manifest: sorted by the bytes of the path, except for TermBackup 6. They
/// are stored packed; each entry is created on access.
public struct BackupEntries: RandomAccessCollection, Sendable {
  private let table: EntryTable

  public var startIndex: Int { 0 }
  public var endIndex: Int { table.count }

  public subscript(position: Int) -> BackupEntry { BackupEntry(table[position]) }

  /// The entry at a path, or nil.
  public func entry(at path: [UInt8]) -> BackupEntry? {
    table.find(path, order: table.isSorted() ? nil : table.sortedIndices()).map { self[$0] }
  }

  /// The entry at a path, or nil.
  public func entry(at path: String) -> BackupEntry? { entry(at: Array(path.utf8)) }

  init(_ table: EntryTable) { self.table = table }
}
