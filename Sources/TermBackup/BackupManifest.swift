internal import TBKArchive
internal import TBKCore
internal import TBKFormat

/// The manifest of a backup, the list of its tree, as a separate document.
///
/// `tbk-open --manifest` prints the manifest of an archive, and `tbk-manifest` that of a directory. It is read without
/// an archive or a key, so it is not authenticated: `checkID()` shows that its entries match its id, and the id is only
/// as trustworthy as its source. A ``Backup`` authenticates its manifest.
public struct BackupManifest: Sendable {
  /// Something that could not be read when the backup was made, and is not in it.
  public struct UnreadableEntry: Equatable, Sendable {
    /// Relative to the directory that was backed up.
    public let path: [UInt8]
    /// The reason, for display.
    public let reason: String
  }

  private let manifest: Manifest

  /// Fails with `.damaged` if it is not a complete manifest.
  ///
  /// - Parameter bytes: the whole manifest.
  public init(parsing bytes: Span<UInt8>) throws(ReadingError) {
    do throws(Failure) {
      let parser = ManifestParser()
      try parser.write(bytes)
      try parser.finish()
      manifest = try parser.manifest()
      try manifest.validate()
    } catch {
      throw ReadingError(error)
    }
  }

  /// Fails like the `init(parsing:)` that takes a span.
  ///
  /// - Parameter bytes: the whole manifest.
  public init(parsing bytes: [UInt8]) throws(ReadingError) { try self.init(parsing: bytes.span) }

  /// 64 hexadecimal digits; nil in the manifest of a directory that was not sealed.
  public var id: String? { manifest.backupID }

  /// When the backup was made, in ISO 8601 with an offset.
  public var createdAt: String { manifest.createdAt }

  /// "full" or "incremental".
  public var mode: String { manifest.mode }

  /// The operating system on which the backup was made, as `uname` names it.
  public var operatingSystem: String { manifest.osName }

  /// The architecture of that machine, as `uname` names it.
  public var architecture: String { manifest.architecture }

  /// The backup that this one is based on; nil for a full backup.
  public var parentID: String? { manifest.parentBackupID }

  /// The ids of the other backups with content of this one.
  public var dependsOn: [String] { manifest.neededIDs }

  /// The group of the profile that the backup was made for, among those that share a store; nil if not recorded.
  public var group: String? { manifest.group }

  /// The directory that was backed up, if recorded.
  public var sourceDirectory: [UInt8]? { manifest.sourceDirectory }

  /// The metadata of that directory, with an empty path, if recorded.
  public var root: BackupEntry? { manifest.root.map { BackupEntry($0) } }

  /// Everything in that directory. In an incremental backup of TermBackup 6, only the files that had changed.
  public var entries: BackupEntries { BackupEntries(manifest.files) }

  /// What is missing from the backup because it could not be read. TermBackup 6 did not record it.
  public var unreadable: [UnreadableEntry] {
    (manifest.unreadable ?? []).map { UnreadableEntry(path: $0.path, reason: $0.reason) }
  }

  /// The id of the backup whose archive contains a file's content; nil if it is this backup, or there is no such entry.
  ///
  /// - Parameter path: the path of an entry.
  public func backupHolding(_ path: [UInt8]) -> String? { manifest.holder(of: path) }

  /// Computes the id from the rest of the manifest. Fails with `.damaged` if it differs from `id`, and with `.usage` if
  /// the manifest has no id, or is that of an incremental backup of TermBackup 6, whose id cannot be computed.
  public func checkID() throws(ReadingError) {
    try reading { () throws(Failure) in
      guard let id = manifest.backupID else { throw Failure(.usage, "the manifest has no backup id") }
      if manifest.hasUnprovenID {
        throw Failure(.usage, "the id of an incremental backup of TermBackup 6 cannot be computed")
      }
      guard try manifest.computeID().id.hex == id else {
        throw Failure(.integrity, "the manifest's backup id is not the hash of its content")
      }
    }
  }
}
