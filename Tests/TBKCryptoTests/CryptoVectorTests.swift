import TBKCore
import TBKCrypto
import Testing

@Suite struct CryptoVectorTests {
  @Test func everyFileIsReadAndNoneIsEmpty() throws {
    let files = try cryptoVectors()
    #expect(
      Set(files.keys) == [
        "aes-256-cbc-pkcs7.txt", "aes-256-gcm.txt", "age-stream.txt", "argon2id.txt",
        "chunked-encryption.txt", "ed25519-refused.txt", "ed25519.txt", "hmac-sha256.txt", "pbkdf2-hmac-sha256.txt",
        "sha256.txt",
      ])
    for (name, blocks) in files { #expect(!blocks.isEmpty, "\(name)") }
  }

  private func blocks(_ name: String) throws -> [VectorBlock] {
    try #require(try cryptoVectors()[name])
  }

  @Test func sha256() throws {
    for block in try blocks("sha256.txt") {
      #expect(try SHA256.hash(try block.bytes("message")).bytes == block.bytes("hash"))
    }
  }

  @Test func hmacSHA256() throws {
    for block in try blocks("hmac-sha256.txt") {
      let (key, message) = (try block.bytes("key"), try block.bytes("message"))
      var mac = try block.bytes("mac")
      #expect(try hmac(key, message) == mac)
      #expect(try hmacHolds(key, message, mac))
      mac[31] ^= 1
      #expect(try !hmacHolds(key, message, mac))
    }
  }

  @Test func pbkdf2() throws {
    for block in try blocks("pbkdf2-hmac-sha256.txt") {
      let key = try KeyDerivation.pbkdf2SHA256(
        try secret(try block.bytes("password")), salt: try block.bytes("salt"),
        iterations: try block.number("iterations"), length: try block.bytes("key").count)
      let derived = key.bytes
      #expect(try derived == block.bytes("key"))
    }
  }

  @Test func argon2id() throws {
    var tried = 0
    // The RFC's own vector has a secret and associated data, which archives do not use.
    for block in try blocks("argon2id.txt") where block.fields["secret"] == nil {
      let cost = Argon2Cost(
        memory: try block.number("memory"), passes: try block.number("time"),
        lanes: try block.number("lanes"))
      let key = try KeyDerivation.argon2id(
        try secret(try block.bytes("password")), salt: try block.bytes("salt"), cost: cost,
        length: try block.bytes("key").count)
      let derived = key.bytes
      #expect(try derived == block.bytes("key"))
      tried += 1
    }
    #expect(tried > 0)
  }

  @Test func gcm() throws {
    for block in try blocks("aes-256-gcm.txt") {
      let key = try secret(try block.bytes("key"))
      let nonce = try block.bytes("nonce")
      // OpenSSL does not support longer nonces, and no writer makes them.
      if !AESGCM.nonceLengths.contains(nonce.count) {
        #expect(throws: Failure.self) { try gcmSeal([], key, nonce) }
        continue
      }
      let plaintext = try block.bytes("plaintext")
      let (sealed, tag) = try gcmSeal(plaintext, key, nonce)
      #expect(try sealed == block.bytes("ciphertext"))
      #expect(try tag == block.bytes("tag"))
      #expect(try gcmOpen(sealed, tag, key, nonce, piece: 1) == plaintext)
    }
  }

  @Test func cbc() throws {
    for block in try blocks("aes-256-cbc-pkcs7.txt") {
      for piece in [1, 15, 16, 17, 4096] {
        let plaintext = try cbcOpen(
          try block.bytes("ciphertext"), try block.bytes("key"), try block.bytes("iv"), piece: piece
        )
        #expect(try plaintext == block.bytes("plaintext"))
      }
    }
  }
}

func gcmSeal(
  _ plaintext: [UInt8], _ key: borrowing Secret, _ nonce: [UInt8]
) throws(Failure) -> (ciphertext: [UInt8], tag: [UInt8]) {
  var cipher = try AESGCM(key: key, nonce: nonce, encrypting: true)
  var output: [UInt8] = []
  try cipher.update(plaintext.span, into: &output)
  return (Array(output[..<plaintext.count]), try cipher.finish())
}

/// The plaintext, or nil if the tag does not verify.
func gcmOpen(
  _ ciphertext: [UInt8], _ tag: [UInt8], _ key: borrowing Secret, _ nonce: [UInt8],
  piece: Int = .max
) throws(Failure) -> [UInt8]? {
  var cipher = try AESGCM(key: key, nonce: nonce, encrypting: false)
  var plaintext: [UInt8] = []
  var output: [UInt8] = []
  var done = 0
  while done < ciphertext.count {
    let count = min(piece, ciphertext.count - done)
    try cipher.update(ciphertext.span.extracting(done..<done + count), into: &output)
    plaintext += output[..<count]
    done += count
  }
  return cipher.verify(tag: tag) ? plaintext : nil
}

/// The plaintext; throws `.malformed` if the padding is wrong.
func cbcOpen(
  _ ciphertext: [UInt8], _ key: [UInt8], _ iv: [UInt8], piece: Int
) throws(Failure) -> [UInt8] {
  var cipher = try AESCBCDecryption(key: key.span, iv: iv)
  var plaintext: [UInt8] = []
  var output: [UInt8] = []
  var done = 0
  while done < ciphertext.count {
    let end = min(done + piece, ciphertext.count)
    let count = try cipher.update(ciphertext.span.extracting(done..<end), into: &output)
    plaintext += output[..<count]
    done = end
  }
  plaintext += try cipher.finish()
  return plaintext
}

/// The MAC of a message that is written byte by byte.
func hmac(_ key: [UInt8], _ message: [UInt8]) throws(Failure) -> [UInt8] {
  var running = try HMACSHA256(key: key.span)
  for byte in message { try running.update([byte].span) }
  return try running.finish()
}

func hmacHolds(_ key: [UInt8], _ message: [UInt8], _ mac: [UInt8]) throws(Failure) -> Bool {
  var running = try HMACSHA256(key: key.span)
  try running.update(message.span)
  return try running.verify(tag: mac)
}
