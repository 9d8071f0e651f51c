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

@Suite struct GivenSecretsTests {
  private func options(_ words: String...) throws -> OptionValues {
    guard case .options(let values) = try VerbOptions.answer(to: "rotate-key", ["docs"] + words) else {
      throw Failure(.usage, "the words are refused")
    }
    return values
  }

  /// The shell code for one of them, as seen after `eval`.
  private func script(_ secrets: GivenSecrets, of name: String) throws -> String {
    let text = "\n" + String(decoding: secrets.script, as: UTF8.self)
    let start = try #require(text.firstRange(of: "\ntb_give_\(name)='")).upperBound
    let rest = text[start...]
    let end = rest.firstRange(of: "'\ntb_give_")?.lowerBound ?? rest.index(rest.endIndex, offsetBy: -2)
    return String(rest[..<end]).replacing("'\\''", with: "'")
  }

  @Test func whatIsNotGivenIsNothing() throws {
    let secrets = try GivenSecrets(try options(), held: [])
    #expect(try script(secrets, of: "new_password") == "")
    #expect(secrets.callsAtOnce.isEmpty)
  }

  @Test func aDescriptorIsReadAtOnce() throws {
    let secrets = try GivenSecrets(try options("--password-fd", "7"), held: ["password", "new_password"])
    #expect(try script(secrets, of: "password") == "tb_read_secret password --no-input --password-fd '7'\n")
    #expect(String(decoding: secrets.callsAtOnce, as: UTF8.self) == "tb_get_password\n")
  }

  @Test func oneDescriptorGivesOneSecret() throws {
    let values = try options("--password-fd", "7", "--token-fd", "7")
    #expect(throws: Failure.self) { try GivenSecrets(values, held: []) }
  }

  @Test func ofAVariableOnlyTheNameIsKnown() throws {
    let secrets = try GivenSecrets(try options(), held: ["new_password", "token"])
    #expect(
      try script(secrets, of: "new_password") == "tb_take_held 'new_password' 'TERMBACKUP_NEW_PASSWORD' '--new'\n")
    #expect(
      try script(secrets, of: "token")
        == "tb_token_source='TERMBACKUP_TOKEN'\ntb_take_held 'token' 'TERMBACKUP_TOKEN'\n")
    #expect(secrets.callsAtOnce.isEmpty)
  }

  @Test func anOptionComesBeforeAVariable() throws {
    let secrets = try GivenSecrets(try options("--password-command", "pass show it"), held: ["password"])
    #expect(
      try script(secrets, of: "password") == "tb_read_secret password --no-input --password-command 'pass show it'\n")
  }

  @Test func aFileStaysWhereItIs() throws {
    let secrets = try GivenSecrets(try options("--password-file", "/nonexistent/it's"), held: [])
    let quoted = #"'/nonexistent/it'\''s'"#
    #expect(try script(secrets, of: "password") == "tb_need_file \(quoted)\ntb_password_file=\(quoted)\n")
    #expect(secrets.callsAtOnce.isEmpty)
  }

  @Test func aHyphenIsStandardInputAndNotReadAtOnce() throws {
    let secrets = try GivenSecrets(try options("--password-file", "-"), held: [])
    #expect(try script(secrets, of: "password") == "tb_read_secret password --no-input --password-fd '0'\n")
    #expect(secrets.callsAtOnce.isEmpty)
  }
}

@Suite struct RotationStepTests {
  private func row(_ id: String, _ file: String) -> [String] {
    [id, "", "", "", "", "", "", file, "", "hash of \(id)"]
  }
  private var list: [[String]] { [row("a", "a.tbk"), row("b", "b.age"), row("c", "c.tbk"), row("d", "d.tbk")] }

  @Test func theFirstThatTheJournalHasNot() throws {
    let step = RotationStep(list, journal: [["rotated", "a", "10"]])
    #expect(step.next == row("c", "c.tbk"))
    #expect((step.number, step.total) == (2, 3))
    #expect((step.rotated, step.already, step.bytes) == (1, 0, 10))
  }

  @Test func whatIsSealedToRecipientsIsForTheWhole() throws {
    #expect(RotationStep(list, journal: [["already", "a", ""]], whole: true).next?[0] == "b")
    #expect(RotationStep([row("b", "b.age")], journal: []).next == nil)
    #expect(!RotationStep([row("b", "b.age")], journal: []).hasSealed)
    #expect(RotationStep(list, journal: []).hasSealed)
  }

  @Test func theLastWaits() throws {
    let journal = [["rotated", "a", "10"], ["already", "c", ""]]
    #expect(RotationStep(list, journal: journal, butLast: true).next == nil)
    let step = RotationStep(list, journal: journal)
    #expect(step.next?[0] == "d")
    #expect((step.number, step.total, step.already) == (3, 3, 1))
  }

  @Test func oneAlone() throws {
    let step = RotationStep(list, journal: [], only: "c")
    #expect((step.next?[0], step.number, step.total) == ("c", 1, 1))
    #expect(RotationStep(list, journal: [["rotated", "c", "1"]], only: "c").next == nil)
    #expect(RotationStep(list, journal: [], only: "x").next == nil)
  }

  @Test func theShellGetsNothingWhereNothingIsLeft() throws {
    let script = String(decoding: RotationStep([], journal: []).script, as: UTF8.self)
    #expect(script.hasPrefix("tb_id=''\ntb_file=''\ntb_sha256=''\n"))
  }
}
