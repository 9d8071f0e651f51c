import TBKCore
import TBKFormat
import Testing

@testable import TBKWorkflow

@Suite struct DoctorTests {
  @Test(
    arguments: [
      (600, "ok"), (500, "ok"), (499, "warn"), (10, "warn"), (9, "fail"), (0, "fail"),
    ] as [(Int64, String)])
  func spaceThatRunsOutIsTold(_ mebibytes: Int64, _ result: String) {
    let found = MachineChecks.space("home", at: RawPath("/home/ada"), free: mebibytes << 20 + 5)
    #expect(found.result.rawValue == result && found.message.contains("/home/ada"))
    #expect(found.hint.isEmpty == (result == "ok"))
  }

  @Test func spaceThatIsNotKnownIsNoFault() {
    #expect(MachineChecks.space("home", at: RawPath("/x"), free: -1).result == .note)
  }

  @Test(
    arguments: [
      (nil, "note"), (0, "ok"), (-119, "ok"), (120, "warn"), (-3599, "warn"), (3600, "fail"), (-90_000, "fail"),
    ] as [(Int?, String)])
  func aClockThatIsOffIsTold(_ skew: Int?, _ result: String) {
    #expect(TokenChecks.clock(skew, now: .now()).result.rawValue == result)
  }

  @Test func librariesThatAreTooOldOrLackSomethingAreTold() {
    func results(_ openssl: String, _ curl: String) -> [String] {
      MachineChecks.dependencies([("openssl", openssl), ("zlib", "1.3")], network: curl).map {
        "\($0.result.rawValue) \($0.message)"
      }
    }
    #expect(
      results("OpenSSL 3.0.11", "tbk-token 7\nlibcurl 8.1 OpenSSL/3, HTTP/2, async DNS")
        == ["ok OpenSSL 3.0.11", "ok zlib 1.3", "ok libcurl 8.1 OpenSSL/3, HTTP/2, async DNS"])
    #expect(results("OpenSSL 1.1.1", "").map { $0.prefix(4) } == ["fail", "ok z", "fail"])
    #expect(results("OpenSSL 3.1", "libcurl 7.0").map { $0.prefix(4) } == ["ok O", "ok z", "fail", "warn", "warn"])
    #expect(
      results("OpenSSL 3.1", "error while loading libcurl.so.4\n")[2]
        == "fail libcurl: error while loading libcurl.so.4")
  }

  @Test func whatAStoreHasLostIsTold() {
    func row(_ archive: String, _ manifest: String, _ lost: String) -> [String] {
      [
        "0123456789abcdef", "2026-01-01", "1", "1", "full", "g", "no", "backups/x.tbk", "-", "-", archive, manifest,
        lost,
      ]
    }
    let checks = StoreChecks(
      profile: "docs", store: "/s", home: RawPath("/h"), facts: CollectedFacts(folder: RawPath("/nonexistent")))
    #expect(checks.objects([row("whole", "whole", "-"), row("whole", "-", "-")]).isEmpty)
    let found = checks.objects([row("missing", "whole", "x"), row("whole", "size", "-")])
    #expect(
      found.map { "\($0.result.rawValue) \($0.message)" } == [
        "fail docs: backups/x.tbk, the archive of 0123456789ab, is missing",
        "warn docs: the sealed manifest of 0123456789ab has another size than the ledger says",
        "fail docs: 1 of 2 backups cannot be restored",
      ])
  }

  @Test func whatCommandsSayIsReadAsValues() {
    let said = Said(
      Array(
        #"""
        tbk-pull: warning: the token expires in 3 days
        {"error":{"type":"StoreError","message":"it is away","hint":"wait","status":69}}
        """#.utf8))
    #expect(said.message == "it is away" && said.hint == "wait")
    #expect(said.warnings == ["the token expires in 3 days"])
    #expect(Said([]).message == "it failed without a message" && Said([]).error == nil)
    #expect(Said(Array("sh: tbk-x: not found\n".utf8)).message == "sh: tbk-x: not found")
  }

  @Test func aReportIsTextAndJSONOfOneValue() {
    let report = DoctorReport(
      findings: [
        Finding(result: .ok, check: "home", message: "a\tb"),
        Finding(result: .fail, check: "stores", message: "gone\u{1b}[1m", hint: "look"),
      ], environment: [("termbackup", "7")])
    #expect(
      report.text(quiet: false, coloured: false) == """
        termbackup    7

        ok    home           a\\tb
        fail  stores         gone\\033[1m
                             look

        1 in order, 0 notes, 0 warnings, 1 failed

        """)
    #expect(report.text(quiet: true, coloured: true).hasPrefix("\u{1b}[31mfail\u{1b}[0m  stores"))
    #expect(report.json["ok"] == .bool(false) && report.json["checks"]?.elements?.first?["hint"] == .null)
  }

  @Test(
    arguments: [
      ("run.1.0", 0, false), ("run.999999999.0", 0, true), ("old.tar.gz", 86_399, false), ("old.tar.gz", 86_400, true),
      ("plain", 90_000, true), ("run.x.0", 5, false),
    ] as [(String, Int64, Bool)])
  func aTemporaryFileIsStaleWhenItsProcessHasEndedOrAfterADay(_ name: String, _ age: Int64, _ stale: Bool) {
    #expect(LocalLeftovers.isStale(RawPath(name), modified: 1000, now: 1000 + age) == stale)
  }
}
