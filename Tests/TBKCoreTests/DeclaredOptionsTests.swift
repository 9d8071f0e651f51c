import ArgumentParser
import TBKCommand
import TBKCore
import Testing

private struct Leaf: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "leaf", version: "1")
  @Argument var operands: [String] = []
  @Option(name: [.customShort("o", allowingJoined: true), .long]) var output: String?
  @Option(name: .customShort("C")) var directory: String?
  @Option(name: .long, parsing: .singleValue) var exclude: [String] = []
  @Flag(name: [.short, .long]) var quiet = false
  @Flag(name: .customLong("no-input")) var silent = false
}

private struct Other: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "other")
  @Argument(parsing: .postTerminator) var command: [String] = []
  @Option(name: .long) var file: String?
}

private struct Passing: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "passing")
  @Flag(name: .long) var json = false
  @Argument var first: String
  @Argument(parsing: .captureForPassthrough) var rest: [String] = []
}

private struct Root: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "root", subcommands: [Leaf.self, Other.self, Passing.self], defaultSubcommand: Leaf.self)
}

@Suite struct DeclaredOptionsTests {
  private func fault(_ line: String, of command: any ParsableCommand.Type = Leaf.self) -> Failure? {
    DeclaredOptions.fault(in: line.split(separator: " ").map(String.init), of: command)
  }

  @Test(arguments: [
    "--output a --output b", "--output=a --output=b", "-o a --output=b", "-o a -o b", "-o=a -o b",
    "-qo a --output b", "-C a x -C b", "leaf -o a -o b", "--output a --exclude x --output b",
    "-o - -o -", "-oa -o b", "-oa=b -oc=d", "-qoq --output b", "other --file a --file b",
  ])
  func anOptionWithOneValueIsGivenOnce(line: String) {
    #expect(fault(line, of: Root.self)?.message.contains("more than once") == true)
    #expect(DeclaredOptions.mayRepeat(line.split(separator: " ").map(String.init)))
  }

  @Test(arguments: [
    "", "--exclude a --exclude b", "--exclude=a --exclude=b", "-q -q --quiet -qq", "-o a -C b", "-oa -q", "-oZ x",
    "-oa=b -q", "-o a -- -o b",
    "--output a -- --output b", "x y -", "--no-input --no-input", "other --file a -- --file b --file c",
    "-qh", "--help --help", "leaf leaf", "passing x --nosuch --nosuch -o", "passing --json x -- -Z --json=2",
  ])
  func whatMayBeRepeatedMayBe(line: String) { #expect(fault(line, of: Root.self) == nil) }

  @Test(arguments: [
    ("--nosuch", "--nosuch"), ("--nosuch=secret", "--nosuch"), ("x --nosuch", "--nosuch"), ("-qZ", "-Z"), ("-Zq", "-Z"),
    ("-nosuch", "-n"), ("-x=1", "-x"), ("-nosuch=1", "-nosuch"), ("--=x", "--=x"), ("-1", "-1"),
    ("-o a --outputs b --output c", "--outputs"), ("leaf --file x", "--file"),
    ("passing --nosuch x --nothing", "--nosuch"),
  ])
  func anUnknownOptionIsNamedWithoutItsValue(line: String, name: String) {
    #expect(fault(line, of: Root.self)?.message == "unknown option '\(name)'")
  }

  @Test func whatIsMeantIsSuggested() {
    #expect(fault("--ouput x")?.hint == "did you mean '--output'?")
    #expect(fault("--outptu x")?.hint == "did you mean '--output'?")
    #expect(fault("--nothing-like-it")?.hint == nil)
    #expect(fault("--\(String(repeating: "x", count: 5000))")?.hint == nil)
  }

  /// The parser reports the missing value; the following word may have been meant as the value.
  @Test(arguments: ["--output --nosuch", "-o --output b", "--output -- --output b", "--output"])
  func afterAMissingValueNothingIsJudged(line: String) { #expect(fault(line) == nil) }

  @Test func mostCommandLinesNeedNoSecondLook() {
    for line in ["", "a b", "-q", "--output a --exclude b", "--output a -- --output", "-", "-o a"] {
      #expect(!DeclaredOptions.mayRepeat(line.split(separator: " ").map(String.init)))
    }
  }
}
