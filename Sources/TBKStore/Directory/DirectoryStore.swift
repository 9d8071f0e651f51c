import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// A store in a directory: `backups/`, `manifests/`, `checks/` and `metadata.json`.
///
/// Objects are written under temporary names and synced to disk. A commit, which holds the store's lock, gives them
/// their names and then renames the new ledger over the old one. That rename is the commit. A journal records which
/// names a killed commit has touched, so that the next one can remove what no ledger mentions. No symbolic link in the
/// store is followed.
package final class DirectoryStore: Store {
  static let ledgerName = RawPath(Ledger.fileName)
  static let lockName = RawPath(".tbk-lock")
  static let journalName = RawPath(".tbk-journal")
  /// Seconds after which an unlocked temporary file counts as left by a killed writer.
  static let leftoverAge: Int64 = 86_400

  /// Default for the seconds to wait for another writer.
  package static let standardWait = 60

  package let address: StoreAddress
  let root: Descriptor
  let maximumWait: Int
  private let throttles: StoreThrottles

  /// - Parameters:
  ///   - path: a directory that exists: an unmounted disk must not become a new store.
  ///   - maximumWait: seconds to wait for another writer.
  package init(
    _ path: RawPath, maximumWait: Int = 60, rates: StoreRates = StoreRates()
  ) throws(Failure) {
    address = .directory(path)
    throttles = StoreThrottles(rates)
    self.maximumWait = maximumWait
    guard
      let root = try Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_DIRECTORY)
    else {
      throw Failure(
        .unavailable, "the store \(path.display) does not exist",
        hint: "is its disk mounted? to make a new store, make the directory first")
    }
    self.root = root
  }

  // MARK: Reading

  package func readLedger() throws(Failure) -> StoredLedger? {
    guard let file = try regularFile(DirectoryStore.ledgerName, in: root) else {
      try refuseForeignDirectory()
      return nil
    }
    let bytes = try DescriptorSource(file, name: DirectoryStore.ledgerName)
      .readAll(limit: Ledger.byteLimit, what: "the ledger of the store \(address.display)")
    return StoredLedger(bytes: bytes, version: LedgerVersion(try SHA256.hash(bytes).hex))
  }

  package func open(_ object: ObjectReference) throws(Failure) -> any ByteSource {
    let paths = try files(of: object)
    if paths.count == 1 { return throttles.receiving(try open(paths[0])) }
    return throttles.receiving(
      JoinedSource(paths.count) { [self] (number) throws(Failure) in try open(paths[number]) })
  }

  package func open(
    _ object: ObjectReference, size: UInt64, range: Range<UInt64>
  ) throws(Failure) -> any ByteSource {
    let paths = try files(of: object)
    let pieces = object.pieces(of: range, size: size)
    return throttles.receiving(
      JoinedSource(pieces.count) { [self] (number) throws(Failure) in
        let piece = pieces[number]
        let region = try DescriptorRegion(try open(paths[piece.index]).descriptor)
        return RegionSource(region, from: piece.range.lowerBound, to: piece.range.upperBound)
      })
  }

  /// The files that contain the object, in order. A clone of a store on GitHub has some objects in parts.
  private func files(of object: ObjectReference) throws(Failure) -> [ObjectPath] {
    if object.parts.isEmpty { return [object.path] }
    if let part = object.parts.first(where: { $0.place != GitHubStaged.gitPlace }) {
      throw Failure(
        .inputMissing,
        "the store \(address.display) does not have \(object.path): its parts lie in "
          + RawPath(Array(part.place.utf8)).display,
        hint: "a clone does not contain the releases of its repository; use the repository")
    }
    return object.parts.map { ObjectPath(object.path.folder, $0.object.name) }
  }

  private func open(_ path: ObjectPath) throws(Failure) -> DescriptorSource {
    guard let folder = try folder(path.folder, creating: false),
      let file = try regularFile(RawPath(path.name.description), in: folder)
    else {
      throw Failure(.inputMissing, "the store \(address.display) does not have \(path)")
    }
    return DescriptorSource(file, name: RawPath(path.description))
  }

  package func sizes(of files: [StoredFile]) throws(Failure) -> [StoredFile: UInt64] {
    var folders: [ObjectPath.Folder: Descriptor] = [:]
    for kind in Set(files.map(\.path.folder)) {
      folders[kind] = try folder(kind, creating: false)
    }
    var found: [StoredFile: UInt64] = [:]
    // Parts that are in a release are not in the clone.
    for file in files where file.place == nil || file.place == GitHubStaged.gitPlace {
      guard let folder = folders[file.path.folder],
        let facts = try folder.statusIfPresent(of: RawPath(file.path.name.description)),
        facts.st_mode & S_IFMT == S_IFREG
      else { continue }
      found[file] = UInt64(clamping: facts.st_size)
    }
    return found
  }

  /// Opens a regular file; not a symbolic link, a FIFO, which would block, or anything else.
  func regularFile(
    _ name: RawPath, in directory: Descriptor, _ flags: Int32 = O_RDONLY
  ) throws(Failure) -> Descriptor? {
    guard let facts = try directory.statusIfPresent(of: name) else { return nil }
    guard facts.st_mode & S_IFMT == S_IFREG else {
      throw Failure(
        .integrity, "\(name.display) in the store \(address.display) is not a regular file")
    }
    guard let file = try directory.openIfPresent(name, flags | O_NOFOLLOW | O_NONBLOCK) else {
      return nil
    }
    guard try file.status().st_mode & S_IFMT == S_IFREG else {
      throw Failure(
        .integrity, "\(name.display) in the store \(address.display) is not a regular file")
    }
    return file
  }

  func folder(_ folder: ObjectPath.Folder, creating: Bool) throws(Failure) -> Descriptor? {
    let name = RawPath(folder.rawValue)
    let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
    var facts = try root.statusIfPresent(of: name)
    if facts == nil, creating {
      do throws(Failure) {
        try root.makeOwnedDirectory(name)
        try root.synchronize()
      } catch  where error.code == .cannotCreate {
        // Another writer created it first.
      }
      facts = try root.statusIfPresent(of: name)
    }
    guard let facts else { return nil }
    guard facts.st_mode & S_IFMT == S_IFDIR else {
      throw Failure(
        .integrity, "\(name.display) in the store \(address.display) is not a directory")
    }
    return try root.open(name, flags)
  }

  /// Throws unless a directory without a ledger contains nothing but leftovers of TermBackup.
  private func refuseForeignDirectory() throws(Failure) {
    let ours =
      ObjectPath.Folder.allCases.map { RawPath($0.rawValue) }
      // Created by mkfs in a new file system.
      + [RawPath("lost+found")]
    for (name, _) in try root.names() where !ours.contains(name) && !isOurs(name) {
      // Another writer has just created a ledger.
      if name == DirectoryStore.ledgerName { return }
      throw Failure(
        .unavailable,
        "\(address.display) is not a store: it holds \(name.display) and no metadata.json",
        hint: "give the directory of a store, or an empty one for a new store")
    }
  }

  private func isOurs(_ name: RawPath) -> Bool {
    name == DirectoryStore.lockName || name == DirectoryStore.journalName || isTemporary(name)
      || DirectoryReserve.isOurs(name)
  }

  func isTemporary(_ name: RawPath) -> Bool {
    name.bytes.starts(with: ".tbk-".utf8) && name.bytes.suffix(4).elementsEqual(".tmp".utf8)
  }

  // MARK: Writing

  package func stage(
    _ source: any ByteSource, size: UInt64?, in folder: ObjectPath.Folder
  ) throws(Failure) -> any StagedObject {
    if try regularFile(DirectoryStore.ledgerName, in: root) == nil { try refuseForeignDirectory() }
    if let size, let free = root.freeBytes, free < size {
      throw Failure(
        .io, "the store \(address.display) has \(free) bytes free, and \(size) are needed",
        hint: "free some space and try again")
    }
    guard let directory = try self.folder(folder, creating: true) else {
      throw Failure(.unavailable, "the store \(address.display) is gone")
    }
    let staged = try StagedFile(in: directory, folder)
    do throws(Failure) {
      try staged.fill(from: throttles.sending(source), size: size)
    } catch {
      staged.discard()
      throw error
    }
    return staged
  }

  package func commit(
    _ commit: Commit, over version: LedgerVersion?
  ) throws(Failure) -> CommitOutcome {
    let lock = try FileLock(
      DirectoryStore.lockName, in: root, maximumWait: maximumWait,
      what: "the store \(address.display)")
    defer { lock.release() }
    return try DirectoryCommit(self, commit).run(over: version)
  }
}

/// Bytes under a temporary name. A lock shows that their writer is alive.
final class StagedFile: StagedObject {
  let folder: ObjectPath.Folder
  let directory: Descriptor
  let temporary: RawPath
  let descriptor: Descriptor
  private(set) var size: UInt64 = 0
  private(set) var sha256 = Digest.ofNothing
  var parts: [LedgerEntry.Part] { [] }
  /// Whether the file has its final name, or is gone.
  var isPlaced = false

  init(in directory: Descriptor, _ folder: ObjectPath.Folder) throws(Failure) {
    self.directory = directory
    self.folder = folder
    temporary = RawPath(".tbk-\(uniqueSuffix()).tmp")
    descriptor = try directory.open(
      temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, missing: .cannotCreate)
    try Ownership.inherit(descriptor, from: directory)
  }

  deinit { discard() }

  func fill(from source: any ByteSource, size: UInt64?) throws(Failure) {
    // If the file system has no locks, the commit reports it.
    _ = try? FileLock.take(descriptor)
    let file = DescriptorSink(descriptor, name: RawPath("the store"))
    let hashing = try HashingSink(into: file)
    let count = try source.copy(to: hashing)
    try hashing.finish()
    if let size, count != size {
      throw Failure(.truncated, "\(count) bytes came where \(size) were announced")
    }
    try descriptor.synchronize()
    sha256 = try hashing.digest()
    self.size = count
  }

  func discard() {
    if !isPlaced { _ = try? directory.unlink(temporary) }
    isPlaced = true
  }
}
