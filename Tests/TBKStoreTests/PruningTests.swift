import TBKCore
import TBKFormat
import Testing

@testable import TBKStore

/// How a prune changes a store, and how it interacts with other writers.
struct PruningTests {
  private func retention(_ body: (inout RetentionRules) -> Void) -> Retention {
    var rules = RetentionRules()
    body(&rules)
    return Retention(rules, now: .now())
  }

  private func last(_ count: Int) -> Retention { retention { $0.last = count } }

  @Test(arguments: StoreKind.all) func whatGoesGoesInOneCommit(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let session = try makeSession(try place.open(), home: nil)
    for seed in 1...5 { try session.pushArchive(seed, manifest: try archive(seed + 10)) }
    try session.pushArchive(6, dependsOn: [try digest(2)])
    let before = try session.snapshot()
    let judgement = try session.prune(last(2), .all)
    #expect(judgement.verdicts.map(\.isKept) == [false, true, false, false, true, true])

    let other = try makeSession(try place.open(), home: nil)
    let after = try other.snapshot()
    let left = [try digest(2), try digest(5), try digest(6)]
    #expect(after.entries.map(\.id) == left)
    let sequence = try #require(before.ledger?.identity?.sequence)
    #expect(after.ledger?.identity?.sequence == sequence + 1)
    for entry in before.entries {
      let isThere = after.entries.contains(entry)
      #expect(try other.store.has(entry.archiveReference.path) == isThere)
      if let manifest = entry.manifestReference {
        #expect(try other.store.has(manifest.path) == isThere)
      }
    }
    // With nothing to remove, there is no commit.
    #expect(try session.prune(last(2), .all).gone.isEmpty)
    #expect(try other.snapshot().version == after.version)
  }

  @Test func aDecisionIsMadeAgainOverWhatOthersStored() throws {
    let place = try DirectoryPlace()
    let pruner = try place.session()
    for seed in 1...3 { try pruner.pushArchive(seed) }
    _ = try pruner.snapshot()
    // After the pruner has read the ledger: now number 1 is needed, and 3 is no longer the last.
    try place.session().pushArchive(4, dependsOn: [try digest(1)])
    let judgement = try pruner.prune(last(1), .all)
    let gone = [try digest(2), try digest(3)]
    #expect(judgement.gone.map(\.id) == gone)
    #expect(try pruner.snapshot().entries.map(\.id) == [try digest(1), try digest(4)])
  }

  @Test func aBackupOverWhatWasPrunedMeanwhileIsRefused() throws {
    let place = try DirectoryPlace()
    let writer = try place.session()
    for seed in 1...2 { try writer.pushArchive(seed) }
    _ = try writer.snapshot()
    _ = try place.session().prune(last(1), .all)
    #expect(failure { try writer.pushArchive(3, dependsOn: [try digest(1)]) }?.exitStatus == 75)
    try writer.pushArchive(3, dependsOn: [try digest(2)])
  }

  @Test func theLastOfAGroupGoesOnlyWhereThatIsMeant() throws {
    let place = try DirectoryPlace()
    let session = try place.session()
    try session.pushArchive(1, group: "a")
    try session.pushArchive(2, group: "b")
    let files = try place.files()
    var rules = RetentionRules()
    rules.retentionDays = 1
    let soon = Timestamp(nanoseconds: Timestamp.now().nanoseconds + 3 * 86_400_000_000_000)
    let future = Retention(rules, now: soon)
    let refused = failure { _ = try session.prune(future, .group(GroupID("a"))) }
    #expect(refused?.exitStatus == 77)
    #expect(refused?.message.contains("of the group a from the store") == true)
    #expect(try session.snapshot().entries.count == 2)
    #expect(try place.files() == files)
    _ = try session.prune(future, .group(GroupID("a")), allowingEmpty: true)
    #expect(try session.snapshot().entries.map(\.group) == [GroupID("b")])
    _ = try session.prune(future, .all, allowingEmpty: true)
    #expect(try session.snapshot().entries.isEmpty)
    #expect(
      try place.files()
        == ["metadata.json", ".tbk-lock", ".tbk-reserve", ".tbk-reserve-names"])
  }

  @Test func archivesInReleasesAreFreed() throws {
    let place = try GitHubPlace(placement: .release)
    let session = try makeSession(try place.open(), home: nil)
    for seed in 1...2 { try session.pushArchive(seed) }
    let entries = try session.snapshot().entries
    #expect(entries.allSatisfy { !$0.parts.isEmpty })
    _ = try session.prune(last(1), .all)
    let store = try place.open()
    #expect(failure { _ = try store.open(entries[0].archiveReference) }?.code == .inputMissing)
    let kept = try store.open(entries[1].archiveReference).readAll(limit: 1 << 20, what: "it")
    #expect(try kept == archive(2))
  }
}
