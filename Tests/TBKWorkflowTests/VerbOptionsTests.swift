import TBKCommand
import Testing

@testable import TBKWorkflow

/// The script that a shell evaluates.
private func script(_ verb: String, _ arguments: String...) throws -> String {
  String(decoding: try VerbOptions.script(of: verb, arguments), as: UTF8.self)
}

@Suite struct VerbOptionsTests {
  @Test func everyOptionIsAnAssignmentGivenOrNot() throws {
    let lines = try script("diff", "a", "b", "-0", "--password-fd=3").split(separator: "\n")
    #expect(lines.contains("opt_old='a'"))
    #expect(lines.contains("opt_new='b'"))
    #expect(lines.contains("opt_nul='1'"))
    #expect(lines.contains("opt_password_fd='3'"))
    #expect(lines.contains("opt_json=''"))
    #expect(lines.contains("opt_profile=''"))
  }

  @Test func aProfileIsOneVariableHoweverItIsGiven() throws {
    for arguments in [["docs"], ["-p", "docs"], ["--profile=docs"]] {
      let text = String(
        decoding: try VerbOptions.script(of: "prune", arguments), as: UTF8.self)
      #expect(text.hasPrefix("opt_profile='docs'\n"))
      #expect(text.components(of: "opt_profile=") == 1)
    }
    #expect(try script("prune", "docs", "-p", "docs").hasPrefix("tb_usage_error "))
  }

  @Test func nothingInAValueIsExpanded() throws {
    let text = try script("restore", "latest", "--to", "it's $(here) `x` \\ \"y\"\nz")
    #expect(text.contains("opt_to='it'\\''s $(here) `x` \\ \"y\"\nz'\n"))
  }

  @Test func bytesThatAreNoTextComeOutAsTheyWere() throws {
    let name: [UInt8] = [0x66, 0xff, 0x27, 0x80]
    let answer = try VerbOptions.script(
      of: "package", [ArgumentBytes.encode(name)])
    #expect(answer.starts(with: Array("opt_directory='f".utf8) + [0xff] + Array("'\\''".utf8) + [0x80]))
  }

  @Test func aValueMayBeginWithAHyphen() throws {
    #expect(try script("package", "d", "-o", "-x.tbk").contains("opt_output='-x.tbk'\n"))
    let text = try script("restore", "--to", "-d", "--include", "-a", "--", "latest")
    #expect(text.contains("opt_to='-d'\n"))
    #expect(text.contains("opt_include=''\\''-a'\\'''\n"))
    #expect(try script("restore", "latest", "--to", "--json").hasPrefix("tb_usage_error '--to needs a value'"))
    #expect(try script("verify", "latest", "--", "-p").hasPrefix("tb_usage_error "))
  }

  @Test func aWordThatIsNoneOfThoseIsToldThem() throws {
    #expect(try script("run", "--placement", "x") == "tb_usage_error '--placement takes auto, git or release'\n")
  }

  @Test func severalValuesAreWordsInQuotes() throws {
    let text = try script("restore", "latest", "--include", "a b", "--include=it's")
    #expect(text.contains("opt_include=''\\''a b'\\'' '\\''it'\\''\\'\\'''\\''s'\\'''\n"))
  }

  @Test(arguments: [
    (["list", "--nosuch"], "unknown option"), (["list", "--jso"], "did you mean"),
    (["list", "--group="], "--group needs a value"), (["list", "--group", ""], "--group needs a value"),
    (["package", "d", "-o"], "-o needs a value"), (["list", ""], "is empty"),
    (["verify", "latest", "docs"], "termbackup verify latest -p docs"),
    (["clean", "docs"], "termbackup clean --store -p docs"), (["list", "--quiet=yes"], "--quiet"),
    (["verify", "--sample", "0", "-p", "x"], "--sample"), (["daemon", "x", "-i", "0"], "-i"),
  ])
  func wrongUsageIsACall(_ words: [String], _ part: String) throws {
    let text = String(
      decoding: try VerbOptions.script(of: words[0], Array(words.dropFirst())), as: UTF8.self)
    #expect(text.hasPrefix("tb_usage_error '"))
    #expect(text.replacing("'\\''", with: "'").contains(part), "\(text)")
  }

  @Test func helpIsACallToo() throws {
    let text = try script("run", "--help")
    #expect(text.hasPrefix("tb_help '"))
    #expect(text.contains("USAGE: termbackup run "))
  }

  @Test func verbsOfAVerbAreToldApart() throws {
    let text = try script("profile", "edit", "docs", "--exclude", "a b", "--max-backups=3", "-q")
    for line in [
      "opt_verb='edit'", "opt_profile='docs'", "opt_exclude=''\\''a b'\\'''", "opt_max_backups='3'",
      "opt_quiet='1'", "opt_group=''",
    ] { #expect(text.contains(line + "\n"), "\(line)") }
    #expect(try script("profile", "create", "docs").hasPrefix("opt_verb='create'\ntb_usage_error "))
    #expect(try script("profile", "edit", "-h").contains("USAGE: termbackup profile edit "))
    #expect(try script("profile", "--help").contains("USAGE: termbackup profile "))
    #expect(try script("profile", "create", "--source", "a", "--source", "b").contains("more than once"))
  }

  @Test(arguments: [
    ([], "no verb is given"), (["mend"], "is not a verb of profile"), (["--nosuch"], "unknown option"),
    (["get", "docs", "group"], "is not a verb of profile"),
  ])
  func aVerbThatAVerbHasNotIsRefused(_ words: [String], _ part: String) throws {
    let text = String(decoding: try VerbOptions.script(of: "profile", words), as: UTF8.self)
    #expect(text.hasPrefix("tb_usage_error '"))
    #expect(text.contains(part), "\(text)")
  }

  @Test func aTimeBetweenRunsIsInSeconds() throws {
    for (given, seconds) in [("5", 300), ("90s", 90), ("2h", 7200), ("1d", 86400)] {
      #expect(try script("daemon", "x", "-i", given).contains("opt_interval='\(seconds)'\n"))
    }
    #expect(try script("daemon", "x").contains("opt_interval='3600'\n"))
  }

  @Test(arguments: [
    ("snapshots", "list"), ("forget", "prune"), ("backup", "run"), ("check", "verify"), ("log", "list"),
    ("restor", "restore"), ("lst", "list"), ("shedule-enable", "schedule-enable"),
  ])
  func aWordThatIsNoVerbGetsAHint(_ word: String, _ verb: String) {
    #expect(VerbOptions.unknown(word).hint == "did you mean 'termbackup \(verb)'?")
  }

  @Test func aWordThatIsNearNothingIsPointedToTheHelp() {
    #expect(VerbOptions.unknown("frobnicate").hint == "see 'termbackup --help'")
  }

  @Test func noVerbIsMissingFromTheHelp() {
    let help = VerbOptions.help(of: nil)
    for verb in VerbOptions.names { #expect(help.contains("\n  \(verb) ")) }
    #expect(VerbOptions.names.count == 31)
  }
}

extension String {
  /// How many times a text occurs.
  fileprivate func components(of text: String) -> Int { ranges(of: text).count }
}
