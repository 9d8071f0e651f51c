import TBKCore

/// The location of one PEM block (RFC 7468) in a text. Its content may be a secret.
struct PEM {
  /// The maximum length of the text, in bytes.
  static let lengthLimit = 64 * 1024

  let label: String
  private let body: Range<Int>

  // MARK: Reading

  /// Finds the only PEM block in a text. Text around it is ignored; a second block is rejected as ambiguous.
  init(parsing text: Span<UInt8>) throws(Failure) {
    guard text.count <= PEM.lengthLimit else {
      throw Failure(.malformed, "it is larger than \(PEM.lengthLimit) bytes")
    }
    var lines = Lines(end: text.count)
    var found: String?
    while found == nil, let line = lines.next(text) {
      found = PEM.label(of: line, after: "-----BEGIN ", in: text)
    }
    guard let label = found else {
      throw Failure(
        .malformed, "it holds no key in PEM", hint: "tbk-sign keygen makes one; so does openssl")
    }
    let start = lines.position
    var end: Int?
    while end == nil, let line = lines.next(text) {
      if let ending = PEM.label(of: line, after: "-----END ", in: text) {
        guard ending == label else {
          throw Failure(.malformed, "the PEM block of a \(label) ends as that of a \(ending)")
        }
        end = line.lowerBound
      }
    }
    guard let end else { throw Failure(.truncated, "the PEM block has no END line") }
    while let line = lines.next(text) {
      if PEM.label(of: line, after: "-----BEGIN ", in: text) != nil {
        throw Failure(.malformed, "it holds more than one PEM block")
      }
    }
    self.label = label
    body = start..<end
  }

  /// Decodes the content of the block. `text` is the text that was parsed.
  func content(in text: Span<UInt8>) throws(Failure) -> Secret {
    try PEM.decode(text.extracting(body))
  }

  /// The lines of a text, without trailing white space.
  private struct Lines {
    var position = 0
    let end: Int

    init(end: Int) { self.end = end }

    mutating func next(_ text: Span<UInt8>) -> Range<Int>? {
      if position == end { return nil }
      let start = position
      while position < end, text[position] != UInt8(ascii: "\n") { position += 1 }
      var last = position
      if position < end { position += 1 }
      while last > start, isSpace(text[last - 1]) { last -= 1 }
      return start..<last
    }
  }

  /// The label of an encapsulation boundary; nil if the line is not one.
  private static func label(
    of line: Range<Int>, after prefix: String, in text: Span<UInt8>
  ) -> String? {
    let dashes = Array("-----".utf8)
    guard line.count > prefix.utf8.count + dashes.count,
      text.extracting(line.lowerBound..<line.lowerBound + prefix.utf8.count)
        .elementsEqual(Array(prefix.utf8)),
      text.extracting(line.upperBound - dashes.count..<line.upperBound).elementsEqual(dashes)
    else { return nil }
    let label = text.extracting(
      line.lowerBound + prefix.utf8.count..<line.upperBound - dashes.count)
    for index in label.indices
    where !(UInt8(ascii: " ")...UInt8(ascii: "Z")).contains(label[index])
      || label[index] == UInt8(ascii: "-")
    {
      return nil
    }
    return String(decoding: Array(label), as: UTF8.self)
  }

  /// Decodes base64 with padding, and white space anywhere (RFC 7468, 3, "laxbase64text").
  private static func decode(_ text: Span<UInt8>) throws(Failure) -> Secret {
    let decoded = try Secret(count: text.count / 4 * 3 + 3)
    var count = 0
    var bits: UInt32 = 0
    var digits = 0
    var padding = 0
    for index in text.indices {
      let character = text[index]
      if isSpace(character) || character == UInt8(ascii: "\n") { continue }
      if character == UInt8(ascii: "=") {
        padding += 1
      } else {
        guard padding == 0, let value = base64Value(character) else {
          throw Failure(.malformed, "the PEM block is not base64")
        }
        bits = bits << 6 | value
      }
      digits += 1
      guard digits % 4 == 0 else { continue }
      guard padding <= 2 else { throw Failure(.malformed, "the PEM block is not base64") }
      let group = bits << UInt32(6 * padding)
      let bytes = 3 - padding
      // Leftover bits must be zero: one encoding for each value.
      guard group & ((1 << UInt32(8 * padding)) - 1) == 0 else {
        throw Failure(.malformed, "the PEM block is not base64")
      }
      decoded.withMutableBytes { target in
        for offset in 0..<bytes {
          target[count + offset] = UInt8(truncatingIfNeeded: group >> UInt32(16 - 8 * offset))
        }
      }
      count += bytes
      bits = 0
    }
    guard digits % 4 == 0 else { throw Failure(.malformed, "the PEM block is not base64") }
    let length = count
    return try decoded.withBytes { (bytes) throws(Failure) in
      try Secret(copying: bytes.extracting(0..<length))
    }
  }

  // MARK: Writing

  /// Encodes a block: base64 in lines of 64 characters.
  static func write(_ label: String, _ content: borrowing Secret) throws(Failure) -> Secret {
    let (first, last) = (
      Array("-----BEGIN \(label)-----\n".utf8), Array("-----END \(label)-----\n".utf8)
    )
    let digits = (content.count + 2) / 3 * 4
    let text = try Secret(count: first.count + digits + (digits + 63) / 64 + last.count)
    content.withBytes { source in
      text.withMutableBytes { target in
        var position = 0
        func put(_ byte: UInt8) {
          target[position] = byte
          position += 1
        }
        for byte in first { put(byte) }
        for group in 0..<digits / 4 {
          let start = group * 3
          let given = min(3, source.count - start)
          var bits: UInt32 = 0
          for offset in 0..<3 {
            bits = bits << 8 | (offset < given ? UInt32(source[start + offset]) : 0)
          }
          for place in 0..<4 {
            let value = Int(bits >> UInt32(18 - 6 * place) & 63)
            put(place <= given ? base64Digits[value] : UInt8(ascii: "="))
          }
          if group % 16 == 15 || group == digits / 4 - 1 { put(UInt8(ascii: "\n")) }
        }
        for byte in last { put(byte) }
      }
    }
    return text
  }
}

private func isSpace(_ byte: UInt8) -> Bool {
  byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
}

private let base64Digits = Array(
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

private func base64Value(_ character: UInt8) -> UInt32? {
  switch character {
  case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(character - UInt8(ascii: "A"))
  case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(character - UInt8(ascii: "a") + 26)
  case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(character - UInt8(ascii: "0") + 52)
  case UInt8(ascii: "+"): 62
  case UInt8(ascii: "/"): 63
  default: nil
  }
}
