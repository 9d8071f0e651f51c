import TBKCore

/// The file key of one age file: 16 random bytes, from which its other keys are derived.
package struct AgeFileKey: ~Copyable {
  private let key: Secret

  static let length = 16
  /// Length in bytes of a stanza's body: the key and a tag.
  static let wrappedLength = length + aeadTagLength
  /// Length in bytes of the nonce before the first chunk of a payload.
  package static let payloadNonceLength = 16

  /// A new key.
  package init() throws(Failure) {
    let key = try Secret(count: Self.length)
    var random = try randomBytes(Self.length)
    defer { wipe(&random) }
    key.withMutableBytes { $0.copy(from: random.span) }
    self.key = key
  }

  private init(_ key: consuming Secret) { self.key = key }

  /// The HMAC-SHA-256 of a header's text.
  func mac(of text: [UInt8]) throws(Failure) -> [UInt8] {
    let derived = try HKDF.derive(
      .sha256, key: key, salt: [], info: Array("header".utf8), length: 32)
    var running = try derived.withBytes { (bytes) throws(Failure) in try HMACSHA256(key: bytes) }
    try running.update(text.span)
    return try running.finish()
  }

  /// The cipher of the payload that begins with this nonce, 16 bytes.
  package func payloadCipher(nonce: [UInt8], encrypting: Bool) throws(Failure) -> ChunkCipher {
    let derived = try HKDF.derive(
      .sha256, key: key, salt: nonce, info: Array("payload".utf8), length: 32)
    return try ChunkCipher(
      .stream, key: derived, baseNonce: [UInt8](repeating: 0, count: AEAD.nonceLength),
      encrypting: encrypting)
  }

  // A wrapping key is used once, so the nonce is zero.
  private static let nonce = [UInt8](repeating: 0, count: AEAD.nonceLength)

  func wrapped(under wrapping: borrowing Secret) throws(Failure) -> [UInt8] {
    var aead = try AEAD(.chaCha20Poly1305, key: wrapping, encrypting: true)
    var output: [UInt8] = []
    let count = try key.withBytes { (bytes) throws(Failure) in
      try aead.seal(bytes, nonce: Self.nonce, into: &output)
    }
    return Array(output[..<count])
  }

  /// The file key in the body of a stanza; nil if it was wrapped with another key.
  static func unwrap(_ body: [UInt8], under wrapping: borrowing Secret) throws(Failure) -> AgeFileKey? {
    var aead = try AEAD(.chaCha20Poly1305, key: wrapping, encrypting: false)
    var output: [UInt8] = []
    defer { wipe(&output) }
    guard let count = try aead.open(body.span, nonce: nonce, into: &output), count == length else {
      return nil
    }
    return AgeFileKey(try Secret(copying: output.span.extracting(0..<count)))
  }
}

/// Writes age files.
package enum AgeWriter {
  /// Writes header and nonce to `sink`. Returns the stage that takes the payload; finishing it finishes `sink`.
  package static func begin(
    _ header: AgeHeader, _ key: borrowing AgeFileKey, into sink: any ByteSink
  ) throws(Failure) -> ChunkEncryptor {
    let nonce = try randomBytes(AgeFileKey.payloadNonceLength)
    let cipher = try key.payloadCipher(nonce: nonce, encrypting: true)
    try sink.write(header.bytes + nonce)
    return ChunkEncryptor(cipher, into: sink)
  }

  /// Begins an age file for recipients.
  package static func begin(
    to recipients: [AgeRecipient], into sink: any ByteSink
  ) throws(Failure) -> ChunkEncryptor {
    let key = try AgeFileKey()
    return try begin(try AgeHeader.sealing(key, to: recipients), key, into: sink)
  }
}

/// Reads age files.
package enum AgeReader {
  /// Reads the nonce that follows a header, and returns the cipher of the payload after it.
  package static func payloadCipher(
    _ key: borrowing AgeFileKey, of source: any ByteSource
  ) throws(Failure) -> ChunkCipher {
    let nonce = try source.read(upTo: AgeFileKey.payloadNonceLength)
    guard nonce.count == AgeFileKey.payloadNonceLength else {
      throw Failure(.truncated, "the age file ends before its payload")
    }
    return try key.payloadCipher(nonce: nonce, encrypting: false)
  }

  /// The source to read an age file from: `source` itself, or its decoded armor. Nil if it is not an age file; then
  /// nothing is consumed.
  package static func source(_ source: PeekingSource) throws(Failure) -> PeekingSource? {
    if AgeHeader.isBegun(by: try source.peek(AgeHeader.firstLine.count)) { return source }
    if try AgeArmorReader.isNext(in: source) { return PeekingSource(AgeArmorReader(source)) }
    return nil
  }
}
