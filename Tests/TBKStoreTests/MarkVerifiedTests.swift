import TBKCore
import TBKFormat
import Testing

@testable import TBKStore

struct MarkVerifiedTests {
  @Test(arguments: StoreKind.all) func whatWasReadIsMarked(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let session = try makeSession(try place.open(), home: nil)
    for seed in 1...3 { try session.pushArchive(seed) }
    let before = try session.snapshot().entries
    let marked = try session.markVerified(
      [before[0].id: before[0].sha256, before[2].id: before[2].sha256],
      at: "2026-11-21T00:00:00+00:00")
    #expect(marked.map(\.id) == [before[0].id, before[2].id])
    let after = try makeSession(try place.open(), home: nil).snapshot()
    #expect(after.entries.map(\.verified) == [true, false, true])
    #expect(try after.entries[0].json["verified_at"]?.text == "2026-11-21T00:00:00+00:00")
    #expect(after.ledger?.identity?.sequence == 4)
  }

  @Test func anotherArchiveThanTheOneThatWasReadIsNotMarked() throws {
    let place = try DirectoryPlace()
    let session = try place.session()
    try session.pushArchive(1)
    let id = try digest(1)
    let read = try #require(try session.snapshot().ledger?[id]).sha256
    _ = try session.replace(
      id, archive: try session.store.stage(try archive(9)), archiveVersion: 2, manifest: nil,
      signature: nil)
    let marked = try session.markVerified([id: read], at: "2026-11-21T00:00:00+00:00")
    #expect(marked.isEmpty)
    #expect(try session.snapshot().entries.map(\.verified) == [false])
    #expect(try session.snapshot().ledger?.identity?.sequence == 2)
  }
}
