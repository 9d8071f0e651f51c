import Glibc
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

/// What every store promises (`Store`), checked for every kind of store.
struct StoreConformance {
  private func ledger(_ text: String) -> [UInt8] {
    Array("{\"backups\": [], \"x\": \"\(text)\"}".utf8)
  }

  @discardableResult
  private func committed(
    _ store: any Store, _ commit: Commit, over version: LedgerVersion?
  ) throws -> LedgerVersion {
    guard case .committed(let version) = try store.commit(commit, over: version) else {
      throw Failure(.library, "not committed")
    }
    return version
  }

  // MARK: One writer

  @Test(arguments: StoreKind.all) func aNewStoreIsEmpty(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    #expect(try place.open().readLedger()?.bytes == nil)
    #expect(try !place.open().has(path(.backups, "a")))
  }

  @Test(arguments: StoreKind.all) func whatWasCommittedIsThereForOthers(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let store = try place.open()
    let bytes = try archive(1, payload: 700_000)
    let staged = try store.stage(bytes)
    #expect(try staged.size == UInt64(bytes.count) && staged.sha256 == SHA256.hash(bytes))
    let version = try committed(
      store,
      Commit(
        ledger: ledger("1"), additions: [.init(path(.backups, "a.tbk"), staged)], summary: "add"),
      over: nil)
    let other = try place.open()
    #expect(try other.readLedger()?.bytes == ledger("1"))
    #expect(try other.readLedger()?.version == version)
    #expect(try other.contents(path(.backups, "a.tbk")) == bytes)
  }

  @Test(arguments: StoreKind.all) func anyRangeOfAnObjectIsRead(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let store = try place.open()
    let bytes = try archive(1, payload: 300_000)
    let size = UInt64(bytes.count)
    let staged = try store.stage(bytes)
    let object = ObjectReference(path(.backups, "a.tbk"), parts: staged.parts)
    try committed(
      store,
      Commit(ledger: ledger("1"), additions: [.init(path(.backups, "a.tbk"), staged)], summary: "add"),
      over: nil)
    let other = try place.open()
    for (first, last) in [(0, 1), (0, size), (1, 2), (16384, 32768), (size - 1, size)] as [(UInt64, UInt64)] {
      let source = try other.open(object, size: size, range: first..<last)
      #expect(try source.readAll(limit: bytes.count, what: "a range") == Array(bytes[Int(first)..<Int(last)]))
    }
    // If the object is shorter than the ledger says, the read is short or fails.
    if let source = try? other.open(object, size: size + 10, range: size - 5..<size + 10),
      let read = try? source.readAll(limit: bytes.count, what: "a range")
    {
      #expect(read.count <= 5)
    }
    #expect(
      failure {
        _ = try other.open(ObjectReference(path(.backups, "b")), size: 5, range: 0..<5)
          .readAll(limit: 5, what: "a range")
      }?.code == .inputMissing)
  }

  @Test(arguments: StoreKind.all) func aCommitOfSeveralObjectsIsOne(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let store = try place.open()
    try committed(
      store,
      Commit(
        ledger: ledger("1"),
        additions: [
          .init(path(.backups, "a"), try store.stage([1])),
          .init(path(.manifests, "b"), try store.stage([2], in: .manifests)),
          .init(path(.checks, "c"), try store.stage([3], in: .checks), replacing: true),
        ], summary: "add"),
      over: nil)
    let other = try place.open()
    #expect(try other.contents(path(.backups, "a")) == [1])
    #expect(try other.contents(path(.manifests, "b")) == [2])
    #expect(try other.contents(path(.checks, "c")) == [3])
  }

  @Test(arguments: StoreKind.all) func whatIsOnlyStagedHasNoName(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let store = try place.open()
    _ = try store.stage(try archive(1))
    #expect(try place.open().readLedger()?.bytes == nil)
  }

  @Test(arguments: StoreKind.all) func aSizeThatWasNotAnnouncedIsRefused(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    defer { withExtendedLifetime(place) {} }
    let store = try place.open()
    for size in [0, 2, 4, 1000] as [UInt64] {
      #expect(throws: Failure.self) {
        try store.stage(MemorySource([1, 2, 3]), size: size, in: .backups)
      }
    }
  }

  @Test(arguments: StoreKind.all) func whatAnnouncesNoSizeIsStagedToItsEnd(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let store = try place.open()
    for (name, bytes) in [("a", []), ("b", [1]), ("c", try archive(1, payload: 700_000))] {
      let staged = try store.stage(MemorySource(bytes), size: nil, in: .backups)
      #expect(try staged.size == UInt64(bytes.count) && staged.sha256 == SHA256.hash(bytes))
      try committed(
        store,
        Commit(
          ledger: ledger(name), additions: [.init(path(.backups, name), staged)], summary: "add"),
        over: try store.readLedger()?.version)
      #expect(try place.open().contents(path(.backups, name)) == bytes)
    }
  }

  @Test(arguments: StoreKind.all) func aChunkedArchiveThatIsCutStagesNothing(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    defer { withExtendedLifetime(place) {} }
    let store = try place.open()
    let bytes = try chunkedArchive(1)
    func stage(_ bytes: [UInt8]) throws -> any StagedObject {
      let input = try ArchiveInput(MemorySource(bytes), name: "input")
      return try store.stage(input, size: input.length, in: .backups)
    }
    #expect(try stage(bytes).size == UInt64(bytes.count))
    for length in Array(stride(from: 1, to: bytes.count, by: 31)) + [bytes.count - 1] {
      #expect(failure { _ = try stage(Array(bytes[..<length])) }?.code == .truncated)
    }
    #expect(failure { _ = try stage(bytes + [0]) }?.code == .truncated)
    let middle = bytes.count / 2
    #expect(failure { _ = try stage(Array(bytes[..<middle] + bytes[(middle + 1)...])) }?.code == .malformed)
    #expect(try store.readLedger()?.bytes == nil)
  }

  @Test(arguments: StoreKind.all) func aSourceThatFailsStagesNothing(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    defer { withExtendedLifetime(place) {} }
    let store = try place.open()
    let bytes = try archive(1)
    for length in stride(from: 1, to: bytes.count, by: 7) {
      let cut = failure {
        let input = try ArchiveInput(MemorySource(Array(bytes[..<length])), name: "input")
        _ = try store.stage(input, size: input.length, in: .backups)
      }
      #expect(cut?.code == .truncated)
    }
    #expect(try store.readLedger()?.bytes == nil)
  }

  @Test(arguments: StoreKind.all) func whatIsRemovedIsGone(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let store = try place.open()
    let first = try committed(
      store,
      Commit(
        ledger: ledger("1"),
        additions: [
          .init(path(.backups, "a"), try store.stage([1])),
          .init(path(.backups, "b"), try store.stage([2])),
        ], summary: "add"),
      over: nil)
    try committed(
      store,
      Commit(
        ledger: ledger("2"), removals: [ObjectReference(path(.backups, "a"))], summary: "remove"),
      over: first)
    let other = try place.open()
    #expect(try !other.has(path(.backups, "a")))
    #expect(try other.contents(path(.backups, "b")) == [2])
    #expect(try other.readLedger()?.bytes == ledger("2"))
  }

  @Test(arguments: StoreKind.all) func removingWhatIsNotThereIsDone(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    defer { withExtendedLifetime(place) {} }
    let store = try place.open()
    try committed(
      store,
      Commit(
        ledger: ledger("1"), removals: [ObjectReference(path(.backups, "a"))], summary: "remove"),
      over: nil)
    #expect(try store.readLedger()?.bytes == ledger("1"))
  }

  // MARK: Names

  @Test(arguments: StoreKind.all) func aNameIsNeverGivenToOtherBytes(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let store = try place.open()
    let version = try committed(
      store,
      Commit(
        ledger: ledger("1"), additions: [.init(path(.backups, "a"), try store.stage([1]))],
        summary: "add"),
      over: nil)
    for other in [[2], [1, 1], []] as [[UInt8]] {
      let commit = Commit(
        ledger: ledger("2"), additions: [.init(path(.backups, "a"), try store.stage(other))],
        summary: "add")
      #expect(try store.commit(commit, over: version) == .taken(path(.backups, "a")))
    }
    #expect(try place.open().contents(path(.backups, "a")) == [1])
    #expect(try place.open().readLedger()?.bytes == ledger("1"))
  }

  @Test(arguments: StoreKind.all) func theSameBytesUnderTheirNameAreTaken(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let store = try place.open()
    var version: LedgerVersion?
    for number in 1...2 {
      version = try committed(
        store,
        Commit(
          ledger: ledger("\(number)"),
          additions: [.init(path(.backups, "a"), try store.stage([1]))],
          summary: "add"),
        over: version)
    }
    #expect(try place.open().contents(path(.backups, "a")) == [1])
  }

  @Test(arguments: StoreKind.all) func replacingReplaces(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let store = try place.open()
    var version: LedgerVersion?
    for byte in [1, 2] as [UInt8] {
      version = try committed(
        store,
        Commit(
          ledger: ledger("\(byte)"),
          additions: [
            .init(path(.checks, "a"), try store.stage([byte], in: .checks), replacing: true)
          ],
          summary: "check"),
        over: version)
    }
    #expect(try place.open().contents(path(.checks, "a")) == [2])
  }

  // MARK: Versions

  @Test(arguments: StoreKind.all) func aStaleVersionIsAConflict(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let (one, two) = (try place.open(), try place.open())
    let staged = try two.stage(try archive(2))
    let first = try committed(one, Commit(ledger: ledger("1"), summary: "1"), over: nil)
    let commit = Commit(
      ledger: ledger("2"), additions: [.init(path(.backups, "b"), staged)], summary: "2")
    #expect(try two.commit(commit, over: nil) == .conflict)
    #expect(try !one.has(path(.backups, "b")))
    #expect(try one.readLedger()?.bytes == ledger("1"))
    // The staged object can still be used.
    try committed(two, commit, over: first)
    #expect(try one.contents(path(.backups, "b")) == archive(2))
    #expect(try one.commit(Commit(ledger: ledger("3"), summary: "3"), over: first) == .conflict)
  }

  /// Both have seen the store empty; staging or looking up an object after the other's commit must not count as
  /// reading the ledger.
  @Test(arguments: StoreKind.all) func ofTwoThatSawAStoreEmptyOneMeetsAConflict(
    _ kind: StoreKind
  ) throws {
    let place = try kind.makePlace()
    let (one, two) = (try place.open(), try place.open())
    #expect(try two.readLedger()?.bytes == nil)
    try committed(one, Commit(ledger: ledger("1"), summary: "1"), over: nil)
    let staged = try two.stage(try archive(2))
    let commit = Commit(
      ledger: ledger("2"), additions: [.init(path(.backups, "b"), staged)], summary: "2")
    #expect(try two.commit(commit, over: nil) == .conflict)
    #expect(try one.readLedger()?.bytes == ledger("1"))
  }

  @Test(arguments: StoreKind.all) func aLookForAnObjectIsNoLookAtTheLedger(
    _ kind: StoreKind
  ) throws {
    let place = try kind.makePlace()
    let (one, two) = (try place.open(), try place.open())
    let staged = try two.stage([1], in: .checks)
    #expect(try two.readLedger()?.bytes == nil)
    try committed(one, Commit(ledger: ledger("1"), summary: "1"), over: nil)
    #expect(try !two.has(path(.checks, "a")))
    let commit = Commit(
      ledger: ledger("2"), additions: [.init(path(.checks, "a"), staged, replacing: true)],
      summary: "2")
    #expect(try two.commit(commit, over: nil) == .conflict)
    #expect(try one.readLedger()?.bytes == ledger("1"))
  }

  @Test(arguments: StoreKind.all) func writersInThreadsLoseNothing(_ kind: StoreKind) async throws {
    let place = try kind.makePlace()
    let scratch = try Scratch()
    let each = kind.rounds
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<4 {
        group.addTask {
          for number in 0..<each {
            // Two of them share the state of a machine, as two processes do.
            let session = try makeSession(try place.open(), home: scratch["home\(writer / 2)"])
            try session.pushArchive(writer * each + number, group: "g\(writer)")
          }
        }
      }
      try await group.waitForAll()
    }
    let snapshot = try makeSession(try place.open(), home: nil).snapshot()
    #expect(snapshot.entries.count == 4 * each)
    #expect(snapshot.ledger?.identity?.sequence == UInt64(4 * each))
    #expect(snapshot.ledger?.identity?.history.count == 4 * each - 1)
    for seed in 0..<4 * each {
      let entry = try #require(snapshot.ledger?[digest(seed)])
      #expect(try place.open().contents(entry.archiveReference.path) == archive(seed))
    }
    for writer in 0..<4 {
      let order = snapshot.entries.filter { $0.group == GroupID("g\(writer)") }.map(\.id)
      #expect(order == (try (0..<each).map { try digest(writer * each + $0) }))
    }
  }

  // MARK: Faults

  /// A writer fails, or its response is lost, at each call; then it runs again.
  @Test(arguments: StoreKind.all) func aFailureAtAnyCallLosesNothing(_ kind: StoreKind) throws {
    for fault in FaultyStore.Fault.allCases {
      for call in 0..<8 {
        let place = try kind.makePlace()
        let scratch = try Scratch()
        let session = try makeSession(try place.open(), home: scratch["a"])
        try session.pushArchive(1)
        let faulty = FaultyStore(try place.open(), fault, atCall: call)
        let broken = failure {
          try makeSession(faulty, home: scratch["b"])
            .pushArchive(2, dependsOn: [try digest(1)], manifest: try archive(9))
        }
        if !faulty.hasFailed { continue }
        // A lost race is no failure: the commit is retried at once.
        #expect((broken == nil) == (fault == .conflict))
        let stored = try makeSession(try place.open(), home: scratch["b"])
          .pushArchive(2, dependsOn: [try digest(1)], manifest: try archive(9))
        let snapshot = try makeSession(try place.open(), home: scratch["a"]).snapshot()
        #expect(snapshot.entries.map(\.id) == [try digest(1), try digest(2)])
        let entry = try #require(snapshot.entries.last)
        #expect(entry == stored.entry)
        #expect(try place.open().contents(entry.archiveReference.path) == archive(2))
        #expect(try place.open().contents(#require(entry.manifestReference?.path)) == archive(9))
      }
    }
  }

  @Test(arguments: StoreKind.all) func racesThatNeverEndEndIn75(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let faulty = FaultyStore(try place.open(), .conflict, atCall: nil)
    let session = try makeSession(faulty, home: nil, maximumWait: 1)
    #expect(failure { try session.pushArchive(1) }?.exitStatus == 75)
    #expect(try place.open().readLedger()?.bytes == nil)
  }

  @Test(arguments: StoreKind.all) func aRetryDoesNotSendAgain(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let faulty = FaultyStore(try place.open(), .conflict, atCall: 2)
    try makeSession(faulty, home: nil).pushArchive(1)
    #expect(faulty.hasFailed && faulty.stagings == 1)
  }
}

/// A store that fails at one call, or at every commit.
final class FaultyStore: Store {
  enum Fault: CaseIterable {
    /// The call is not made.
    case before
    /// The call is made, but its response is lost.
    case after
    /// The call meets a conflict; only commits can.
    case conflict
  }

  private let base: any Store
  private let fault: Fault
  private let failing: Int?
  private var calls = 0
  private(set) var hasFailed = false
  private(set) var stagings = 0

  init(_ base: any Store, _ fault: Fault, atCall: Int?) {
    self.base = base
    self.fault = fault
    failing = atCall
  }

  var address: StoreAddress { base.address }

  private func call<T>(
    conflict: T? = nil, _ body: () throws(Failure) -> T
  ) throws(Failure) -> T {
    defer { calls += 1 }
    guard failing == nil || calls == failing else { return try body() }
    switch fault {
    case .conflict:
      guard let conflict else { return try body() }
      hasFailed = true
      return conflict
    case .before: break
    case .after: _ = try body()
    }
    hasFailed = true
    throw Failure(.unavailable, "the connection is gone")
  }

  func readLedger() throws(Failure) -> StoredLedger? {
    try call { () throws(Failure) in try base.readLedger() }
  }

  func open(_ object: ObjectReference) throws(Failure) -> any ByteSource {
    try call { () throws(Failure) in try base.open(object) }
  }

  func open(_ object: ObjectReference, size: UInt64, range: Range<UInt64>) throws(Failure) -> any ByteSource {
    try call { () throws(Failure) in try base.open(object, size: size, range: range) }
  }

  func sizes(of files: [StoredFile]) throws(Failure) -> [StoredFile: UInt64] {
    try call { () throws(Failure) in try base.sizes(of: files) }
  }

  func stage(
    _ source: any ByteSource, size: UInt64?, in folder: ObjectPath.Folder
  ) throws(Failure) -> any StagedObject {
    stagings += 1
    return try call { () throws(Failure) in try base.stage(source, size: size, in: folder) }
  }

  func commit(
    _ commit: Commit, over version: LedgerVersion?
  ) throws(Failure) -> CommitOutcome {
    try call(conflict: .conflict) { () throws(Failure) in
      try base.commit(commit, over: version)
    }
  }

  func leftovers(besides named: NamedObjects, age: Int64) throws(Failure) -> [Leftover] {
    try call { () throws(Failure) in try base.leftovers(besides: named, age: age) }
  }

  func remove(_ leftovers: [Leftover], over ledger: StoredLedger) throws(Failure) -> [Leftover]? {
    try call(conflict: .some(nil)) { () throws(Failure) in
      try base.remove(leftovers, over: ledger)
    }
  }
}
