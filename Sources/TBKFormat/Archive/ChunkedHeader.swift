import TBKCore

/// The header of a TBK2 archive in cipher suite 3 (tbk(5)): Argon2id, and a chunked payload whose length is unknown
/// when the header is written.
package struct ChunkedHeader: Equatable, Sendable {
  package static let suite: UInt8 = 3
  /// In bytes; 8 is libargon2's minimum.
  package static let saltLengths = 8...255
  private static let front = Array("TBK2".utf8) + [2, 1]
  private static let unknownLength = [UInt8](repeating: 0xff, count: 8)
  private static let fixedLength = 4 + 1 + 1 + 4 + 2 + 1 + 1 + 1 + 1 + 8

  /// In KiB.
  package let memory: UInt32
  package let passes: UInt16
  package let lanes: UInt8
  /// 8 to 255 bytes; 32 from us.
  package let salt: [UInt8]

  /// A header to write; `.malformed` for a salt that the format cannot hold.
  package init(memory: UInt32, passes: UInt16, lanes: UInt8, salt: [UInt8]) throws(Failure) {
    guard Self.saltLengths.contains(salt.count) else {
      throw Failure(.malformed, "salt length \(salt.count) is out of range")
    }
    self.memory = memory
    self.passes = passes
    self.lanes = lanes
    self.salt = salt
  }

  /// Whether `prefix` begins a TBK2 archive in suite 3; nil if it is too short to tell.
  package static func isBegun(by prefix: Span<UInt8>) -> Bool? {
    guard prefix.count > 13 else { return nil }
    guard prefix.extracting(0..<4).elementsEqual(Array("TBK2".utf8)) else { return false }
    let nonce = 14 + Int(prefix[13])
    guard prefix.count > nonce else { return nil }
    let suite = nonce + 1 + Int(prefix[nonce])
    guard prefix.count > suite else { return nil }
    return prefix[suite] == Self.suite
  }

  /// Parses the header at the start of `prefix`: `.truncated` if `prefix` ends inside it, `.malformed` if it is not a
  /// header of suite 3. Costs are limited elsewhere.
  package init(parsing prefix: Span<UInt8>) throws(Failure) {
    guard prefix.count > 13 else { throw Self.failure(.truncated, "it ends early") }
    guard prefix.extracting(0..<6).elementsEqual(Self.front) else {
      throw Self.failure(.malformed, "version or KDF is not one of suite 3")
    }
    let saltLength = Int(prefix[13])
    guard Self.saltLengths.contains(saltLength) else {
      throw Self.failure(.malformed, "salt length \(saltLength) is out of range")
    }
    let end = Self.fixedLength + saltLength
    guard prefix.count >= end else { throw Self.failure(.truncated, "it ends early") }
    guard prefix[end - 10] == 0 else {
      throw Self.failure(.malformed, "suite 3 has no nonce in the header")
    }
    guard prefix[end - 9] == Self.suite else {
      throw Self.failure(.malformed, "cipher suite \(prefix[end - 9]) is not 3")
    }
    guard prefix.extracting(end - 8..<end).elementsEqual(Self.unknownLength) else {
      throw Self.failure(.malformed, "suite 3 has its payload's length at the end")
    }
    func number(_ start: Int, _ count: Int) -> UInt32 {
      var value: UInt32 = 0
      for index in start..<start + count { value = value << 8 | UInt32(prefix[index]) }
      return value
    }
    memory = number(6, 4)
    passes = UInt16(number(10, 2))
    lanes = prefix[12]
    salt = Array(prefix.extracting(14..<14 + saltLength))
  }

  private static func failure(_ code: Failure.Code, _ message: String) -> Failure {
    Failure(code, "archive header: \(message)")
  }

  package var length: Int { Self.fixedLength + salt.count }

  /// The context that the message is authenticated with: the header up to and including the suite.
  package var context: [UInt8] {
    var bytes = Self.front
    bytes.append(bigEndian: UInt64(memory), width: 4)
    bytes.append(bigEndian: UInt64(passes), width: 2)
    return bytes + [lanes, UInt8(salt.count)] + salt + [0, Self.suite]
  }

  package var bytes: [UInt8] { context + Self.unknownLength }
}

/// The trailer after the payload in suite 3. It is not authenticated: it shows without a key whether the archive is
/// complete.
package struct ChunkedTrailer: Equatable, Sendable {
  package static let length = 16
  private static let mark = Array("TBK2 end".utf8)

  /// Length of the chunked message in bytes.
  package let messageLength: UInt64

  package init(messageLength: UInt64) { self.messageLength = messageLength }

  /// - Parameters:
  ///   - bytes: the last 16 bytes of the archive.
  ///   - messageLength: bytes between header and trailer; must match the trailer.
  package init(parsing bytes: Span<UInt8>, messageLength: UInt64) throws(Failure) {
    guard bytes.count == Self.length,
      bytes.extracting(8..<Self.length).elementsEqual(Self.mark)
    else {
      throw Failure(
        .truncated, "the archive ends early: its end mark is missing",
        hint: "the command that sends it failed, or the copy is incomplete")
    }
    var value: UInt64 = 0
    for index in 0..<8 { value = value << 8 | UInt64(bytes[index]) }
    guard value == messageLength else {
      throw Failure(
        .malformed, "the archive holds \(messageLength) bytes of message, and its end says \(value)")
    }
    self.messageLength = value
  }

  package var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(bigEndian: messageLength, width: 8)
    return bytes + Self.mark
  }
}
