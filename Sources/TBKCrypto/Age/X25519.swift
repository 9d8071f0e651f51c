import CCrypto
import TBKCore

/// X25519 (RFC 7748) with keys of 32 bytes.
package enum X25519 {
  package static let keyLength = 32

  /// A new private key.
  package static func generate() throws(Failure) -> Secret {
    let scalar = try Secret(count: keyLength)
    let result = scalar.withMutableBytes { scalar in
      unsafe scalar.withUnsafeMutableBytes { raw in
        unsafe RAND_priv_bytes(
          raw.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(raw.count))
      }
    }
    guard result == 1 else { throw Failure(.library, "RAND_priv_bytes failed") }
    return scalar
  }

  /// The public key of a private one.
  package static func publicKey(of scalar: borrowing Secret) throws(Failure) -> [UInt8] {
    let key = try X25519Key(scalar: scalar)
    var raw = [UInt8](repeating: 0, count: keyLength)
    var count = raw.count
    guard unsafe EVP_PKEY_get_raw_public_key(key.pointer, &raw, &count) == 1, count == keyLength
    else { throw Failure(.library, "EVP_PKEY_get_raw_public_key failed") }
    return raw
  }

  /// The shared secret, 32 bytes; nil if the other side's point is of low order, so that the secret would be zero
  /// whatever our key is (RFC 7748, 6.1).
  ///
  /// - Parameter point: 32 bytes.
  package static func sharedSecret(
    _ scalar: borrowing Secret, _ point: [UInt8]
  ) throws(Failure) -> Secret? {
    let mine = try X25519Key(scalar: scalar)
    let theirs = try X25519Key(point: point)
    let context = try X25519Context(mine)
    let secret = try Secret(count: keyLength)
    var count = keyLength
    let result = secret.withMutableBytes { secret in
      unsafe secret.withUnsafeMutableBytes { raw in
        unsafe EVP_PKEY_derive_init(context.pointer) == 1
          && EVP_PKEY_derive_set_peer(context.pointer, theirs.pointer) == 1
          && EVP_PKEY_derive(
            context.pointer, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), &count) == 1
      }
    }
    let isZero = secret.withBytes { bytes in
      var sum: UInt8 = 0
      for index in bytes.indices { sum |= bytes[index] }
      return sum == 0
    }
    // OpenSSL itself fails for a zero secret; any other failure is not the point's fault.
    if isZero {
      ERR_clear_error()
      return nil
    }
    guard result, count == keyLength else { throw Failure(.library, "EVP_PKEY_derive failed") }
    return secret
  }
}

/// Owns an `EVP_PKEY`, which is wiped when it is freed.
@safe private struct X25519Key: ~Copyable {
  let pointer: OpaquePointer

  init(scalar: borrowing Secret) throws(Failure) {
    let key = unsafe scalar.withBytes { scalar in
      unsafe scalar.withUnsafeBytes { raw in
        unsafe EVP_PKEY_new_raw_private_key_ex(
          nil, "X25519", nil, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), raw.count)
      }
    }
    guard let key = unsafe key else { throw Failure(.library, "OpenSSL refuses the private key") }
    unsafe pointer = key
  }

  init(point: [UInt8]) throws(Failure) {
    guard let key = unsafe EVP_PKEY_new_raw_public_key_ex(nil, "X25519", nil, point, point.count)
    else { throw Failure(.library, "OpenSSL refuses the public key") }
    unsafe pointer = key
  }

  deinit { unsafe EVP_PKEY_free(pointer) }
}

/// Owns the `EVP_PKEY_CTX` of one key agreement.
@safe private struct X25519Context: ~Copyable {
  let pointer: OpaquePointer

  init(_ key: borrowing X25519Key) throws(Failure) {
    guard let context = unsafe EVP_PKEY_CTX_new_from_pkey(nil, key.pointer, nil) else {
      throw Failure(.library, "EVP_PKEY_CTX_new_from_pkey failed")
    }
    unsafe pointer = context
  }

  deinit { unsafe EVP_PKEY_CTX_free(pointer) }
}
