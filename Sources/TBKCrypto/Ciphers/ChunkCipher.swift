import CCrypto
import TBKCore

/// How a message of any length is split into chunks with a tag each, so that it can be used as a stream, and from any
/// offset.
package enum ChunkScheme: Sendable {
  /// C2SP chunked-encryption with AEAD_AES_256_GCM: chunks of 16 KiB, the last one always shorter, possibly empty. The
  /// nonce is the base nonce XORed with the chunk number.
  case chunkedEncryption
  /// age's STREAM with ChaCha20-Poly1305: chunks of 64 KiB, the last one not empty unless it is the only one. The nonce
  /// is the chunk number, followed by 1 for the last chunk and 0 for the others.
  case stream

  /// Bytes of plaintext in every chunk but the last.
  package var chunkSize: Int { self == .chunkedEncryption ? 16 * 1024 : 64 * 1024 }

  /// Bytes of ciphertext in every chunk but the last.
  package var sealedSize: Int { chunkSize + aeadTagLength }

  /// Whether a full chunk is never the last.
  var lastIsShort: Bool { self == .chunkedEncryption }

  var algorithm: AEAD.Algorithm {
    self == .chunkedEncryption ? .aes256GCM : .chaCha20Poly1305
  }

  /// C2SP chunked-encryption, "Message chunking": 2^38 chunks. age's own limit is never reached.
  static let chunkLimit: UInt64 = 1 << 38

  /// The number and length of the last chunk of a message with `length` bytes of ciphertext. `.truncated` if no message
  /// has that length.
  package func lastChunk(ofSealedLength length: UInt64) throws(Failure) -> (index: UInt64, count: Int) {
    let size = UInt64(sealedSize)
    let index = lastIsShort || length == 0 ? length / size : (length - 1) / size
    let count = Int(length - index * size)
    guard count >= aeadTagLength else {
      throw Failure(.truncated, "the encrypted message ends early: its last chunk is missing")
    }
    try ChunkScheme.check(index)
    try checkLast(index, count)
    return (index, count)
  }

  /// In STREAM, an empty last chunk is allowed only if it is the whole message.
  func checkLast(_ index: UInt64, _ count: Int) throws(Failure) {
    if !lastIsShort, index > 0, count == aeadTagLength {
      throw Failure(.malformed, "the last chunk of the encrypted message is empty")
    }
  }

  static func check(_ index: UInt64) throws(Failure) {
    if index >= chunkLimit { throw Failure(.malformed, "the encrypted message has too many chunks") }
  }
}

/// The key of one message's chunks.
package struct ChunkCipher: ~Copyable {
  package let scheme: ChunkScheme
  private var aead: AEAD
  private let baseNonce: [UInt8]

  /// - Parameters:
  ///   - key: 32 bytes, used for only this message.
  ///   - baseNonce: 12 bytes; all zeros in STREAM.
  package init(
    _ scheme: ChunkScheme, key: borrowing Secret, baseNonce: [UInt8], encrypting: Bool
  ) throws(Failure) {
    self.scheme = scheme
    self.baseNonce = baseNonce
    aead = try AEAD(scheme.algorithm, key: key, encrypting: encrypting)
  }

  /// Encrypts a chunk into the front of `output`; returns the number of bytes.
  mutating func seal(
    _ chunk: Span<UInt8>, _ index: UInt64, isLast: Bool, into output: inout [UInt8]
  ) throws(Failure) -> Int {
    try ChunkScheme.check(index)
    return try aead.seal(chunk, nonce: nonce(index, isLast: isLast), into: &output)
  }

  /// Decrypts a chunk into the front of `output`; nil if it does not verify at this position.
  mutating func open(
    _ chunk: Span<UInt8>, _ index: UInt64, isLast: Bool, into output: inout [UInt8]
  ) throws(Failure) -> Int? {
    try ChunkScheme.check(index)
    return try aead.open(chunk, nonce: nonce(index, isLast: isLast), into: &output)
  }

  private func nonce(_ index: UInt64, isLast: Bool) -> [UInt8] {
    var nonce = baseNonce
    // chunked-encryption has the counter in the last bytes of the nonce, STREAM before the flag.
    let end = scheme == .stream ? nonce.count - 1 : nonce.count
    for place in 0..<8 {
      nonce[end - 1 - place] ^= UInt8(truncatingIfNeeded: index >> UInt64(8 * place))
    }
    if scheme == .stream, isLast { nonce[end] = 1 }
    return nonce
  }
}

// MARK: C2SP chunked-encryption

/// The front of a message of C2SP chunked-encryption, instantiated with SHA-512 and AEAD_AES_256_GCM
/// ("Cobblestone-256"): the salt and the key commitment.
package struct ChunkedEncryptionFront: Equatable, Sendable {
  package static let saltLength = 24
  package static let commitmentLength = 32
  /// Bytes before the first chunk.
  package static let length = saltLength + commitmentLength

  package let salt: [UInt8]
  package let commitment: [UInt8]

  /// - Parameter bytes: the start of the message; `.truncated` if it is too short.
  package init(parsing bytes: Span<UInt8>) throws(Failure) {
    guard bytes.count >= Self.length else {
      throw Failure(.truncated, "the encrypted message ends before its first chunk")
    }
    salt = Array(bytes.extracting(0..<Self.saltLength))
    commitment = Array(bytes.extracting(Self.saltLength..<Self.length))
  }

  private init(salt: [UInt8], commitment: [UInt8]) {
    self.salt = salt
    self.commitment = commitment
  }

  package var bytes: [UInt8] { salt + commitment }

  /// Writes the front of a new message to `sink`. Returns the stage that takes the plaintext.
  ///
  /// - Parameters:
  ///   - key: 32 uniformly random bytes.
  ///   - context: authenticated together with the message.
  ///   - salt: 24 bytes that are never reused with this key; random if nil.
  package static func begin(
    key: borrowing Secret, context: [UInt8], salt: [UInt8]? = nil, into sink: any ByteSink
  ) throws(Failure) -> ChunkEncryptor {
    let fresh = salt == nil ? try randomBytes(saltLength) : []
    let salt = salt ?? fresh
    let derived = try derive(key, salt: salt, context: context)
    let commitment = derived.withBytes { Array($0.extracting(44..<76)) }
    try sink.write(Self(salt: salt, commitment: commitment).bytes)
    return ChunkEncryptor(try cipher(derived, encrypting: true), into: sink)
  }

  /// The cipher for decrypting the message; `.authentication` if it was made with another key or context.
  package func cipher(key: borrowing Secret, context: [UInt8]) throws(Failure) -> ChunkCipher {
    let derived = try Self.derive(key, salt: salt, context: context)
    let expected = derived.withBytes { Array($0.extracting(44..<76)) }
    guard unsafe CRYPTO_memcmp(expected, commitment, commitment.count) == 0 else {
      throw Failure(.authentication, "the key is wrong, or the beginning of the message has been altered")
    }
    return try Self.cipher(derived, encrypting: false)
  }

  /// Key, base nonce and commitment, back to back.
  private static func derive(
    _ key: borrowing Secret, salt: [UInt8], context: [UInt8]
  ) throws(Failure) -> Secret {
    guard key.count == AEAD.keyLength else {
      throw Failure(.malformed, "chunked encryption needs a key of 32 bytes")
    }
    let label = Array("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM".utf8) + [0]
    return try HKDF.expand(
      .sha512, key: key, info: label + salt + context,
      length: AEAD.keyLength + AEAD.nonceLength + commitmentLength)
  }

  private static func cipher(
    _ derived: borrowing Secret, encrypting: Bool
  ) throws(Failure) -> ChunkCipher {
    let key = try derived.withBytes { (bytes) throws(Failure) in
      try Secret(copying: bytes.extracting(0..<32))
    }
    let nonce = derived.withBytes { Array($0.extracting(32..<44)) }
    return try ChunkCipher(.chunkedEncryption, key: key, baseNonce: nonce, encrypting: encrypting)
  }
}
