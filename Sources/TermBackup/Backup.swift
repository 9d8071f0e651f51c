internal import Glibc
internal import TBKArchive
internal import TBKCore
internal import TBKFormat

/// A backup: a directory tree as it was at one moment, read from the archives that contain it.
///
/// A `Backup` returns only authenticated data. Archives of every kind can be read: suites 1 and 3, those sealed to age
/// recipients, and TermBackup 6's. An archive of suite 1 is verified as a whole when it is opened; of suite 3 and age
/// archives only the needed parts are read.
///
/// Files must not be replaced or written to while a `Backup` is in use; a changed file causes `.damaged`, never wrong
/// data. A `Backup` belongs to one task at a time.
public final class Backup {
  /// 64 hexadecimal digits, computed from the manifest.
  public let id: String
  /// When it was made, in ISO 8601 with an offset, as recorded in the manifest.
  public let createdAt: String
  /// "full" or "incremental".
  public let mode: String
  /// The directory that was backed up, if recorded in the manifest.
  public let sourceDirectory: [UInt8]?
  /// Everything in the directory that was backed up.
  public let entries: BackupEntries

  private let archives: ArchiveFiles
  private let manifest: Manifest

  /// Opens a backup and reads its manifest.
  ///
  /// Fails with `.wrongKey` if the key is not the archive's, with `.damaged` if the bytes are invalid, and with
  /// `.missing` if a file does not exist.
  ///
  /// - Parameters:
  ///   - archives: paths of the archive and, for an incremental backup, of those it depends on: oldest first, the
  ///     backup's own last, as for `tbk-open`. They must be regular files. All but the last are opened when needed.
  ///   - keys: the keys that open all of them.
  public init(archives: [[UInt8]], keys: BackupKeys) throws(ReadingError) {
    let files = ArchiveFiles(archives.map { RawPath($0) }, keys)
    self.archives = files
    do throws(Failure) {
      let reader = try files.reader()
      let verified = try archives.count > 1 ? reader.wholeManifest() : reader.manifest()
      manifest = verified.manifest
      id = verified.id
    } catch {
      throw ReadingError(error)
    }
    createdAt = manifest.createdAt
    mode = manifest.mode
    sourceDirectory = manifest.sourceDirectory
    entries = BackupEntries(manifest.files)
  }

  /// Opens a backup whose archives have names in UTF-8.
  public convenience init(archives: String..., keys: BackupKeys) throws(ReadingError) {
    try self.init(archives: archives.map { Array($0.utf8) }, keys: keys)
  }

  /// The ids of the other backups with content of this one: their archives are needed too.
  public var dependsOn: [String] { manifest.neededIDs }

  /// The entry at a path, or nil.
  public func entry(at path: [UInt8]) -> BackupEntry? { entries.entry(at: path) }

  /// The entry at a path, or nil.
  public func entry(at path: String) -> BackupEntry? { entry(at: Array(path.utf8)) }

  /// All of a file's content.
  ///
  /// Fails with `.usage` for an entry that is not a file or is larger than `limit`, and with `.missing` if an archive
  /// with the content was not given.
  ///
  /// - Parameters:
  ///   - entry: an entry of this backup.
  ///   - limit: in bytes.
  public func contents(of entry: BackupEntry, limit: Int = 64 << 20) throws(ReadingError) -> [UInt8] {
    try reading { () throws(Failure) in
      if entry.size > UInt64(clamping: limit) {
        throw Failure(.usage, "\(RawPath(entry.path).display) is larger than \(limit) bytes")
      }
      let sink = MemorySink()
      try archives.reader().send(path: entry.path, to: sink)
      return sink.bytes
    }
  }

  /// Passes a file's content to `body` in pieces, in constant memory.
  ///
  /// Each piece is authenticated before it is passed on; that together they are the file as it was backed up is
  /// verified by SHA-256 when this returns without an error.
  ///
  /// Fails as `contents(of:limit:)` does.
  ///
  /// - Parameters:
  ///   - entry: an entry of this backup.
  ///   - body: called with each piece, which is not empty; returns whether to continue.
  public func read(
    _ entry: BackupEntry, _ body: @escaping (Span<UInt8>) -> Bool
  ) throws(ReadingError) {
    let sink = ClosureSink(body)
    do throws(Failure) {
      try archives.reader().send(path: entry.path, to: sink)
    } catch {
      if sink.isStopped { return }
      throw ReadingError(error)
    }
  }

  /// Reads all archives that the backup needs and verifies every byte of it. Fails with `.damaged` or `.missing` if it
  /// is not complete and unchanged.
  public func verify() throws(ReadingError) {
    try reading { () throws(Failure) in
      let verified = try archives.reader().verifyAll()
      guard let first = verified.missing.first else { return }
      throw Failure(.integrity, "\(RawPath(first).display): listed, but not in the archive")
    }
  }
}

/// The archives of one backup, each opened when it is first needed.
private final class ArchiveFiles {
  private let paths: [RawPath]
  private let keys: BackupKeys
  private var opened: [Int: any OpenedArchive] = [:]

  /// - Parameter paths: oldest first.
  init(_ paths: [RawPath], _ keys: BackupKeys) {
    self.paths = paths
    self.keys = keys
  }

  /// A reader that starts with the newest archive.
  func reader() throws(Failure) -> BackupReader {
    var rest = paths.indices.reversed()[...]
    return try BackupReader(
      progress: { _ in }, warn: { _ in },
      archives: { (_) throws(Failure) in
        guard let index = rest.popFirst() else { return nil }
        return try self.open(index)
      })
  }

  private func open(_ index: Int) throws(Failure) -> any OpenedArchive {
    if let archive = opened[index] { return archive }
    let path = paths[index]
    do throws(Failure) {
      let file = try Descriptor.openForReading(path)
      guard try file.status().st_mode & S_IFMT == S_IFREG else {
        throw Failure(.usage, "it is not a regular file")
      }
      let archive = try ArchiveOpener(keys.opening, limits: keys.limits).open(file: file, start: 0)
      // An armored age file is a stream: a copy of its ciphertext is kept.
      try archive.keep()
      opened[index] = archive
      return archive
    } catch {
      throw error == keys.opening.failure ? error : error.within(path.display)
    }
  }
}

/// Passes what is written to a closure until that returns false.
private final class ClosureSink: ByteSink {
  private let body: (Span<UInt8>) -> Bool
  private(set) var isStopped = false

  init(_ body: @escaping (Span<UInt8>) -> Bool) { self.body = body }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    if bytes.isEmpty { return }
    guard !isStopped, body(bytes) else {
      isStopped = true
      throw Failure(.brokenPipe, "no more is wanted")
    }
  }

  func finish() {}
}
