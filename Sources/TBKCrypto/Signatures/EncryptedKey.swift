import TBKCore

/// A private key encrypted with a password: PKCS#8's EncryptedPrivateKeyInfo (RFC 5958, 3) with PBES2 (RFC 8018, A.4),
/// using PBKDF2 or scrypt, and AES-CBC.
struct EncryptedKey {
  /// How the cipher key is derived from the password.
  enum Derivation: Equatable {
    case pbkdf2(KeyDerivation.Hash, iterations: UInt64)
    case scrypt(n: UInt64, r: UInt64, p: UInt64)
  }

  let derivation: Derivation
  let salt: [UInt8]
  /// Length of the AES key in bytes: 16, 24 or 32.
  let keyLength: Int
  let iv: [UInt8]
  let ciphertext: [UInt8]

  // MARK: Limits

  /// The maximum PBKDF2 iterations for an untrusted file.
  static let iterationLimit: UInt64 = 10_000_000
  /// In bytes; `openssl pkcs8 -scrypt` takes 16 MiB.
  static let scryptMemoryLimit: UInt64 = 256 << 20
  /// N * r * p; 64 times that of `openssl pkcs8 -scrypt`.
  static let scryptWorkLimit: UInt64 = 1 << 23

  /// Rejects costs that are invalid or above the limits, before any of them is spent.
  private func check() throws(Failure) {
    switch derivation {
    case .pbkdf2(_, let iterations):
      guard iterations >= 1 else { throw DER.failure }
      if iterations > EncryptedKey.iterationLimit {
        throw Failure(.malformed, "it asks for \(iterations) PBKDF2 iterations, above the limit")
      }
    case .scrypt(let n, let r, let p):
      // RFC 7914, 6: N is a power of two above 1, and below 2^(128 * r / 8).
      guard n > 1, n & (n - 1) == 0, r >= 1, p >= 1, r >= 4 || n < 1 << (16 * r) else {
        throw DER.failure
      }
      let (blocks, overflow) = n.multipliedReportingOverflow(by: r)
      let (work, alsoOverflow) = blocks.multipliedReportingOverflow(by: p)
      // This check ensures that p * r cannot overflow.
      guard !overflow, !alsoOverflow, work <= EncryptedKey.scryptWorkLimit,
        blocks + p * r <= EncryptedKey.scryptMemoryLimit / 128
      else {
        throw Failure(.malformed, "it asks for scrypt with N \(n), r \(r), p \(p), above the limit")
      }
    }
  }

  // MARK: Reading

  /// - Parameter text: the DER.
  init(parsing text: Span<UInt8>) throws(Failure) {
    var outer = DERReader(0..<text.count)
    var all = try outer.sequence(in: text)
    try outer.finish()
    var algorithm = try all.sequence(in: text)
    guard try algorithm.identifier(in: text) == Identifier.pbes2 else {
      throw Failure(
        .malformed, "its encryption is obsolete",
        hint: "openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW encrypts it again")
    }
    var scheme = try algorithm.sequence(in: text)
    try algorithm.finish()
    var function = try scheme.sequence(in: text)
    var cipher = try scheme.sequence(in: text)
    try scheme.finish()
    ciphertext = Array(text.extracting(try all.read(.octetString, from: text)))
    try all.finish()

    let cipherName = try cipher.identifier(in: text)
    guard let length = Identifier.ciphers[cipherName] else {
      throw Failure(
        .malformed, "it is encrypted with another cipher than AES-CBC",
        hint: "openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW encrypts it again")
    }
    keyLength = length
    iv = Array(text.extracting(try cipher.read(.octetString, from: text)))
    try cipher.finish()
    guard iv.count == AESCBC.ivLength else { throw DER.failure }

    let functionName = try function.identifier(in: text)
    var parameters = try function.sequence(in: text)
    try function.finish()
    salt = Array(text.extracting(try parameters.read(.octetString, from: text)))
    switch functionName {
    case Identifier.pbkdf2:
      let iterations = try parameters.integer(in: text)
      try EncryptedKey.skipKeyLength(&parameters, text, length)
      var hash = KeyDerivation.Hash.sha1
      if !parameters.isAtEnd {
        var name = try parameters.sequence(in: text)
        guard let known = Identifier.hashes[try name.identifier(in: text)] else {
          throw Failure(.malformed, "its PBKDF2 uses an unknown hash")
        }
        hash = known
        if name.isNext(.null, in: text) { _ = try name.read(.null, from: text) }
        try name.finish()
      }
      derivation = .pbkdf2(hash, iterations: iterations)
    case Identifier.scrypt:
      let n = try parameters.integer(in: text)
      let r = try parameters.integer(in: text)
      derivation = .scrypt(n: n, r: r, p: try parameters.integer(in: text))
      try EncryptedKey.skipKeyLength(&parameters, text, length)
    default:
      throw Failure(.malformed, "its key derivation is neither PBKDF2 nor scrypt")
    }
    try parameters.finish()
    try check()
  }

  /// The length of the derived key is optional, and must be that of the cipher's key.
  private static func skipKeyLength(
    _ parameters: inout DERReader, _ text: Span<UInt8>, _ length: Int
  ) throws(Failure) {
    if parameters.isNext(.integer, in: text) {
      guard try parameters.integer(in: text) == UInt64(length) else { throw DER.failure }
    }
  }

  /// The DER of the private key; nil if the padding shows that the password is wrong. A valid padding proves nothing.
  func decrypt(_ password: borrowing Secret) throws(Failure) -> Secret? {
    let key = try key(password)
    return try AESCBC.decrypt(ciphertext.span, key: key, iv: iv)
  }

  private func key(_ password: borrowing Secret) throws(Failure) -> Secret {
    switch derivation {
    case .pbkdf2(let hash, let iterations):
      try KeyDerivation.pbkdf2(
        password, hash, salt: salt, iterations: UInt32(clamping: iterations), length: keyLength)
    case .scrypt(let n, let r, let p):
      try KeyDerivation.scrypt(password, salt: salt, n: n, r: r, p: p, length: keyLength)
    }
  }

  // MARK: Writing

  private static let writtenIterations: UInt32 = 600_000

  /// Encrypts the DER of a private key with AES-256-CBC and PBKDF2-HMAC-SHA256, 600,000 iterations, with a new salt and
  /// IV.
  static func encrypt(
    _ plaintext: borrowing Secret, _ password: borrowing Secret
  ) throws(Failure) -> [UInt8] {
    let salt = try randomBytes(16)
    let iv = try randomBytes(AESCBC.ivLength)
    let key = try KeyDerivation.pbkdf2(
      password, .sha256, salt: salt, iterations: writtenIterations, length: 32)
    let ciphertext = try AESCBC.encrypt(plaintext, key: key, iv: iv)
    let function = DER.write(
      sequence: DER.write(.objectIdentifier, Identifier.pbkdf2),
      DER.write(
        sequence: DER.write(.octetString, salt), DER.write(integer: UInt64(writtenIterations)),
        DER.write(
          sequence: DER.write(.objectIdentifier, Identifier.hmacSHA256), DER.write(.null, []))))
    let cipher = DER.write(
      sequence: DER.write(.objectIdentifier, Identifier.aes256CBC), DER.write(.octetString, iv))
    let scheme = DER.write(
      sequence: DER.write(.objectIdentifier, Identifier.pbes2),
      DER.write(sequence: function, cipher))
    return DER.write(sequence: scheme, DER.write(.octetString, ciphertext))
  }
}

/// Object identifiers, as DER encodes them.
private enum Identifier {
  static let pbes2: [UInt8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d]
  static let pbkdf2: [UInt8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c]
  static let scrypt: [UInt8] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b]
  static let hmacSHA256: [UInt8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09]
  static let aes256CBC: [UInt8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a]

  /// HMAC with these hashes.
  static let hashes: [[UInt8]: KeyDerivation.Hash] = [
    [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x07]: .sha1,
    [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x08]: .sha224,
    hmacSHA256: .sha256,
    [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x0a]: .sha384,
    [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x0b]: .sha512,
  ]

  /// AES-CBC, with the length of the key in bytes.
  static let ciphers: [[UInt8]: Int] = [
    [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02]: 16,
    [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x16]: 24,
    aes256CBC: 32,
  ]
}
