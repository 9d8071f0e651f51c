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
    let digits = digits.span
    // No branch per digit: the processor could not predict it.
    var wrong: UInt8 = 0
    func word(_ start: Int) -> UInt64 {
      var value: UInt64 = 0
      for index in start..<start + 16 {
        let digit = digits[index]
        let isDecimal: UInt8 = digit &- UInt8(ascii: "0") < 10 ? 1 : 0
        let isLetter: UInt8 = digit &- UInt8(ascii: "a") < 6 ? 1 : 0
        wrong |= 1 &- isDecimal &- isLetter
        value = value << 4 | UInt64((digit & 15) &+ 9 &* isLetter)
      }
      return value
    }
    words = (word(0), word(16), word(32), word(48))
    if wrong != 0 { return nil }
  }

  package var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(32)
    for word in [words.0, words.1, words.2, words.3] { bytes.append(bigEndian: word, width: 8) }
    return bytes
  }

  /// 64 lower-case hexadecimal digits.
  package var hex: String { bytes.hex }

  /// The digits of `hex`.
  package var hexDigits: InlineArray<64, UInt8> {
    var digits = InlineArray<64, UInt8>(repeating: 0)
    func put(_ word: UInt64, _ start: Int) {
      var rest = word
      for place in 0..<16 {
        let digit = UInt8(truncatingIfNeeded: rest) & 15
        // "a" is 39 after ":", which follows "9".
        let isLetter: UInt8 = digit > 9 ? 1 : 0
        digits[start + 15 - place] = UInt8(ascii: "0") &+ digit &+ 39 &* isLetter
        rest >>= 4
      }
    }
    put(words.0, 0)
    put(words.1, 16)
    put(words.2, 32)
    put(words.3, 48)
    return digits
  }

  package static func == (one: Digest, other: Digest) -> Bool { one.words == other.words }

  package func hash(into hasher: inout Hasher) {
    // All of it: a hostile store may have chosen the hashes.
    hasher.combine(words.0)
    hasher.combine(words.1)
    hasher.combine(words.2)
    hasher.combine(words.3)
  }

  /// The hash of no bytes.
  package static let ofNothing = Digest(
    hex: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")!
}
