import Glibc
import TBKCommand
import TBKCore
import Testing

/// The environment is shared by all tests: tokens from it are tested with processes.
@Suite struct TokenOptionsTests {
  private static let good = "github_pat_11ABCDEFG0_abcdefghijklmnop"

  private func token(_ arguments: [String], inputIsData: Bool = false) throws -> String? {
    guard let secret = try TokenOptions.parse(arguments).token(inputIsData: inputIsData) else {
      return nil
    }
    return secret.withBytes { bytes in
      String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
    }
  }

  private func failure(_ arguments: [String], inputIsData: Bool = false) -> Failure? {
    #expect(throws: Failure.self) { try token(arguments, inputIsData: inputIsData) }
  }

  private func file(_ bytes: [UInt8], _ body: (String) throws -> Void) throws {
    let directory = try TestDirectory()
    try directory.put("token", bytes)
    try body(directory.path.appending("token").text)
  }

  @Test(arguments: [good, good + "\n", "x", String(repeating: "x", count: 1024) + "\n"])
  func aFileHoldsItOnOneLine(content: String) throws {
    try file(Array(content.utf8)) { (path) throws in
      let expected = content.hasSuffix("\n") ? String(content.dropLast()) : content
      #expect(try token(["--token-file", path]) == expected)
      #expect(try token(["--token-command", "cat '\(path)'"]) == expected)
      let opened = try Descriptor.openForReading(RawPath(path))
      // The descriptor is closed after reading.
      let copy = fcntl(opened.number, F_DUPFD_CLOEXEC, 3)
      #expect(try token(["--token-fd", String(copy)]) == expected)
    }
  }

  @Test(
    arguments: [
      "", "\n", " \(good)", "\(good) ", "\(good)\n\n", "\(good)\r\n", "\(good)\t", "a b", "a\nb\n",
      "a\0b", "a\u{7f}", "caf\u{e9}", "\u{1b}[2J", String(repeating: "x", count: 1025),
      String(repeating: "x", count: 5000),
    ])
  func whatIsNoTokenIsRefusedAndNotShown(content: String) throws {
    try file(Array(content.utf8)) { path in
      for arguments in [["--token-file", path], ["--token-command", "cat '\(path)'"]] {
        let failure = failure(arguments)
        #expect(failure?.code == .token)
        let text = (failure?.message ?? "") + (failure?.hint ?? "")
        #expect(!text.contains(TokenOptionsTests.good))
      }
    }
  }

  @Test func standardInputThatIsDataHoldsNoToken() {
    #expect(failure(["--token-fd", "0"], inputIsData: true)?.code == .usage)
    #expect(failure(["--token-file", "-"], inputIsData: true)?.code == .usage)
  }

  @Test func aDescriptorThatIsNotOpenIsNamed() {
    let failure = failure(["--token-fd", "971"])
    #expect(failure?.code == .usage)
    #expect(failure?.message == "--token-fd 971: the descriptor is not open")
  }

  @Test func aFileThatIsNotThereIsMissingInput() {
    #expect(failure(["--token-file", "/no/such/file"])?.code == .inputMissing)
  }

  @Test(arguments: ["false", "sh -c 'echo token; exit 3'"])
  func aCommandThatFailsHasNoToken(command: String) {
    #expect(failure(["--token-command", command])?.code == .configuration)
  }

  @Test(
    arguments: [
      ["--token-fd", "3", "--token-file", "x"], ["--token-fd", "3", "--token-command", "x"],
      ["--token-file", "x", "--token-command", "x"],
    ])
  func onlyOneOptionMayBeGiven(arguments: [String]) {
    #expect(throws: (any Error).self) { try TokenOptions.parse(arguments) }
  }
}
