import TBKCore

/// A list of patterns with the meaning of gitignore(5), rooted at the directory that is walked.
///
/// Bytes throughout: `?` is one byte, no case is folded. Matching allocates nothing.
package struct IgnoreRules: Sendable {
  /// What TermBackup 6 excluded from every backup.
  package static let termBackup6Defaults = [".git/", ".idea/", "__pycache__/", ".DS_Store"]

  private var patterns: [IgnorePattern] = []
  private var program = IgnoreProgram()

  package init() {}

  /// Whether nothing can be excluded: comments and blank lines do not count.
  package var isEmpty: Bool { patterns.isEmpty }

  /// Adds one pattern, read as a line of an ignore file: it may be a comment or blank, and spaces
  /// at its end go unless escaped. As in git it ends at a NUL. An invalid one never matches.
  package mutating func add(pattern: [UInt8]) {
    if pattern.first == UInt8(ascii: "#") { return }
    let trimmed = IgnoreRules.trimmed(pattern)
    if !trimmed.isEmpty { patterns.append(program.compile(trimmed)) }
  }

  /// Adds the lines of an ignore file. A byte order mark before the first is skipped, and so is a
  /// carriage return before a line feed or at the end.
  package mutating func add(file contents: [UInt8]) {
    var rest = contents[...]
    if rest.starts(with: [0xef, 0xbb, 0xbf]) { rest = rest.dropFirst(3) }
    for line in rest.split(separator: UInt8(ascii: "\n")) {
      let hasReturn = line.last == UInt8(ascii: "\r")
      add(pattern: Array(hasReturn ? line.dropLast() : line))
    }
  }

  /// Whether the last pattern that matches `path` excludes it.
  ///
  /// The walker asks for parents first and never descends into an excluded directory: as in git,
  /// a negation below one has no effect.
  ///
  /// - Parameter path: relative to the root, without "./" and without a slash at the end.
  /// - Parameter isDirectory: false for a symlink to one.
  package func excludes(_ path: Span<UInt8>, isDirectory: Bool) -> Bool {
    if path.isEmpty { return false }
    var nameStart = path.count
    while nameStart > 0, path[nameStart - 1] != UInt8(ascii: "/") { nameStart -= 1 }
    let patterns = self.patterns.span
    let literals = program.literals.span
    var index = patterns.count
    while index > 0 {
      index -= 1
      let pattern = patterns[index]
      if pattern.directoriesOnly && !isDirectory { continue }
      let literal = literals.extracting(pattern.literal)
      let matches =
        switch pattern.test {
        case .never: false
        case .name: path.count - nameStart == literal.count && path.has(literal, at: nameStart)
        case .nameSuffix:
          path.count - nameStart >= literal.count
            && path.has(literal, at: path.count - literal.count)
        case .path: path.count == literal.count && path.has(literal, at: 0)
        case .nameGlob:
          path.has(literal, at: nameStart)
            && program.matches(pattern.tokens, path, from: nameStart + literal.count)
        case .pathGlob:
          path.has(literal, at: 0)
            && program.matches(pattern.tokens, path, from: literal.count)
        }
      if matches { return !pattern.isNegated }
    }
    return false
  }

  /// Whether the rules exclude a path, or a directory above it.
  package func excludesPart(of path: [UInt8], isDirectory: Bool) -> Bool {
    if isEmpty { return false }
    for index in path.indices where path[index] == UInt8(ascii: "/") {
      if excludes(path.span.extracting(..<index), isDirectory: true) { return true }
    }
    return excludes(path.span, isDirectory: isDirectory)
  }

  /// Without what follows a NUL, and without the spaces at the end; a backslash keeps one.
  private static func trimmed(_ line: [UInt8]) -> [UInt8] {
    let text = line.prefix { $0 != 0 }
    var end = text.startIndex
    var index = text.startIndex
    while index < text.endIndex {
      if text[index] == UInt8(ascii: "\\") {
        index += 1
        // A backslash at the very end: git stops trimming there.
        if index == text.endIndex { return Array(text) }
        end = index + 1
      } else if text[index] != UInt8(ascii: " ") {
        end = index + 1
      }
      index += 1
    }
    return Array(text[..<end])
  }
}

extension Span where Element == UInt8 {
  /// Whether `other` lies here from `start` on.
  fileprivate func has(_ other: Span<UInt8>, at start: Int) -> Bool {
    guard count - start >= other.count else { return false }
    for index in other.indices where self[start + index] != other[index] { return false }
    return true
  }
}
