import TBKCore

/// The header of an archive (tbk(5), "TBK2" and "TBK1"). All integers are big-endian, and there is exactly one
/// encoding: serialising a parsed header gives the same bytes.
package enum ArchiveHeader: Equatable, Sendable {
  case tbk2(TBK2Header)
  case tbk1(TBK1Header)
  /// An mbu package has no header: this is never parsed, but made from its trailer and settings.
  case mbu(MbuPackage)

  /// The maximum length of a header in bytes: read this much before parsing.
  package static let maximumLength = TBK2Header.fixedLength + 255 + 255

  /// Parses the header at the start of `prefix`; ignores what follows it.
  ///
  /// Throws `.truncated` if `prefix` ends inside the header, and `.malformed`, naming the field, for anything invalid.
  /// The costs of Argon2id are limited elsewhere (`Argon2Limits`).
  package init(parsing prefix: Span<UInt8>) throws(Failure) {
    var reader = HeaderReader(
      [UInt8](prefix.extracting(0..<min(prefix.count, ArchiveHeader.maximumLength))))
    do throws(Failure) {
      switch try reader.magic() {
      case UInt8(ascii: "2"): self = .tbk2(try TBK2Header(&reader))
      default: self = .tbk1(try TBK1Header(&reader))
      }
    } catch {
      throw error.within("archive header")
    }
  }

  /// Length of the header in bytes.
  package var headerLength: Int {
    switch self {
    case .tbk2(let header): header.headerLength
    case .tbk1(let header): header.headerLength
    case .mbu: 0
    }
  }

  /// Length of the ciphertext according to the header, in bytes; in TBK2 including the tag.
  package var payloadLength: UInt64 {
    switch self {
    case .tbk2(let header): header.payloadLength
    case .tbk1(let header): header.payloadLength
    case .mbu(let package): package.payloadLength
    }
  }

  /// Length of the whole archive in bytes.
  package var totalLength: UInt64 {
    // In range, because the payload's length was checked.
    switch self {
    case .tbk2(let header): UInt64(header.headerLength) + header.payloadLength
    case .tbk1(let header):
      UInt64(header.headerLength) + header.payloadLength + UInt64(TBK1Header.tagLength)
    case .mbu(let package): package.payloadLength + UInt64(MbuPackage.trailerLength)
    }
  }

  /// "TBK2", "TBK1" or "mbu".
  package var format: String {
    switch self {
    case .tbk2: "TBK2"
    case .tbk1: "TBK1"
    case .mbu: "mbu"
    }
  }

  /// The value of the ledger's `archive_version`; 0 for an mbu package, which no ledger lists.
  package var version: UInt8 {
    switch self {
    case .tbk2: TBK2Header.version
    case .tbk1: TBK1Header.version
    case .mbu: 0
    }
  }

  package var bytes: [UInt8] {
    switch self {
    case .tbk2(let header): header.bytes
    case .tbk1(let header): header.bytes
    case .mbu: []
    }
  }
}

/// The header of a TBK2 archive: Argon2id, AES-256-GCM without associated data.
package struct TBK2Header: Equatable, Sendable {
  package static let version: UInt8 = 2
  /// Length of the AES-GCM tag at the end of the payload, in bytes.
  package static let tagLength = 16
  /// One GCM message holds at most 2^36 - 32 bytes (SP 800-38D, 5.2.1.1).
  package static let maximumPlaintextLength: UInt64 = (1 << 36) - 32
  package static let payloadLengths =
    UInt64(tagLength)...maximumPlaintextLength + UInt64(tagLength)
  /// libargon2's minimum length of a salt, in bytes.
  package static let minimumSaltLength = 8
  fileprivate static let fixedLength = 4 + 1 + 1 + 4 + 2 + 1 + 1 + 1 + 1 + 8

  /// 1, or 2 from TermBackup 6: both are Argon2id.
  package let kdf: UInt8
  /// In KiB.
  package let memory: UInt32
  package let passes: UInt16
  package let lanes: UInt8
  /// 8 to 255 bytes; 32 from us.
  package let salt: [UInt8]
  /// 1 to 255 bytes; 12 from us.
  package let nonce: [UInt8]
  /// 1, or 2 from TermBackup 6: both are AES-256-GCM.
  package let cipher: UInt8
  /// Length of ciphertext and tag in bytes. 0 while it is unknown; such a header cannot be parsed.
  package var payloadLength: UInt64

  /// A header to write; the payload length can be patched later, at `payloadLengthOffset`.
  ///
  /// Throws `.malformed` for a salt or nonce that the format cannot hold.
  package init(
    memory: UInt32, passes: UInt16, lanes: UInt8, salt: [UInt8], nonce: [UInt8],
    payloadLength: UInt64 = 0
  ) throws(Failure) {
    guard (TBK2Header.minimumSaltLength...255).contains(salt.count) else {
      throw Failure(.malformed, "salt length \(salt.count) is out of range")
    }
    guard (1...255).contains(nonce.count) else {
      throw Failure(.malformed, "nonce length \(nonce.count) is out of range")
    }
    kdf = 1
    self.memory = memory
    self.passes = passes
    self.lanes = lanes
    self.salt = salt
    self.nonce = nonce
    cipher = 1
    self.payloadLength = payloadLength
  }

  fileprivate init(_ reader: inout HeaderReader) throws(Failure) {
    try reader.version(TBK2Header.version)
    kdf = UInt8(try reader.integer(1, "KDF"))
    guard kdf == 1 || kdf == 2 else {
      throw Failure(.malformed, "KDF \(kdf) is not known")
    }
    memory = UInt32(try reader.integer(4, "memory"))
    passes = UInt16(try reader.integer(2, "time"))
    lanes = UInt8(try reader.integer(1, "lanes"))
    salt = try reader.counted("salt", least: TBK2Header.minimumSaltLength)
    nonce = try reader.counted("nonce", least: 1)
    cipher = UInt8(try reader.integer(1, "cipher suite"))
    switch cipher {
    case 1, 2: break
    case 3:
      throw Failure(
        .malformed, "cipher suite 3 is reserved for a chunked stream",
        hint: "a newer TermBackup may be able to read it")
    default: throw Failure(.malformed, "cipher suite \(cipher) is not known")
    }
    payloadLength = try reader.integer(8, "payload length")
    guard TBK2Header.payloadLengths.contains(payloadLength) else {
      throw Failure(.malformed, "payload length \(payloadLength) is out of range")
    }
  }

  package var headerLength: Int { TBK2Header.fixedLength + salt.count + nonce.count }

  /// The offset of the 8 bytes of the payload length: the last field of the header.
  package var payloadLengthOffset: Int { headerLength - 8 }

  package var bytes: [UInt8] {
    var bytes = Array("TBK2".utf8)
    bytes += [TBK2Header.version, kdf]
    bytes.append(bigEndian: UInt64(memory), width: 4)
    bytes.append(bigEndian: UInt64(passes), width: 2)
    bytes.append(lanes)
    bytes.append(UInt8(salt.count))
    bytes += salt
    bytes.append(UInt8(nonce.count))
    bytes += nonce
    bytes.append(cipher)
    bytes.append(bigEndian: payloadLength, width: 8)
    return bytes
  }
}

/// The header of a TBK1 archive, which is only read: PBKDF2, AES-256-CBC, HMAC-SHA-256.
package struct TBK1Header: Equatable, Sendable {
  package static let version: UInt8 = 1
  package static let ivLength = 16
  /// Length of the HMAC after the ciphertext, in bytes.
  package static let tagLength = 32
  private static let blockLength: UInt64 = 16

  /// Of PBKDF2-HMAC-SHA-256; at least 1.
  package let iterations: UInt32
  /// 0 to 255 bytes.
  package let salt: [UInt8]
  package let iv: [UInt8]
  /// Length of the ciphertext in bytes: whole blocks, at least one.
  package let payloadLength: UInt64

  fileprivate init(_ reader: inout HeaderReader) throws(Failure) {
    try reader.version(TBK1Header.version)
    iterations = UInt32(try reader.integer(4, "iterations"))
    guard iterations >= 1 else { throw Failure(.malformed, "iterations are 0") }
    salt = try reader.counted("salt", least: 0)
    iv = try reader.counted("IV", least: TBK1Header.ivLength, most: TBK1Header.ivLength)
    payloadLength = try reader.integer(8, "payload length")
    guard payloadLength > 0, payloadLength % TBK1Header.blockLength == 0 else {
      throw Failure(.malformed, "payload length \(payloadLength) is not a number of blocks")
    }
    // No file is longer, and `totalLength` cannot overflow.
    guard payloadLength <= UInt64(Int64.max) - UInt64(ArchiveHeader.maximumLength) else {
      throw Failure(.malformed, "payload length \(payloadLength) is out of range")
    }
  }

  package var headerLength: Int { 4 + 1 + 4 + 1 + salt.count + 1 + iv.count + 8 }

  package var bytes: [UInt8] {
    var bytes = Array("TBK1".utf8)
    bytes.append(TBK1Header.version)
    bytes.append(bigEndian: UInt64(iterations), width: 4)
    bytes.append(UInt8(salt.count))
    bytes += salt
    bytes.append(UInt8(iv.count))
    bytes += iv
    bytes.append(bigEndian: payloadLength, width: 8)
    return bytes
  }
}

/// Reads the fields of a header in order.
private struct HeaderReader {
  private let bytes: [UInt8]
  private var position = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  private func need(_ count: Int, _ field: String) throws(Failure) {
    guard bytes.count - position >= count else {
      throw Failure(.truncated, "it ends in the \(field), at offset \(bytes.count)")
    }
  }

  /// The last byte of the magic, "1" or "2".
  mutating func magic() throws(Failure) -> UInt8 {
    // Wrong bytes are `.malformed` even if the rest is missing.
    for (index, byte) in "TBK".utf8.enumerated() {
      try need(1, "magic")
      guard bytes[index] == byte else {
        throw Failure(.malformed, "magic is not TBK2 or TBK1: this is not an archive")
      }
      position += 1
    }
    try need(1, "magic")
    let last = bytes[position]
    guard last == UInt8(ascii: "2") || last == UInt8(ascii: "1") else {
      throw Failure(.malformed, "magic is not TBK2 or TBK1: this is not an archive")
    }
    position += 1
    return last
  }

  mutating func version(_ expected: UInt8) throws(Failure) {
    let version = try integer(1, "version")
    guard version == UInt64(expected) else {
      throw Failure(
        .malformed, "version \(version) is not known",
        hint: "a newer TermBackup may be able to read it")
    }
  }

  mutating func integer(_ width: Int, _ field: String) throws(Failure) -> UInt64 {
    try need(width, field)
    var value: UInt64 = 0
    for index in position..<position + width { value = value << 8 | UInt64(bytes[index]) }
    position += width
    return value
  }

  /// A one-byte length, then that many bytes.
  mutating func counted(
    _ field: String, least: Int, most: Int = 255
  ) throws(Failure) -> [UInt8] {
    let count = Int(try integer(1, "\(field) length"))
    guard (least...most).contains(count) else {
      throw Failure(.malformed, "\(field) length \(count) is out of range")
    }
    try need(count, field)
    let value = Array(bytes[position..<position + count])
    position += count
    return value
  }
}
