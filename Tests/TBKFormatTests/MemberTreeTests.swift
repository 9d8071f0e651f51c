import TBKCore
import TBKFormat
import Testing

@Suite struct MemberTreeTests {
  /// The failure for names in this order; a slash at the end makes a directory.
  private func code(_ names: [String]) -> Failure.Code? {
    var tree = MemberTree()
    do throws(Failure) {
      for name in names {
        let isDirectory = name.hasSuffix("/")
        try tree.add(Array((isDirectory ? String(name.dropLast()) : name).utf8), isDirectory: isDirectory)
      }
      return nil
    } catch {
      return error.code
    }
  }

  @Test(arguments: [
    ["a", "b", "c"], ["d/", "d/a", "d/b"], ["d/a", "d/"], ["d/e/a", "d/", "d/b", "d/e/"], ["a/b/c", "a/b/d", "a/e"],
    ["ab/", "ab/x", "a"], ["a", "ab", "a-b/c"], ["x/y", "x/yz", "x/y-z/w"], ["a/b", "c", "a/c", "c2/a", "a/d"],
  ])
  func namesThatGoTogether(_ names: [String]) { #expect(code(names) == nil) }

  @Test(arguments: [
    ["a", "a"], ["d/", "d/"], ["d/", "d"], ["d", "d/"], ["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"], ["a/b/c/d", "a"],
    ["a/b", "c", "a/b/d"], ["d/a", "d/", "d/"], ["d/a", "d/", "d"], ["x/y/z", "x/y/", "x/y/z/w"],
  ])
  func namesThatDoNot(_ names: [String]) { #expect(code(names) == .malformed) }

  /// Compared with a direct implementation of the rule, in orders that our tars never have.
  @Test func anyOrderOfAnyNames() {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      var names: [String] = []
      for _ in 0..<Int.random(in: 1...12, using: &random) {
        let parts = (0..<Int.random(in: 1...4, using: &random)).map { _ in
          ["a", "b", "ab", "a-"].randomElement(using: &random)!
        }
        names.append(parts.joined(separator: "/") + (Bool.random(using: &random) ? "/" : ""))
      }
      let plain = names.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }
      let isWrong =
        Set(plain).count < plain.count
        || names.contains { above in
          !above.hasSuffix("/") && plain.contains { $0.hasPrefix(above + "/") }
        }
      #expect(code(names) == (isWrong ? .malformed : nil), "\(names)")
    }
  }

  @Test func manyNamesAndDeepOnes() throws {
    var tree = MemberTree()
    for number in 0..<20_000 { try tree.add(Array("d/\(number % 100)/\(number)".utf8), isDirectory: false) }
    let deep = [UInt8](repeating: 0, count: EntryName.maximumLength - 1).indices.map {
      $0 % 2 == 0 ? UInt8(ascii: "x") : UInt8(ascii: "/")
    }
    for last in [UInt8(ascii: "a"), UInt8(ascii: "b")] {
      try tree.add(deep.dropLast() + [last], isDirectory: false)
    }
    let error = #expect(throws: Failure.self) {
      try tree.add(Array(deep[..<(deep.count / 2 | 1)]), isDirectory: false)
    }
    #expect(error?.code == .malformed)
  }
}
