import CCrypto
import TBKCore

/// HKDF (RFC 5869): derives keys from a key, never from a password.
package enum HKDF {
  package enum Hash: Sendable { case sha256, sha512 }

  /// HKDF-Extract, then HKDF-Expand.
  ///
  /// - Parameter length: bytes, at least 1.
  package static func derive(
    _ hash: Hash, key: borrowing Secret, salt: [UInt8], info: [UInt8], length: Int
  ) throws(Failure) -> Secret {
    try run(hash, EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, key, salt: salt, info: info, length)
  }

  /// Only HKDF-Expand, for a uniformly random key.
  ///
  /// - Parameter length: bytes, at least 1.
  package static func expand(
    _ hash: Hash, key: borrowing Secret, info: [UInt8], length: Int
  ) throws(Failure) -> Secret {
    try run(hash, EVP_KDF_HKDF_MODE_EXPAND_ONLY, key, salt: nil, info: info, length)
  }

  private static func run(
    _ hash: Hash, _ mode: Int32, _ key: borrowing Secret, salt: [UInt8]?, info: [UInt8],
    _ length: Int
  ) throws(Failure) -> Secret {
    let context = try HKDFContext()
    let output = try Secret(count: length)
    // Everything that a parameter points to, including its name, must outlive the call.
    var digest = Array((hash == .sha256 ? "SHA256" : "SHA512").utf8CString)
    let names = ["digest", "mode", "key", "salt", "info"].map { Array($0.utf8CString) }
    var mode = mode
    var salt = salt ?? []
    var info = info
    let result = key.withBytes { key in
      output.withMutableBytes { output in
        unsafe key.withUnsafeBytes { key in
          unsafe output.withUnsafeMutableBytes { output in
            unsafe digest.withUnsafeMutableBufferPointer { digest in
              unsafe withUnsafeMutablePointer(to: &mode) { mode in
                unsafe salt.withUnsafeMutableBytes { salt in
                  unsafe info.withUnsafeMutableBytes { info in
                    unsafe withPointers(to: names) { names in
                      var parameters = unsafe [
                        OSSL_PARAM_construct_utf8_string(names[0], digest.baseAddress, 0),
                        OSSL_PARAM_construct_int(names[1], mode),
                        OSSL_PARAM_construct_octet_string(
                          names[2], UnsafeMutableRawBufferPointer(mutating: key).baseAddress, key.count),
                      ]
                      if salt.count > 0 {
                        unsafe parameters.append(
                          OSSL_PARAM_construct_octet_string(names[3], salt.baseAddress, salt.count))
                      }
                      if info.count > 0 {
                        unsafe parameters.append(
                          OSSL_PARAM_construct_octet_string(names[4], info.baseAddress, info.count))
                      }
                      unsafe parameters.append(OSSL_PARAM_construct_end())
                      return unsafe EVP_KDF_derive(
                        context.pointer, output.baseAddress?.assumingMemoryBound(to: UInt8.self),
                        output.count, &parameters)
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
    guard result == 1 else { throw Failure(.library, "HKDF failed") }
    return output
  }

  /// Lends the addresses of several C strings.
  private static func withPointers<R>(
    to strings: [[CChar]], _ body: ([UnsafePointer<CChar>]) -> R
  ) -> R {
    let whole = strings.flatMap { $0 }
    return unsafe whole.withUnsafeBufferPointer { whole in
      var pointers: [UnsafePointer<CChar>] = unsafe []
      var offset = 0
      for string in strings {
        unsafe pointers.append(whole.baseAddress! + offset)
        offset += string.count
      }
      return unsafe body(pointers)
    }
  }
}

/// Owns the `EVP_KDF_CTX` of one derivation, which wipes its key when it is freed.
@safe private struct HKDFContext: ~Copyable {
  let pointer: OpaquePointer

  init() throws(Failure) {
    guard let kdf = unsafe EVP_KDF_fetch(nil, "HKDF", nil) else {
      throw Failure(.library, "EVP_KDF_fetch failed")
    }
    defer { unsafe EVP_KDF_free(kdf) }
    guard let context = unsafe EVP_KDF_CTX_new(kdf) else {
      throw Failure(.library, "EVP_KDF_CTX_new failed")
    }
    unsafe pointer = context
  }

  deinit { unsafe EVP_KDF_CTX_free(pointer) }
}
