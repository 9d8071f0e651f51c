import TBKCore

/// A list of patterns, relative to the root of the walk.
///
/// With gitignore(5) semantics it works on bytes: `?` is one byte, no case is folded, and matching allocates nothing.
package struct IgnoreRules: Sendable {
  package enum Meaning: String, CaseIterable, Sendable {
    /// As in gitignore(5): everything below an excluded directory is excluded, whatever a later pattern says.
    case git
    /// As in the Python package pathspec, which TermBackup 6 used: the last pattern that matches a path, or a directory
    /// above it, decides.
    case pathspec
  }

  /// What TermBackup 6 excluded from every backup.
  package static let termBackup6Defaults = [".git/", ".idea/", "__pycache__/", ".DS_Store"]

  package let meaning: Meaning
  private var patterns: [IgnorePattern] = []
  private var program = IgnoreProgram()
  /// The patterns that begin with "!", and their indices in the list.
  private var negations: [(index: Int, text: [UInt8])] = []
  /// The patterns that pathspec rejects. git rejects none.
  package private(set) var invalid: [[UInt8]] = []

  package init(_ meaning: Meaning = .git) { self.meaning = meaning }

  /// Whether nothing can be excluded: comments and blank lines do not count.
  package var isEmpty: Bool { patterns.isEmpty }

  /// Adds one pattern, parsed as a line of an ignore file: it may be a comment or blank, and trailing spaces are
  /// removed unless escaped. As in git it ends at a NUL. An invalid pattern never matches.
  package mutating func add(pattern: [UInt8]) {
    let compiled: IgnorePattern?
    switch meaning {
    case .git:
      if pattern.first == UInt8(ascii: "#") { return }
      let trimmed = IgnoreRules.trimmed(pattern)
      compiled = trimmed.isEmpty ? nil : program.compile(trimmed)
    case .pathspec:
      compiled = program.compilePathspec(Array(pattern.prefix { $0 != 0 }))
      if compiled?.test == .never { invalid.append(pattern) }
    }
    guard let compiled else { return }
    if compiled.isNegated { negations.append((patterns.count, pattern)) }
    patterns.append(compiled)
  }

  /// Adds the lines of an ignore file. A byte order mark at the start is skipped, and so is a carriage return at the
  /// end of a line.
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
  /// With git semantics, check parents first, and nothing below an excluded directory, where negations have no effect.
  /// With pathspec semantics, see `excludesAllBelow`.
  ///
  /// - Parameter path: relative to the root, without "./" and without a trailing slash.
  /// - Parameter isDirectory: false for a symlink to a directory.
  package func excludes(_ path: Span<UInt8>, isDirectory: Bool) -> Bool {
    deciding(path, isDirectory: isDirectory).map { !patterns[$0].isNegated } ?? false
  }

  /// Whether the rules exclude a directory and everything below it, so that the walk can skip it.
  package func excludesAllBelow(_ directory: Span<UInt8>) -> Bool {
    guard let index = deciding(directory, isDirectory: true), !patterns[index].isNegated else {
      return false
    }
    // A pattern that excludes a directory excludes each path below it, unless a later pattern re-includes it.
    return meaning == .git || (negations.last?.index ?? 0) < index
  }

  /// The first pattern that would re-include something below an excluded directory with pathspec semantics; with git
  /// semantics it has no effect there. Nil if there is none or the directory is not excluded.
  ///
  /// - Parameter known: patterns to ignore, because they were found before.
  package func ineffective(
    below directory: Span<UInt8>, but known: Set<[UInt8]> = []
  ) -> [UInt8]? {
    guard meaning == .git, let last = negations.last,
      let index = deciding(directory, isDirectory: true), !patterns[index].isNegated,
      index < last.index
    else { return nil }
    return negations.first {
      $0.index > index && !known.contains($0.text)
        && program.mayMatch(patterns[$0.index], below: directory)
    }?.text
  }

  /// The index of the last pattern that matches.
  private func deciding(_ path: Span<UInt8>, isDirectory: Bool) -> Int? {
    if path.isEmpty { return nil }
    if meaning == .pathspec, isDirectory {
      // pathspec matches a directory by its path with a slash.
      var slashed = Array(path)
      slashed.append(UInt8(ascii: "/"))
      return lastMatch(slashed.span, isDirectory: true)
    }
    return lastMatch(path, isDirectory: isDirectory)
  }

  private func lastMatch(_ path: Span<UInt8>, isDirectory: Bool) -> Int? {
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
        case .pathspec: program.matches(pattern.tokens, path, from: 0, characters: true)
        }
      if matches { return index }
    }
    return nil
  }

  /// Whether the rules exclude a path, or a directory above it.
  package func excludesPart(of path: [UInt8], isDirectory: Bool) -> Bool {
    if isEmpty { return false }
    if meaning == .pathspec { return excludes(path.span, isDirectory: isDirectory) }
    for index in path.indices where path[index] == UInt8(ascii: "/") {
      if excludes(path.span.extracting(..<index), isDirectory: true) { return true }
    }
    return excludes(path.span, isDirectory: isDirectory)
  }

  /// Cuts the line at a NUL and removes trailing spaces, unless a backslash precedes one.
  private static func trimmed(_ line: [UInt8]) -> [UInt8] {
    let text = line.prefix { $0 != 0 }
    var end = text.startIndex
    var index = text.startIndex
    while index < text.endIndex {
      if text[index] == UInt8(ascii: "\\") {
        index += 1
        // git does not trim a line that ends with a backslash.
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
  /// Whether `other` is found at `start`.
  fileprivate func has(_ other: Span<UInt8>, at start: Int) -> Bool {
    guard count - start >= other.count else { return false }
    for index in other.indices where self[start + index] != other[index] { return false }
    return true
  }
}
