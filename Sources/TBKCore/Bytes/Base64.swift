private let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

extension Array where Element == UInt8 {
  /// Appends `bytes` in base64 with padding (RFC 4648, 4).
  package mutating func appendBase64(_ bytes: [UInt8]) {
    var index = 0
    while index < bytes.count {
      let rest = bytes.count - index
      let second = rest > 1 ? bytes[index + 1] : 0
      let third = rest > 2 ? bytes[index + 2] : 0
      append(alphabet[Int(bytes[index] >> 2)])
      append(alphabet[Int((bytes[index] & 3) << 4 | second >> 4)])
      append(rest > 1 ? alphabet[Int((second & 15) << 2 | third >> 6)] : UInt8(ascii: "="))
      append(rest > 2 ? alphabet[Int(third & 63)] : UInt8(ascii: "="))
      index += 3
    }
  }

  /// `bytes` in base64 without padding (RFC 4648, 3.2), as age writes it.
  package static func unpaddedBase64(_ bytes: [UInt8]) -> [UInt8] {
    var text: [UInt8] = []
    text.appendBase64(bytes)
    while text.last == UInt8(ascii: "=") { text.removeLast() }
    return text
  }

  /// Decodes `text`; nil unless it is exactly what `unpaddedBase64` writes.
  package init?(unpaddedBase64 text: [UInt8]) {
    guard text.last != UInt8(ascii: "="), text.count % 4 != 1 else { return nil }
    self.init(base64: text + Array(repeating: UInt8(ascii: "="), count: (4 - text.count % 4) % 4))
  }

  /// Decodes `text`; nil unless it is exactly what `appendBase64` writes.
  package init?(base64 text: [UInt8]) {
    guard text.count % 4 == 0 else { return nil }
    self = []
    reserveCapacity(text.count / 4 * 3)
    var bits: UInt32 = 0
    var padding = 0
    for (index, character) in text.enumerated() {
      var value: UInt32 = 0
      if character == UInt8(ascii: "=") {
        guard index >= text.count - 2 else { return nil }
        padding += 1
      } else {
        guard padding == 0, let digit = base64Value(character) else { return nil }
        value = UInt32(digit)
      }
      bits = bits << 6 | value
      if index % 4 == 3 {
        append(UInt8(bits >> 16 & 255))
        append(UInt8(bits >> 8 & 255))
        append(UInt8(bits & 255))
        bits = 0
      }
    }
    guard suffix(padding).allSatisfy({ $0 == 0 }) else { return nil }
    removeLast(padding)
  }
}

private func base64Value(_ character: UInt8) -> UInt8? {
  switch character {
  case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - UInt8(ascii: "A")
  case UInt8(ascii: "a")...UInt8(ascii: "z"): character - UInt8(ascii: "a") + 26
  case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0") + 52
  case UInt8(ascii: "+"): 62
  case UInt8(ascii: "/"): 63
  default: nil
  }
}
