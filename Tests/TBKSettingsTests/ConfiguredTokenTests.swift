import TBKCore
import Testing

@testable import TBKSettings

@Suite struct ConfiguredTokenTests {
  private func token(_ home: TestHome, warn: (String) -> Void = { _ in }) throws -> String? {
    guard let secret = try home.home.configuredToken(warn: warn) else { return nil }
    return secret.withBytes { bytes in
      String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
    }
  }

  @Test func withoutAHomeThereIsNoneAndNothingIsMade() throws {
    let home = try TestHome()
    #expect(try token(home) == nil)
    #expect(home.names == nil)
  }

  @Test(arguments: ["{}", #"{"github_token": null}"#])
  func aConfigurationWithoutATokenHasNone(text: String) throws {
    let home = try TestHome()
    try home.configure(text)
    #expect(try token(home) == nil)
  }

  @Test func itIsReadThoughOtherKeysAreWrong() throws {
    let home = try TestHome()
    try home.configure(#"{"github_token": "ghp_abc", "signing_enabled": "perhaps"}"#)
    #expect(try token(home) == "ghp_abc")
  }

  @Test func anEmptyOneIsNone() throws {
    // As written by TermBackup 6.
    let home = try TestHome()
    try home.configure(#"{"github_token": ""}"#)
    #expect(try token(home) == nil)
  }

  @Test(arguments: [#"{"github_token": 7}"#, "{", "[]"])
  func aWrongOneIsAConfigurationFailureWithoutIt(text: String) throws {
    let home = try TestHome()
    try home.configure(text)
    let failure = #expect(throws: Failure.self) { _ = try token(home) }
    #expect(failure?.code == .configuration)
  }

  @Test func whoElseCanReadItIsSaid() throws {
    let home = try TestHome()
    try home.configure(#"{"github_token": "ghp_abc"}"#, mode: 0o644)
    var warnings: [String] = []
    #expect(try token(home, warn: { warnings.append($0) }) == "ghp_abc")
    #expect(warnings.count == 1)
    #expect(warnings.first?.contains("can be read by others") == true)
  }
}
