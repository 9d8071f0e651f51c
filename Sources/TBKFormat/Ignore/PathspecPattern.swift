import TBKCore

/// The set of characters of a bracket expression in pathspec.
struct IgnoreCharacterSet: Sendable {
  var ranges: [ClosedRange<UInt32>] = []
  var isNegated = false

  /// No set contains a slash.
  func contains(_ character: UInt32) -> Bool {
    character != 0x2f && ranges.contains { $0.contains(character) } != isNegated
  }
}

/// The character at `index`, and its length in bytes. An invalid byte stands for itself, as the lone surrogate that
/// Python decodes it to.
func ignoreCharacter(_ text: Span<UInt8>, at index: Int) -> (value: UInt32, length: Int) {
  let first = text[index]
  let single = (value: first < 0x80 ? UInt32(first) : 0xdc00 + UInt32(first), length: 1)
  let length =
    switch first {
    case 0xc2...0xdf: 2
    case 0xe0...0xef: 3
    case 0xf0...0xf4: 4
    default: 1
    }
  if length == 1 || text.count - index < length { return single }
  var value = UInt32(first) & (0x7f >> UInt32(length))
  for offset in 1..<length {
    let byte = text[index + offset]
    guard byte & 0xc0 == 0x80 else { return single }
    value = value << 6 | UInt32(byte & 0x3f)
  }
  // Neither overlong, nor a surrogate, nor beyond U+10FFFF.
  guard value >= [0x80, 0x800, 0x10000][length - 2], Unicode.Scalar(value) != nil else {
    return single
  }
  return (value, length)
}

extension IgnoreProgram {
  private static let slash = UInt8(ascii: "/")
  private static let star = UInt8(ascii: "*")

  /// Compiles one pattern like pathspec's "gitwildmatch"; nil for a comment or an empty pattern. It matches a whole
  /// path, or a directory above it.
  ///
  /// The rules are those of pathspec 0.12, which TermBackup 6 used, except that a set in brackets never matches a
  /// slash.
  mutating func compilePathspec(_ line: [UInt8]) -> IgnorePattern? {
    var body = line[...]
    while let first = body.first, Self.isSpace(first) { body = body.dropFirst() }
    if !body.suffix(2).elementsEqual([UInt8(ascii: "\\"), UInt8(ascii: " ")]) {
      while let last = body.last, Self.isSpace(last) { body = body.dropLast() }
    }
    if body.isEmpty || body.first == UInt8(ascii: "#") || body.elementsEqual([Self.slash]) {
      return nil
    }
    var result = IgnorePattern()
    if body.first == UInt8(ascii: "!") {
      result.isNegated = true
      body = body.dropFirst()
    }
    let start = tokens.count
    guard addPathspec(segments(of: body)) else {
      tokens.removeLast(tokens.count - start)
      return result
    }
    result.test = .pathspec
    result.tokens = start..<tokens.count
    return result
  }

  /// The parts between the slashes, normalised so that each has only one meaning.
  private func segments(of body: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
    var segments = body.split(separator: Self.slash, omittingEmptySubsequences: false)
    let wide = ArraySlice([Self.star, Self.star])
    for index in segments.indices.dropFirst().reversed()
    where segments[index] == wide && segments[index - 1] == wide {
      segments.remove(at: index)
    }
    // "**/", but not "/**/", matches everything in any directory.
    let isAnyDirectory = segments.count == 2 && segments[0] == wide && segments[1].isEmpty
    if segments[0].isEmpty {
      segments.removeFirst()
    } else if segments.count == 1 || segments.count == 2 && segments[1].isEmpty {
      // A single name matches at any depth.
      if segments[0] != wide { segments.insert(wide, at: 0) }
    }
    if segments.count > 1, segments[segments.count - 1].isEmpty {
      // "foo/" matches everything below a "foo".
      if isAnyDirectory { segments.insert([Self.star], at: 1) }
      segments[segments.count - 1] = wide
    }
    return segments
  }

  /// Appends the tokens; false if the pattern is invalid.
  private mutating func addPathspec(_ segments: [ArraySlice<UInt8>]) -> Bool {
    if segments.isEmpty { return false }
    var needsSlash = false
    var isWide = false
    for (index, segment) in segments.enumerated() {
      let isLast = index == segments.count - 1
      if segment.elementsEqual([Self.star, Self.star]) {
        if index == 0 {
          add(isLast ? .everything : .directories)
        } else if isLast {
          add(.byte, Int(Self.slash))
          add(.everything)
        } else {
          (needsSlash, isWide) = (true, true)
        }
        continue
      }
      if needsSlash { add(.byte, Int(Self.slash)) }
      if isWide { add(.directories) }
      if segment.elementsEqual([Self.star]) {
        // A whole name, which cannot be empty.
        add(.character)
        add(.star)
      } else if !addPathspec(segment: segment) {
        return false
      }
      if isLast { add(.below) }
      (needsSlash, isWide) = (true, false)
    }
    return true
  }

  /// Appends the tokens of one name; false if it ends with a backslash, or if a range in brackets is reversed.
  private mutating func addPathspec(segment: ArraySlice<UInt8>) -> Bool {
    var rest = segment
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "\\"):
        guard let escaped = rest.popFirst() else { return false }
        add(.byte, Int(escaped))
      case Self.star: add(.star)
      case UInt8(ascii: "?"): add(.character)
      case UInt8(ascii: "["):
        // A closing bracket at the start is a member of the set.
        var end = rest.startIndex
        let isNegated = [UInt8(ascii: "!"), UInt8(ascii: "^")].contains { $0 == rest.first }
        if isNegated { end += 1 }
        let first = end
        if end < rest.endIndex, rest[end] == UInt8(ascii: "]") { end += 1 }
        guard end < rest.endIndex, let close = rest[end...].firstIndex(of: UInt8(ascii: "]")) else {
          // Without a closing bracket it stands for itself.
          add(.byte, Int(byte))
          continue
        }
        guard let ranges = Self.ranges(Array(rest[first..<close])) else { return false }
        add(set: IgnoreCharacterSet(ranges: ranges, isNegated: isNegated))
        rest = rest[(close + 1)...]
      default: add(.byte, Int(byte))
      }
    }
    return true
  }

  /// The members of a set; nil if a range is reversed. A backslash is an ordinary member.
  private static func ranges(_ text: [UInt8]) -> [ClosedRange<UInt32>]? {
    var members: [UInt32] = []
    var index = 0
    while index < text.count {
      let (value, length) = ignoreCharacter(text.span, at: index)
      members.append(value)
      index += length
    }
    var ranges: [ClosedRange<UInt32>] = []
    var rest = members[...]
    while let low = rest.popFirst() {
      guard rest.count >= 2, rest.first == 0x2d else {
        ranges.append(low...low)
        continue
      }
      let high = rest[rest.startIndex + 1]
      if high < low { return nil }
      ranges.append(low...high)
      rest = rest.dropFirst(2)
    }
    return ranges
  }

  /// The ASCII characters that Python considers white space.
  private static func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || (0x09...0x0d).contains(byte) || (0x1c...0x1f).contains(byte)
  }
}
