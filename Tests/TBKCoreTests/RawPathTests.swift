import TBKCore
import Testing

@Suite struct RawPathTests {
  @Test(arguments: [
    ("a/b c.txt", "a/b c.txt"), ("tab\t", #""tab\t""#), ("q\"\\", #""q\"\\""#),
    ("é", #""\303\251""#), ("\u{7f}\u{1}", #""\177\001""#),
    ("\u{7}\u{8}\n\u{b}\u{c}\r", #""\a\b\n\v\f\r""#),
    ("", ""), ("it's", "it's"),
  ])
  func namesAreQuotedAsGitQuotesThem(name: String, quoted: String) {
    #expect(RawPath(name).quoted == quoted)
  }

  @Test func bytesThatAreNotUTF8AreQuotedInOctal() {
    #expect(RawPath([0xff, 0x61, 0]).quoted == #""\377a\000""#)
  }

  @Test func quotingIsInjective() {
    var seen: Set<String> = []
    for one in 0...255 {
      for other in [0, 0x22, 0x33, 0x5c, 0x6e, 0xc3] as [UInt8] {
        #expect(seen.insert(RawPath([UInt8(one), other]).quoted).inserted)
      }
    }
  }

  @Test func messagesNeverHoldControlCharacters() {
    for byte in 0...255 {
      let shown = RawPath([UInt8(byte)]).display
      #expect(shown.utf8.allSatisfy { (0x20..<0x7f).contains($0) })
      #expect(shown.first == "'" || shown.first == "\"")
    }
  }

  @Test(arguments: [
    ("a", ".", "a"), ("a/b", "a", "b"), ("/a", "/", "a"), ("/", "/", ""), ("a/", "a", ""),
    ("a/b/c", "a/b", "c"), ("", ".", ""),
  ])
  func aPathIsSplitAtItsLastSlash(path: String, parent: String, last: String) {
    #expect(RawPath(path).parent == RawPath(parent))
    #expect(RawPath(path).lastComponent == RawPath(last))
  }

  @Test func appendingPutsOneSlash() {
    #expect(RawPath("a").appending("b") == RawPath("a/b"))
    #expect(RawPath("a/").appending("b") == RawPath("a/b"))
    #expect(RawPath("").appending("b") == RawPath("b"))
    #expect(RawPath("/").appending("b") == RawPath("/b"))
  }

  @Test func orderIsThatOfTheBytes() {
    #expect(RawPath("a.b") < RawPath("a/b"))
    #expect(RawPath("a") < RawPath("a.b"))
    #expect(RawPath([0x7f]) < RawPath([0x80]))
  }

  @Test func aNameWithNULNeverReachesTheKernel() {
    #expect(throws: Failure.self) {
      try Descriptor.workingDirectory.statusIfPresent(of: RawPath([0x2e, 0, 0x61]))
    }
  }
}
