import TBKCore

/// Parses a JSON text value by value, strictly: no duplicate keys, no trailing commas, only JSON's number syntax,
/// bounded depth.
///
/// Failures are `.malformed` and give the offset.
package struct JSONReader {
  /// The maximum nesting depth of arrays and objects. Ours are at most five deep.
  package static let maximumDepth = 64

  /// The kind of the next value, by its first character.
  package enum Kind { case null, bool, number, string, array, object }

  private let bytes: [UInt8]
  package private(set) var position = 0
  private var depth = 0
  /// The position where the current value must have ended.
  private var bound = Int.max

  package init(_ bytes: [UInt8]) { self.bytes = bytes }

  private func malformed(_ message: String) -> Failure {
    Failure(.malformed, "\(message) at offset \(position) of JSON")
  }

  private mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x0a, 0x0d, 0x09: position += 1
      default: return
      }
    }
  }

  private mutating func peek() throws(Failure) -> UInt8 {
    skipSpace()
    guard position < bytes.count else { throw malformed("the text ends early") }
    return bytes[position]
  }

  private mutating func expect(_ word: StaticString) throws(Failure) {
    let length = word.utf8CodeUnitCount
    guard bytes.count - position >= length else { throw malformed("the text ends early") }
    for offset in 0..<length
    where unsafe bytes[position + offset] != word.utf8Start[offset] {
      throw malformed("unexpected character")
    }
    position += length
  }

  /// Throws if anything but white space is left.
  package mutating func end() throws(Failure) {
    skipSpace()
    guard position == bytes.count else { throw malformed("something follows the value") }
  }

  package mutating func kind() throws(Failure) -> Kind {
    switch try peek() {
    case UInt8(ascii: "n"): .null
    case UInt8(ascii: "t"), UInt8(ascii: "f"): .bool
    case UInt8(ascii: "\""): .string
    case UInt8(ascii: "["): .array
    case UInt8(ascii: "{"): .object
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): .number
    default: throw malformed("unexpected character")
    }
  }

  // MARK: Containers

  private mutating func enter() throws(Failure) {
    depth += 1
    if depth > JSONReader.maximumDepth { throw malformed("values are nested too deeply") }
    position += 1
  }

  package mutating func beginObject() throws(Failure) {
    guard try peek() == UInt8(ascii: "{") else { throw malformed("an object is expected") }
    try enter()
  }

  /// The next key, decoded; nil when the object has ended.
  ///
  /// - Parameter first: whether this is the first call since `beginObject()`; set to false.
  package mutating func nextKey(_ first: inout Bool) throws(Failure) -> [UInt8]? {
    if try peek() == UInt8(ascii: "}") {
      position += 1
      depth -= 1
      return nil
    }
    if !first {
      guard bytes[position] == UInt8(ascii: ",") else { throw malformed("a comma is expected") }
      position += 1
    }
    first = false
    let key = try string()
    try colon()
    return key
  }

  /// The next key as a range of the text if it has no escapes, which saves a copy; otherwise decoded. Nil when the
  /// object has ended.
  mutating func nextPlainKey(_ first: inout Bool) throws(Failure) -> PlainKey? {
    let before = position
    skipSpace()
    if !first, position < bytes.count, bytes[position] == UInt8(ascii: ",") {
      position += 1
      skipSpace()
    } else if !first || position >= bytes.count {
      position = before
      return try nextKey(&first).map { .decoded($0) }
    }
    guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
      position = before
      return try nextKey(&first).map { .decoded($0) }
    }
    var end = position + 1
    while end < bytes.count, bytes[end] >= 0x20, bytes[end] < 0x80, bytes[end] != UInt8(ascii: "\""),
      bytes[end] != UInt8(ascii: "\\")
    { end += 1 }
    guard end < bytes.count, bytes[end] == UInt8(ascii: "\"") else {
      position = before
      return try nextKey(&first).map { .decoded($0) }
    }
    let range = position + 1..<end
    position = end + 1
    first = false
    try colon()
    return .plain(range)
  }

  enum PlainKey {
    case plain(Range<Int>)
    case decoded([UInt8])
  }

  /// The bytes of a key.
  func bytes(of key: PlainKey) -> [UInt8] {
    switch key {
    case .plain(let range): Array(bytes[range])
    case .decoded(let bytes): bytes
    }
  }

  /// Whether the text has `name` at a range of the same length.
  func matches(_ range: Range<Int>, _ name: [UInt8]) -> Bool {
    for offset in 0..<name.count where bytes[range.lowerBound + offset] != name[offset] {
      return false
    }
    return true
  }

  /// Consumes the colon between a key and its value.
  mutating func colon() throws(Failure) {
    guard try peek() == UInt8(ascii: ":") else { throw malformed("a colon is expected") }
    position += 1
  }

  package mutating func beginArray() throws(Failure) {
    guard try peek() == UInt8(ascii: "[") else { throw malformed("an array is expected") }
    try enter()
  }

  /// Whether another element follows; false when the array has ended.
  package mutating func nextElement(_ first: inout Bool) throws(Failure) -> Bool {
    if try peek() == UInt8(ascii: "]") {
      position += 1
      depth -= 1
      return false
    }
    if !first {
      guard bytes[position] == UInt8(ascii: ",") else { throw malformed("a comma is expected") }
      position += 1
    }
    first = false
    return true
  }

  // MARK: Scalars

  package mutating func null() throws(Failure) { try expect("null") }

  package mutating func bool() throws(Failure) -> Bool {
    if try peek() == UInt8(ascii: "t") {
      try expect("true")
      return true
    }
    try expect("false")
    return false
  }

  /// The unchanged token of a number.
  package mutating func number() throws(Failure) -> ArraySlice<UInt8> {
    _ = try peek()
    let start = position
    func isDigit(_ index: Int) -> Bool {
      index < bytes.count && (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[index])
    }
    if bytes[position] == UInt8(ascii: "-") { position += 1 }
    guard isDigit(position) else { throw malformed("a number is expected") }
    if bytes[position] == UInt8(ascii: "0") {
      position += 1
      if isDigit(position) { throw malformed("a number has a leading zero") }
    } else {
      while isDigit(position) { position += 1 }
    }
    if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
      position += 1
      guard isDigit(position) else { throw malformed("a number has no decimals") }
      while isDigit(position) { position += 1 }
    }
    if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
      position += 1
      if position < bytes.count, [UInt8(ascii: "+"), UInt8(ascii: "-")].contains(bytes[position]) {
        position += 1
      }
      guard isDigit(position) else { throw malformed("a number has no exponent") }
      while isDigit(position) { position += 1 }
    }
    return bytes[start..<position]
  }

  /// A string as bytes: UTF-8, and the bytes that lone surrogates `\udc80`–`\udcff` stand for.
  ///
  /// Any other lone surrogate, and surrogates that together form valid UTF-8, are malformed: each string has only one
  /// encoding.
  package mutating func string() throws(Failure) -> [UInt8] {
    guard try peek() == UInt8(ascii: "\"") else { throw malformed("a string is expected") }
    position += 1
    var output: [UInt8] = []
    var escapes = 0
    while true {
      let start = position
      while position < bytes.count, bytes[position] >= 0x20, bytes[position] < 0x80,
        bytes[position] != UInt8(ascii: "\""), bytes[position] != UInt8(ascii: "\\")
      { position += 1 }
      output += bytes[start..<position]
      guard position < bytes.count else { throw malformed("a string does not end") }
      switch bytes[position] {
      case UInt8(ascii: "\""):
        position += 1
        if escapes > 0 { try checkSpelling(of: output, escapes: escapes) }
        return output
      case UInt8(ascii: "\\"):
        position += 1
        try escape(into: &output, escapes: &escapes)
      case ..<0x20: throw malformed("a control character in a string")
      default:
        let bytes = self.bytes
        let (scalar, length) = decodeUTF8(bytes.span, at: position)
        guard scalar != nil else { throw malformed("a string is not UTF-8") }
        output += bytes[position..<position + length]
        position += length
      }
    }
  }

  private mutating func escape(
    into output: inout [UInt8], escapes: inout Int
  ) throws(Failure) {
    guard position < bytes.count else { throw malformed("a string does not end") }
    let letter = bytes[position]
    position += 1
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): output.append(letter)
    case UInt8(ascii: "b"): output.append(8)
    case UInt8(ascii: "f"): output.append(12)
    case UInt8(ascii: "n"): output.append(10)
    case UInt8(ascii: "r"): output.append(13)
    case UInt8(ascii: "t"): output.append(9)
    case UInt8(ascii: "u"):
      let unit = try unicodeEscape()
      switch unit {
      case 0xd800...0xdbff:
        guard bytes.count - position >= 6, bytes[position] == UInt8(ascii: "\\"),
          bytes[position + 1] == UInt8(ascii: "u")
        else { throw malformed("a lone surrogate") }
        position += 2
        let low = try unicodeEscape()
        guard (0xdc00...0xdfff).contains(low) else { throw malformed("a lone surrogate") }
        output.appendUTF8(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00))
      case 0xdc80...0xdcff:
        output.append(UInt8(unit - 0xdc00))
        escapes += 1
      case 0xdc00...0xdfff: throw malformed("a lone surrogate")
      default: output.appendUTF8(unit)
      }
    default: throw malformed("an unknown escape")
    }
  }

  private mutating func unicodeEscape() throws(Failure) -> UInt32 {
    guard bytes.count - position >= 4 else { throw malformed("a string does not end") }
    var unit: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = hexValue(bytes[position]) else { throw malformed("a bad \\u escape") }
      unit = unit << 4 | UInt32(digit)
      position += 1
    }
    return unit
  }

  /// Bytes that were escaped one by one must not form UTF-8 with their neighbours.
  private func checkSpelling(of output: [UInt8], escapes: Int) throws(Failure) {
    var invalid = 0
    var index = 0
    while index < output.count {
      let (scalar, length) = decodeUTF8(output.span, at: index)
      if scalar == nil { invalid += 1 }
      index += length
    }
    if invalid != escapes { throw malformed("surrogates that spell UTF-8") }
  }

  // MARK: Anything

  /// Skips one value and returns its unchanged text. Does not check for repeated keys and keys that are not UTF-8.
  package mutating func skip() throws(Failure) -> ArraySlice<UInt8> {
    let kind = try kind()
    let start = position
    var first = true
    switch kind {
    case .null: try null()
    case .bool: _ = try bool()
    case .number: _ = try number()
    case .string: _ = try string()
    case .array:
      try beginArray()
      while try nextElement(&first) { _ = try skip() }
    case .object:
      try beginObject()
      while try nextKey(&first) != nil { _ = try skip() }
    }
    return bytes[start..<position]
  }

  /// Parses a value of at most `limit` bytes of text: parsed, small values take many times as much memory.
  package mutating func value(atMost limit: Int) throws(Failure) -> JSON {
    let (end, overflow) = position.addingReportingOverflow(limit)
    bound = overflow ? .max : end
    defer { bound = .max }
    let value = try value()
    guard position <= bound else { throw malformed("a value is too long") }
    return value
  }

  package mutating func value() throws(Failure) -> JSON {
    guard position <= bound else { throw malformed("a value is too long") }
    switch try kind() {
    case .null:
      try null()
      return .null
    case .bool: return .bool(try bool())
    case .number: return .number(String(decoding: try number(), as: UTF8.self))
    case .string: return .string(try string())
    case .array:
      try beginArray()
      var elements: [JSON] = []
      var first = true
      while try nextElement(&first) { elements.append(try value()) }
      return .array(elements)
    case .object:
      try beginObject()
      var members: [JSON.Member] = []
      var seen: Set<[UInt8]> = []
      var first = true
      while let key = try nextKey(&first) {
        guard seen.insert(key).inserted else {
          throw malformed("the key \(RawPath(key).display) appears twice")
        }
        guard let text = String(validating: key, as: UTF8.self) else {
          throw malformed("a key is not UTF-8")
        }
        members.append(JSON.Member(text, try value()))
      }
      return .object(members)
    }
  }
}
