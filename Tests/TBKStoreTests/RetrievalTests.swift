import Glibc
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

/// A store that alters objects when they are read.
private final class LyingStore: Store {
  private let base: any Store
  private let lie: ([UInt8]) -> any ByteSource

  init(_ base: any Store, _ lie: @escaping ([UInt8]) -> any ByteSource) {
    self.base = base
    self.lie = lie
  }

  var address: StoreAddress { base.address }
  func readLedger() throws(Failure) -> StoredLedger? { try base.readLedger() }
  func open(_ object: ObjectReference) throws(Failure) -> any ByteSource {
    lie(try base.open(object).readAll(limit: 1 << 26, what: "object"))
  }
  func open(_ object: ObjectReference, size: UInt64, range: Range<UInt64>) throws(Failure) -> any ByteSource {
    try base.open(object, size: size, range: range)
  }
  func sizes(of files: [StoredFile]) throws(Failure) -> [StoredFile: UInt64] {
    try base.sizes(of: files)
  }
  func stage(
    _ source: any ByteSource, size: UInt64?, in folder: ObjectPath.Folder
  ) throws(Failure) -> any StagedObject { try base.stage(source, size: size, in: folder) }
  func commit(_ commit: Commit, over: LedgerVersion?) throws(Failure) -> CommitOutcome {
    try base.commit(commit, over: over)
  }
  func leftovers(besides named: NamedObjects, age: Int64) throws(Failure) -> [Leftover] {
    try base.leftovers(besides: named, age: age)
  }
  func remove(_ leftovers: [Leftover], over ledger: StoredLedger) throws(Failure) -> [Leftover]? {
    try base.remove(leftovers, over: ledger)
  }
}

/// Changes a file after the first write.
private final class MeddlingSink: ByteSink {
  private(set) var count = 0
  private let meddle: () -> Void

  init(_ meddle: @escaping () -> Void) { self.meddle = meddle }

  func write(_ bytes: Span<UInt8>) {
    if count == 0 { meddle() }
    count += bytes.count
  }
  func finish() {}
}

struct RetrievalTests {
  private let place: DirectoryPlace
  private let bytes: [UInt8]

  init() throws {
    place = try DirectoryPlace()
    bytes = try archive(1, payload: 3 * chunkSize + 17)
    try place.session().pushArchive(1, bytes: bytes, manifest: try archive(9))
  }

  private func entry() throws -> LedgerEntry {
    try #require(try place.session().snapshot().entries.first)
  }

  private func file() throws -> RawPath {
    place.path.appending(try entry().archiveReference.path.description)
  }

  @Test(arguments: [true, false]) func whatWasStoredComesBack(_ isStaging: Bool) throws {
    let sink = MemorySink()
    let retrieval = Retrieval(try place.open(), warn: { _ in Issue.record("a warning") })
    try retrieval.sendArchive(try entry(), to: sink, isStaging: isStaging)
    #expect(sink.bytes == bytes)
    let manifest = MemorySink()
    try retrieval.sendManifest(try entry(), to: manifest, isStaging: isStaging)
    #expect(manifest.bytes == (try archive(9)))
  }

  @Test(arguments: [true, false]) func fromAStoreThatIsNoFileAsWell(_ isStaging: Bool) throws {
    let store = LyingStore(try place.open()) { MemorySource($0) }
    let sink = MemorySink()
    try Retrieval(store, warn: { _ in }).sendArchive(try entry(), to: sink, isStaging: isStaging)
    #expect(sink.bytes == bytes)
  }

  @Test func alteredBytesAreNotSent() throws {
    for lie in [
      { Array($0.dropLast()) }, { $0 + [0] }, { [$0[0] ^ 1] + $0[1...] }, { _ in [] },
      { $0.dropLast() + [$0[$0.count - 1] ^ 128] },
    ] as [([UInt8]) -> [UInt8]] {
      try AtomicFile.write(bytes, to: try file())
      let store = LyingStore(try place.open()) { MemorySource(lie($0)) }
      let sink = MemorySink()
      let found = failure {
        try Retrieval(store, warn: { _ in }).sendArchive(try entry(), to: sink, isStaging: false)
      }
      #expect(found?.exitStatus == 65)
      #expect(sink.bytes.isEmpty)
      // The same alteration in the file itself.
      try AtomicFile.write(lie(bytes), to: try file())
      let direct = failure {
        try Retrieval(try place.open(), warn: { _ in })
          .sendArchive(try entry(), to: sink, isStaging: false)
      }
      #expect(direct?.exitStatus == 65 && sink.bytes.isEmpty)
    }
  }

  @Test func aFileThatChangesWhileItIsSentIsNeverSentWhole() throws {
    let path = try file()
    for offset in [0, chunkSize * 2 + 5, bytes.count - 1] {
      try AtomicFile.write(bytes, to: path)
      let descriptor = try Descriptor.workingDirectory.open(path, O_RDWR)
      let sink = MeddlingSink {
        _ = try? descriptor.write([bytes[offset] ^ 1].span, at: UInt64(offset))
      }
      let found = failure {
        try Retrieval(try place.open(), warn: { _ in })
          .sendArchive(try entry(), to: sink, isStaging: false)
      }
      if offset > chunkSize {
        #expect(found?.exitStatus == 65)
        #expect(sink.count < bytes.count)
      }
    }
  }

  /// Before it sends anything, it reads only as much as it holds back.
  @Test func whatShowsItsEndIsSentAsItComes() throws {
    let heldBack = 128 << 10
    let bytes = try chunkedArchive(1, payload: 3 * chunkSize + 17)
    let place = try DirectoryPlace()
    try place.session().pushArchive(1, bytes: bytes)
    let entry = try #require(try place.session().snapshot().entries.first)
    func sent(_ lie: @escaping ([UInt8]) -> [UInt8], mayBeCut: Bool = true) throws -> (Failure?, [UInt8]) {
      let sink = MemorySink()
      let store = LyingStore(try place.open()) { MemorySource(lie($0)) }
      let found = failure {
        try Retrieval(store, warn: { _ in })
          .sendArchive(entry, to: sink, isStaging: false, mayBeCut: mayBeCut)
      }
      return (found, sink.bytes)
    }
    #expect(try sent { $0 } == (nil, bytes))
    for lie in [
      { Array($0.dropLast()) }, { $0 + [0] }, { $0.dropLast() + [$0[$0.count - 1] ^ 128] },
      { $0[..<100_000] + [$0[100_000] ^ 1] + $0[100_001...] }, { Array($0.dropLast(200_000)) },
    ] as [([UInt8]) -> [UInt8]] {
      let (found, wrong) = try sent(lie)
      #expect(found?.exitStatus == 65)
      #expect(wrong.count <= bytes.count - heldBack && lie(bytes).starts(with: wrong))
      #expect(try sent(lie, mayBeCut: false).1.isEmpty)
    }
    // Small archives, and files that only look like archives, are verified before anything is sent.
    for small in [try chunkedArchive(2, payload: 100_000), try archive(2, payload: 3 * chunkSize)] {
      try place.session().pushArchive(2, bytes: small)
      let entry = try #require(try place.session().snapshot().entries.last)
      let sink = MemorySink()
      let store = LyingStore(try place.open()) { MemorySource($0.dropLast()) }
      let found = failure {
        try Retrieval(store, warn: { _ in })
          .sendArchive(entry, to: sink, isStaging: false, mayBeCut: true)
      }
      #expect(found?.exitStatus == 65 && sink.bytes.isEmpty)
      _ = try place.session().remove([entry.id])
    }
  }

  @Test func anArchiveThatIsGoneIs66() throws {
    try Descriptor.workingDirectory.unlink(try file())
    let found = failure {
      try Retrieval(try place.open(), warn: { _ in })
        .sendArchive(try entry(), to: MemorySink(), isStaging: false)
    }
    #expect(found?.exitStatus == 66)
  }

  @Test func whatRotateKeyOfTermBackup6LeftIsReadOnRequestWithAWarning() throws {
    let id = try digest(5).hex
    let old = JSON.object([
      "id": .string(id), "filename": .string("backup_x.tbk"), "sha256": .string(id),
      "size": .number(5), "created_at": .string("2024-05-01T10:00:00+00:00"),
    ])
    try AtomicFile.write(bytes, to: place.path.appending("backups/new_backup_x.tbk"))
    var warnings: [String] = []
    let sink = MemorySink()
    try Retrieval(try place.open(), unvouched: .sent, warn: { warnings.append($0) })
      .sendArchive(try LedgerEntry(old), to: sink, isStaging: false)
    #expect(sink.bytes == bytes && warnings.count == 1)
    // Entries of our own are refused.
    var ours = old
    ours["mode"] = .string("full")
    let found = failure {
      try Retrieval(try place.open(), unvouched: .sent, warn: { _ in })
        .sendArchive(try LedgerEntry(ours), to: MemorySink(), isStaging: false)
    }
    #expect(found?.exitStatus == 66)
  }

  @Test(arguments: [UnvouchedBytes.withheld, .refused], [true, false])
  func whatNobodyVouchesForIsNotSentUnasked(_ unvouched: UnvouchedBytes, _ isStaging: Bool) throws {
    let id = try digest(5).hex
    let old = JSON.object([
      "id": .string(id), "filename": .string("backup_x.tbk"), "sha256": .string(id),
      "size": .number(5), "created_at": .string("2024-05-01T10:00:00+00:00"),
    ])
    try AtomicFile.write(bytes, to: place.path.appending("backups/new_backup_x.tbk"))
    let sink = MemorySink()
    let found = failure {
      try Retrieval(try place.open(), unvouched: unvouched, warn: { _ in })
        .sendArchive(try LedgerEntry(old), to: sink, isStaging: isStaging)
    }
    #expect(found?.exitStatus == 69 && sink.bytes.isEmpty)
    #expect(found?.message.contains("new_backup_x.tbk") == true)
    #expect((found?.hint?.contains("--unvouched") == true) == (unvouched == .withheld))
  }

  @Test func aSignedLedgerIsNeverGoneAround() throws {
    let key = try digest(1)
    for trust in [LedgerTrust.verified(key), .unchecked(key)] {
      #expect(UnvouchedBytes(areWanted: true, trust: trust) == .refused)
      #expect(UnvouchedBytes(areWanted: false, trust: trust) == .refused)
    }
    #expect(UnvouchedBytes(areWanted: true, trust: .unsigned) == .sent)
    #expect(UnvouchedBytes(areWanted: false, trust: .unsigned) == .withheld)
  }
}

struct BackupQueryTests {
  private let place: DirectoryPlace

  init() throws {
    place = try DirectoryPlace()
    let session = try place.session()
    for (first, group) in [("aabb1", "g"), ("aabb2", "g"), ("cccc", "h")] {
      var backup = NewBackup(
        receipt: nil, archive: try session.store.stage(try archive(1)), archiveVersion: 2,
        group: GroupID(group))
      backup.id = try #require(
        Digest(hex: first + String(repeating: "0", count: 64 - first.utf8.count)))
      _ = try session.push(backup)
    }
  }

  private func find(_ operand: String, group: String? = nil) throws -> String {
    let session = try place.session()
    return try session.snapshot().find(
      try BackupQuery(RawPath(operand)), in: group.map { .group(GroupID($0)) } ?? .all,
      store: session.store.address
    ).id.hex
  }

  @Test(
    arguments: [
      ("latest", nil, "cccc"), ("latest", "g", "aabb2"), ("aabb1", nil, "aabb1"),
      ("CCCC", nil, "cccc"), ("aabb2" + String(repeating: "0", count: 59), nil, "aabb2"),
    ] as [(String, String?, String)])
  func finds(_ operand: String, _ group: String?, _ prefix: String) throws {
    #expect(try find(operand, group: group).hasPrefix(prefix))
  }

  @Test(
    arguments: [
      ("aab", nil, 64), ("aabb", nil, 64), ("xyzt", nil, 64), ("", nil, 64), ("dddd", nil, 69),
      ("cccc", "g", 69), ("latest", "nobody", 69), (String(repeating: "a", count: 65), nil, 64),
    ] as [(String, String?, Int32)])
  func refuses(_ operand: String, _ group: String?, _ status: Int32) {
    let found = failure { _ = try find(operand, group: group) }
    #expect(found?.exitStatus == status)
    if operand == "aabb" {
      #expect(found?.hint?.contains("aabb1") == true && found?.hint?.contains("aabb2") == true)
    }
  }

  @Test func aChainIsNewestFirst() throws {
    let session = try place.session()
    for seed in [1, 2, 3] { try session.pushArchive(seed) }
    try session.pushArchive(4, dependsOn: [try digest(1), try digest(3), try digest(2)])
    let snapshot = try session.snapshot()
    let last = try #require(snapshot.entries.last)
    #expect(
      try snapshot.chain(of: last, store: session.store.address).map(\.id)
        == [4, 3, 2, 1].map { try digest($0) })
  }

  // MARK: Groups

  private func group(_ name: String, in groups: [String]) throws -> String {
    let place = try DirectoryPlace()
    let session = try place.session()
    for (seed, group) in groups.enumerated() { try session.pushArchive(seed, group: group) }
    try session.pushArchive(99)
    let snapshot = try session.snapshot()
    return try snapshot.find(try #require(GroupID(name)), store: session.store.address).description
  }

  @Test(arguments: [("d3e3", "d3e3aa"), ("d3e3a", "d3e3aa"), ("d3e3aa", "d3e3aa"), ("abcd", "abcd"), ("x", "x")])
  func aGroupIsFoundByItsBeginning(_ name: String, _ whole: String) throws {
    #expect(try group(name, in: ["d3e3aa", "abcd", "abcdef", "x", "d3e3aa"]) == whole)
  }

  @Test(
    arguments: [("d3e", 69), ("d3e4", 69), ("abcd", 64), ("D3E3", 69), ("d3e3aaa", 69), ("y", 69)] as [(String, Int32)])
  func aGroupThatIsNotThereIsRefused(_ name: String, _ status: Int32) throws {
    let found = failure { _ = try group(name, in: ["d3e3aa", "abcd1", "abcd2"]) }
    #expect(found?.exitStatus == status)
    if status == 64 { #expect(found?.hint?.contains("abcd1, abcd2") == true) }
  }

  @Test func aStoreWithoutGroupsBeginsItsFirst() throws {
    let session = try place.session()
    let empty = try DirectoryPlace().session()
    let new = try #require(GroupID("anything"))
    #expect(try empty.snapshot().findOrBegin(new, store: empty.store.address) == new)
    #expect(
      failure { _ = try session.snapshot().findOrBegin(new, store: session.store.address) }?.exitStatus == 69)
  }
}
