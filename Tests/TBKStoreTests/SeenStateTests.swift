import Glibc
import TBKCore
import TBKFormat
import Testing

@testable import TBKStore

struct SeenStateTests {
  private let place: DirectoryPlace

  init() throws { place = try DirectoryPlace() }

  /// All files of the store, to be restored later.
  private func save() throws -> [String: [UInt8]] {
    var copies: [String: [UInt8]] = [:]
    for name in try place.files() {
      copies[name] = try readFile(place.path.appending(name), limit: 1 << 20)
    }
    return copies
  }

  private func restore(_ copies: [String: [UInt8]]) throws {
    for name in try place.files() {
      try Descriptor.workingDirectory.unlink(place.path.appending(name))
    }
    for (name, bytes) in copies { try AtomicFile.write(bytes, to: place.path.appending(name)) }
  }

  private func change(_ body: (inout JSON) -> Void) throws {
    var json = try JSON.parse(
      try readFile(place.path.appending("metadata.json"), limit: 1 << 20), what: "ledger")
    body(&json)
    try AtomicFile.write(json.pretty(), to: place.path.appending("metadata.json"))
  }

  /// The store is refused with a reason, nothing changes, and the state is accepted on request.
  private func expectRefusal(_ words: String, line: Int = #line) throws {
    let before = try place.files()
    for attempt in [
      { _ = try place.session().snapshot() }, { try place.session().pushArchive(99) },
    ] as [() throws -> Void] {
      let found = failure(attempt)
      #expect(found?.exitStatus == 65, "line \(line)")
      #expect(found?.message.contains(words) == true, "line \(line): \(found?.message ?? "none")")
      #expect(found?.hint?.contains("--accept-store-state") == true)
    }
    #expect(try place.files().subtracting([".tbk-lock"]) == before.subtracting([".tbk-lock"]))
    _ = try place.session(accepting: true).snapshot()
    // From then on it is accepted without the request.
    _ = try place.session().snapshot()
  }

  @Test func goingOnIsTaken() throws {
    for seed in 0..<5 { try place.session().pushArchive(seed) }
    let other = try makeSession(try place.open(), home: place.scratch["other"])
    for seed in 5..<9 { try other.pushArchive(seed) }
    #expect(try place.session().snapshot().entries.count == 9)
  }

  @Test func goingBackInTimeIsNoticed() throws {
    try place.session().pushArchive(1)
    let old = try save()
    try place.session().pushArchive(2)
    try restore(old)
    try expectRefusal("was rolled back")
  }

  @Test func anotherLedgerOfTheSameSequenceIsNoticed() throws {
    try place.session().pushArchive(1)
    try change { $0["tool_version"] = .string("x") }
    try expectRefusal("split")
  }

  @Test func aHistoryWithoutWhatWasSeenIsNoticed() throws {
    try place.session().pushArchive(1)
    let old = try save()
    try place.session().pushArchive(2)
    try restore(old)
    let other = try makeSession(try place.open(), home: place.scratch["other"])
    for seed in 3..<6 { try other.pushArchive(seed) }
    try expectRefusal("does not contain sequence 2")
  }

  @Test func aHistoryThatIsTooShortIsNoticed() throws {
    try place.session().pushArchive(1)
    try change {
      $0["sequence"] = .number(1000)
      $0["history"] = .array([])
    }
    try expectRefusal("does not reach back")
  }

  @Test func aLostLedgerIsNoticed() throws {
    try place.session().pushArchive(1)
    try restore([:])
    try expectRefusal("has none now")
  }

  @Test func aLostSequenceIsNoticed() throws {
    try place.session().pushArchive(1)
    try change { for key in ["sequence", "history", "store_id"] { $0[key] = nil } }
    try expectRefusal("had a sequence")
  }

  @Test func anotherStoreAtTheSameAddressIsNoticed() throws {
    try place.session().pushArchive(1)
    try restore([:])
    let other = try makeSession(try place.open(), home: place.scratch["other"])
    try other.pushArchive(2)
    try expectRefusal("was the store")
  }

  @Test func aStoreIsKnownUnderAnotherAddress() throws {
    try place.session().pushArchive(1)
    let old = try save()
    try place.session().pushArchive(2)
    try restore(old)
    let moved = place.scratch["moved"]
    try Descriptor.workingDirectory.rename(place.path, to: .workingDirectory, moved)
    let found = failure {
      _ = try makeSession(try DirectoryStore(moved), home: place.scratch["home"]).snapshot()
    }
    #expect(found?.message.contains("was rolled back") == true)
  }

  @Test func acceptingWhatWasRolledBackGoesOnFromThere() throws {
    try place.session().pushArchive(1)
    let old = try save()
    try place.session().pushArchive(2)
    try restore(old)
    try place.session(accepting: true).pushArchive(3)
    try place.session().pushArchive(4)
    #expect(try place.session().snapshot().entries.count == 3)
  }

  @Test func whatALaterVersionKeptIsKept() throws {
    try place.session().pushArchive(1)
    let state = place.scratch["home/state"]
    let id = try #require(try place.session().snapshot().ledger?.identity?.storeID)
    let file = state.appending("\(id).json")
    var json = try JSON.parse(try readFile(file, limit: 4096), what: "state")
    json["signed"] = .bool(true)
    try AtomicFile.write(json.pretty(), to: file)
    try place.session().pushArchive(2)
    let now = try JSON.parse(try readFile(file, limit: 4096), what: "state")
    #expect(now["signed"] == .bool(true) && now["sequence"] == .number(2))
  }

  @Test func theStateIsForTheOwnerAlone() throws {
    try place.session().pushArchive(1)
    for (name, mode) in [("home", 0o700), ("home/state", 0o700), ("home/state/stores", 0o700)] {
      let facts = try #require(
        try Descriptor.workingDirectory.statusIfPresent(of: place.scratch[name]))
      #expect(facts.st_mode & 0o777 == UInt32(mode))
    }
    let state = try Descriptor.workingDirectory.open(
      place.scratch["home/state"], O_RDONLY | O_DIRECTORY)
    for (name, _) in try state.names() where name.text.hasSuffix(".json") {
      #expect(try #require(try state.statusIfPresent(of: name)).st_mode & 0o777 == 0o600)
    }
  }

  /// Root may write anywhere, so a file takes the place of the directory.
  @Test func aHomeThatCannotBeIsAWarningOnly() throws {
    try AtomicFile.write([1], to: place.scratch["home"])
    for home in [place.scratch["home"], place.scratch["home"].appending("deeper"), nil] {
      var warnings: [String] = []
      let store = try place.open()
      let seen = try SeenState(
        home: home, address: store.address, accepting: false, warn: { warnings.append($0) })
      let session = try LedgerSession(store, seen: seen, toolVersion: "7.0")
      try session.pushArchive(1)
      _ = try session.snapshot()
      #expect(warnings.count == 1)
    }
  }

  @Test func damagedStateIsNamed() throws {
    try place.session().pushArchive(1)
    let state = try Descriptor.workingDirectory.open(
      place.scratch["home/state"], O_RDONLY | O_DIRECTORY)
    for (name, _) in try state.names() where name.text.hasSuffix(".json") {
      try AtomicFile.write(Array("{".utf8), to: name, in: state)
    }
    let found = failure { _ = try place.session().snapshot() }
    #expect(found?.exitStatus == 65 && found?.message.contains("home/state") == true)
    _ = try place.session(accepting: true).snapshot()
    _ = try place.session().snapshot()
  }

  /// Two processes on one machine: what one stores while the other reads is not a rollback.
  @Test func processesOfOneMachineDoNotAlarmEachOther() async throws {
    try place.session().pushArchive(0)
    let place = self.place
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { for seed in 1..<30 { try place.session().pushArchive(seed) } }
      for _ in 0..<3 {
        group.addTask { for _ in 0..<100 { _ = try place.session().snapshot() } }
      }
      try await group.waitForAll()
    }
    #expect(try place.session().snapshot().entries.count == 30)
  }
}
