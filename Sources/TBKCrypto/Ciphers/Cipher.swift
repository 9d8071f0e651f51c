import CCrypto
import TBKCore

/// The maximum length of an AES-GCM message: 2^36 - 32 bytes (NIST SP 800-38D, 5.2.1.1).
package let gcmMaximumLength: UInt64 = (1 << 36) - 32

/// The length of a GCM tag in bytes.
package let gcmTagLength = 16

/// One direction of one cipher over one message. Owns an `EVP_CIPHER_CTX`.
@safe package struct CipherContext: ~Copyable {
  fileprivate let pointer: OpaquePointer

  fileprivate init() throws(Failure) {
    guard let context = unsafe EVP_CIPHER_CTX_new() else {
      throw Failure(.library, "EVP_CIPHER_CTX_new failed")
    }
    unsafe pointer = context
  }

  deinit { unsafe EVP_CIPHER_CTX_free(pointer) }

  /// Runs `input` through the cipher into the front of `output`, which is grown to hold the input and a block. Returns
  /// how many bytes were written.
  fileprivate func update(
    _ input: Span<UInt8>, into output: inout [UInt8], encrypting: Bool
  ) throws(Failure) -> Int {
    let needed = input.count + 16
    if output.count < needed { output += [UInt8](repeating: 0, count: needed - output.count) }
    guard let length = Int32(exactly: input.count) else {
      throw Failure(.library, "a chunk of \(input.count) bytes is too large for the cipher")
    }
    if length == 0 { return 0 }
    var produced: Int32 = 0
    let result = unsafe output.withUnsafeMutableBytes { target in
      unsafe input.withUnsafeBytes { source in
        let to = unsafe target.baseAddress!.assumingMemoryBound(to: UInt8.self)
        let from = unsafe source.baseAddress!.assumingMemoryBound(to: UInt8.self)
        return encrypting
          ? unsafe EVP_EncryptUpdate(pointer, to, &produced, from, length)
          : unsafe EVP_DecryptUpdate(pointer, to, &produced, from, length)
      }
    }
    guard result == 1 else { throw Failure(.library, "the cipher failed") }
    return Int(produced)
  }
}

/// AES-256-GCM over one message, without associated data (NIST SP 800-38D).
///
/// Decrypted bytes come out before the tag is known: the caller must not use them until
/// `verify(tag:)` has returned.
package struct AESGCM: ~Copyable {
  private let context: CipherContext
  private let encrypting: Bool
  private var remaining = gcmMaximumLength

  /// The nonce lengths that OpenSSL supports (GCM_IV_MAX_SIZE), in bytes.
  package static let nonceLengths = 1...128

  /// - Parameters:
  ///   - key: 32 bytes.
  ///   - nonce: its length must be in `nonceLengths`; we write 12 bytes.
  package init(key: borrowing Secret, nonce: [UInt8], encrypting: Bool) throws(Failure) {
    guard key.count == 32 else { throw Failure(.library, "AES-256-GCM needs a key of 32 bytes") }
    guard AESGCM.nonceLengths.contains(nonce.count) else {
      throw Failure(.malformed, "a nonce of \(nonce.count) bytes is out of range")
    }
    let context = try CipherContext()
    let ready = key.withBytes { key in
      unsafe key.withUnsafeBytes { key in
        unsafe nonce.withUnsafeBytes { nonce in
          let key = unsafe key.baseAddress?.assumingMemoryBound(to: UInt8.self)
          let iv = unsafe nonce.baseAddress?.assumingMemoryBound(to: UInt8.self)
          let direction: Int32 = encrypting ? 1 : 0
          return unsafe EVP_CipherInit_ex(
            context.pointer, EVP_aes_256_gcm(), nil, nil, nil, direction) == 1
            && tbk_gcm_set_nonce_length(context.pointer, Int32(nonce.count)) == 1
            && EVP_CipherInit_ex(context.pointer, nil, nil, key, iv, direction) == 1
        }
      }
    }
    guard ready else { throw Failure(.library, "AES-256-GCM cannot be set up") }
    self.context = context
    self.encrypting = encrypting
  }

  /// Encrypts or decrypts `input` into the front of `output`; writes `input.count` bytes.
  package mutating func update(_ input: Span<UInt8>, into output: inout [UInt8]) throws(Failure) {
    guard UInt64(input.count) <= remaining else {
      throw Failure(
        .malformed, "one archive holds at most \(gcmMaximumLength) bytes of compressed data",
        hint: "back up parts of the tree as archives of their own")
    }
    remaining -= UInt64(input.count)
    _ = try context.update(input, into: &output, encrypting: encrypting)
  }

  /// Ends an encryption and returns the tag, 16 bytes.
  package consuming func finish() throws(Failure) -> [UInt8] {
    var tag = [UInt8](repeating: 0, count: gcmTagLength)
    var produced: Int32 = 0
    let result = unsafe tag.withUnsafeMutableBytes { raw in
      let scratch = unsafe raw.baseAddress!.assumingMemoryBound(to: UInt8.self)
      return unsafe EVP_EncryptFinal_ex(context.pointer, scratch, &produced) == 1
        && tbk_gcm_get_tag(context.pointer, raw.baseAddress, Int32(gcmTagLength)) == 1
    }
    guard result else { throw Failure(.library, "AES-256-GCM cannot be finished") }
    return tag
  }

  /// Ends a decryption; false if `tag` (16 bytes) does not match the ciphertext.
  package consuming func verify(tag: [UInt8]) -> Bool {
    guard tag.count == gcmTagLength else { return false }
    var scratch = [UInt8](repeating: 0, count: 16)
    var produced: Int32 = 0
    return unsafe scratch.withUnsafeMutableBytes { raw in
      unsafe tag.withUnsafeBytes { tag in
        unsafe tbk_gcm_set_tag(context.pointer, tag.baseAddress, Int32(gcmTagLength)) == 1
          && EVP_DecryptFinal_ex(
            context.pointer, raw.baseAddress!.assumingMemoryBound(to: UInt8.self), &produced) == 1
      }
    }
  }
}

/// AES-256-CBC decryption with PKCS#7 padding: TBK1 only, after its HMAC has been verified.
package struct AESCBCDecryption: ~Copyable {
  private let context: CipherContext

  /// - Parameters:
  ///   - key: 32 bytes.
  ///   - iv: 16 bytes.
  package init(key: Span<UInt8>, iv: [UInt8]) throws(Failure) {
    guard key.count == 32, iv.count == 16 else {
      throw Failure(.malformed, "AES-256-CBC needs an IV of 16 bytes")
    }
    let context = try CipherContext()
    let ready = unsafe key.withUnsafeBytes { key in
      unsafe iv.withUnsafeBytes { iv in
        unsafe EVP_DecryptInit_ex(
          context.pointer, EVP_aes_256_cbc(), nil,
          key.baseAddress?.assumingMemoryBound(to: UInt8.self),
          iv.baseAddress?.assumingMemoryBound(to: UInt8.self)) == 1
      }
    }
    guard ready else { throw Failure(.library, "AES-256-CBC cannot be set up") }
    self.context = context
  }

  /// Decrypts `input` into the front of `output` and returns how many bytes were written.
  package mutating func update(
    _ input: Span<UInt8>, into output: inout [UInt8]
  ) throws(Failure) -> Int {
    try context.update(input, into: &output, encrypting: false)
  }

  /// The last bytes, padding removed; `.malformed` if the padding is wrong.
  package consuming func finish() throws(Failure) -> [UInt8] {
    var last = [UInt8](repeating: 0, count: 32)
    var produced: Int32 = 0
    let result = unsafe last.withUnsafeMutableBytes { raw in
      unsafe EVP_DecryptFinal_ex(
        context.pointer, raw.baseAddress!.assumingMemoryBound(to: UInt8.self), &produced)
    }
    guard result == 1 else { throw Failure(.malformed, "the padding of the archive is wrong") }
    return Array(last[..<Int(produced)])
  }
}

/// AES-CBC with PKCS#7 padding for a short secret: a private key.
package enum AESCBC {
  package static let ivLength = 16

  /// - Parameters:
  ///   - key: 16, 24 or 32 bytes.
  ///   - iv: 16 bytes.
  package static func encrypt(
    _ plaintext: borrowing Secret, key: borrowing Secret, iv: [UInt8]
  ) throws(Failure) -> [UInt8] {
    let output = try plaintext.withBytes { (bytes) throws(Failure) in
      try run(bytes, key: key, iv: iv, encrypting: true)
    }
    guard let output else { throw Failure(.library, "AES-CBC cannot be finished") }
    return output.withBytes { Array($0) }
  }

  /// The plaintext; nil if its padding is wrong, as it usually is with a wrong key.
  package static func decrypt(
    _ ciphertext: Span<UInt8>, key: borrowing Secret, iv: [UInt8]
  ) throws(Failure) -> Secret? {
    try run(ciphertext, key: key, iv: iv, encrypting: false)
  }

  private static func run(
    _ input: Span<UInt8>, key: borrowing Secret, iv: [UInt8], encrypting: Bool
  ) throws(Failure) -> Secret? {
    let cipher =
      switch key.count {
      case 16: unsafe EVP_aes_128_cbc()
      case 24: unsafe EVP_aes_192_cbc()
      case 32: unsafe EVP_aes_256_cbc()
      default: throw Failure(.library, "AES has no keys of \(key.count) bytes")
      }
    guard iv.count == ivLength, let length = Int32(exactly: input.count) else {
      throw Failure(.malformed, "AES-CBC needs an IV of \(ivLength) bytes")
    }
    let context = try CipherContext()
    let direction: Int32 = encrypting ? 1 : 0
    let ready = key.withBytes { key in
      unsafe key.withUnsafeBytes { key in
        unsafe iv.withUnsafeBytes { iv in
          unsafe EVP_CipherInit_ex(
            context.pointer, cipher, nil, key.baseAddress?.assumingMemoryBound(to: UInt8.self),
            iv.baseAddress?.assumingMemoryBound(to: UInt8.self), direction)
        }
      }
    }
    guard ready == 1 else { throw Failure(.library, "AES-CBC cannot be set up") }
    let output = try Secret(count: input.count + 2 * ivLength)
    var (produced, last): (Int32, Int32) = (0, 0)
    let result = output.withMutableBytes { output in
      unsafe output.withUnsafeMutableBytes { target in
        unsafe input.withUnsafeBytes { source in
          let to = unsafe target.baseAddress!.assumingMemoryBound(to: UInt8.self)
          let from = unsafe source.baseAddress?.assumingMemoryBound(to: UInt8.self)
          return unsafe EVP_CipherUpdate(context.pointer, to, &produced, from, length) == 1
            && EVP_CipherFinal_ex(context.pointer, to + Int(produced), &last) == 1
        }
      }
    }
    if !result { return nil }
    let count = Int(produced + last)
    return try output.withBytes { (bytes) throws(Failure) in
      try Secret(copying: bytes.extracting(0..<count))
    }
  }
}
