import Glibc
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKSettings

/// A directory that is removed with the test.
private final class Scratch {
  let path: RawPath

  init() throws {
    path = RawPath("/tmp/tbk-settings-\(uniqueSuffix())")
    try Descriptor.workingDirectory.makeDirectory(path)
  }

  deinit {
    guard let folder = try? Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY) else { return }
    for (name, _) in (try? folder.names()) ?? [] { _ = try? folder.unlink(name) }
    _ = try? Descriptor.workingDirectory.unlink(path, directory: true)
  }
}

@Suite struct AuditFileTests {
  private let scratch: Scratch
  private let log: AuditFile

  init() throws {
    scratch = try Scratch()
    log = AuditFile(scratch.path.appending("audit.log"))
  }

  private func append() throws -> String? {
    try log.append(
      AuditEntry(
        timestamp: .now(), operation: "backup", profile: nil, status: "success", details: []))
  }

  private func lines() throws -> (lines: [[UInt8]], complaint: String?) {
    var lines: [[UInt8]] = []
    let complaint = try log.read { (_, line) throws(Failure) in lines.append(line) }
    return (lines, complaint)
  }

  private func content() throws -> [UInt8] { try readFile(log.path, limit: 1 << 20) }

  private func replace(_ bytes: [UInt8]) throws { try AtomicFile.write(bytes, to: log.path) }

  /// Whether each line has the hash of the line before it.
  private func isChained(_ lines: [[UInt8]]) throws -> Bool {
    var last = AuditState.beforeFirst
    for line in lines {
      if let previous = try AuditLine(line, place: "").previous, previous != last { return false }
      last = try SHA256.hash(line)
    }
    return true
  }

  @Test func linesAreChainedFromZeros() throws {
    for _ in 0..<3 { #expect(try append() == nil) }
    let (lines, complaint) = try lines()
    #expect(lines.count == 3 && complaint == nil)
    #expect(try AuditLine(lines[0], place: "").previous == AuditState.beforeFirst)
    #expect(try isChained(lines))
    let facts = try Descriptor.openForReading(log.path).status()
    #expect(facts.st_mode & 0o777 == 0o600)
  }

  @Test func linesOfTermBackup6StandAtTheFront() throws {
    let old = #"{"timestamp": "2026-01-01T00:00:00+00:00", "operation": "backup", "status": "success"}"#
    try replace(Array("\(old)\n\(old)\n".utf8))
    #expect(try append() == nil)
    let (lines, complaint) = try lines()
    #expect(lines.count == 3 && complaint == nil)
    #expect(try AuditLine(lines[2], place: "").previous == SHA256.hash(lines[1]))
  }

  @Test func aTailThatWasCutOffShowsForGood() throws {
    for _ in 0..<3 { _ = try append() }
    let whole = try lines().lines
    try replace(Array(whole[..<2].joined(separator: [0x0a])) + [0x0a])
    #expect(try lines().complaint != nil)
    #expect(try append() != nil)
    let after = try lines().lines
    #expect(try AuditLine(after[2], place: "").previous == SHA256.hash(whole[2]))
    #expect(try !isChained(after))
    #expect(try append() == nil)
  }

  @Test func aLogThatIsGoneShows() throws {
    _ = try append()
    _ = try Descriptor.workingDirectory.unlink(log.path)
    #expect(try lines().complaint != nil)
    #expect(try append() != nil)
  }

  @Test func aChangedLastLineShows() throws {
    _ = try append()
    var bytes = try content()
    bytes[30] ^= 1
    try replace(bytes)
    #expect(try lines().complaint != nil)
  }

  @Test func aMissingStateShows() throws {
    _ = try append()
    _ = try Descriptor.workingDirectory.unlink(RawPath(log.path.bytes + Array(".state".utf8)))
    #expect(try lines().complaint != nil)
    #expect(try append() != nil)
    #expect(try isChained(lines().lines))
  }

  /// A crash after the line was written but not the state, or within the line.
  @Test(arguments: [0, 1, 40])
  func aCrashIsNoLoss(cut: Int) throws {
    _ = try append()
    let state = try readFile(RawPath(log.path.bytes + Array(".state".utf8)), limit: 1000)
    _ = try append()
    try AtomicFile.write(state, to: RawPath(log.path.bytes + Array(".state".utf8)))
    try replace(Array(try content().dropLast(cut)))
    #expect(try append() == nil)
    let (lines, complaint) = try lines()
    #expect(lines.count == 3 && complaint == nil)
    #expect(try AuditLine(lines[2], place: "").previous == SHA256.hash(lines[1]))
  }

  @Test func writersAtOnceDoNotBreakTheChain() async throws {
    let path = log.path
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          for _ in 0..<10 {
            _ = try AuditFile(path).append(
              AuditEntry(
                timestamp: .now(), operation: "verify", profile: "p", status: "success", details: []))
          }
        }
      }
      try await group.waitForAll()
    }
    let (lines, complaint) = try lines()
    #expect(lines.count == 40 && complaint == nil)
    #expect(try isChained(lines))
  }

  @Test func aLogThatOthersHoldIsWaitedForAndThenItIs75() throws {
    #expect(try append() == nil)
    let held = try Descriptor.workingDirectory.open(log.path, O_RDWR)
    #expect(flock(held.number, LOCK_EX) == 0)
    let hasty = AuditFile(log.path, maximumWait: 0)
    var found: Failure?
    do { _ = try hasty.read { (_, _) throws(Failure) in } } catch { found = error }
    #expect(found?.exitStatus == 75)
    #expect(flock(held.number, LOCK_UN) == 0)
    #expect(try lines().lines.count == 1)
  }

  @Test func aLinkIsNotWrittenThrough() throws {
    let made = unsafe symlink("/tmp/nowhere", log.path.text)
    #expect(made == 0)
    #expect(throws: Failure.self) { try append() }
  }
}

@Suite struct PathTests {
  @Test func pathsAreMadeAbsolute() throws {
    #expect(try absolutePath(RawPath("/a//b/./c/")) == RawPath("/a/b/c"))
    #expect(try absolutePath(RawPath("/")) == RawPath("/"))
    #expect(try absolutePath(RawPath("/a/../b")) == RawPath("/a/../b"))
    #expect(try absolutePath(RawPath("x")).isAbsolute)
    #expect(throws: Failure.self) { try absolutePath(RawPath("")) }
  }
}
