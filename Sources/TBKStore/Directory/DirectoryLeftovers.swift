import Glibc
import TBKCore
import TBKFormat

extension DirectoryStore {
  package func leftovers(
    besides named: NamedObjects, age: Int64
  ) throws(Failure) -> [Leftover] {
    let limit = clock().earlier(seconds: UInt64(clamping: age))
    var found = try temporaryFiles(in: root, RawPath([]), before: limit)
    for kind in ObjectPath.Folder.allCases {
      guard let directory = try folder(kind, creating: false) else { continue }
      found += try temporaryFiles(in: directory, RawPath(kind.rawValue), before: limit)
      for (name, _) in try directory.names() {
        guard let name = ObjectName(name.text), case let path = ObjectPath(kind, name),
          path.hasOurName, !named.contains(path.description),
          let facts = try directory.statusIfPresent(of: RawPath(name.description)),
          facts.st_mode & S_IFMT == S_IFREG
        else { continue }
        // The inode's change time too: copying a store preserves the modification times of its files.
        let changed = Timestamp(clamping: max(FileTime(facts.st_mtim), FileTime(facts.st_ctim)))
        guard changed <= limit else { continue }
        found.append(
          Leftover(
            .object, RawPath(path.description), size: UInt64(clamping: facts.st_size),
            changedAt: changed))
      }
    }
    return (found + (try clearManifests())).inOrder
  }

  package func clearManifests() throws(Failure) -> [Leftover] {
    guard let directory = try folder(.manifests, creating: false) else { return [] }
    var found: [Leftover] = []
    for (name, _) in try directory.names() {
      guard let name = ObjectName(name.text), case let path = ObjectPath(.manifests, name),
        path.isClearManifest,
        let facts = try directory.statusIfPresent(of: RawPath(name.description)),
        facts.st_mode & S_IFMT == S_IFREG
      else { continue }
      found.append(
        Leftover(
          .object, RawPath(path.description), size: UInt64(clamping: facts.st_size),
          changedAt: Timestamp(clamping: FileTime(facts.st_mtim))))
    }
    return found.inOrder
  }

  /// Temporary files that no writer has locked.
  private func temporaryFiles(
    in directory: Descriptor, _ place: RawPath, before limit: Timestamp
  ) throws(Failure) -> [Leftover] {
    var found: [Leftover] = []
    for (name, _) in try directory.names() where isTemporary(name) {
      guard let facts = try directory.statusIfPresent(of: name),
        facts.st_mode & S_IFMT == S_IFREG, case let changed = Timestamp(clamping: FileTime(facts.st_mtim)),
        changed <= limit, try isAbandoned(name, in: directory)
      else { continue }
      found.append(
        Leftover(
          .temporary, place.appending(name), size: UInt64(clamping: facts.st_size),
          changedAt: changed))
    }
    return found
  }

  private func isAbandoned(_ name: RawPath, in directory: Descriptor) throws(Failure) -> Bool {
    guard let file = try regularFile(name, in: directory, O_RDWR) else { return false }
    return try FileLock.take(file)
  }

  package func remove(
    _ leftovers: [Leftover], over ledger: StoredLedger
  ) throws(Failure) -> [Leftover]? {
    let lock = try FileLock(
      DirectoryStore.lockName, in: root, maximumWait: maximumWait,
      what: "the store \(address.display)")
    defer { lock.release() }
    guard try readLedger()?.version == ledger.version else { return nil }
    var gone: [Leftover] = []
    var touched: [Descriptor] = []
    for leftover in leftovers {
      let pieces = leftover.name.bytes.split(separator: UInt8(ascii: "/"))
      var directory = root
      if pieces.count == 2 {
        guard let kind = ObjectPath.Folder(rawValue: String(decoding: pieces[0], as: UTF8.self)),
          let folder = try folder(kind, creating: false)
        else { continue }
        directory = folder
      }
      guard let last = pieces.last else { continue }
      let name = RawPath(Array(last))
      if leftover.kind == .temporary {
        guard try isAbandoned(name, in: directory) else { continue }
      } else {
        guard leftover.path != nil, try regularFile(name, in: directory) != nil else { continue }
      }
      if try directory.unlink(name) { touched.append(directory) }
      gone.append(leftover)
    }
    for directory in touched { try directory.synchronize() }
    return gone
  }

  /// The clock that dates the files of this store, or this machine's clock if it is earlier: no file may appear older
  /// than it is.
  private func clock() -> Timestamp {
    let now = Timestamp.now()
    let name = RawPath(".tbk-\(uniqueSuffix()).tmp")
    guard let file = try? root.open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW),
      let facts = try? file.status()
    else { return now }
    _ = try? root.unlink(name)
    return min(now, Timestamp(clamping: FileTime(facts.st_mtim)))
  }
}
