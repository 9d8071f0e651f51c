import TBKCore
import Testing

@testable import TBKWorkflow

@Suite struct DependenceTests {
  private func row(_ id: String, _ size: Int, needs: String = "-") -> [String] {
    [id, "2026-01-01T00:00:00Z", "\(size)", "1", "f", "g", "-", "-", needs, "sha-\(id)"]
  }

  @Test func whatIsNeededIsReadAndMayGo() throws {
    let rows = [row("a", 10), row("b", 20, needs: "a"), row("c", 30, needs: "a,b"), row("d", 5)]
    let found = try #require(Dependence(of: "c", in: rows))
    #expect(found.archives == 3 && found.bytes == 60)
    #expect(found.freed == ["a", "b"] && found.dependents.isEmpty)
    let text = String(decoding: found.script, as: UTF8.self)
    #expect(text.contains("needed='a b'\n") && text.contains("freed='a b'\n"))
    // What it needs does not change later, and is left out.
    let later = String(decoding: found.laterScript, as: UTF8.self)
    #expect(later.contains("freed='a b'\n") && !later.contains("needed=") && !later.contains("archives="))
  }

  @Test func whatOthersNeedStays() throws {
    let rows = [row("a", 1), row("b", 1, needs: "a"), row("c", 1, needs: "a,b"), row("d", 1, needs: "b")]
    #expect(try #require(Dependence(of: "c", in: rows)).freed.isEmpty)
    let half = [row("a", 1), row("b", 1), row("c", 1, needs: "a,b"), row("d", 1, needs: "b")]
    #expect(try #require(Dependence(of: "c", in: half)).freed == ["a"])
  }

  @Test func whatDependsOnItKeepsAll() throws {
    let rows = [row("a", 1), row("b", 1, needs: "a"), row("c", 1, needs: "a,b")]
    let found = try #require(Dependence(of: "b", in: rows))
    #expect(found.dependents == ["c"] && found.freed.isEmpty)
    #expect(Dependence(of: "x", in: rows) == nil)
  }
}

@Suite struct VerbReportTests {
  private func facts(_ words: String...) throws -> Facts { try Facts(words.map { RawPath($0) }) }

  @Test func aRestoreSaysWhatItReplaced() throws {
    let report = try RestoreReport(facts("id=0123456789abcdef", "to=/t", "count=3", "replaced=1", "made=now"))
    #expect(report.text.hasPrefix("Restored 0123456789ab to /t\n  files    3\n  replaced 1 entry\n  made     now\n"))
    #expect(report.json["replaced_count"]?.integer(Int.self) == 1)
    #expect(try !RestoreReport(facts("id=0", "to=/t", "count=3", "replaced=0")).text.contains("replaced"))
  }

  @Test func aPruneCountsInWords() throws {
    #expect(try PruneReport(facts("removed=0", "kept=1")).text == "Nothing to remove: 1 backup stays\n")
    #expect(
      try PruneReport(facts("removed=2", "kept=3", "freed=1024", "dry_run=1")).text
        == "Would remove 2 of 5 backups, 1.0 KiB\n")
  }

  @Test func factsOfSomebodyElseAreAlignedAndTyped() throws {
    let report = try FactsReport(facts("title=Archived", "media=tape 7", "size=2048", "copy_count=2", "note="))
    #expect(report.text == "Archived\n  media       tape 7\n  size        2.0 KiB\n  copy count  2\n")
    #expect(
      String(decoding: report.json.line(), as: UTF8.self)
        == #"{"media":"tape 7","size":2048,"copy_count":2,"note":null}"#)
    #expect(throws: Failure.self) { try FactsReport(facts("size=big")) }
  }
}
