import TBKCore

/// One compiled pattern of a list. It owns no memory: its literals and tokens are in the list's `IgnoreProgram`, so
/// that scanning a list touches only three arrays.
struct IgnorePattern: Sendable {
  enum Test: UInt8 {
    /// The pattern is invalid or empty: as in git, it never matches.
    case never
    /// The name after the last slash equals the literal, or ends with it.
    case name, nameSuffix
    /// That name is the literal followed by a match of the tokens.
    case nameGlob
    /// The whole path is the literal, or the literal followed by a match of the tokens.
    case path, pathGlob
    /// A match of the tokens, in a list with pathspec semantics.
    case pathspec
  }

  var test = Test.never
  var isNegated = false
  var directoriesOnly = false
  var literal = 0..<0
  var tokens = 0..<0
}

/// One step of a glob.
struct IgnoreToken: Sendable {
  enum Kind: UInt8 {
    /// `value` itself.
    case byte
    /// `?`: any byte but a slash.
    case any
    /// `[...]`: a byte of set number `value`.
    case set
    /// `*`: any bytes but slashes.
    case star
    /// `**` at the end of a pattern: any bytes.
    case everything
    /// `**/`: nothing, or any bytes up to and including a slash.
    case directories
    /// pathspec's `?` and `[...]`: any character but a slash, or one of set number `value`.
    case character, characterSet
    /// The end, or a slash and anything after it.
    case below
  }

  var kind: Kind
  var value = 0
}

/// A set of bytes, as 256 bits.
struct IgnoreByteSet: Sendable {
  private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  func contains(_ byte: UInt8) -> Bool {
    let word =
      switch byte >> 6 {
      case 0: words.0
      case 1: words.1
      case 2: words.2
      default: words.3
      }
    return word >> UInt64(byte & 63) & 1 == 1
  }

  mutating func insert(_ byte: UInt8) {
    let bit: UInt64 = 1 << UInt64(byte & 63)
    switch byte >> 6 {
    case 0: words.0 |= bit
    case 1: words.1 |= bit
    case 2: words.2 |= bit
    default: words.3 |= bit
    }
  }

  mutating func remove(_ byte: UInt8) {
    if contains(byte) { toggle(byte) }
  }

  private mutating func toggle(_ byte: UInt8) {
    let bit: UInt64 = 1 << UInt64(byte & 63)
    switch byte >> 6 {
    case 0: words.0 ^= bit
    case 1: words.1 ^= bit
    case 2: words.2 ^= bit
    default: words.3 ^= bit
    }
  }

  mutating func invert() { words = (~words.0, ~words.1, ~words.2, ~words.3) }
}

/// The compiled parts of a list's patterns, and the compiler.
struct IgnoreProgram: Sendable {
  private(set) var literals: [UInt8] = []
  var tokens: [IgnoreToken] = []
  private(set) var sets: [IgnoreByteSet] = []
  private(set) var characterSets: [IgnoreCharacterSet] = []

  private static let star = UInt8(ascii: "*")
  private static let slash = UInt8(ascii: "/")
  private static let backslash = UInt8(ascii: "\\")

  private static func isSpecial(_ byte: UInt8) -> Bool {
    byte == star || byte == UInt8(ascii: "?") || byte == UInt8(ascii: "[") || byte == backslash
  }

  /// Compiles one pattern, which must not be a comment and must already be trimmed.
  mutating func compile(_ pattern: [UInt8]) -> IgnorePattern {
    var result = IgnorePattern()
    var body = pattern[...]
    if body.first == UInt8(ascii: "!") {
      result.isNegated = true
      body = body.dropFirst()
    }
    if body.last == Self.slash {
      result.directoriesOnly = true
      body = body.dropLast()
    }
    let isPath = body.contains(Self.slash)
    if body.first == Self.slash { body = body.dropFirst() }
    if body.isEmpty { return result }

    let plain = body.prefix { !Self.isSpecial($0) }
    if plain.count == body.count {
      result.test = isPath ? .path : .name
      result.literal = add(literal: body)
      return result
    }
    if !isPath, body.first == Self.star, !body.dropFirst().contains(where: Self.isSpecial) {
      result.test = .nameSuffix
      result.literal = add(literal: body.dropFirst())
      return result
    }
    // git compares the part before the first special byte literally, and passes the rest to the matcher as a separate
    // pattern. So, contrary to its manual, "a/b**" also matches below "a/bc".
    let start = tokens.count
    guard add(glob: Array(body.dropFirst(plain.count)), isPath: isPath) else {
      tokens.removeLast(tokens.count - start)
      return result
    }
    result.test = isPath ? .pathGlob : .nameGlob
    result.literal = add(literal: plain)
    result.tokens = start..<tokens.count
    return result
  }

  mutating func add(_ kind: IgnoreToken.Kind, _ value: Int = 0) {
    tokens.append(IgnoreToken(kind: kind, value: value))
  }

  mutating func add(set: IgnoreCharacterSet) {
    add(.characterSet, characterSets.count)
    characterSets.append(set)
  }

  private mutating func add(literal: ArraySlice<UInt8>) -> Range<Int> {
    let start = literals.count
    literals += literal
    return start..<literals.count
  }

  /// Appends the tokens of a glob; false if it is invalid.
  private mutating func add(glob: [UInt8], isPath: Bool) -> Bool {
    var index = 0
    while index < glob.count {
      let byte = glob[index]
      switch byte {
      case Self.backslash:
        index += 1
        if index == glob.count { return false }
        tokens.append(IgnoreToken(kind: .byte, value: Int(glob[index])))
        index += 1
      case UInt8(ascii: "?"):
        tokens.append(IgnoreToken(kind: .any))
        index += 1
      case UInt8(ascii: "["):
        guard let set = Self.set(glob, &index) else { return false }
        tokens.append(IgnoreToken(kind: .set, value: sets.count))
        sets.append(set)
      case Self.star:
        let first = index
        while index < glob.count, glob[index] == Self.star { index += 1 }
        let next = index < glob.count ? glob[index] : Self.slash
        let isWide =
          isPath && index - first >= 2 && (first == 0 || glob[first - 1] == Self.slash)
          && (next == Self.slash
            || next == Self.backslash && index + 1 < glob.count && glob[index + 1] == Self.slash)
        if !isWide {
          tokens.append(IgnoreToken(kind: .star))
        } else if index < glob.count, next == Self.slash {
          tokens.append(IgnoreToken(kind: .directories))
          index += 1
        } else {
          tokens.append(IgnoreToken(kind: .everything))
        }
      default:
        tokens.append(IgnoreToken(kind: .byte, value: Int(byte)))
        index += 1
      }
    }
    return true
  }

  /// Parses the set at `index`, which moves past its end; nil if it is invalid. Parses exactly like git's wildmatch. No
  /// set contains a slash.
  private static func set(_ glob: [UInt8], _ index: inout Int) -> IgnoreByteSet? {
    func at(_ position: Int) -> UInt8? { position < glob.count ? glob[position] : nil }
    var set = IgnoreByteSet()
    var position = index + 1
    let isNegated = at(position) == UInt8(ascii: "!") || at(position) == UInt8(ascii: "^")
    if isNegated { position += 1 }
    /// The byte that a range may start with; nil after a range or class.
    var previous: UInt8?
    repeat {
      guard var byte = at(position) else { return nil }
      if byte == backslash {
        position += 1
        guard let escaped = at(position) else { return nil }
        set.insert(escaped)
        previous = escaped
      } else if byte == UInt8(ascii: "-"), let low = previous, let next = at(position + 1),
        next != UInt8(ascii: "]")
      {
        position += 1
        byte = next
        if byte == backslash {
          position += 1
          guard let escaped = at(position) else { return nil }
          byte = escaped
        }
        if low <= byte { for member in low...byte { set.insert(member) } }
        previous = nil
      } else if byte == UInt8(ascii: "["), at(position + 1) == UInt8(ascii: ":") {
        let start = position + 2
        guard let end = glob[start...].firstIndex(of: UInt8(ascii: "]")) else { return nil }
        if end > start, glob[end - 1] == UInt8(ascii: ":") {
          guard let test = classes[Array(glob[start..<end - 1])] else { return nil }
          for member in UInt8.min...UInt8.max where test(member) { set.insert(member) }
          position = end
          previous = nil
        } else {
          set.insert(byte)
          previous = byte
        }
      } else {
        set.insert(byte)
        previous = byte
      }
      position += 1
    } while at(position) != UInt8(ascii: "]")
    if isNegated { set.invert() }
    set.remove(slash)
    index = position + 1
    return set
  }

  /// The POSIX classes as in git: only ASCII; `space` lacks vertical tab and form feed.
  private static let classes: [[UInt8]: @Sendable (UInt8) -> Bool] = {
    let digit: @Sendable (UInt8) -> Bool = { (0x30...0x39).contains($0) }
    let upper: @Sendable (UInt8) -> Bool = { (0x41...0x5a).contains($0) }
    let lower: @Sendable (UInt8) -> Bool = { (0x61...0x7a).contains($0) }
    let alpha: @Sendable (UInt8) -> Bool = { upper($0) || lower($0) }
    let alnum: @Sendable (UInt8) -> Bool = { alpha($0) || digit($0) }
    let graph: @Sendable (UInt8) -> Bool = { (0x21...0x7e).contains($0) }
    let named: [(String, @Sendable (UInt8) -> Bool)] = [
      ("alnum", alnum), ("alpha", alpha), ("blank", { $0 == 0x20 || $0 == 9 }),
      ("cntrl", { $0 < 0x20 || $0 == 0x7f }), ("digit", digit), ("graph", graph),
      ("lower", lower), ("print", { (0x20...0x7e).contains($0) }),
      ("punct", { graph($0) && !alnum($0) }),
      ("space", { $0 == 0x20 || $0 == 9 || $0 == 10 || $0 == 13 }), ("upper", upper),
      ("xdigit", { digit($0) || (0x41...0x46).contains($0) || (0x61...0x66).contains($0) }),
    ]
    return Dictionary(uniqueKeysWithValues: named.map { (Array($0.utf8), $1) })
  }()
}

extension IgnoreProgram {
  /// Whether a git pattern can match a path below a directory.
  func mayMatch(_ pattern: IgnorePattern, below directory: Span<UInt8>) -> Bool {
    let literal = literals.span.extracting(pattern.literal)
    // The directory's path and a slash must match the literal, byte for byte.
    let common = min(literal.count, directory.count + 1)
    func byte(_ index: Int) -> UInt8 {
      index < directory.count ? directory[index] : UInt8(ascii: "/")
    }
    switch pattern.test {
    case .never, .pathspec: return false
    case .name, .nameSuffix, .nameGlob: return true
    case .path where literal.count <= directory.count + 1: return false
    case .path, .pathGlob:
      for index in 0..<common where literal[index] != byte(index) { return false }
    }
    // The possible next tokens, after each byte of the rest.
    var next: Set<Int> = [pattern.tokens.lowerBound]
    for index in common..<directory.count + 1 {
      let byte = byte(index)
      var after: Set<Int> = []
      var open = Array(next)
      while let token = open.popLast() {
        if token == pattern.tokens.upperBound { continue }
        let step = tokens[token]
        var fits = byte != UInt8(ascii: "/")
        switch step.kind {
        case .byte: fits = Int(byte) == step.value
        case .set: fits = sets[step.value].contains(byte)
        case .any, .character, .characterSet, .below: break
        case .star, .everything, .directories:
          if next.insert(token + 1).inserted { open.append(token + 1) }
          if fits || step.kind != .star { after.insert(token) }
          continue
        }
        if fits { after.insert(token + 1) }
      }
      next = after
    }
    return next.contains { $0 < pattern.tokens.upperBound } || pattern.test == .path
  }

  /// Whether the tokens in `range` match all of `text` from `start` on.
  ///
  /// Two positions to backtrack to are enough: the latest `*`, which never matches a slash, and the latest `**`.
  /// Backtracking to an earlier one would not match more. So the work is bounded by text times pattern within a
  /// directory level.
  ///
  /// - Parameter characters: whether `*` matches whole characters.
  func matches(
    _ range: Range<Int>, _ text: Span<UInt8>, from start: Int, characters: Bool = false
  ) -> Bool {
    let tokens = self.tokens.span
    let sets = self.sets.span
    var token = range.lowerBound
    var index = start
    var starToken = -1
    var starIndex = 0
    var wideToken = -1
    var wideIndex = 0
    while true {
      if token == range.upperBound {
        if index == text.count { return true }
      } else {
        let step = tokens[token]
        var fits = false
        var length = 1
        switch step.kind {
        case .byte: fits = index < text.count && Int(text[index]) == step.value
        case .any: fits = index < text.count && text[index] != UInt8(ascii: "/")
        case .set: fits = index < text.count && sets[step.value].contains(text[index])
        case .character, .characterSet:
          if index < text.count, text[index] != UInt8(ascii: "/") {
            let character = ignoreCharacter(text, at: index)
            length = character.length
            fits =
              step.kind == .character || characterSets[step.value].contains(character.value)
          }
        case .below:
          if index == text.count || text[index] == UInt8(ascii: "/") { return true }
        case .star:
          starToken = token + 1
          starIndex = index
          token += 1
          continue
        case .everything where token + 1 == range.upperBound: return true
        case .everything, .directories:
          wideToken = token + 1
          wideIndex = index
          starToken = -1
          token += 1
          continue
        }
        if fits {
          index += length
          token += 1
          continue
        }
      }
      if starToken >= 0 {
        // Nothing up to the end matches what follows the star, so no later start of a `**` would.
        if starIndex == text.count { return false }
        if text[starIndex] != UInt8(ascii: "/") {
          starIndex += characters ? ignoreCharacter(text, at: starIndex).length : 1
          index = starIndex
          token = starToken
          continue
        }
        starToken = -1
      }
      if wideToken < 0 { return false }
      let toSlash = tokens[wideToken - 1].kind == .directories
      while toSlash, wideIndex < text.count, text[wideIndex] != UInt8(ascii: "/") { wideIndex += 1 }
      if wideIndex >= text.count { return false }
      wideIndex += 1
      index = wideIndex
      token = wideToken
    }
  }
}
