import TBKCore

/// Parses the subset of TOML 1.0 that mbu's configuration uses: top-level tables, one-part keys, strings, decimal
/// integers, booleans, arrays and comments.
///
/// Other features of TOML are rejected: dotted keys, floats, dates, inline tables, arrays of tables.
package enum TOML {
  /// A key and its value: a string, a number, a boolean or an array.
  package struct Member: Equatable, Sendable {
    /// The table, if any, and the key.
    package let path: [String]
    package let value: JSON
  }

  /// The maximum length of a document in bytes.
  package static let maximumLength = 64 << 10
  /// The maximum nesting depth of arrays.
  package static let maximumDepth = 16

  /// The keys of a document in order. Throws `.malformed`, with the line number.
  package static func parse(_ bytes: [UInt8]) throws(Failure) -> [Member] {
    guard bytes.count <= maximumLength else {
      throw Failure(.malformed, "it is larger than \(maximumLength) bytes")
    }
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw Failure(.malformed, "it is not UTF-8")
    }
    var reader = TOMLReader(bytes)
    do throws(Failure) {
      return try reader.document()
    } catch {
      throw error.within("line \(reader.line)")
    }
  }
}

private struct TOMLReader {
  private let bytes: [UInt8]
  private var position = 0
  private var members: [TOML.Member] = []
  /// The paths of tables and keys so far. Tables do not nest, so one set is enough.
  private var known: Set<[String]> = []

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The current line number, from 1.
  var line: Int { 1 + bytes[..<min(position, bytes.count)].count { $0 == 0x0a } }

  mutating func document() throws(Failure) -> [TOML.Member] {
    var table: String?
    while true {
      try skipBlankLines()
      guard let next = peek else { return members }
      if next == UInt8(ascii: "[") {
        table = try header()
      } else {
        try pair(in: table)
      }
      try endOfLine()
    }
  }

  // MARK: Bytes

  private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

  private func follows(_ text: StaticString) -> Bool {
    let wanted = Array("\(text)".utf8)
    return bytes[position...].starts(with: wanted)
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard peek == byte else { return false }
    position += 1
    return true
  }

  private mutating func skipBlanks() {
    while peek == 0x20 || peek == 0x09 { position += 1 }
  }

  /// Skips a comment, if there is one, up to the end of its line.
  private mutating func skipComment() throws(Failure) {
    guard peek == UInt8(ascii: "#") else { return }
    while let byte = peek, byte != 0x0a, !follows("\r\n") {
      if byte < 0x20 && byte != 0x09 || byte == 0x7f {
        throw Failure(.malformed, "a comment holds a control character")
      }
      position += 1
    }
  }

  /// A line feed, or a carriage return and a line feed.
  private mutating func takeNewline() -> Bool {
    if take(0x0a) { return true }
    guard follows("\r\n") else { return false }
    position += 2
    return true
  }

  private mutating func skipBlankLines() throws(Failure) {
    repeat {
      skipBlanks()
      try skipComment()
    } while takeNewline()
  }

  private mutating func endOfLine() throws(Failure) {
    skipBlanks()
    try skipComment()
    guard peek == nil || takeNewline() else {
      throw Failure(.malformed, "something follows the end of a value or table")
    }
  }

  // MARK: Tables and keys

  private mutating func header() throws(Failure) -> String {
    position += 1
    if peek == UInt8(ascii: "[") {
      throw Failure(.malformed, "arrays of tables are not read here")
    }
    skipBlanks()
    let name = try key()
    guard take(UInt8(ascii: "]")) else { throw Failure(.malformed, "a table's name has no end") }
    try add([name])
    return name
  }

  private mutating func pair(in table: String?) throws(Failure) {
    let key = try key()
    let path = (table.map { [$0] } ?? []) + [key]
    guard take(UInt8(ascii: "=")) else { throw Failure(.malformed, "\(shown(path)) has no '='") }
    skipBlanks()
    try add(path)
    let value: JSON
    do throws(Failure) {
      value = try self.value(depth: 0)
    } catch {
      throw error.within(shown(path))
    }
    members.append(TOML.Member(path: path, value: value))
  }

  private mutating func add(_ path: [String]) throws(Failure) {
    guard known.insert(path).inserted else { throw Failure(.malformed, "\(shown(path)) appears twice") }
  }

  private func shown(_ path: [String]) -> String { RawPath(path.joined(separator: ".")).display }

  /// Parses a one-part key and the blanks after it.
  private mutating func key() throws(Failure) -> String {
    let key = try keyPart()
    skipBlanks()
    if peek == UInt8(ascii: ".") { throw Failure(.malformed, "dotted keys are not read here") }
    return key
  }

  private mutating func keyPart() throws(Failure) -> String {
    switch peek {
    case UInt8(ascii: "\""):
      if follows("\"\"\"") { throw Failure(.malformed, "a key has more than one line") }
      position += 1
      return String(decoding: try basicString(), as: UTF8.self)
    case UInt8(ascii: "'"):
      if follows("'''") { throw Failure(.malformed, "a key has more than one line") }
      position += 1
      return String(decoding: try literalString(), as: UTF8.self)
    default:
      let start = position
      while let byte = peek, isBare(byte) { position += 1 }
      guard position > start else { throw Failure(.malformed, "a key is missing") }
      return String(decoding: bytes[start..<position], as: UTF8.self)
    }
  }

  private func isBare(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "_"), UInt8(ascii: "-"): true
    default: false
    }
  }

  // MARK: Values

  private mutating func value(depth: Int) throws(Failure) -> JSON {
    switch peek {
    case UInt8(ascii: "\""):
      if follows("\"\"\"") { return .string(try longString(UInt8(ascii: "\""))) }
      position += 1
      return .string(try basicString())
    case UInt8(ascii: "'"):
      if follows("'''") { return .string(try longString(UInt8(ascii: "'"))) }
      position += 1
      return .string(try literalString())
    case UInt8(ascii: "["): return try array(depth: depth + 1)
    case UInt8(ascii: "{"): throw Failure(.malformed, "inline tables are not read here")
    default: return try word()
    }
  }

  /// `true`, `false` or a decimal integer.
  private mutating func word() throws(Failure) -> JSON {
    let start = position
    while let byte = peek, isBare(byte) || "+.:".utf8.contains(byte) { position += 1 }
    let word = bytes[start..<position]
    if word.isEmpty { throw Failure(.malformed, "the value is missing") }
    if word.elementsEqual("true".utf8) { return .bool(true) }
    if word.elementsEqual("false".utf8) { return .bool(false) }
    guard let number = integer(word) else {
      throw Failure(
        .malformed, "the value is not a string, whole number, boolean or array")
    }
    return .number(number)
  }

  /// Nil unless it is a valid TOML integer: no leading zeros, underscores only between digits.
  private func integer(_ word: ArraySlice<UInt8>) -> Int64? {
    var digits = word
    if let sign = digits.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") {
      digits = digits.dropFirst()
    }
    let groups = digits.split(separator: UInt8(ascii: "_"), omittingEmptySubsequences: false)
    guard groups.allSatisfy({ !$0.isEmpty && $0.allSatisfy { (0x30...0x39).contains($0) } }),
      digits.count == 1 || digits.first != UInt8(ascii: "0")
    else { return nil }
    return Int64(String(decoding: word.filter { $0 != UInt8(ascii: "_") }, as: UTF8.self))
  }

  private mutating func array(depth: Int) throws(Failure) -> JSON {
    if depth > TOML.maximumDepth { throw Failure(.malformed, "arrays are nested too deeply") }
    position += 1
    var elements: [JSON] = []
    while true {
      try skipBlankLines()
      if take(UInt8(ascii: "]")) { return .array(elements) }
      elements.append(try value(depth: depth))
      try skipBlankLines()
      if take(UInt8(ascii: ",")) { continue }
      guard take(UInt8(ascii: "]")) else { throw Failure(.malformed, "the array has no end") }
      return .array(elements)
    }
  }

  // MARK: Strings

  /// Parses the rest of a string after its opening quotation mark.
  private mutating func basicString() throws(Failure) -> [UInt8] {
    var text: [UInt8] = []
    while let byte = peek {
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return text
      case UInt8(ascii: "\\"): try escape(into: &text)
      default: try append(byte, to: &text)
      }
    }
    throw Failure(.malformed, "the string has no end")
  }

  private mutating func literalString() throws(Failure) -> [UInt8] {
    var text: [UInt8] = []
    while let byte = peek {
      position += 1
      if byte == UInt8(ascii: "'") { return text }
      try append(byte, to: &text)
    }
    throw Failure(.malformed, "the string has no end")
  }

  private func append(_ byte: UInt8, to text: inout [UInt8]) throws(Failure) {
    if byte < 0x20 && byte != 0x09 || byte == 0x7f {
      throw Failure(.malformed, "the string holds a control character, or has no end")
    }
    text.append(byte)
  }

  /// Parses a string between three of `quote`; double quotes allow escapes.
  private mutating func longString(_ quote: UInt8) throws(Failure) -> [UInt8] {
    position += 3
    _ = takeNewline()
    var text: [UInt8] = []
    while let byte = peek {
      if byte == quote {
        var count = 0
        while count < 5, take(quote) { count += 1 }
        // The last three end the string; one or two before them belong to it.
        if count >= 3 { return text + Array(repeating: quote, count: count - 3) }
        text += Array(repeating: quote, count: count)
        continue
      }
      if takeNewline() {
        text.append(0x0a)
        continue
      }
      position += 1
      if byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
        if try !foldLine() { try escape(into: &text) }
      } else {
        try append(byte, to: &text)
      }
    }
    throw Failure(.malformed, "the string has no end")
  }

  /// After a backslash: if it ends the line, skips to the next text; otherwise returns false.
  private mutating func foldLine() throws(Failure) -> Bool {
    let start = position
    skipBlanks()
    guard takeNewline() else {
      position = start
      return false
    }
    repeat { skipBlanks() } while takeNewline()
    return true
  }

  private mutating func escape(into text: inout [UInt8]) throws(Failure) {
    guard let byte = peek else { throw Failure(.malformed, "the string has no end") }
    position += 1
    switch byte {
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "n"): text.append(0x0a)
    case UInt8(ascii: "f"): text.append(0x0c)
    case UInt8(ascii: "r"): text.append(0x0d)
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): text.append(byte)
    case UInt8(ascii: "u"): try scalar(digits: 4, into: &text)
    case UInt8(ascii: "U"): try scalar(digits: 8, into: &text)
    default: throw Failure(.malformed, "the string holds an unknown escape sequence")
    }
  }

  private mutating func scalar(digits: Int, into text: inout [UInt8]) throws(Failure) {
    let end = min(position + digits, bytes.count)
    let digitBytes = bytes[position..<end]
    guard digitBytes.count == digits, digitBytes.allSatisfy({ isHexadecimal($0) }),
      let code = UInt32(String(decoding: digitBytes, as: UTF8.self), radix: 16),
      let scalar = Unicode.Scalar(code)
    else { throw Failure(.malformed, "the string holds an escape that is not a character") }
    position = end
    text += Array(String(Character(scalar)).utf8)
  }

  private func isHexadecimal(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x46, 0x61...0x66: true
    default: false
    }
  }
}
