import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// One commit to a directory store, whose lock is held.
final class DirectoryCommit {
  private let store: DirectoryStore
  private let commit: Commit
  private var folders: [ObjectPath.Folder: Descriptor] = [:]

  init(_ store: DirectoryStore, _ commit: Commit) {
    self.store = store
    self.commit = commit
  }

  func run(over version: LedgerVersion?) throws(Failure) -> CommitOutcome {
    let current = try store.readLedger()
    try recover(current?.bytes)
    guard current?.version == version else { return .conflict }
    if current == nil { try refuseLostLedger() }

    var placing: [(path: ObjectPath, file: StagedFile)] = []
    for addition in commit.additions where !addition.replacing {
      let file = try stagedFile(addition)
      switch try standing(at: addition.path, file) {
      case .free: placing.append((addition.path, file))
      case .same: break
      case .other: return .taken(addition.path)
      }
    }
    let kept = Set(commit.additions.map(\.path))
    let removals = commit.removals.map(\.path).filter { !kept.contains($0) }
    try writeJournal(placing.map(\.path) + removals)

    let ledger = try prepareLedger(placing)
    // From here on the new ledger is the ledger, and nothing is undone.
    try store.root.synchronize()

    for addition in commit.additions where addition.replacing {
      let file = try stagedFile(addition)
      try file.directory.rename(file.temporary, to: file.directory, rawName(addition.path))
      file.isPlaced = true
      try file.directory.synchronize()
    }
    for (_, file) in placing { file.isPlaced = true }
    for addition in commit.additions where !addition.replacing {
      // Another file of the same bytes stands there already.
      try stagedFile(addition).discard()
    }
    finish(removals)
    return .committed(ledger)
  }

  private func stagedFile(_ addition: Commit.Addition) throws(Failure) -> StagedFile {
    guard let file = addition.object as? StagedFile, file.folder == addition.path.folder else {
      throw Failure(.library, "\(addition.path) was not staged in this store")
    }
    return file
  }

  private func rawName(_ path: ObjectPath) -> RawPath { RawPath(path.name.description) }

  private func folder(_ folder: ObjectPath.Folder) throws(Failure) -> Descriptor? {
    if let known = folders[folder] { return known }
    let opened = try store.folder(folder, creating: false)
    folders[folder] = opened
    return opened
  }

  // MARK: Names

  private enum Standing { case free, same, other }

  /// What a name holds already. Only a writer that was killed leaves a name that no ledger has.
  private func standing(at path: ObjectPath, _ file: StagedFile) throws(Failure) -> Standing {
    guard let found = try store.regularFile(rawName(path), in: file.directory) else {
      return .free
    }
    guard try UInt64(found.status().st_size) == file.size else { return .other }
    let hashing = try HashingSink(into: CountingSink())
    try DescriptorSource(found).copy(to: hashing)
    guard try hashing.digest() == file.sha256 else { return .other }
    try found.synchronize()
    return .same
  }

  /// A store without a ledger that holds backups has lost it: no new one takes its place.
  private func refuseLostLedger() throws(Failure) {
    for kind in [ObjectPath.Folder.backups, .manifests] {
      guard let directory = try folder(kind) else { continue }
      for (name, _) in try directory.names() where !store.isTemporary(name) {
        throw Failure(
          .integrity,
          "the store \(store.address.display) holds "
            + "\(RawPath(kind.rawValue).appending(name).display) and has no metadata.json",
          hint: "put its metadata.json back, or move the folder away")
      }
    }
  }

  // MARK: The ledger

  /// Gives the objects their names and swaps the ledger, or leaves everything as it was.
  private func prepareLedger(
    _ placing: [(path: ObjectPath, file: StagedFile)]
  ) throws(Failure) -> LedgerVersion {
    let temporary = RawPath(".tbk-\(uniqueSuffix()).tmp")
    var placed = 0
    do throws(Failure) {
      let file = try store.root.open(
        temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, missing: .cannotCreate)
      let bytes = commit.ledger
      try file.write(bytes.span)
      try file.synchronize()
      for (path, object) in placing {
        try object.directory.rename(object.temporary, to: object.directory, rawName(path))
        placed += 1
      }
      for kind in Set(commit.additions.map(\.path.folder)) { try folder(kind)?.synchronize() }
      let version = LedgerVersion(try SHA256.hash(commit.ledger).hex)
      try store.root.rename(temporary, to: store.root, DirectoryStore.ledgerName)
      return version
    } catch {
      _ = try? store.root.unlink(temporary)
      var undone = true
      for (path, object) in placing[..<placed] {
        do throws(Failure) {
          try object.directory.rename(rawName(path), to: object.directory, object.temporary)
        } catch {
          undone = false
        }
      }
      if undone { _ = try? store.root.unlink(DirectoryStore.journalName) }
      throw error
    }
  }

  // MARK: The journal

  /// Says which names this commit touches: what it adds is not wanted if it is killed, what it
  /// removes is not wanted if it is not. Either way, no ledger mentions it.
  private func writeJournal(_ paths: [ObjectPath]) throws(Failure) {
    if paths.isEmpty { return }
    let text = paths.map { "\($0)\n" }.joined()
    try AtomicFile.write(Array(text.utf8), to: DirectoryStore.journalName, in: store.root)
  }

  /// Removes what a killed commit left: names in its journal that the ledger does not mention.
  private func recover(_ ledger: [UInt8]?) throws(Failure) {
    guard let file = try store.regularFile(DirectoryStore.journalName, in: store.root) else {
      return
    }
    let text = try DescriptorSource(file).readAll(limit: 64 << 20, what: "the journal of the store")
    var wanted: Set<String> = []
    if let ledger {
      // A ledger that cannot be read mentions everything.
      for entry in try Ledger(parsing: ledger).entries {
        wanted.insert("backups/\(entry.filename)")
        if let manifest = entry.manifest { wanted.insert("manifests/\(manifest.name)") }
      }
    }
    for line in text.split(separator: UInt8(ascii: "\n")) {
      let line = String(decoding: line, as: UTF8.self)
      let pieces = line.split(separator: "/", omittingEmptySubsequences: false)
      guard pieces.count == 2, let kind = ObjectPath.Folder(rawValue: String(pieces[0])),
        kind != .checks, let name = ObjectName(String(pieces[1])), !wanted.contains(line)
      else { continue }
      _ = try folder(kind)?.unlink(RawPath(name.description))
    }
    for directory in folders.values { try directory.synchronize() }
    try store.root.unlink(DirectoryStore.journalName)
  }

  // MARK: Cleaning

  /// The commit is done; what fails here is left to a later one.
  private func finish(_ removals: [ObjectPath]) {
    do throws(Failure) {
      for path in removals { _ = try folder(path.folder)?.unlink(rawName(path)) }
      for kind in Set(removals.map(\.folder)) { try folder(kind)?.synchronize() }
      try store.root.unlink(DirectoryStore.journalName)
      try clean(store.root)
      for kind in ObjectPath.Folder.allCases {
        if let directory = try folder(kind) { try clean(directory) }
      }
    } catch {
      // Said nowhere: nothing is wrong with what was asked for.
    }
  }

  /// Removes temporary files that have been old for a day and that no writer holds.
  private func clean(_ directory: Descriptor) throws(Failure) {
    let limit = Timestamp.now().nanoseconds / 1_000_000_000 - DirectoryStore.leftoverAge
    for (name, _) in try directory.names() where store.isTemporary(name) {
      guard let facts = try directory.statusIfPresent(of: name),
        facts.st_mode & S_IFMT == S_IFREG, Int64(facts.st_mtim.tv_sec) < limit,
        let file = try store.regularFile(name, in: directory, O_RDWR), try FileLock.take(file)
      else { continue }
      try directory.unlink(name)
    }
  }
}
