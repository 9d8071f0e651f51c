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
  package init?(hex: some StringProtocol) {
    guard hex.utf8.count == 64, !hex.utf8.contains(where: { 65...90 ~= $0 }),
      let bytes = [UInt8](hex: hex)
    else { return nil }
    self.init(bytes.span)
  }

  package var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(32)
    for word in [words.0, words.1, words.2, words.3] { bytes.append(bigEndian: word, width: 8) }
    return bytes
  }

  /// 64 lower-case hexadecimal digits.
  package var hex: String { bytes.hex }

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
