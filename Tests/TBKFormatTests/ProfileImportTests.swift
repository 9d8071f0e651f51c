import TBKCore
import Testing

@testable import TBKFormat

/// What an imported profile does besides backing up.
struct ProfileImportTests {
  private func profile(_ fields: String = "") throws -> Profile {
    try Profile(
      Array(#"{"name":"x","source_dir":"/srv","repo":"/store"\#(fields)}"#.utf8), place: "a file")
  }

  @Test func anOrdinaryOneDoesNothingElse() throws {
    let plain = try profile(#","exclude_patterns":["*.o","/build/","!keep.o"]"#)
    #expect(plain.consequences == [])
    #expect(
      plain.particulars == [
        "source_dir: '/srv'", "repo: '/store'", "exclude_patterns: '*.o', '/build/', '!keep.o'",
      ])
  }

  @Test func whoIsToldIsNamedAndNoMore() throws {
    let found = try profile(
      #","webhook_url":"https://user:pass@reports.example:8443/hook/secret?key=1","ping_url":"http://ping.example/abc""#
    ).consequences
    #expect(found.count == 2)
    #expect(found[0].hasPrefix("webhook_url: 'https://reports.example:8443'"))
    #expect(found[1].hasPrefix("ping_url: 'http://ping.example'"))
    #expect(!found.joined().contains("secret") && !found.joined().contains("pass"))
  }

  @Test func whereARestoreGoesIsNamed() throws {
    let found = try profile(#","restore_dir":"/etc""#).consequences
    #expect(found.count == 1 && found[0].contains("'/etc'"))
  }

  @Test(arguments: ["*", "/*", "**", "**/*", "[!.]*"])
  func aPatternForEverythingIsNamed(_ pattern: String) throws {
    let found = try profile(#","exclude_patterns":["*.o","\#(pattern)"]"#).consequences
    #expect(found.count == 1 && found[0].contains("'\(pattern)'"))
  }

  @Test(arguments: [#""*","!*""#, #""?""#, #""*.*""#, #""[a-z]*""#])
  func oneForMuchIsNot(_ patterns: String) throws {
    #expect(try profile(#","exclude_patterns":[\#(patterns)]"#).consequences == [])
  }
}
