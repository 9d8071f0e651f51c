import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// One commit to a directory store. The store's lock is held.
final class DirectoryCommit {
  private let store: DirectoryStore
  private let commit: Commit
  private let reserve: DirectoryReserve
  private var folders: [ObjectPath.Folder: Descriptor] = [:]
  /// Whether the journal names objects that an earlier commit may have left, and there is no ledger yet.
  private var mustKeepJournal = false

  init(_ store: DirectoryStore, _ commit: Commit) {
    self.store = store
    self.commit = commit
    reserve = DirectoryReserve(in: store.root)
  }

  /// Whether the commit only frees space.
  private var onlyRemoves: Bool { commit.additions.isEmpty && !commit.removals.isEmpty }

  func run(over version: LedgerVersion?) throws(Failure) -> CommitOutcome {
    let current = try store.readLedger()
    var journal = try readJournal()
    if let current {
      try recover(journal, current.bytes)
      journal = []
    }
    guard current?.version == version else { return .conflict }
    if current == nil { try refuseLostLedger(besides: Set(journal.map(\.path))) }
    if !onlyRemoves { try keepReserve() }

    var placing: [(path: ObjectPath, file: StagedFile)] = []
    for addition in commit.additions where !addition.replacing {
      let file = try stagedFile(addition)
      switch try standing(at: addition.path, file) {
      case .free: placing.append((addition.path, file))
      case .same: break
      case .other: return .taken(addition.path)
      }
    }
    let added = Set(commit.additions.map(\.path))
    let removals = commit.removals.map(\.path).filter { !added.contains($0) }
    let touched = (placing.map(\.path) + removals).map { JournalEntry($0, isKept: false) }
    let kept = journal.map { JournalEntry($0.path, isKept: true) }
    mustKeepJournal = !kept.isEmpty
    let ledger: LedgerVersion
    do throws(Failure) {
      try writeJournal(touched + kept)
      ledger = try prepareLedger(placing)
    } catch {
      guard onlyRemoves, error.code != .interrupted,
        let placed = try? placeInReserve(touched + kept)
      else { throw error }
      ledger = placed
    }
    // From here on the new ledger is in place, and nothing is undone.
    try store.root.synchronize()

    for addition in commit.additions where addition.replacing {
      let file = try stagedFile(addition)
      try file.directory.rename(file.temporary, to: file.directory, rawName(addition.path))
      file.isPlaced = true
      try file.directory.synchronize()
    }
    for (_, file) in placing { file.isPlaced = true }
    for addition in commit.additions where !addition.replacing {
      // Another file of the same bytes already exists.
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

  /// What already has this name. Only a writer that was killed leaves a name that is in no ledger.
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

  /// Throws if a store without a ledger contains backups: its ledger was lost, and no new one may replace it.
  ///
  /// - Parameter expected: objects that a killed first commit may have left.
  private func refuseLostLedger(besides expected: Set<ObjectPath>) throws(Failure) {
    for kind in [ObjectPath.Folder.backups, .manifests] {
      guard let directory = try folder(kind) else { continue }
      for (name, _) in try directory.names() where !store.isTemporary(name) {
        if let object = ObjectName(name.text), expected.contains(ObjectPath(kind, object)) { continue }
        throw Failure(
          .integrity,
          "the store \(store.address.display) holds "
            + "\(RawPath(kind.rawValue).appending(name).display) and has no metadata.json",
          hint: "put its metadata.json back, or move the folder away")
      }
    }
  }

  // MARK: The ledger

  /// Gives the objects their names and replaces the ledger, or leaves everything unchanged.
  private func prepareLedger(
    _ placing: [(path: ObjectPath, file: StagedFile)]
  ) throws(Failure) -> LedgerVersion {
    let temporary = RawPath(".tbk-\(uniqueSuffix()).tmp")
    var placed = 0
    do throws(Failure) {
      let file = try store.root.open(
        temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, missing: .cannotCreate)
      try Ownership.inherit(file, from: store.root)
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
      if undone, !mustKeepJournal { _ = try? store.root.unlink(DirectoryStore.journalName) }
      throw error
    }
  }

  /// A commit that only frees space must not need any.
  private func placeInReserve(_ journal: [JournalEntry]) throws(Failure) -> LedgerVersion? {
    let version = LedgerVersion(try SHA256.hash(commit.ledger).hex)
    guard try reserve.write(bytes(of: journal), .journal, to: DirectoryStore.journalName) else {
      return nil
    }
    try store.root.synchronize()
    guard try reserve.write(commit.ledger, .ledger, to: DirectoryStore.ledgerName) else {
      return nil
    }
    return version
  }

  private func keepReserve() throws(Failure) {
    do throws(Failure) {
      try reserve.keep(for: commit.ledger.count)
    } catch {
      throw Failure(
        error.code, "the store \(store.address.display): \(error.message)", hint: error.hint)
    }
  }

  // MARK: The journal

  private struct JournalEntry {
    let path: ObjectPath
    /// Whether the object stays although no ledger names it. In a store without a ledger, what a killed first commit
    /// left looks the same as what remains of a lost store.
    let isKept: Bool

    init(_ path: ObjectPath, isKept: Bool) {
      self.path = path
      self.isKept = isKept
    }

    private static let mark = "kept/"
    /// The longest folder and name.
    static let lineLimit = 256

    /// Nil for a line that is not a journal entry.
    init?(line: some Collection<UInt8>) {
      var text = Substring(decoding: line, as: UTF8.self)
      isKept = text.hasPrefix(JournalEntry.mark)
      if isKept { text = text.dropFirst(JournalEntry.mark.count) }
      let pieces = text.split(separator: "/", omittingEmptySubsequences: false)
      guard pieces.count == 2, let kind = ObjectPath.Folder(rawValue: String(pieces[0])),
        let name = ObjectName(String(pieces[1]))
      else { return nil }
      path = ObjectPath(kind, name)
    }

    var line: String { "\(isKept ? JournalEntry.mark : "")\(path)\n" }
  }

  /// Records the names that this commit touches: its additions are removed if it is killed, and its removals if it is
  /// not. In both cases no ledger mentions them.
  private func writeJournal(_ entries: [JournalEntry]) throws(Failure) {
    if entries.isEmpty { return }
    try AtomicFile.write(bytes(of: entries), to: DirectoryStore.journalName, in: store.root, inherits: true)
  }

  private func bytes(of entries: [JournalEntry]) -> [UInt8] {
    Array(entries.map(\.line).joined().utf8)
  }

  private func readJournal() throws(Failure) -> [JournalEntry] {
    guard let file = try store.regularFile(DirectoryStore.journalName, in: store.root) else {
      return []
    }
    // Anyone with access to the store can write to this file. Entries past the limit are left to 'tbk-store clean'.
    let lines = PeekingSource(DescriptorSource(file))
    var entries: [JournalEntry] = []
    var rest = DirectoryCommit.journalLimit
    do throws(Failure) {
      while rest > 0, let line = try lines.line(limit: JournalEntry.lineLimit) {
        rest -= line.count + 1
        if let entry = JournalEntry(line: line) { entries.append(entry) }
      }
    } catch {
      guard error.code == .malformed || error.code == .truncated else { throw error }
    }
    return entries
  }

  /// Most bytes of a journal to read: enough for more than 20,000 backups.
  private static let journalLimit = 4 << 20

  /// Removes what a killed commit left: names in its journal that the ledger does not mention.
  private func recover(_ journal: [JournalEntry], _ ledger: [UInt8]) throws(Failure) {
    if journal.isEmpty { return }
    // If the ledger cannot be read, remove nothing.
    var wanted = NamedObjects()
    wanted.add(try Ledger(parsing: ledger))
    for entry in journal where !entry.isKept && !wanted.contains(entry.path.description) {
      _ = try folder(entry.path.folder)?.unlink(rawName(entry.path))
    }
    for directory in folders.values { try directory.synchronize() }
    try reserve.retire(journal: DirectoryStore.journalName)
  }

  // MARK: Cleaning

  /// The commit is done; a later one retries whatever fails here.
  private func finish(_ removals: [ObjectPath]) {
    do throws(Failure) {
      for path in removals { _ = try folder(path.folder)?.unlink(rawName(path)) }
      for kind in Set(removals.map(\.folder)) { try folder(kind)?.synchronize() }
      try reserve.retire(journal: DirectoryStore.journalName)
      try clean(store.root)
      for kind in ObjectPath.Folder.allCases {
        if let directory = try folder(kind) { try clean(directory) }
      }
      // There is space for it now.
      if onlyRemoves { try reserve.keep(for: commit.ledger.count) }
    } catch {
      // Not reported: the commit itself succeeded.
    }
  }

  /// Removes temporary files that are older than a day and not locked by a writer.
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
