import TBKCore

/// Bech32 (BIP 173) without its limit of 90 characters, as age uses it for keys.
enum Bech32 {
  private static let alphabet = Array("qpzry9x8gf2tvdw0s3jn54khce6mua7l".utf8)
  private static let checksumLength = 6

  /// Encodes `data` as text, in lower case.
  ///
  /// - Parameter prefix: in lower case.
  static func encode(prefix: String, _ data: Span<UInt8>) throws(Failure) -> Secret {
    var values = try regroup(data, from: 8, to: 5, padding: true)
    defer { wipe(&values) }
    var sum = start(prefix)
    for value in values { sum = step(sum, value) }
    for _ in 0..<checksumLength { sum = step(sum, 0) }
    sum ^= 1
    let text = try Secret(count: prefix.utf8.count + 1 + values.count + checksumLength)
    let front = Array(prefix.utf8) + [UInt8(ascii: "1")]
    text.withMutableBytes { text in
      text.copy(from: front.span)
      for (index, value) in values.enumerated() { text[front.count + index] = alphabet[Int(value)] }
      for index in 0..<checksumLength {
        let value = sum >> UInt32(5 * (checksumLength - 1 - index)) & 31
        text[front.count + values.count + index] = alphabet[Int(value)]
      }
    }
    return text
  }

  /// Decodes a text with this prefix; nil if it is invalid. Mixed case is invalid.
  ///
  /// - Parameter prefix: in lower case.
  static func decode(_ text: Span<UInt8>, prefix: String) throws(Failure) -> Secret? {
    let front = Array(prefix.utf8) + [UInt8(ascii: "1")]
    guard text.count >= front.count + checksumLength else { return nil }
    var (hasUpper, hasLower) = (false, false)
    var values: [UInt8] = []
    values.reserveCapacity(text.count)
    defer { wipe(&values) }
    for index in text.indices {
      var character = text[index]
      switch character {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"):
        hasUpper = true
        character |= 0x20
      case UInt8(ascii: "a")...UInt8(ascii: "z"): hasLower = true
      default: break
      }
      if index < front.count {
        guard character == front[index] else { return nil }
        continue
      }
      guard let value = alphabet.firstIndex(of: character) else { return nil }
      values.append(UInt8(value))
    }
    guard !(hasUpper && hasLower) else { return nil }
    var sum = start(prefix)
    for value in values { sum = step(sum, value) }
    guard sum == 1 else { return nil }
    var data = try? regroup(
      values.span.extracting(0..<values.count - checksumLength), from: 5, to: 8, padding: false)
    guard data != nil else { return nil }
    defer { wipe(&data!) }
    return try Secret(copying: data!.span)
  }

  // MARK: Checksum

  private static let generators: [UInt32] = [
    0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3,
  ]

  private static func step(_ sum: UInt32, _ value: UInt8) -> UInt32 {
    let top = sum >> 25
    var next = (sum & 0x1ff_ffff) << 5 ^ UInt32(value)
    for (bit, generator) in generators.enumerated() where top >> UInt32(bit) & 1 == 1 {
      next ^= generator
    }
    return next
  }

  private static func start(_ prefix: String) -> UInt32 {
    var sum: UInt32 = 1
    for character in prefix.utf8 { sum = step(sum, character >> 5) }
    sum = step(sum, 0)
    for character in prefix.utf8 { sum = step(sum, character & 31) }
    return sum
  }

  /// Regroups values of `from` bits into values of `to` bits; without padding, throws if the leftover bits are not zero
  /// or would fill a whole input value.
  private static func regroup(
    _ input: Span<UInt8>, from: UInt32, to: UInt32, padding: Bool
  ) throws(Failure) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(input.count * Int(from) / Int(to) + 1)
    var (bits, count): (UInt32, UInt32) = (0, 0)
    for index in input.indices {
      bits = bits << from | UInt32(input[index])
      count += from
      while count >= to {
        count -= to
        output.append(UInt8(bits >> count))
        bits &= (1 << count) - 1
      }
    }
    if padding {
      if count > 0 { output.append(UInt8(bits << (to - count))) }
    } else if count >= from || bits != 0 {
      throw Failure(.malformed, "the key is not in bech32")
    }
    return output
  }
}
