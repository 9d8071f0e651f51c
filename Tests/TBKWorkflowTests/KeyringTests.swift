import TBKCore
import Testing

@testable import TBKWorkflow

@Suite struct KeyringTests {
  private static let home = RawPath("/home/ada/.termbackup")

  private static func texts(_ words: [[UInt8]]) -> [String] { words.map { String(decoding: $0, as: UTF8.self) } }

  @Test func anItemBelongsToAHomeAndTheOneOfEarlierVersionsToAll() {
    let password = KeyringItem.password(profile: "docs")
    #expect(
      Self.texts(KeyringItem.token.attributes(.own, Self.home))
        == ["service", "termbackup", "home", "/home/ada/.termbackup", "item", "github_token"])
    #expect(
      Self.texts(KeyringItem.token.attributes(.shared, Self.home))
        == ["service", "termbackup", "username", "github_token"])
    #expect(
      Self.texts(password.attributes(.own, Self.home))
        == ["service", "termbackup", "home", "/home/ada/.termbackup", "item", "profile:docs"])
    #expect(Self.texts(password.attributes(.shared, Self.home)) == ["service", "termbackup", "profile", "docs"])
    #expect(
      Self.texts([password.account(.own, Self.home), password.account(.shared, Self.home)])
        == ["/home/ada/.termbackup profile:docs", "profile:docs"])
  }

  @Test func anAnswerMayTakeLongerWhereSomebodyUnlocksItAndLongestWhereNobodyWaits() {
    func patience(_ program: Keyring.Program, _ isAlone: Bool, _ hasScreen: Bool, _ asked: String? = nil) -> Int {
      Keyring.patience(program, isAlone: isAlone, hasScreen: hasScreen, asked: asked.map { Array($0.utf8) })
    }
    #expect(patience(.secretTool, false, false) == 30)
    #expect(patience(.secretTool, false, true) == 60)
    #expect(patience(.security, false, false) == 60)
    #expect(patience(.secretTool, true, true) == 120)
    #expect(patience(.secretTool, true, true, "7") == 7)
    #expect(patience(.secretTool, true, true, "0") == 120 && patience(.secretTool, true, true, "soon") == 120)
  }

  @Test(
    arguments: [
      (nil, "", KeyringTrouble.late(30), 75), (1, "", .failed("secret-tool failed with status 1"), 69),
      (
        1, "The name org.freedesktop.secrets was not provided by any .service files",
        .missing("no keyring is running on the session bus"), 69
      ),
      (1, "Could not connect: No such file or directory", .missing("there is no session bus"), 69),
      (
        1, "Cannot create an item in a locked collection",
        .failed("Cannot create an item in a locked collection"), 69
      ),
    ] as [(Int32?, String, KeyringTrouble, Int32)])
  func whatWentWrongIsTold(_ status: Int32?, _ said: String, _ trouble: KeyringTrouble, _ ends: Int32) {
    #expect(KeyringTrouble(.secretTool, status: status, complaint: said, patience: 30) == trouble)
    #expect(KeyringItem.token.refusal(trouble).exitStatus == ends)
  }

  @Test(arguments: [
    ("secret-tool: no\u{1b}[1m such thing\nmore\n", "no[1m such thing"), ("\n\nit broke", "it broke"), ("", ""),
    ("Error: it broke", "Error: it broke"), ("no colon:here", "no colon:here"),
  ])
  func aComplaintIsItsFirstLineWithoutTheNameOfTheProgram(_ said: String, _ line: String) {
    #expect(StockTool.complaint(in: said) == line)
  }

  @Test func aProgramIsGivenUpWhenItsTimeIsUp() throws {
    let sh = try #require(try StockTool("sh"))
    let late = try sh.run(["-c", "sleep 60 & sleep 60"], seconds: 1)
    #expect(late.status == nil && late.output.isEmpty)
    let done = try sh.run(["-c", "cat; echo oops >&2; exit 3"], input: Array("in".utf8))
    #expect(done.status == 3 && done.output == Array("in".utf8) && done.complaint == "oops")
    // A process that the program leaves behind does not delay the result.
    #expect(try sh.run(["-c", "sleep 60 >&2 & exit 4"]).status == 4)
    #expect(throws: Failure.self) { try sh.run(["-c", "echo too long"], limit: 4) }
  }
}
