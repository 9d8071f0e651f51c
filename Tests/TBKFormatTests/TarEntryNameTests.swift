import TBKCore
import TBKFormat
import Testing

@Suite struct TarEntryNameTests {
  @Test(arguments: [
    "a", "a/b", ".a", "..a", "a..", "...", "a/.b/..c", " ", "a b", "größe", "a\\b", "-", "a\nb",
  ])
  func relativeNamesAreSafe(name: String) throws {
    try EntryName.check(Array(name.utf8).span)
  }

  @Test(arguments: [
    "", "/", "/a", "a/", "a//b", "//", ".", "..", "./a", "../a", "a/.", "a/..", "a/./b", "a/../b",
    "a\0b", "\0", "a/\0",
  ])
  func namesThatLeadElsewhereAreRefused(name: String) {
    do throws(Failure) {
      try EntryName.check(Array(name.utf8).span)
      Issue.record("accepted: \(name)")
    } catch {
      #expect(error.code == .malformed)
    }
  }

  @Test func lengthsAreLimited() throws {
    let component = [UInt8](repeating: 97, count: 255)
    try EntryName.check(component.span)
    #expect(throws: Failure.self) { try EntryName.check((component + [97]).span) }
    #expect(throws: Failure.self) { try EntryName.check((component + [97, 47, 98]).span) }
    let longest = Array([[UInt8]](repeating: component, count: 256).joined(separator: [47]))
    #expect(longest.count == 65_535)
    try EntryName.check(longest.span)
    try EntryName.check((Array(longest.dropLast()) + [47, 97]).span)
    #expect(throws: Failure.self) { try EntryName.check((longest + [47, 97]).span) }
  }

  @Test func bytesThatAreNotUTF8AreNames() throws {
    try EntryName.check(([0xff, 0xfe, 0x80] as [UInt8]).span)
  }

  @Test(arguments: [
    ("a", "a"), ("./a", "a"), (".//a", "a"), ("././a", "a"), (".", ""), ("./", ""), ("./.", ""),
    ("..", ".."), ("../a", "../a"), (".a", ".a"), ("a/./b", "a/./b"), ("./../a", "../a"),
    ("/./a", "/./a"), ("", ""), ("./.a", ".a"),
  ])
  func aLeadingDotIsNoPartOfTheName(name: String, normal: String) {
    #expect(EntryName.normalised(Array(name.utf8)) == Array(normal.utf8))
  }
}
