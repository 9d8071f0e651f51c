import TBKCore
import TBKFormat
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// %xx undone.
private func decoded(_ text: ArraySlice<UInt8>) -> [UInt8] {
  var result: [UInt8] = []
  var rest = text
  while let byte = rest.popFirst() {
    if byte == UInt8(ascii: "%"), let high = rest.popFirst(), let low = rest.popFirst() {
      result.append(hexValue(high)! << 4 | hexValue(low)!)
    } else {
      result.append(byte)
    }
  }
  return result
}

/// Asks as the walker does: each parent first, and nothing below one that is excluded.
private func excludes(_ rules: IgnoreRules, _ path: [UInt8], isDirectory: Bool) -> Bool {
  for index in path.indices where path[index] == UInt8(ascii: "/") {
    if rules.excludes(path.span.extracting(0..<index), isDirectory: true) { return true }
  }
  return rules.excludes(path.span, isDirectory: isDirectory)
}

private func rules(_ patterns: String..., meaning: IgnoreRules.Meaning = .git) -> IgnoreRules {
  var rules = IgnoreRules(meaning)
  for pattern in patterns { rules.add(pattern: bytes(pattern)) }
  return rules
}

@Suite struct IgnoreRulesTests {
  /// The tables are made by `Tests/Vectors/ignore/generate.py`.
  @Test func everyPathIsExcludedAsGitExcludesIt() throws {
    let tables = try vectorFiles("ignore", ".txt")
    #expect(tables.count >= 4)
    for table in tables {
      var rules = IgnoreRules()
      var text = ""
      var asked = 0
      for line in table.bytes.split(separator: 10) {
        if line.starts(with: bytes("rules ")) {
          rules = IgnoreRules()
          rules.add(file: decoded(line.dropFirst(6)))
          text = String(decoding: line, as: UTF8.self)
          continue
        }
        var path = decoded(line.dropFirst(2))
        let isDirectory = path.last == UInt8(ascii: "/")
        if isDirectory { path.removeLast() }
        asked += 1
        if excludes(rules, path, isDirectory: isDirectory) != (line.first == UInt8(ascii: "+")) {
          Issue.record("\(table.name): \(text): \(String(decoding: line, as: UTF8.self))")
        }
      }
      #expect(asked > 50, "\(table.name)")
    }
  }

  /// The tables are made by `Tests/Vectors/ignore/pathspec/generate.py`.
  @Test func everyPathIsExcludedAsPathspecExcludesIt() throws {
    let tables = try vectorFiles("ignore/pathspec", ".txt")
    #expect(tables.count >= 3)
    for table in tables {
      var rules = IgnoreRules(.pathspec)
      var text = ""
      var asked = 0
      for line in table.bytes.split(separator: 10) {
        if line.starts(with: bytes("rules ")) {
          rules = IgnoreRules(.pathspec)
          for pattern in decoded(line.dropFirst(6)).split(separator: 10) {
            rules.add(pattern: Array(pattern))
          }
          text = String(decoding: line, as: UTF8.self)
          continue
        }
        asked += 1
        if line.elementsEqual(bytes("invalid")) {
          if rules.invalid.isEmpty { Issue.record("\(table.name): \(text) is taken") }
          continue
        }
        var path = decoded(line.dropFirst(2))
        let isDirectory = path.last == UInt8(ascii: "/")
        if isDirectory { path.removeLast() }
        let isExcluded = line.first == UInt8(ascii: "+")
        if rules.excludes(path.span, isDirectory: isDirectory) != isExcluded
          || rules.excludesPart(of: path, isDirectory: isDirectory) != isExcluded
        {
          Issue.record("\(table.name): \(text): \(String(decoding: line, as: UTF8.self))")
        }
        // Nothing is taken back below a directory that is not read.
        for index in path.indices where path[index] == UInt8(ascii: "/") {
          if !isExcluded, rules.excludesAllBelow(path.span.extracting(..<index)) {
            Issue.record("\(table.name): \(text): a directory of \(RawPath(path).display) is barred")
          }
        }
      }
      #expect(asked > 50, "\(table.name)")
    }
  }

  @Test func pathspecReadsADirectoryOnlyIfSomethingBelowItMayBeTakenBack() {
    let one = rules("build/", "!build/keep", "*.o", meaning: .pathspec)
    // A span cannot stand in an expectation.
    func barred(_ rules: IgnoreRules, _ directory: String) -> Bool {
      rules.excludesAllBelow(bytes(directory).span)
    }
    #expect(excludes(one, bytes("build"), isDirectory: true))
    #expect(!barred(one, "build"))
    #expect(barred(one, "x.o"))
    #expect(!barred(one, "src"))
    #expect(barred(rules("!a", "b/", meaning: .pathspec), "b"))
  }

  @Test(arguments: [
    ("build/", "!build/keep", "build", true), ("build/", "!/build/keep", "build", true),
    ("*", "!*.py", "any", true), ("build/", "!keep", "a/build", true), ("build/", "!a/b*/keep", "a/build", true),
    ("build/", "!**/keep", "build", true), ("build/", "!buil[a-d]/**/x", "build", true),
    ("build/", "!b*/", "build", false),
    ("build/", "!build", "build", false), ("build/", "!other/keep", "build", false),
    ("build/", "!builder/keep", "build", false),
    ("build/", "!b/keep", "a/build", false), ("build/", "!*/keep", "a/build", false),
    ("build/", "!a/*/keep", "a/build", true),
    ("build/", "!build/", "other", false), ("build", "!build?keep", "build", true),
    ("build/", "!/*/*/keep", "build", true),
    ("build/", "!/*", "a/build", false), ("a/b", "!a/bc", "a/b", false), ("a/b", "!a/b/**", "a/b", true),
  ])
  func aNegationBelowAnExcludedDirectoryIsFound(
    exclusion: String, negation: String, directory: String, isFound: Bool
  ) {
    let list = rules(exclusion, negation)
    let found = list.ineffective(below: bytes(directory).span)
    #expect(found == (isFound ? bytes(negation) : nil))
    if let found {
      let again = list.ineffective(below: bytes(directory).span, but: [found])
      #expect(again == nil)
    }
    // What comes first takes nothing back, whatever the meaning.
    let reversed = rules(negation, exclusion).ineffective(below: bytes(directory).span)
    #expect(reversed == nil)
  }

  @Test func thePatternsOfAListAreThoseOfItsFile() {
    let one = rules("# comment", "", "*.o  ", "!keep.o", "a\\ ")
    #expect(excludes(one, bytes("x.o"), isDirectory: false))
    #expect(!excludes(one, bytes("d/keep.o"), isDirectory: false))
    #expect(excludes(one, bytes("a "), isDirectory: false))
    #expect(!excludes(one, bytes("# comment"), isDirectory: false))
    #expect(!excludes(one, [], isDirectory: true))
  }

  @Test func aListOfCommentsIsEmpty() {
    #expect(IgnoreRules().isEmpty)
    #expect(rules("", "# a", "  ").isEmpty)
    #expect(!rules("a").isEmpty)
  }

  @Test func theDefaultsOfTermBackup6AreDirectoriesAndAFile() {
    var defaults = IgnoreRules()
    for pattern in IgnoreRules.termBackup6Defaults { defaults.add(pattern: bytes(pattern)) }
    #expect(excludes(defaults, bytes("a/.git"), isDirectory: true))
    #expect(!excludes(defaults, bytes(".git"), isDirectory: false))
    #expect(excludes(defaults, bytes("a/b/__pycache__"), isDirectory: true))
    #expect(excludes(defaults, bytes(".DS_Store"), isDirectory: false))
  }

  @Test(arguments: [
    String(repeating: "a*", count: 2000) + "b",
    String(repeating: "*a", count: 2000) + "b",
    "**/" + String(repeating: "a*", count: 2000) + "b",
    String(repeating: "**/a*/", count: 700) + "b",
    String(repeating: "**/*a*", count: 500) + "/b",
    String(repeating: "?*", count: 2000) + "b",
    String(repeating: "[a]*", count: 1000) + "b",
    "x/" + String(repeating: "**\\/a", count: 800) + "/b",
    String(repeating: "**/[!é]*/", count: 500) + "b",
  ])
  func hostilePatternsTakeNoExponentialTime(pattern: String) {
    for meaning in IgnoreRules.Meaning.allCases {
      hostilePatternsTakeNoExponentialTime(rules(pattern, meaning: meaning))
    }
    let negated = rules("*", "!" + pattern)
    let deep = Array([[UInt8]](repeating: bytes("a"), count: 400).joined(separator: bytes("/")))
    _ = negated.ineffective(below: deep.span)
  }

  private func hostilePatternsTakeNoExponentialTime(_ rules: IgnoreRules) {
    let name = [UInt8](repeating: UInt8(ascii: "a"), count: 255)
    let deep = Array([[UInt8]](repeating: name, count: 16).joined(separator: bytes("/")))
    let narrow = Array(
      [[UInt8]](repeating: bytes("a"), count: 2048).joined(separator: bytes("/")))
    let clock = ContinuousClock()
    let time = clock.measure {
      for path in [name, deep, narrow, bytes("x/") + narrow] {
        let excluded = rules.excludes(path.span, isDirectory: false)
        #expect(!excluded)
      }
    }
    #expect(time < .seconds(20))
  }
}
