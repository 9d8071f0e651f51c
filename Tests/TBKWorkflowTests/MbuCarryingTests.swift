import TBKCore
import TBKFormat
import Testing

@testable import TBKWorkflow

@Suite struct MbuCarryingTests {
  @Test func whatIsThereIsKept() {
    var configuration = Configuration()
    configuration.set("restore_dir", .string("/mine"))
    let first = MbuCarrying.carry(
      [("package_dir", RawPath("/p")), ("restore_dir", RawPath("/r")), ("absent", nil)], into: &configuration)
    #expect(first.count == 1)
    #expect(first.lines == ["set     package_dir: /p", "kept    restore_dir: /mine, where mbu has /r"])
    #expect(configuration["package_dir"]?.text == "/p" && configuration["restore_dir"]?.text == "/mine")
    #expect(
      MbuCarrying.carry([("package_dir", RawPath("/p"))], into: &configuration).lines == ["as is   package_dir: /p"])
    #expect(
      MbuCarrying.others(["user_password", "x"])
        == ["not set user_password: a sealed password check takes its place", "not set x: it has no counterpart"])
  }
}
