import Glibc
import TBKCore
import Testing

@testable import TBKStore

struct HelperTests {
  @Test(
    arguments: [
      ("ok", ["ok"]), ("ok 1 -", ["ok", "1", "-"]), ("error again wait a bit", ["error", "again"]),
      ("wait", ["wait"]),
    ] as [(String, [String])])
  func aLineIsWords(_ line: String, _ words: [String]) {
    #expect(HelperAnswer(Array(line.utf8))?.words == words)
  }

  @Test(arguments: [
    "", " ", "ok ", " ok", "ok  1", "ok\t1", "ok\r", "ok \u{e9}", "error", "error again", "error AGAIN x",
    "error  x",
  ])
  func anythingElseIsNone(_ line: String) {
    #expect(HelperAnswer(Array(line.utf8)) == nil)
  }

  @Test func whatIsForPeopleMovesNoCursor() {
    let text = HelperAnswer(Array("error denied \u{1b}[2Ja\u{202e}b\u{7f}\u{9b}".utf8))?.text
    #expect(text == "?[2Ja?b??")
    #expect(HelperConnection.readable([0x61, 0xff, 0x09, 0x62]) == "a\u{fffd} b")
  }

  @Test(arguments: ["s3:bucket", "my-store:x", "rclone:a:b/c"])
  func aNameAndAColonNameAHelper(_ operand: String) throws {
    guard case .helper(let helper) = try StoreAddress(RawPath(operand)) else {
      Issue.record("\(operand) is no helper's")
      return
    }
    #expect(operand.hasPrefix(helper.name + ":") && helper.program == "tbk-store-\(helper.name)")
    #expect(helper.bytes == Array(operand.utf8) && helper.display == "'\(operand)'")
  }

  @Test func aProgramEndsWithItsOwner() throws {
    let script = "sleep 1000 & echo $!; trap '' TERM; while :; do sleep 1; done"
    var process: PipedProcess? = try PipedProcess(
      RawPath("/bin/sh"), ["sh", "-c", script].map { Array($0.utf8) }, environment: [])
    var line: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 100)
    while !line.contains(0x0a) {
      _ = try process?.wait(input: false, output: true, errors: false, milliseconds: 1000)
      if let count = try process?.receive(into: &buffer) { line += buffer[..<count] }
    }
    let child = try #require(pid_t(String(decoding: line.dropLast(), as: UTF8.self)))
    #expect(kill(child, 0) == 0)
    process?.end(patience: 50)
    process = nil
    // It stays a zombie until its new parent collects it.
    for _ in 0..<15_000 where kill(child, 0) == 0 { usleep(20_000) }
    #expect(kill(child, 0) != 0)
  }

  @Test func aProgramThatIsNotThereIsAFailure() {
    let found = failure {
      _ = try PipedProcess(RawPath("/nowhere/x"), [[0x78]], environment: [])
    }
    #expect(found?.code == .unavailable)
  }
}
