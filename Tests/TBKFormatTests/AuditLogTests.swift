import TBKCore
import Testing

@testable import TBKFormat

@Suite struct AuditLogTests {
  private func entry(_ details: [JSON.Member] = []) throws -> AuditEntry {
    try AuditEntry(
      timestamp: Timestamp(nanoseconds: 1_771_408_800_000_000_000), operation: "backup",
      profile: "my-project", status: "success", details: details)
  }

  @Test func aLineIsThatOfTermBackup6AndThePreviousHash() throws {
    let entry = try entry([
      JSON.Member("backup_id", .string("abc123def456")), JSON.Member("file_count", .number(42)),
    ])
    let zeros = String(repeating: "0", count: 64)
    #expect(
      String(decoding: entry.line(previous: AuditState.beforeFirst), as: UTF8.self)
        == #"{"timestamp": "2026-02-18T10:00:00+00:00", "operation": "backup", "#
        + #""profile": "my-project", "status": "success", "#
        + #""details": {"backup_id": "abc123def456", "file_count": 42}, "previous": "\#(zeros)"}"#)
  }

  @Test(arguments: [
    ("error", "/etc/passwd"), ("error", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("error", "a\nb"), ("error", ""), ("error", "it's"), ("backup_id", "ABCDEF0123"),
    ("backup_id", "abc"), ("password", "x"), ("path", "x"), ("mode", "Full backup"),
    ("error", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
  ])
  func whatCouldBeASecretOrAPathIsRefused(key: String, value: String) {
    #expect(throws: Failure.self) { try entry([JSON.Member(key, .string(value))]) }
  }

  @Test func valuesHaveTheTypeOfTheirKey() {
    #expect(throws: Failure.self) { try entry([JSON.Member("file_count", .number("-1"))]) }
    #expect(throws: Failure.self) { try entry([JSON.Member("file_count", .number("1.5"))]) }
    #expect(throws: Failure.self) { try entry([JSON.Member("complete", .string("yes"))]) }
    #expect(throws: Failure.self) {
      try entry([JSON.Member("bytes", .number(1)), JSON.Member("bytes", .number(1))])
    }
    #expect(AuditDetail(key: "bytes")?.value(from: "7") == .number(7))
    #expect(AuditDetail(key: "complete")?.value(from: "true") == .bool(true))
  }

  @Test func operationsStatusesAndProfilesAreChecked() {
    for (operation, status, profile) in [
      ("Backup", "success", "p"), ("backup", "fine", "p"), ("backup", "success", "a/b"),
      ("", "success", "p"), ("rotate key", "success", "p"),
    ] {
      #expect(throws: Failure.self) {
        try AuditEntry(
          timestamp: .now(), operation: operation, profile: profile, status: status, details: [])
      }
    }
  }

  @Test func aLineOfTermBackup6IsRead() throws {
    let text =
      #"{"timestamp": "2026-02-18T10:00:00.123456+00:00", "operation": "restore", "profile": "p", "status": "failure", "details": {"error": "incorrect password"}}"#
    let line = try AuditLine(Array(text.utf8), place: "")
    #expect(line.previous == nil && line.profile == "p")
    #expect(
      line.summary
        == "2026-02-18 10:00:00Z  restore     p                 failure  error=incorrect password")
  }

  @Test func aHostileLineMovesNoCursor() throws {
    let text =
      #"{"timestamp": "x\u001b[2J", "operation": "a\nb", "status": "\u0007", "details": {"k\r": "\u009b"}}"#
    let summary = try AuditLine(Array(text.utf8), place: "").summary
    #expect(summary.utf8.allSatisfy { (0x20..<0x7f).contains($0) })
  }

  @Test func theStateComesBack() throws {
    let state = AuditState(count: 3, size: 1 << 40, last: Digest.ofNothing)
    #expect(try AuditState(state.bytes, place: "") == state)
    #expect(throws: Failure.self) { try AuditState(Array("{}".utf8), place: "") }
  }

  @Test func agesAndTimesAreUnderstood() throws {
    let now = Timestamp(nanoseconds: 1_771_408_800_000_000_000)
    #expect(try AuditFilter.time("90m", now: now).nanoseconds == now.nanoseconds - 5400 * 1_000_000_000)
    #expect(try AuditFilter.time("2026-02-18", now: now).iso8601(microseconds: false) == "2026-02-18T00:00:00+00:00")
    for wrong in ["", "d", "-1d", "5", "1y", "99999999999w", "1000000w"] {
      #expect(throws: Failure.self) { try AuditFilter.time(wrong, now: now) }
    }
  }
}
