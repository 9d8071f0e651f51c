import Glibc
import TBKCore
import TBKFormat
import TBKSettings
import Testing

@testable import TBKWorkflow

@Suite struct LeftOutTests {
  private func pattern(_ path: String, below source: String) -> String? {
    LeftOut.pattern(for: RawPath(path), below: RawPath(source)).map { String(decoding: $0, as: UTF8.self) }
  }

  @Test func whatLiesBelowTheSourceIsNamedFromThere() {
    #expect(pattern("/home/me/store", below: "/home/me") == "/store")
    #expect(pattern("/home/me/a/b", below: "/home/me/") == "/a/b")
    #expect(pattern("/etc", below: "/") == "/etc")
  }

  @Test func nothingElseIs() {
    for path in ["/home/me", "/home/me/", "/home/mets", "/home", "/"] {
      #expect(pattern(path, below: "/home/me") == nil)
    }
    #expect(pattern("/home", below: "") == nil)
  }

  @Test func whatMeansSomethingInAPatternMeansItself() {
    #expect(pattern(#"/s/[a]*?\"#, below: "/s") == #"/\[a\]\*\?\\"#)
  }

  @Test func oneThatDoesNotExistHasItsNameAlone() {
    let found = LeftOut(below: RawPath("/nonexistent/source")).pattern(for: RawPath("/nonexistent/source/x"))
    #expect(found == Array("/x/".utf8))
  }
}

@Suite struct RunReportTests {
  private func report(_ words: String..., counts: String? = nil) throws -> RunReport {
    guard let counts else { return try RunReport(Facts(words.map { RawPath($0) })) }
    let file = try TemporaryFile.anonymous()
    try file.write(Array(counts.utf8).span)
    return try withExtendedLifetime(file) {
      try RunReport(Facts((words + ["counts=/proc/self/fd/\(file.number)"]).map { RawPath($0) }))
    }
  }

  @Test func aBackupThatIsStored() throws {
    let report = try report(
      "status=success", "profile=docs", "id=0123456789abcdef", "mode=incremental", "count=8", "size=1074",
      "compared=incremental", "store=/s", "started=", "removed=2", "freed=2048", "kept=5", counts: "1\t0\t2\t3\n")
    #expect(
      report.text == """
        Backed up docs as 0123456789ab
          files    8 (1 new, 0 changed, 2 deleted, 3 with other metadata)
          archive  1.0 KiB, incremental
          store    /s
          time     0 s
          removed  2 old, 2.0 KiB; 5 stay

        """)
    #expect(report.json["file_count"]?.integer(Int.self) == 8)
    #expect(report.json["entry_count"]?.isNull == true)
    #expect(report.json["metadata_count"]?.integer(Int.self) == 3)
  }

  @Test func whatWouldBeStoredIsCountedInEntries() throws {
    let report = try report(
      "status=would-store", "profile=docs", "mode=full", "compared=full", "count=", "size=", counts: "3\t0\t0\t0\n")
    #expect(report.text == "Would back up docs, full: 3 entries\n")
    #expect(report.json["file_count"]?.isNull == true)
    #expect(report.json["entry_count"]?.integer(Int.self) == 3)
    #expect(report.json["added_count"]?.isNull == true)
  }

  @Test func nothingIsStored() throws {
    let report = try report("status=unchanged", "id=0123456789abcdef")
    #expect(report.text == "Nothing has changed since 0123456789ab: nothing is stored\n")
    #expect(report.json["id"]?.isNull == true)
  }

  @Test func aStoreOfAnyNameIsShown() throws {
    #expect(try report("store=/a\u{1b}[1m").text.contains("  store    \"/a\\033[1m\"\n"))
  }

  @Test func factsHaveKeysAndNumbersDigits() {
    #expect(throws: Failure.self) { try report("=x") }
    #expect(throws: Failure.self) { try report("word") }
    #expect(throws: Failure.self) { try report("count=many") }
  }
}

@Suite struct ChangeTallyTests {
  @Test func contentTypeAndModeAreModifications() {
    let tally = ChangeTally()
    for change in [EntryChange.added, .modified, .type, .mode, .deleted, .metadata, .metadata] { tally.count(change) }
    #expect(tally.line == "1\t3\t1\t2\n")
  }
}
