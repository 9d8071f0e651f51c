internal import TBKArchive
internal import TBKCore
internal import TBKFormat

/// The manifest of a backup: its list of the tree, as a document of its own.
///
/// `tbk-open --manifest` prints the manifest of an archive, and `tbk-manifest` the one of a directory. It is read here as
/// it stands, without an archive or a key, and proves nothing by itself: `checkID()` shows that its entries are those
/// that its id was computed from, and the id is worth what the place where it was found is worth. A ``Backup`` proves
/// its manifest.
public struct BackupManifest: Sendable {
  /// Something that could not be read when the backup was made, and is not in it.
  public struct UnreadableEntry: Equatable, Sendable {
    /// Relative to the directory that was backed up.
    public let path: [UInt8]
    /// Why, for people.
    public let reason: String
  }

  private let manifest: Manifest

  /// Fails with `.damaged` for what is not a manifest, or ends early.
  ///
  /// - Parameter bytes: all of a manifest.
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

  /// Fails as `init(parsing:)` with a span does.
  ///
  /// - Parameter bytes: all of a manifest.
  public init(parsing bytes: [UInt8]) throws(ReadingError) { try self.init(parsing: bytes.span) }

  /// 64 hexadecimal digits; nil in the manifest of a directory that was not sealed.
  public var id: String? { manifest.backupID }

  /// When the backup was made, in ISO 8601 with an offset.
  public var createdAt: String { manifest.createdAt }

  /// "full" or "incremental".
  public var mode: String { manifest.mode }

  /// The operating system on which the backup was made, as `uname` names it.
  public var operatingSystem: String { manifest.osName }

  /// The type of its machine, as `uname` names it.
  public var architecture: String { manifest.architecture }

  /// The backup that this one is based on; nil for a full one.
  public var parentID: String? { manifest.parentBackupID }

  /// The ids of the backups that hold content of this one.
  public var dependsOn: [String] { manifest.neededIDs }

  /// Which of the profiles that share a store the backup was made for; nil if the manifest does not say so.
  public var group: String? { manifest.group }

  /// The directory that was backed up, if the manifest says so.
  public var sourceDirectory: [UInt8]? { manifest.sourceDirectory }

  /// The metadata of that directory, under an empty path, if the manifest has it.
  public var root: BackupEntry? { manifest.root.map { BackupEntry($0) } }

  /// Everything in that directory. In an incremental backup of TermBackup 6, only the files that had changed.
  public var entries: BackupEntries { BackupEntries(manifest.files) }

  /// What is missing in the backup because it could not be read. TermBackup 6 did not record it.
  public var unreadable: [UnreadableEntry] {
    (manifest.unreadable ?? []).map { UnreadableEntry(path: $0.path, reason: $0.reason) }
  }

  /// The id of the backup whose archive holds a file's content; nil if it is this backup, or if there is no such entry.
  ///
  /// - Parameter path: of an entry.
  public func backupHolding(_ path: [UInt8]) -> String? { manifest.holder(of: path) }

  /// Computes the id from everything else in the manifest. Fails with `.damaged` unless it is `id`, and with `.usage` if
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
