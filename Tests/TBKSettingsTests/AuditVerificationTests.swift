import Glibc
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKSettings

/// What `verify` finds: every loss and change that the log and its state can prove, by line.
@Suite struct AuditVerificationTests {
  private let home: TestHome
  private let log: AuditFile

  init() throws {
    home = try TestHome()
    _ = try home.home.make()
    log = AuditFile(home.home.path.appending("audit.log"))
  }

  private static let old = [
    #"{"timestamp": "2026-01-01T00:00:00+00:00", "operation": "backup", "status": "success"}"#,
    #"{"timestamp": "2026-01-02T00:00:00+00:00", "operation": "restore", "status": "success"}"#,
    #"{"timestamp": "2026-01-03T00:00:00+00:00", "operation": "verify", "status": "failure"}"#,
  ].map { Array($0.utf8) }

  private func append(_ count: Int = 1) throws {
    for number in 0..<count {
      _ = try log.append(
        AuditEntry(
          timestamp: Timestamp(nanoseconds: Int64(number) * 1_000_000_000), operation: "backup",
          profile: nil, status: "success", details: []))
    }
  }

  private func lines() throws -> [[UInt8]] {
    try readFile(log.path, limit: 1 << 20).split(separator: 0x0a, omittingEmptySubsequences: true)
      .map { Array($0) }
  }

  private func write(_ lines: [[UInt8]]) throws {
    try AtomicFile.write(lines.flatMap { $0 + [0x0a] }, to: log.path)
  }

  private func change(_ body: (inout [[UInt8]]) -> Void) throws {
    var lines = try lines()
    body(&lines)
    try write(lines)
  }

  /// The kinds and lines of the problems, as "changed 3".
  private func problems() throws -> [String] {
    try log.verify().problems.map { "\($0.kind.rawValue) \($0.line)" }
  }

  @Test func aLogThatNobodyTouchedHolds() throws {
    #expect(try problems() == [])
    try append(9)
    let found = try log.verify()
    #expect(found.holds && found.lines == 9 && found.unhashed == 0)
    #expect(try found.last == SHA256.hash(try #require(lines().last)))
  }

  @Test func linesOfTermBackup6AtTheFrontHold() throws {
    try write(Self.old)
    #expect(try problems() == [])
    try append(3)
    let found = try log.verify()
    #expect(found.holds && found.lines == 6 && found.unhashed == 3)
  }

  @Test(arguments: 1...5) func aChangedLineShows(line: Int) throws {
    try append(5)
    // Changes its time, so that it stays a line of the same kind.
    try change { $0[line - 1][20] ^= 1 }
    #expect(try problems() == ["changed \(line)"])
  }

  @Test(arguments: 1...5) func aLineThatWasTakenOutShows(line: Int) throws {
    try append(5)
    try change { $0.remove(at: line - 1) }
    #expect(try problems() == [line < 5 ? "missing \(line)" : "cut 5"])
  }

  @Test(arguments: 0...4) func aTailThatWasCutOffShows(left: Int) throws {
    try append(5)
    try change { $0.removeLast(5 - left) }
    #expect(try problems() == ["cut \(left + 1)"])
    // It stays visible, as lines missing before the next one.
    try append()
    #expect(try problems() == ["missing \(left + 1)"])
  }

  @Test func aLogThatIsGoneShows() throws {
    try append(2)
    _ = try Descriptor.workingDirectory.unlink(log.path)
    #expect(try problems() == ["cut 1"])
  }

  @Test func linesThatChangedPlacesShow() throws {
    try append(6)
    try change { $0.swapAt(2, 3) }
    #expect(try problems() == ["moved 3", "inserted 3", "inserted 4"])
    try change { $0.swapAt(2, 3) }
    #expect(try problems() == [])
    try change { $0.swapAt(0, 1) }
    #expect(try problems().contains("moved 1"))
  }

  @Test(arguments: 0...5) func aLineThatWasPutInShows(place: Int) throws {
    try append(5)
    let all = try lines()
    // One of the log's own lines, a second time.
    try write(Array(all[..<place]) + [all[1]] + Array(all[place...]))
    #expect(try !problems().isEmpty)
    // A line without a hash: lines of TermBackup 6 occur only at the beginning.
    try write(Array(all[..<place]) + [Self.old[0]] + Array(all[place...]))
    let found = try problems()
    #expect(found.contains(place == 0 ? "inserted 1" : "unhashed \(place + 1)"))
    if (1..<5).contains(place) { #expect(found.contains("inserted \(place + 1)")) }
  }

  @Test func linesBeforeTheFirstHashShowByTheirNumberAndLength() throws {
    try write(Self.old)
    try append(2)
    let all = try lines()
    try write(Array(all.dropFirst()))
    #expect(try problems() == ["missing 1"])
    try write([Self.old[1]] + all)
    #expect(try problems() == ["inserted 1"])
    try write([all[0] + [0x20]] + all.dropFirst())
    #expect(try problems() == ["changed 1"])
    // The hash of the last of them is in the next line.
    try write([all[0], all[1], all[2] + [0x20]] + all.dropFirst(3))
    #expect(try problems() == ["changed 3"])
  }

  @Test func whatIsNoEntryShows() throws {
    try append(3)
    for line in ["", "hello", "{}", #"{"operation": 1}"#] {
      let all = try lines()
      try write([all[0], Array(line.utf8), all[1], all[2]])
      #expect(try problems().contains("malformed 2"))
      try write(all)
    }
    try change { lines in
      let text = String(decoding: lines[1], as: UTF8.self)
      lines[1] = Array(text.split(separator: ", \"previous\"")[0].utf8) + Array(#", "previous": 7}"#.utf8)
    }
    #expect(try problems().contains("malformed 2"))
  }

  @Test func aStateThatIsGoneOrBrokenShows() throws {
    try append(3)
    _ = try Descriptor.workingDirectory.unlink(log.statePath)
    #expect(try problems() == ["state 3"])
    try AtomicFile.write(Array("{}".utf8), to: log.statePath)
    #expect(try problems() == ["state 1"])
  }

  /// A crash after the line was written, but before the state.
  @Test func aCrashIsNoProblem() throws {
    try append(2)
    let state = try readFile(log.statePath, limit: 1000)
    try append(1)
    try AtomicFile.write(state, to: log.statePath)
    #expect(try problems() == [])
    try append(1)
    #expect(try problems() == [] && log.verify().lines == 4)
  }

  @Test func aLastLineWithoutItsEndShows() throws {
    try append(3)
    let bytes = try readFile(log.path, limit: 1 << 20)
    try AtomicFile.write(Array(bytes.dropLast()), to: log.path)
    #expect(try problems().contains("cut 3"))
    try AtomicFile.write(Array(bytes.dropLast(9)), to: log.path)
    #expect(try problems().contains("malformed 3"))
  }

  @Test func everyBitOfALineCounts() throws {
    try append(3)
    let all = try lines()
    let whole = try readFile(log.path, limit: 1 << 20)
    for place in 0..<all[1].count {
      var bytes = whole
      bytes[all[0].count + 1 + place] ^= 1
      try AtomicFile.write(bytes, to: log.path)
      #expect(try !log.verify().holds, "byte \(place)")
    }
  }

  @Test func problemsAreBounded() throws {
    try append(1)
    try write(Array(repeating: Array("no entry".utf8), count: 5000))
    #expect(try log.verify().problems.count == AuditVerification.problemLimit)
  }
}
