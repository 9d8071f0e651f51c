import Glibc
import TBKCore
import Testing

private func words(_ text: String) throws(Failure) -> [String] {
  try splitShellWords(Array(text.utf8)).map { String(decoding: $0, as: UTF8.self) }
}

@Suite struct ShellWordsTests {
  @Test(
    arguments: [
      ("", []), ("  \t\n", []), ("a b", ["a", "b"]), (" a  b ", ["a", "b"]), ("''", [""]),
      ("a''b", ["ab"]), (#"'a b'"#, ["a b"]), (#""a b""#, ["a b"]), (#"a\ b"#, ["a b"]),
      (#"'\'"#, [#"\"#]), (#""\"\\\$\`\n""#, [#""\$`\n"#]), (#"\n"#, ["n"]), ("\"a'b\"", ["a'b"]),
      ("'a\"b'", ["a\"b"]), ("$HOME *", ["$HOME", "*"]), ("a\\\nb", ["ab"]), ("\"a\\\nb\"", ["ab"]),
      ("a \\\n b", ["a", "b"]),
    ] as [(String, [String])])
  func wordsAreThoseOfAShell(text: String, expected: [String]) throws {
    #expect(try words(text) == expected)
  }

  @Test(arguments: ["'", "\"", "a 'b", "a \"b\\\"", "a\\"])
  func whatDoesNotEndIsRefused(text: String) {
    let error = #expect(throws: Failure.self) { try words(text) }
    #expect(error?.code == .usage)
  }

  @Test func bytesThatAreNotUTF8Pass() throws {
    #expect(try splitShellWords([0xff, 0x20, 0x27, 0xfe, 0x27]) == [[0xff], [0xfe]])
  }
}

private func arguments(_ words: String...) -> [[UInt8]] { words.map { Array($0.utf8) } }

@Suite struct ChildProcessTests {
  @Test func itsOutputIsRead() throws {
    let child = try ChildProcess(arguments("printf", "%s", "a b"))
    #expect(try DescriptorSource(child.output).readAll(limit: 99, what: "x") == Array("a b".utf8))
    #expect(try child.wait() == nil)
  }

  @Test func itsEndIsToldApart() throws {
    #expect(try ChildProcess(arguments("sh", "-c", "exit 7")).wait() == "exit status 7")
    #expect(try ChildProcess(arguments("sh", "-c", "kill -9 $$")).wait() == "signal 9")
  }

  @Test func itsInputIsEmpty() throws {
    let child = try ChildProcess(arguments("cat"))
    #expect(try DescriptorSource(child.output).readAll(limit: 9, what: "x").isEmpty)
    #expect(try child.wait() == nil)
  }

  @Test func aCommandThatIsNotThereIsAFailure() {
    #expect(throws: Failure.self) { try ChildProcess(arguments("/no/such/command")) }
    #expect(throws: Failure.self) { try ChildProcess([]) }
    #expect(throws: Failure.self) { try ChildProcess(arguments("")) }
    #expect(throws: Failure.self) { try ChildProcess([[0x61, 0, 0x62]]) }
  }

  /// A child that ignores SIGTERM must not block us for ever.
  @Test func aDroppedChildEndsEvenIfItIgnoresSIGTERM() throws {
    let mark = "tbk-\(uniqueSuffix())"
    var running: ChildProcess? = try ChildProcess(
      arguments("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done", mark))
    var line = [UInt8](repeating: 0, count: 6)
    #expect(try running?.output.read(into: &line) == 6)
    running = nil
    let search = try ChildProcess(arguments("pgrep", "-f", mark))
    _ = try DescriptorSource(search.output).readAll(limit: 999, what: "x")
    #expect(try search.wait() == "exit status 1")
  }
}
