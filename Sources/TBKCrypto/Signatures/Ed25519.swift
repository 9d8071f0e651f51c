import CCrypto
import TBKCore

/// The length of an Ed25519 signature in bytes (RFC 8032, 5.1.6).
package let signatureLength = 64

/// An Ed25519 private key: a 32-byte seed from which everything else is derived (RFC 8032, 5.1.5).
package struct SigningKey: ~Copyable {
  private let seed: Secret
  package let verifyingKey: VerifyingKey

  private init(seed: consuming Secret) throws(Failure) {
    let key = try KeyObject(privateKey: seed)
    verifyingKey = VerifyingKey(raw: try key.publicKey())
    self.seed = seed
  }

  /// A new key.
  package static func generate() throws(Failure) -> SigningKey {
    let seed = try Secret(count: 32)
    let result = seed.withMutableBytes { seed in
      unsafe seed.withUnsafeMutableBytes { raw in
        unsafe RAND_priv_bytes(
          raw.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(raw.count))
      }
    }
    guard result == 1 else { throw Failure(.library, "RAND_priv_bytes failed") }
    return try SigningKey(seed: seed)
  }

  // MARK: PEM

  /// Reads a PKCS#8 PEM, encrypted or not (tbk(5), "Keys and signatures").
  ///
  /// Throws `.authentication` for a wrong password; `.malformed` for a key of another algorithm, or an invalid format.
  ///
  /// - Parameter password: called if the key is encrypted.
  package init(
    parsing text: Span<UInt8>, password: () throws(Failure) -> Secret
  ) throws(Failure) {
    let pem = try PEM(parsing: text)
    switch pem.label {
    case KeyLabel.privateKey:
      let der = try pem.content(in: text)
      self = try der.withBytes { (der) throws(Failure) in try SigningKey(der: der) }
    case KeyLabel.encrypted:
      let der = try pem.content(in: text)
      let encrypted = try der.withBytes { (der) throws(Failure) in try EncryptedKey(parsing: der) }
      let wrong = Failure(.authentication, "the password is wrong, or the key is damaged")
      let given = try password()
      guard let decrypted = try encrypted.decrypt(given) else { throw wrong }
      self = try decrypted.withBytes { (der) throws(Failure) in
        // A wrong password can pass the padding check, and gives noise.
        guard isSequence(der) else { throw wrong }
        return try SigningKey(der: der)
      }
    case KeyLabel.publicKey:
      throw Failure(
        .malformed, "it is a public key", hint: "signing takes the private key that belongs to it")
    case let label: throw otherKind(label: label)
    }
  }

  /// - Parameter der: PrivateKeyInfo (RFC 8410, 7).
  private init(der: Span<UInt8>) throws(Failure) {
    var outer = DERReader(0..<der.count)
    var all = try outer.sequence(in: der)
    try outer.finish()
    let version = try all.integer(in: der)
    try KeyAlgorithm.readEd25519(&all, der)
    guard version == 0 else {
      throw Failure(.malformed, "it is in an unsupported version of PKCS#8")
    }
    var inner = DERReader(try all.read(.octetString, from: der))
    try all.finish()
    let seed = der.extracting(try inner.read(.octetString, from: der))
    try inner.finish()
    guard seed.count == 32 else { throw DER.failure }
    try self.init(seed: try Secret(copying: seed))
  }

  /// The private key as a PKCS#8 PEM, encrypted with a password.
  package func pem(password: borrowing Secret) throws(Failure) -> Secret {
    let encrypted = try EncryptedKey.encrypt(try der(), password)
    return try PEM.write(KeyLabel.encrypted, try Secret(copying: encrypted.span))
  }

  /// The private key as a PKCS#8 PEM, unencrypted.
  package func plainPEM() throws(Failure) -> Secret {
    try PEM.write(KeyLabel.privateKey, try der())
  }

  private func der() throws(Failure) -> Secret {
    // PrivateKeyInfo with version 0, Ed25519, and an OCTET STRING in an OCTET STRING.
    let front: [UInt8] =
      [0x30, 0x2e, 0x02, 0x01, 0x00] + KeyAlgorithm.ed25519Element + [0x04, 0x22, 0x04, 0x20]
    let der = try Secret(count: front.count + seed.count)
    seed.withBytes { seed in
      der.withMutableBytes { der in
        for index in front.indices { der[index] = front[index] }
        for index in seed.indices { der[front.count + index] = seed[index] }
      }
    }
    return der
  }

  // MARK: Signing

  /// The signature of `message`: 64 bytes. The message is read twice and must not change meanwhile, which could reveal
  /// the key.
  package func sign(_ message: Span<UInt8>) throws(Failure) -> [UInt8] {
    try KeyObject(privateKey: seed).sign(message)
  }
}

/// An Ed25519 public key.
package struct VerifyingKey: Equatable, Sendable {
  private let raw: [UInt8]

  fileprivate init(raw: [UInt8]) { self.raw = raw }

  /// Reads a PEM of SubjectPublicKeyInfo (RFC 8410, 4); `.malformed` for everything else, and for the few weak keys for
  /// which anyone can forge signatures.
  package init(parsing text: Span<UInt8>) throws(Failure) {
    let pem = try PEM(parsing: text)
    switch pem.label {
    case KeyLabel.publicKey:
      let der = try pem.content(in: text)
      self = try der.withBytes { (der) throws(Failure) in try VerifyingKey(der: der) }
    case KeyLabel.privateKey, KeyLabel.encrypted:
      throw Failure(
        .malformed, "it is a private key", hint: "tbk-sign public prints the public one")
    case let label: throw otherKind(label: label)
    }
  }

  private init(der: Span<UInt8>) throws(Failure) {
    var outer = DERReader(0..<der.count)
    var all = try outer.sequence(in: der)
    try outer.finish()
    try KeyAlgorithm.readEd25519(&all, der)
    let bits = der.extracting(try all.read(.bitString, from: der))
    try all.finish()
    // The first byte is the number of unused bits.
    guard bits.count == 33, bits[0] == 0 else { throw DER.failure }
    raw = Array(bits.extracting(1..<33))
    if VerifyingKey.hasSmallOrder(raw) {
      throw Failure(.malformed, "anyone can forge signatures for this key")
    }
  }

  /// The SubjectPublicKeyInfo, 44 bytes.
  private var der: [UInt8] {
    DER.write(sequence: KeyAlgorithm.ed25519Element, DER.write(.bitString, [0] + raw))
  }

  /// The key as a PEM.
  package var pem: [UInt8] {
    get throws(Failure) {
      let text = try PEM.write(KeyLabel.publicKey, try Secret(copying: der.span))
      return text.withBytes { Array($0) }
    }
  }

  /// The SHA-256 of SubjectPublicKeyInfo.
  package var fingerprint: Digest { get throws(Failure) { try SHA256.hash(der) } }

  /// Whether `signature` is a valid signature of `message` with this key; false if it is not 64 bytes.
  package func verify(_ signature: [UInt8], of message: Span<UInt8>) throws(Failure) -> Bool {
    guard signature.count == signatureLength else { return false }
    return try KeyObject(publicKey: raw).verify(signature, of: message)
  }

  /// Whether a key is a point of order 1, 2, 4 or 8, in any encoding: a signature with such a key can be valid for
  /// other messages too.
  private static func hasSmallOrder(_ raw: [UInt8]) -> Bool {
    let unsigned = raw.dropLast() + [raw[31] & 0x7f]
    return smallOrder.contains { [UInt8](hex: $0).map { $0.elementsEqual(unsigned) } ?? false }
  }

  /// With the sign bit cleared.
  private static let smallOrder = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ]
}

// MARK: OpenSSL

/// An OpenSSL Ed25519 key. Owns an `EVP_PKEY`, which is wiped when it is freed.
@safe private struct KeyObject: ~Copyable {
  private let key: OpaquePointer

  init(privateKey seed: borrowing Secret) throws(Failure) {
    let key = unsafe seed.withBytes { seed in
      unsafe seed.withUnsafeBytes { raw in
        unsafe EVP_PKEY_new_raw_private_key_ex(
          nil, "ED25519", nil, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), raw.count)
      }
    }
    guard let key = unsafe key else { throw Failure(.library, "OpenSSL refuses the private key") }
    unsafe self.key = key
  }

  init(publicKey raw: [UInt8]) throws(Failure) {
    guard let key = unsafe EVP_PKEY_new_raw_public_key_ex(nil, "ED25519", nil, raw, raw.count)
    else { throw Failure(.library, "OpenSSL refuses the public key") }
    unsafe self.key = key
  }

  deinit { unsafe EVP_PKEY_free(key) }

  func publicKey() throws(Failure) -> [UInt8] {
    var raw = [UInt8](repeating: 0, count: 32)
    var count = raw.count
    guard unsafe EVP_PKEY_get_raw_public_key(key, &raw, &count) == 1, count == 32 else {
      throw Failure(.library, "EVP_PKEY_get_raw_public_key failed")
    }
    return raw
  }

  func sign(_ message: Span<UInt8>) throws(Failure) -> [UInt8] {
    let context = try SignatureContext()
    var signature = [UInt8](repeating: 0, count: signatureLength)
    var count = signature.count
    let result = unsafe message.withUnsafeBytes { message in
      unsafe EVP_DigestSignInit_ex(context.pointer, nil, nil, nil, nil, key, nil) == 1
        && EVP_DigestSign(
          context.pointer, &signature, &count,
          message.baseAddress?.assumingMemoryBound(to: UInt8.self), message.count) == 1
    }
    guard result, count == signatureLength else { throw Failure(.library, "EVP_DigestSign failed") }
    return signature
  }

  func verify(_ signature: [UInt8], of message: Span<UInt8>) throws(Failure) -> Bool {
    let context = try SignatureContext()
    guard unsafe EVP_DigestVerifyInit_ex(context.pointer, nil, nil, nil, nil, key, nil) == 1 else {
      throw Failure(.library, "EVP_DigestVerifyInit_ex failed")
    }
    let result = unsafe message.withUnsafeBytes { message in
      unsafe EVP_DigestVerify(
        context.pointer, signature, signature.count,
        message.baseAddress?.assumingMemoryBound(to: UInt8.self), message.count)
    }
    // 0 for an invalid signature.
    guard result >= 0 else { throw Failure(.library, "EVP_DigestVerify failed") }
    return result == 1
  }
}

/// Owns the `EVP_MD_CTX` of one signature.
@safe private struct SignatureContext: ~Copyable {
  let pointer: OpaquePointer

  init() throws(Failure) {
    guard let context = unsafe EVP_MD_CTX_new() else {
      throw Failure(.library, "EVP_MD_CTX_new failed")
    }
    unsafe pointer = context
  }

  deinit { unsafe EVP_MD_CTX_free(pointer) }
}

// MARK: Kinds of keys

private enum KeyLabel {
  static let privateKey = "PRIVATE KEY"
  static let encrypted = "ENCRYPTED PRIVATE KEY"
  static let publicKey = "PUBLIC KEY"
}

private let anotherKindHint = "signatures use Ed25519; tbk-sign keygen makes such keys"

/// The failure for a PEM block that does not contain a usable key.
private func otherKind(label: String) -> Failure {
  Failure(.malformed, "it is a \"\(label)\", not an Ed25519 key", hint: anotherKindHint)
}

/// Whether DER is one SEQUENCE with nothing after it.
private func isSequence(_ der: Span<UInt8>) -> Bool {
  var reader = DERReader(0..<der.count)
  guard (try? reader.read(.sequence, from: der)) != nil else { return false }
  return reader.isAtEnd
}

private enum KeyAlgorithm {
  /// AlgorithmIdentifier of Ed25519 (RFC 8410, 3): the OID 1.3.101.112 and no parameters.
  static let ed25519Element: [UInt8] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70]

  /// Reads the AlgorithmIdentifier and rejects all but Ed25519's.
  static func readEd25519(_ reader: inout DERReader, _ der: Span<UInt8>) throws(Failure) {
    var algorithm = try reader.sequence(in: der)
    let name = try algorithm.identifier(in: der)
    guard name == [0x2b, 0x65, 0x70] else {
      throw Failure(
        .malformed, "it is \(names[name] ?? "a key of another kind"), not an Ed25519 key",
        hint: anotherKindHint)
    }
    try algorithm.finish()
  }

  private static let names: [[UInt8]: String] = [
    [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]: "an RSA key",
    [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a]: "an RSA-PSS key",
    [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]: "an EC key",
    [0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01]: "a DSA key",
    [0x2b, 0x65, 0x6e]: "an X25519 key",
    [0x2b, 0x65, 0x6f]: "an X448 key",
    [0x2b, 0x65, 0x71]: "an Ed448 key",
  ]
}
