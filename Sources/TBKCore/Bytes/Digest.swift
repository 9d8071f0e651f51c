/// The 32 bytes of a SHA-256 hash (FIPS 180-4).
package struct Digest: Hashable, Sendable {
  private var words: (UInt64, UInt64, UInt64, UInt64)

  /// - Parameter bytes: exactly 32.
  package init?(_ bytes: Span<UInt8>) {
    guard bytes.count == 32 else { return nil }
    func word(_ start: Int) -> UInt64 {
      var value: UInt64 = 0
      for index in start..<start + 8 { value = value << 8 | UInt64(bytes[index]) }
      return value
    }
    words = (word(0), word(8), word(16), word(24))
  }

  /// - Parameter hex: exactly 64 lower-case hexadecimal digits.
  package init?(hex: some StringProtocol) { self.init(hexDigits: Array(hex.utf8)) }

  /// - Parameter digits: exactly 64 lower-case hexadecimal digits.
  package init?(hexDigits digits: [UInt8]) {
    guard digits.count == 64 else { return nil }
    func word(_ start: Int) -> UInt64? {
      var value: UInt64 = 0
      for index in start..<start + 16 {
        let digit = digits[index]
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(digit & 15)
        case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt64(digit & 15 + 9)
        default: return nil
        }
      }
      return value
    }
    guard let first = word(0), let second = word(16), let third = word(32), let last = word(48)
    else { return nil }
    words = (first, second, third, last)
  }

  package var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(32)
    for word in [words.0, words.1, words.2, words.3] { bytes.append(bigEndian: word, width: 8) }
    return bytes
  }

  /// 64 lower-case hexadecimal digits.
  package var hex: String { bytes.hex }

  /// Gives the 64 digits of `hex` one by one.
  package func forEachHexDigit(_ body: (UInt8) -> Void) {
    for word in [words.0, words.1, words.2, words.3] {
      for shift in stride(from: UInt64(60), through: 0, by: -4) {
        let digit = UInt8(truncatingIfNeeded: word >> shift) & 15
        body(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit)
      }
    }
  }

  package static func == (one: Digest, other: Digest) -> Bool { one.words == other.words }

  package func hash(into hasher: inout Hasher) {
    // All of it: ids come from a store that may have chosen them.
    hasher.combine(words.0)
    hasher.combine(words.1)
    hasher.combine(words.2)
    hasher.combine(words.3)
  }

  /// The hash of no bytes.
  package static let ofNothing = Digest(
    hex: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")!
}
