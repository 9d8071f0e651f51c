import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

/// A store that has lost or truncated objects that its ledger names.
struct PresenceTests {
  enum Loss: CaseIterable { case removed, cut, grown }

  /// Removes an object or replaces its content, without changing the ledger.
  private func lose(_ path: ObjectPath, _ loss: Loss = .removed, in place: any StorePlace) throws {
    let store = try place.open()
    let ledger = try #require(try store.readLedger())
    let bytes = try store.contents(path)
    var commit = Commit(ledger: ledger.bytes + [0x0a], summary: "lose \(path)")
    switch loss {
    case .removed: commit.removals = [ObjectReference(path)]
    case .cut:
      let staged = try store.stage(Array(bytes.dropLast()), in: path.folder)
      commit.additions = [.init(path, staged, replacing: true)]
    case .grown:
      let staged = try store.stage(bytes + [0], in: path.folder)
      commit.additions = [.init(path, staged, replacing: true)]
    }
    guard case .committed = try store.commit(commit, over: ledger.version) else {
      throw Failure(.library, "not committed")
    }
  }

  private func presence(_ session: LedgerSession) throws -> [BackupPresence] {
    let snapshot = try session.snapshot()
    return try session.presence(of: snapshot.entries, in: snapshot)
  }

  @Test(arguments: StoreKind.all) func aListingHasTheSizesOfWhatIsThere(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let store = try place.open()
    let here = StoredFile(path(.backups, "a.tbk"))
    #expect(try store.sizes(of: [here]).isEmpty)
    var wanted: [StoredFile: UInt64] = [:]
    var commit = Commit(ledger: Array("{\"backups\": []}".utf8), summary: "add")
    for size in [0, 1, 70_000] {
      for folder in [ObjectPath.Folder.backups, .manifests] {
        let file = StoredFile(path(folder, "\(size).tbk"))
        wanted[file] = UInt64(size)
        let staged = try store.stage([UInt8](repeating: 7, count: size), in: folder)
        commit.additions.append(.init(file.path, staged))
      }
    }
    _ = try store.commit(commit, over: nil)
    let missing = [here, StoredFile(path(.checks, "0.tbk")), StoredFile(path(.backups, "0"))]
    for store in [store, try place.open()] {
      #expect(try store.sizes(of: Array(wanted.keys) + missing) == wanted)
      // A few files are looked up one by one if that takes fewer requests.
      #expect(try store.sizes(of: [StoredFile(path(.backups, "1.tbk")), here]).map(\.value) == [1])
    }
  }

  @Test(arguments: StoreKind.all) func whatIsNotWholeIsTold(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let session = try makeSession(try place.open(), home: nil)
    for seed in 1...4 { try session.pushArchive(seed, manifest: try archive(seed + 10)) }
    try session.pushArchive(5, dependsOn: [try digest(1), try digest(2), try digest(4)])
    #expect(try presence(session).allSatisfy { $0.archive == .whole && $0.lost.isEmpty })
    let entries = try session.snapshot().entries
    try lose(entries[0].archiveReference.path, in: place)
    try lose(entries[1].archiveReference.path, .cut, in: place)
    try lose(try #require(entries[2].manifestReference).path, .grown, in: place)
    try lose(try #require(entries[3].manifestReference).path, in: place)
    let found = try presence(try makeSession(try place.open(), home: nil))
    #expect(found.map(\.archive) == [.missing, .damaged, .whole, .whole, .whole])
    #expect(found.map(\.manifest) == [.whole, .whole, .damaged, .missing, nil])
    let (one, two) = (try digest(1), try digest(2))
    #expect(found.map(\.lost) == [[one], [two], [], [], [one, two]])
  }

  @Test(arguments: StoreKind.all, Loss.allCases) func nothingIsBuiltOnWhatIsLost(
    _ kind: StoreKind, _ loss: Loss
  ) throws {
    let place = try kind.makePlace()
    let session = try makeSession(try place.open(), home: nil)
    let base = try session.pushArchive(1).entry
    try lose(base.archiveReference.path, loss, in: place)
    let writer = try makeSession(try place.open(), home: nil)
    let refused = failure { try writer.pushArchive(2, dependsOn: [base.id]) }
    #expect(refused?.exitStatus == 75)
    #expect(refused?.message.contains(base.id.hex) == true)
    #expect(try writer.snapshot().entries.map(\.id) == [base.id])
    try writer.pushArchive(3)
  }

  /// The base is lost after the writer has checked it, while another writer wins the race.
  @Test(arguments: StoreKind.all) func aLostRaceLooksAgain(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let writer = try makeSession(try place.open(), home: nil)
    let base = try writer.pushArchive(1).entry
    let snapshot = try writer.snapshot()
    try writer.requireAll([base.id], in: snapshot)
    try lose(base.archiveReference.path, in: place)
    #expect(failure { try writer.pushArchive(2, dependsOn: [base.id]) }?.exitStatus == 75)
    #expect(try writer.snapshot().entries.count == 1)
  }

  @Test(arguments: StoreKind.all, Loss.allCases) func theSameAgainPutsBackWhatIsLost(
    _ kind: StoreKind, _ loss: Loss
  ) throws {
    let place = try kind.makePlace()
    let manifest = try archive(11)
    let session = try makeSession(try place.open(), home: nil)
    let entry = try session.pushArchive(1, manifest: manifest).entry
    let sealed = try #require(entry.manifestReference)
    for path in [entry.archiveReference.path, sealed.path] {
      try lose(path, loss, in: place)
      let stored = try makeSession(try place.open(), home: nil).pushArchive(1, manifest: manifest)
      #expect(!stored.wasThere && stored.entry == entry)
      let store = try place.open()
      #expect(try store.contents(entry.archiveReference.path) == archive(1))
      #expect(try store.contents(sealed.path) == manifest)
    }
    #expect(try makeSession(try place.open(), home: nil).pushArchive(1, manifest: manifest).wasThere)
  }

  @Test func partsInAReleaseThatAreLostArePutBack() throws {
    let place = try GitHubPlace(placement: .release)
    let session = try makeSession(try place.open(), home: nil)
    let entry = try session.pushArchive(1).entry
    let base = try session.pushArchive(2).entry
    let store = try #require(try place.open() as? GitHubStore)
    try store.releases.remove(entry.parts + base.parts)
    #expect(try presence(session).map(\.archive) == [.missing, .missing])
    #expect(failure { try session.pushArchive(3, dependsOn: [base.id]) }?.exitStatus == 75)
    // Staged in the same release, it is back before the ledger is read.
    try session.pushArchive(1)
    // With another placement than before, which the entry then records.
    let inGit = GitHubPlace(place, placement: .git)
    #expect(!(try makeSession(try inGit.open(), home: nil).pushArchive(2).wasThere))
    let again = try makeSession(try place.open(), home: nil)
    #expect(try presence(again).map(\.archive) == [.whole, .whole])
    for (seed, entry) in zip([1, 2], try again.snapshot().entries) {
      let source = try again.store.open(entry.archiveReference)
      #expect(try source.readAll(limit: 1 << 20, what: "it") == archive(seed))
    }
  }

  @Test func whatIsNoFileIsNotThere() throws {
    let place = try DirectoryPlace()
    let session = try place.session()
    let entry = try session.pushArchive(1).entry
    let file = place.path.appending(RawPath(entry.archiveReference.path.description))
    let copy = place.path.appending("copy")
    for replace in ["ln -s \(copy.text) \(file.text)", "mkdir \(file.text)", "mkfifo \(file.text)"] {
      #expect(shell("mv \(file.text) \(copy.text) && \(replace)") == 0)
      #expect(try presence(session).map(\.archive) == [.missing], "\(replace)")
      #expect(shell("rm -r \(file.text) && mv \(copy.text) \(file.text)") == 0)
    }
    #expect(try presence(session).map(\.archive) == [.whole])
  }

  @Test func aReplacementThatIsLostIsPutBack() throws {
    let place = try DirectoryPlace()
    let session = try place.session()
    let old = try session.pushArchive(1).entry
    func replace() throws -> Stored {
      try session.replace(
        old.id, archive: try session.store.stage(try archive(2)), archiveVersion: 2, manifest: nil,
        signature: nil)
    }
    let new = try replace().entry
    #expect(try replace().wasThere)
    try lose(new.archiveReference.path, in: place)
    #expect(!(try replace().wasThere))
    #expect(try session.store.contents(new.archiveReference.path) == archive(2))
  }

  @Test func theLastThatCanBeRestoredStays() throws {
    let place = try DirectoryPlace()
    let session = try place.session()
    for seed in 1...3 { try session.pushArchive(seed, group: "g") }
    try session.pushArchive(4, dependsOn: [try digest(3)], group: "g")
    try session.pushArchive(5)
    let entries = try session.snapshot().entries
    try lose(entries[2].archiveReference.path, in: place)
    var rules = RetentionRules()
    rules.last = 2
    for scope in [BackupScope.all, .group(GroupID("g")), .groups([nil, GroupID("g")])] {
      rules.last = scope == .groups([nil, GroupID("g")]) ? 3 : 2
      let retention = Retention(rules, now: .now())
      if rules.last == 3 {
        // The one without a group is in the same scope, and can be restored.
        #expect(try session.decidePruning(session.snapshot(), retention, scope, allowingEmpty: false).gone.count == 2)
        continue
      }
      let refused = failure { _ = try session.prune(retention, scope) }
      #expect(refused?.exitStatus == 77)
      #expect(refused?.message.contains(try digest(1).hex) == true)
    }
    #expect(try session.snapshot().entries == entries)
    rules.last = 3
    let retention = Retention(rules, now: .now())
    #expect(try session.prune(retention, .all).gone.map(\.id) == [try digest(1)])
    rules.last = 1
    _ = try session.prune(Retention(rules, now: .now()), .all, allowingEmpty: true)
    #expect(try session.snapshot().entries.map(\.id) == [3, 4, 5].map { try digest($0) })
  }

  /// A missing backup is not kept.
  @Test func whatIsLostGoes() throws {
    let place = try DirectoryPlace()
    let session = try place.session()
    for seed in 1...2 { try session.pushArchive(seed) }
    for entry in try session.snapshot().entries { try lose(entry.archiveReference.path, in: place) }
    var rules = RetentionRules()
    rules.last = 1
    #expect(try session.prune(Retention(rules, now: .now()), .all).gone.map(\.id) == [try digest(1)])
  }
}
