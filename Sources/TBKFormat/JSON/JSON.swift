import TBKCore

/// A JSON value (RFC 8259) that can be written back unchanged: numbers stay tokens, and the members of an object keep
/// their order.
package indirect enum JSON: Equatable, Sendable {
  case null
  case bool(Bool)
  /// The unchanged token.
  case number(String)
  /// Bytes; those that are not UTF-8 are represented in JSON as the lone surrogates `\udc80`–`\udcff` (Python's
  /// `surrogateescape`).
  case string([UInt8])
  case array([JSON])
  case object([Member])

  package struct Member: Equatable, Sendable {
    package var key: String
    package var value: JSON

    package init(_ key: String, _ value: JSON) {
      self.key = key
      self.value = value
    }
  }

  package static func string(_ text: String) -> JSON { .string(Array(text.utf8)) }
  package static func number(_ value: some BinaryInteger) -> JSON { .number(String(value)) }

  /// An object with these members, in this order.
  package static func object(_ members: KeyValuePairs<String, JSON>) -> JSON {
    .object(members.map { Member($0.key, $0.value) })
  }

  /// The value of a member of an object; nil if there is none, or this is not an object.
  ///
  /// Setting it to nil removes the member; a new one is appended.
  package subscript(key: String) -> JSON? {
    get {
      guard case .object(let members) = self else { return nil }
      return members.first { $0.key == key }?.value
    }
    set {
      guard case .object(var members) = self else { return }
      let index = members.firstIndex { $0.key == key }
      switch (index, newValue) {
      case (let index?, let value?): members[index].value = value
      case (let index?, nil): members.remove(at: index)
      case (nil, let value?): members.append(Member(key, value))
      case (nil, nil): break
      }
      self = .object(members)
    }
  }

  /// The string as text; nil if it is not a string or not UTF-8.
  package var text: String? {
    guard case .string(let bytes) = self else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }

  package var bytes: [UInt8]? {
    guard case .string(let bytes) = self else { return nil }
    return bytes
  }

  /// The number, if it is written as an integer that fits.
  package func integer<Value: FixedWidthInteger>(_: Value.Type = Value.self) -> Value? {
    guard case .number(let token) = self else { return nil }
    return Value(token)
  }

  /// Whether it is a number that is zero or less.
  package var isNotPositive: Bool {
    if case .number(let token) = self, let value = Double(token) { value <= 0 } else { false }
  }

  /// Whether it is an empty string or only white space.
  package var isBlank: Bool {
    bytes?.allSatisfy { $0 == 0x20 || (0x09...0x0d).contains($0) } ?? false
  }

  package var boolean: Bool? {
    guard case .bool(let value) = self else { return nil }
    return value
  }

  package var elements: [JSON]? {
    guard case .array(let elements) = self else { return nil }
    return elements
  }

  package var members: [Member]? {
    guard case .object(let members) = self else { return nil }
    return members
  }

  package var isNull: Bool { self == .null }

  /// Parses one value with nothing after it.
  ///
  /// - Parameter what: the name of the text in failures.
  package static func parse(_ bytes: [UInt8], what: String) throws(Failure) -> JSON {
    do throws(Failure) {
      var reader = JSONReader(bytes)
      let value = try reader.value()
      try reader.end()
      return value
    } catch {
      throw error.within(what)
    }
  }

  /// The canonical form: keys sorted by code point, no white space, ASCII only. Equal to Python's `json.dumps(value,
  /// sort_keys=True, separators=(",", ":"))`, except that number tokens are kept.
  package func canonical() -> [UInt8] {
    var output: [UInt8] = []
    write(to: &output, sorted: true, indent: nil, level: 0)
    return output
  }

  /// For people and for files that people edit: indented by `indent` spaces, order kept, ASCII only, with a final line
  /// feed.
  package func pretty(indent: Int = 2) -> [UInt8] {
    var output: [UInt8] = []
    write(to: &output, sorted: false, indent: indent, level: 0)
    output.append(UInt8(ascii: "\n"))
    return output
  }

  /// One line, order kept, no line feed.
  package func line() -> [UInt8] {
    var output: [UInt8] = []
    write(to: &output, sorted: false, indent: nil, level: 0)
    return output
  }

  private func write(to output: inout [UInt8], sorted: Bool, indent: Int?, level: Int) {
    func newLine(_ level: Int) {
      guard let indent else { return }
      output.append(UInt8(ascii: "\n"))
      output += [UInt8](repeating: UInt8(ascii: " "), count: indent * level)
    }
    switch self {
    case .null: output += "null".utf8
    case .bool(let value): output += (value ? "true" : "false").utf8
    case .number(let token): output += token.utf8
    case .string(let bytes): output.appendJSONString(bytes.span)
    case .array(let elements):
      output.append(UInt8(ascii: "["))
      for (index, element) in elements.enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        newLine(level + 1)
        element.write(to: &output, sorted: sorted, indent: indent, level: level + 1)
      }
      if !elements.isEmpty { newLine(level) }
      output.append(UInt8(ascii: "]"))
    case .object(let members):
      output.append(UInt8(ascii: "{"))
      let ordered =
        sorted
        ? members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) } : members
      for (index, member) in ordered.enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        newLine(level + 1)
        output.appendJSONString(Array(member.key.utf8).span)
        output.append(UInt8(ascii: ":"))
        if indent != nil { output.append(UInt8(ascii: " ")) }
        member.value.write(to: &output, sorted: sorted, indent: indent, level: level + 1)
      }
      if !members.isEmpty { newLine(level) }
      output.append(UInt8(ascii: "}"))
    }
  }
}

extension Array where Element == UInt8 {
  /// Appends `bytes` as a JSON string in ASCII, escaped like Python's `json.dumps`, with each byte that is not UTF-8 as
  /// a lone surrogate.
  package mutating func appendJSONString(_ bytes: Span<UInt8>) {
    append(UInt8(ascii: "\""))
    var index = 0
    while index < bytes.count {
      let start = index
      while index < bytes.count, isPlainInJSON(bytes[index]) { index += 1 }
      if index > start { append(bytes.extracting(start..<index)) }
      guard index < bytes.count else { break }
      let byte = bytes[index]
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        append(UInt8(ascii: "\\"))
        append(byte)
        index += 1
      case 0x0a: index += appendEscape("n")
      case 0x0d: index += appendEscape("r")
      case 0x09: index += appendEscape("t")
      case 0x08: index += appendEscape("b")
      case 0x0c: index += appendEscape("f")
      default:
        let (scalar, length) = decodeUTF8(bytes, at: index)
        switch scalar {
        case nil: appendUnicodeEscape(0xdc00 + UInt32(byte))
        case let scalar? where scalar >= 0x10000:
          appendUnicodeEscape(0xd800 + (scalar - 0x10000) >> 10)
          appendUnicodeEscape(0xdc00 + (scalar - 0x10000) & 0x3ff)
        case let scalar?: appendUnicodeEscape(scalar)
        }
        index += length
      }
    }
    append(UInt8(ascii: "\""))
  }

  private mutating func appendEscape(_ letter: Unicode.Scalar) -> Int {
    append(UInt8(ascii: "\\"))
    append(UInt8(ascii: letter))
    return 1
  }

  private mutating func appendUnicodeEscape(_ unit: UInt32) {
    append(UInt8(ascii: "\\"))
    append(UInt8(ascii: "u"))
    for shift in [12, 8, 4, 0] { append(hexDigits[Int(unit >> UInt32(shift) & 15)]) }
  }

  /// Appends a code point below 0x110000 as UTF-8.
  mutating func appendUTF8(_ scalar: UInt32) {
    switch scalar {
    case ..<0x80: append(UInt8(scalar))
    case ..<0x800:
      append(0xc0 | UInt8(scalar >> 6))
      append(0x80 | UInt8(scalar & 0x3f))
    case ..<0x10000:
      append(0xe0 | UInt8(scalar >> 12))
      append(0x80 | UInt8(scalar >> 6 & 0x3f))
      append(0x80 | UInt8(scalar & 0x3f))
    default:
      append(0xf0 | UInt8(scalar >> 18))
      append(0x80 | UInt8(scalar >> 12 & 0x3f))
      append(0x80 | UInt8(scalar >> 6 & 0x3f))
      append(0x80 | UInt8(scalar & 0x3f))
    }
  }
}

/// Whether we write a byte unescaped in a JSON string.
private func isPlainInJSON(_ byte: UInt8) -> Bool {
  byte >= 0x20 && byte < 0x7f && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
}

/// The code point at `index` and its length in bytes; nil and 1 if it is not well-formed UTF-8 (RFC 3629: no overlong
/// forms, no surrogates).
package func decodeUTF8(_ bytes: Span<UInt8>, at index: Int) -> (scalar: UInt32?, length: Int) {
  let first = bytes[index]
  let length: Int
  var scalar: UInt32
  switch first {
  case ..<0x80: return (UInt32(first), 1)
  case 0xc2...0xdf: (length, scalar) = (2, UInt32(first & 0x1f))
  case 0xe0...0xef: (length, scalar) = (3, UInt32(first & 0x0f))
  case 0xf0...0xf4: (length, scalar) = (4, UInt32(first & 0x07))
  default: return (nil, 1)
  }
  guard bytes.count - index >= length else { return (nil, 1) }
  for offset in 1..<length {
    let byte = bytes[index + offset]
    guard byte & 0xc0 == 0x80 else { return (nil, 1) }
    scalar = scalar << 6 | UInt32(byte & 0x3f)
  }
  let valid =
    switch length {
    case 3: scalar >= 0x800 && !(0xd800...0xdfff).contains(scalar)
    case 4: scalar >= 0x10000 && scalar < 0x110000
    default: true
    }
  return valid ? (scalar, length) : (nil, 1)
}
