import CCrypto
import TBKCore

/// A recipient of age files: the public half of an X25519 identity, `age1…`.
package struct AgeRecipient: Hashable, Sendable {
  /// 32 bytes.
  package let point: [UInt8]

  package init(point: [UInt8]) { self.point = point }

  /// Parses `age1…`. Any other kind of key is `.malformed`, and the message names it.
  package init(parsing text: [UInt8]) throws(Failure) {
    let shown = RawPath(text).display
    if text.starts(with: Array("age1pq1".utf8)) {
      throw Failure(
        .malformed, "'\(shown)' is a hybrid (post-quantum) recipient, which is not supported",
        hint: "recipients are X25519's, as tbk-keygen makes them")
    }
    if text.starts(with: Array("ssh-".utf8)) {
      throw Failure(
        .malformed, "'\(shown)' is an SSH key, which is not supported as a recipient",
        hint: "recipients are X25519's, as tbk-keygen makes them")
    }
    if text.starts(with: Array("AGE-SECRET-KEY-".utf8)) {
      // Not quoted, because it is a secret.
      throw Failure(
        .malformed, "an identity is given where a recipient belongs",
        hint: "tbk-keygen -y prints the recipient of an identity")
    }
    var point: [UInt8] = []
    if let data = try Bech32.decode(text.span, prefix: "age") { point = data.withBytes { Array($0) } }
    guard point.count == X25519.keyLength, text.allSatisfy({ !(65...90).contains($0) })
    else {
      throw Failure(
        .malformed, "'\(shown)' is not an age recipient",
        hint: "a recipient begins with age1; tbk-keygen -y prints that of an identity")
    }
    self.point = point
  }

  /// `age1…`.
  package func text() throws(Failure) -> String {
    let text = try Bech32.encode(prefix: "age", point.span)
    return text.withBytes { String(decoding: Array($0), as: UTF8.self) }
  }

  private static let label = Array("age-encryption.org/v1/X25519".utf8)

  /// Wraps a file key for this recipient.
  func wrap(_ fileKey: borrowing AgeFileKey) throws(Failure) -> AgeStanza {
    let ephemeral = try X25519.generate()
    let share = try X25519.publicKey(of: ephemeral)
    guard let secret = try X25519.sharedSecret(ephemeral, point) else {
      throw Failure(.malformed, "\(try text()) is a recipient for which no identity can exist")
    }
    let key = try Self.wrappingKey(secret, share: share, point: point)
    return AgeStanza(
      type: AgeStanzaType.x25519, arguments: [.unpaddedBase64(share)],
      body: try fileKey.wrapped(under: key))
  }

  fileprivate static func wrappingKey(
    _ secret: borrowing Secret, share: [UInt8], point: [UInt8]
  ) throws(Failure) -> Secret {
    try HKDF.derive(.sha256, key: secret, salt: share + point, info: label, length: 32)
  }
}

/// The types of stanzas.
enum AgeStanzaType {
  static let x25519 = "X25519"
  static let scrypt = "scrypt"
  /// ML-KEM-768 with X25519: rejected as unsupported.
  static let hybrid = "mlkem768x25519"
}

/// An identity, which opens age files: the private half of an X25519 key, `AGE-SECRET-KEY-1…`.
package final class AgeIdentity {
  private let scalar: Secret
  package let recipient: AgeRecipient

  private init(scalar: consuming Secret) throws(Failure) {
    recipient = AgeRecipient(point: try X25519.publicKey(of: scalar))
    self.scalar = scalar
  }

  /// A new identity.
  package static func generate() throws(Failure) -> AgeIdentity {
    try AgeIdentity(scalar: try X25519.generate())
  }

  private static let prefix = "AGE-SECRET-KEY-"

  /// Parses `AGE-SECRET-KEY-1…`. Messages never quote the input.
  package convenience init(parsing text: Span<UInt8>) throws(Failure) {
    func begins(_ prefix: String) -> Bool {
      let front = Array(prefix.utf8)
      return text.count >= front.count && text.extracting(0..<front.count).elementsEqual(front)
    }
    if begins("AGE-SECRET-KEY-PQ-1") {
      throw Failure(.malformed, "a hybrid (post-quantum) identity is not supported")
    }
    if begins("AGE-PLUGIN-") {
      throw Failure(.malformed, "an identity of an age plugin is not supported")
    }
    if begins("age1") {
      throw Failure(.malformed, "a recipient is given where an identity belongs")
    }
    if begins("-----BEGIN ") {
      throw Failure(
        .malformed, "a PEM file, as SSH keys are, is not supported as an identity",
        hint: "tbk-keygen makes identities")
    }
    guard begins(Self.prefix),
      let scalar = try Bech32.decode(text, prefix: Self.prefix.lowercased()),
      scalar.count == X25519.keyLength
    else { throw Failure(.malformed, "it is not an age identity") }
    try self.init(scalar: scalar)
  }

  /// `AGE-SECRET-KEY-1…`.
  package func text() throws(Failure) -> Secret {
    let text = try scalar.withBytes { (bytes) throws(Failure) in
      try Bech32.encode(prefix: Self.prefix.lowercased(), bytes)
    }
    text.withMutableBytes { text in
      for index in text.indices where (97...122).contains(text[index]) { text[index] &= 0xdf }
    }
    return text
  }

  /// The file key, if the stanza is for this identity.
  fileprivate func unwrap(_ stanza: AgeX25519Stanza) throws(Failure) -> AgeFileKey? {
    guard let secret = try X25519.sharedSecret(scalar, stanza.share) else {
      throw Failure(.malformed, "an X25519 stanza has a share of low order")
    }
    let key = try AgeRecipient.wrappingKey(secret, share: stanza.share, point: recipient.point)
    return try AgeFileKey.unwrap(stanza.body, under: key)
  }
}

/// A well-formed X25519 stanza.
private struct AgeX25519Stanza {
  let share: [UInt8]
  let body: [UInt8]

  init(_ stanza: AgeStanza) throws(Failure) {
    guard stanza.arguments.count == 1, let share = [UInt8](unpaddedBase64: stanza.arguments[0]),
      share.count == X25519.keyLength, stanza.body.count == AgeFileKey.wrappedLength
    else { throw Failure(.malformed, "an X25519 stanza of the age header is malformed") }
    self.share = share
    body = stanza.body
  }
}

/// A well-formed scrypt stanza.
private struct AgeScryptStanza {
  let salt: [UInt8]
  let logN: UInt64
  let body: [UInt8]

  static let label = Array("age-encryption.org/v1/scrypt".utf8)

  init(_ stanza: AgeStanza) throws(Failure) {
    guard stanza.arguments.count == 2, let salt = [UInt8](unpaddedBase64: stanza.arguments[0]),
      salt.count == 16, let logN = Self.number(stanza.arguments[1]),
      stanza.body.count == AgeFileKey.wrappedLength
    else { throw Failure(.malformed, "the scrypt stanza of the age header is malformed") }
    self.salt = salt
    self.logN = logN
    body = stanza.body
  }

  /// One to three digits, the first not 0.
  private static func number(_ digits: [UInt8]) -> UInt64? {
    guard (1...3).contains(digits.count), digits[0] != UInt8(ascii: "0") else { return nil }
    var value: UInt64 = 0
    for digit in digits {
      guard (48...57).contains(digit) else { return nil }
      value = value * 10 + UInt64(digit - 48)
    }
    return value
  }

  static func wrappingKey(
    _ passphrase: borrowing Secret, salt: [UInt8], logN: UInt64
  ) throws(Failure) -> Secret {
    try KeyDerivation.scrypt(
      passphrase, salt: label + salt, n: 1 << logN, r: 8, p: 1, length: 32)
  }
}

/// The scrypt cost of a passphrase of an age file.
package enum AgeScrypt {
  /// The binary logarithm of scrypt's N: 18 takes 256 MiB; each increment doubles it.
  package static let standardLogN: UInt64 = 18

  /// The memory that a cost takes, in KiB.
  static func memory(logN: UInt64) -> UInt64 { logN < 54 ? 1 << logN : .max }
}

extension AgeHeader {
  /// Whether a passphrase opens the file.
  package var hasPassphrase: Bool { stanzas.contains { $0.isOf(AgeStanzaType.scrypt) } }

  /// Whether an identity could open the file.
  package var hasRecipients: Bool {
    stanzas.contains { $0.isOf(AgeStanzaType.x25519) || $0.isOf(AgeStanzaType.hybrid) }
  }

  /// The file key, from the first stanza for one of the identities, after verifying the MAC.
  ///
  /// Throws `.authentication` if there is no such stanza; `.malformed` if an X25519 stanza is malformed, or if the file
  /// has only hybrid recipients.
  package func unwrap(_ identities: [AgeIdentity]) throws(Failure) -> AgeFileKey {
    try checkScryptAlone()
    let candidates = try x25519Stanzas()
    for stanza in candidates {
      for identity in identities {
        if let key = try identity.unwrap(stanza) { return try verified(key) }
      }
    }
    if hasPassphrase {
      throw Failure(.authentication, "the file is sealed with a passphrase, not to recipients")
    }
    if candidates.isEmpty, stanzas.contains(where: { $0.isOf(AgeStanzaType.hybrid) }) {
      throw Failure(
        .malformed,
        "the file is sealed to hybrid (post-quantum) recipients (\(AgeStanzaType.hybrid)), which "
          + "are not supported", hint: "age 1.3 and later open it")
    }
    throw Failure(
      .authentication, "the file is not sealed to any of the identities",
      shellHint: "give the identity file of one of its recipients with -i",
      libraryHint: "make the keys of the identity of one of its recipients")
  }

  /// The file key, from the passphrase, after verifying the MAC.
  ///
  /// - Parameter memoryLimit: the maximum memory for scrypt, in KiB.
  package func unwrap(
    passphrase: borrowing Secret, memoryLimit: UInt64
  ) throws(Failure) -> AgeFileKey {
    let stanza = try scryptStanza(memoryLimit: memoryLimit)
    let key = try AgeScryptStanza.wrappingKey(passphrase, salt: stanza.salt, logN: stanza.logN)
    guard let fileKey = try AgeFileKey.unwrap(stanza.body, under: key) else {
      throw Failure(.authentication, "the passphrase is wrong, or the file has been altered")
    }
    return try verified(fileKey)
  }

  /// Rejects an invalid or too expensive scrypt stanza, before asking for the passphrase.
  ///
  /// - Parameter memoryLimit: the maximum memory for scrypt, in KiB.
  package func checkPassphraseCost(memoryLimit: UInt64) throws(Failure) {
    _ = try scryptStanza(memoryLimit: memoryLimit)
  }

  /// Rejects malformed stanzas, before asking for an identity.
  package func checkStanzas() throws(Failure) {
    try checkScryptAlone()
    _ = try x25519Stanzas()
  }

  private func x25519Stanzas() throws(Failure) -> [AgeX25519Stanza] {
    var candidates: [AgeX25519Stanza] = []
    for stanza in stanzas where stanza.isOf(AgeStanzaType.x25519) {
      candidates.append(try AgeX25519Stanza(stanza))
    }
    return candidates
  }

  private func scryptStanza(memoryLimit: UInt64) throws(Failure) -> AgeScryptStanza {
    try checkScryptAlone()
    guard let first = stanzas.first, first.isOf(AgeStanzaType.scrypt) else {
      throw Failure(.authentication, "the file is sealed to recipients, not with a passphrase")
    }
    let stanza = try AgeScryptStanza(first)
    let memory = AgeScrypt.memory(logN: stanza.logN)
    guard memory <= memoryLimit, stanza.logN <= 30 else {
      let message = "the file asks for scrypt with 2^\(stanza.logN) KiB of memory, above the limit"
      if stanza.logN > 30 { throw Failure(.malformed, message) }
      throw Failure(
        .malformed, message, shellHint: "if you trust this file, raise the limit with --max-memory",
        libraryHint: "if you trust this file, raise memoryLimit")
    }
    return stanza
  }

  /// A file with a passphrase must have no recipients: otherwise anyone with an identity could forge what only the
  /// passphrase should authenticate.
  private func checkScryptAlone() throws(Failure) {
    if hasPassphrase, stanzas.count > 1 {
      throw Failure(.malformed, "the age header has a passphrase and something else")
    }
  }

  private func verified(_ key: consuming AgeFileKey) throws(Failure) -> AgeFileKey {
    guard unsafe CRYPTO_memcmp(try key.mac(of: authenticated), mac, mac.count) == 0 else {
      throw Failure(.authentication, "the age header has been altered: its MAC does not verify")
    }
    return key
  }

  /// A header that wraps `key` for each of the recipients.
  package static func sealing(
    _ key: borrowing AgeFileKey, to recipients: [AgeRecipient]
  ) throws(Failure) -> AgeHeader {
    var stanzas: [AgeStanza] = []
    for recipient in recipients { stanzas.append(try recipient.wrap(key)) }
    guard !stanzas.isEmpty else { throw Failure(.usage, "no recipient is given") }
    return AgeHeader(stanzas: stanzas, mac: try key.mac(of: authenticated(stanzas)))
  }

  /// A header that wraps `key` with the passphrase.
  ///
  /// - Parameter logN: the binary logarithm of scrypt's N.
  package static func sealing(
    _ key: borrowing AgeFileKey, passphrase: borrowing Secret,
    logN: UInt64 = AgeScrypt.standardLogN
  ) throws(Failure) -> AgeHeader {
    let salt = try randomBytes(16)
    let wrapping = try AgeScryptStanza.wrappingKey(passphrase, salt: salt, logN: logN)
    let stanza = AgeStanza(
      type: AgeStanzaType.scrypt,
      arguments: [.unpaddedBase64(salt), Array(String(logN).utf8)],
      body: try key.wrapped(under: wrapping))
    return AgeHeader(stanzas: [stanza], mac: try key.mac(of: authenticated([stanza])))
  }
}
