import CCrypto
import TBKCore

/// The length of a tag in bytes, for both algorithms.
package let aeadTagLength = 16

/// One AEAD key for many short messages, each with a 12-byte nonce, followed by a 16-byte tag, without associated data
/// (RFC 5116). Owns an `EVP_CIPHER_CTX`, which is set up once: each message sets only its nonce.
@safe package struct AEAD: ~Copyable {
  package enum Algorithm: Sendable {
    /// AEAD_AES_256_GCM.
    case aes256GCM
    /// AEAD_CHACHA20_POLY1305 (RFC 8439).
    case chaCha20Poly1305
  }

  package static let keyLength = 32
  package static let nonceLength = 12

  private let context: OpaquePointer
  private let encrypting: Bool

  /// - Parameter key: 32 bytes.
  package init(
    _ algorithm: Algorithm, key: borrowing Secret, encrypting: Bool
  ) throws(Failure) {
    guard key.count == AEAD.keyLength else { throw Failure(.library, "an AEAD needs a key of 32 bytes") }
    guard let context = unsafe EVP_CIPHER_CTX_new() else {
      throw Failure(.library, "EVP_CIPHER_CTX_new failed")
    }
    let cipher =
      switch algorithm {
      case .aes256GCM: unsafe EVP_aes_256_gcm()
      case .chaCha20Poly1305: unsafe EVP_chacha20_poly1305()
      }
    let ready = key.withBytes { key in
      unsafe key.withUnsafeBytes { key in
        unsafe EVP_CipherInit_ex(
          context, cipher, nil, key.baseAddress?.assumingMemoryBound(to: UInt8.self), nil,
          encrypting ? 1 : 0)
      }
    }
    guard ready == 1 else {
      unsafe EVP_CIPHER_CTX_free(context)
      throw Failure(.library, "the cipher cannot be set up")
    }
    self.encrypting = encrypting
    unsafe self.context = context  // Last: nothing may throw once we own it.
  }

  deinit { unsafe EVP_CIPHER_CTX_free(context) }

  /// Encrypts a message of less than 2 GiB into the front of `output`, which is grown if necessary: the ciphertext,
  /// then the tag. Returns their length.
  package mutating func seal(
    _ plaintext: Span<UInt8>, nonce: [UInt8], into output: inout [UInt8]
  ) throws(Failure) -> Int {
    precondition(encrypting)
    try run(plaintext, nonce: nonce, into: &output, spare: aeadTagLength)
    let count = plaintext.count
    let finished = unsafe output.withUnsafeMutableBytes { raw in
      var produced: Int32 = 0
      let end = unsafe raw.baseAddress! + count
      return unsafe EVP_EncryptFinal_ex(context, end.assumingMemoryBound(to: UInt8.self), &produced) == 1
        && tbk_gcm_get_tag(context, end, Int32(aeadTagLength)) == 1
    }
    guard finished else { throw Failure(.library, "the cipher cannot be finished") }
    return count + aeadTagLength
  }

  /// Decrypts a message with its tag into the front of `output`, which is grown if necessary. Returns the length of the
  /// plaintext; if the tag does not verify, wipes `output` and returns nil.
  package mutating func open(
    _ ciphertext: Span<UInt8>, nonce: [UInt8], into output: inout [UInt8]
  ) throws(Failure) -> Int? {
    precondition(!encrypting)
    guard ciphertext.count >= aeadTagLength else { return nil }
    let count = ciphertext.count - aeadTagLength
    var tag = Array(ciphertext.extracting(count..<ciphertext.count))
    try run(ciphertext.extracting(0..<count), nonce: nonce, into: &output, spare: aeadTagLength)
    let verified = unsafe output.withUnsafeMutableBytes { raw in
      var produced: Int32 = 0
      let end = unsafe raw.baseAddress! + count
      return unsafe tag.withUnsafeMutableBytes { tag in
        unsafe tbk_gcm_set_tag(context, tag.baseAddress, Int32(aeadTagLength)) == 1
          && EVP_DecryptFinal_ex(context, end.assumingMemoryBound(to: UInt8.self), &produced) == 1
      }
    }
    if verified { return count }
    wipe(&output)
    return nil
  }

  /// Sets the nonce and runs `input` through the cipher into the front of `output`.
  ///
  /// - Parameter spare: how many more bytes `output` must have room for.
  private mutating func run(
    _ input: Span<UInt8>, nonce: [UInt8], into output: inout [UInt8], spare: Int
  ) throws(Failure) {
    guard nonce.count == AEAD.nonceLength, let length = Int32(exactly: input.count) else {
      throw Failure(.library, "a message or nonce that the cipher does not take")
    }
    let needed = input.count + spare
    if output.count < needed { output += [UInt8](repeating: 0, count: needed - output.count) }
    var produced: Int32 = 0
    let passed = unsafe nonce.withUnsafeBufferPointer { nonce in
      unsafe output.withUnsafeMutableBytes { target in
        unsafe input.withUnsafeBytes { source in
          guard unsafe EVP_CipherInit_ex(context, nil, nil, nil, nonce.baseAddress, -1) == 1 else {
            return false
          }
          if length == 0 { return true }
          return unsafe EVP_CipherUpdate(
            context, target.baseAddress?.assumingMemoryBound(to: UInt8.self), &produced,
            source.baseAddress?.assumingMemoryBound(to: UInt8.self), length) == 1
        }
      }
    }
    guard passed, produced == length else { throw Failure(.library, "the cipher failed") }
  }
}
