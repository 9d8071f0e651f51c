import CArgon2
import CCrypto
import TBKCore

/// The cost of one Argon2id key (RFC 9106).
package struct Argon2Cost: Equatable, Sendable {
  /// In KiB; at least 8 per lane.
  package let memory: UInt32
  /// Passes; at least 1.
  package let passes: UInt32
  /// Lanes, which can run in parallel; at least 1.
  package let lanes: UInt32

  package init(memory: UInt32, passes: UInt32, lanes: UInt32) {
    self.memory = memory
    self.passes = passes
    self.lanes = lanes
  }

  /// 64 MiB, 3 passes, 4 lanes: what TermBackup 6 always uses.
  package static let standard = Argon2Cost(memory: 65_536, passes: 3, lanes: 4)
}

/// The limits for a reader on an archive whose header is not yet authenticated.
package struct Argon2Limits: Sendable {
  /// In KiB.
  package var memory: UInt32 = 2 * 1024 * 1024
  package var passes: UInt32 = 64
  package var lanes: UInt32 = 64

  package init() {}

  /// Rejects a cost that is invalid or above the limits, before any of it is spent.
  package func check(_ cost: Argon2Cost) throws(Failure) {
    guard cost.passes >= 1, cost.lanes >= 1, cost.memory / 8 >= cost.lanes else {
      throw Failure(
        .malformed,
        "the header asks for Argon2id with \(cost.memory) KiB, \(cost.passes) passes and "
          + "\(cost.lanes) lanes, which does not exist")
    }
    func refuse(_ what: String, option: String, libraryHint: String? = nil) throws(Failure) {
      throw Failure(
        .malformed, "the header asks for Argon2id with \(what), above the limit",
        shellHint: "if you trust this archive, raise the limit with \(option)", libraryHint: libraryHint)
    }
    if cost.memory > memory {
      try refuse(
        "\(cost.memory) KiB", option: "--max-memory", libraryHint: "if you trust this archive, raise memoryLimit")
    }
    if cost.passes > passes { try refuse("\(cost.passes) passes", option: "--max-iterations") }
    if cost.lanes > lanes { try refuse("\(cost.lanes) lanes", option: "--max-lanes") }
  }
}

package enum KeyDerivation {
  /// Argon2id version 1.3 of a password, on up to one thread per lane; on the calling thread alone if no others can be
  /// started, which takes longer. Throws `.exhausted` if memory runs out.
  ///
  /// - Parameters:
  ///   - salt: at least 8 bytes (the library's lower bound).
  ///   - length: of the key, in bytes.
  package static func argon2id(
    _ password: borrowing Secret, salt: [UInt8], cost: Argon2Cost, length: Int = 32
  ) throws(Failure) -> Secret {
    let key = try Secret(count: length)
    guard let passwordLength = UInt32(exactly: password.count),
      let saltLength = UInt32(exactly: salt.count), let keyLength = UInt32(exactly: length)
    else { throw Failure(.usage, "the input of Argon2id is too long") }
    let noMemory = Failure(
      .exhausted, "not enough memory for Argon2id", hint: "it needs \(cost.memory) KiB of it")
    // Reserve the memory before testing for threads, whose stacks use memory too.
    var reserved: UnsafeMutablePointer<UInt8>?
    let size = Int(cost.memory) << 10
    guard unsafe tbk_argon2_allocate(&reserved, size) == ARGON2_OK.rawValue else { throw noMemory }
    let threads = argon2Threads(lanes: cost.lanes)
    unsafe tbk_argon2_free(reserved, size)
    let result = password.withBytes { password in
      key.withMutableBytes { key in
        unsafe password.withUnsafeBytes { password in
          unsafe key.withUnsafeMutableBytes { key in
            unsafe salt.withUnsafeBytes { salt in
              unsafe tbk_argon2id(
                cost.passes, cost.memory, cost.lanes, threads, password.baseAddress, passwordLength,
                salt.baseAddress, saltLength, key.baseAddress, keyLength)
            }
          }
        }
      }
    }
    switch result {
    case ARGON2_OK.rawValue: break
    case ARGON2_THREAD_FAIL.rawValue: endExhausted()
    case ARGON2_MEMORY_ALLOCATION_ERROR.rawValue: throw noMemory
    default:
      throw Failure(.malformed, "Argon2id: \(unsafe String(cString: argon2_error_message(result)))")
    }
    return key
  }

  /// How many more threads than needed must be available before any are used: libargon2 cannot recover when one fails
  /// to start, and other processes start threads too.
  private static let threadsToSpare = 8

  /// The number of threads to use, at most one per lane; 1 if more cannot be started, or would not help.
  private static func argon2Threads(lanes: UInt32) -> UInt32 {
    let processors = processorCount()
    if lanes == 1 || processors == 1 { return 1 }
    let threads = min(Int(lanes), max(4, processors))
    // All of them must exist at the same time.
    let gate = Monitor()
    gate.lock()
    var started: [WorkerThread] = []
    while started.count < threads + threadsToSpare {
      guard let thread = try? WorkerThread({ gate.passThrough() }) else { break }
      started.append(thread)
    }
    let isEnough = started.count == threads + threadsToSpare
    gate.unlock()
    started.removeAll()  // `deinit` joins each.
    return isEnough ? UInt32(threads) : 1
  }

  /// The hash that PBKDF2 uses in HMAC.
  package enum Hash: Sendable { case sha1, sha224, sha256, sha384, sha512, blake2s256 }

  /// PBKDF2 with HMAC-SHA-256 (RFC 8018, 5.2).
  package static func pbkdf2SHA256(
    _ password: borrowing Secret, salt: [UInt8], iterations: UInt32, length: Int
  ) throws(Failure) -> Secret {
    try pbkdf2(password, .sha256, salt: salt, iterations: iterations, length: length)
  }

  /// PBKDF2 with HMAC (RFC 8018, 5.2).
  package static func pbkdf2(
    _ password: borrowing Secret, _ hash: Hash, salt: [UInt8], iterations: UInt32, length: Int
  ) throws(Failure) -> Secret {
    guard let rounds = Int32(exactly: iterations), rounds > 0 else {
      throw Failure(.malformed, "\(iterations) PBKDF2 iterations are out of range")
    }
    let algorithm =
      switch hash {
      case .sha1: unsafe EVP_sha1()
      case .sha224: unsafe EVP_sha224()
      case .sha256: unsafe EVP_sha256()
      case .sha384: unsafe EVP_sha384()
      case .sha512: unsafe EVP_sha512()
      case .blake2s256: unsafe EVP_blake2s256()
      }
    let key = try Secret(count: length)
    let result = password.withBytes { password in
      key.withMutableBytes { key in
        unsafe password.withUnsafeBytes { password in
          unsafe key.withUnsafeMutableBytes { key in
            unsafe salt.withUnsafeBytes { salt in
              unsafe PKCS5_PBKDF2_HMAC(
                password.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(password.count),
                salt.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(salt.count), rounds,
                algorithm, Int32(key.count),
                key.baseAddress?.assumingMemoryBound(to: UInt8.self))
            }
          }
        }
      }
    }
    guard result == 1 else { throw Failure(.library, "PKCS5_PBKDF2_HMAC failed") }
    return key
  }

  /// scrypt (RFC 7914). The caller must have checked the cost: it takes 128 * r * (N + p) bytes, and time proportional
  /// to N * r * p.
  package static func scrypt(
    _ password: borrowing Secret, salt: [UInt8], n: UInt64, r: UInt64, p: UInt64, length: Int
  ) throws(Failure) -> Secret {
    let key = try Secret(count: length)
    let result = password.withBytes { password in
      key.withMutableBytes { key in
        unsafe password.withUnsafeBytes { password in
          unsafe key.withUnsafeMutableBytes { key in
            unsafe salt.withUnsafeBytes { salt in
              unsafe EVP_PBE_scrypt(
                password.baseAddress?.assumingMemoryBound(to: CChar.self), password.count,
                salt.baseAddress?.assumingMemoryBound(to: UInt8.self), salt.count, n, r, p,
                .max, key.baseAddress?.assumingMemoryBound(to: UInt8.self), key.count)
            }
          }
        }
      }
    }
    guard result == 1 else { throw Failure(.library, "EVP_PBE_scrypt failed") }
    return key
  }
}

/// A running HMAC-SHA-256 (RFC 2104). Owns one `EVP_MAC_CTX`.
@safe package struct HMACSHA256: ~Copyable {
  private let context: OpaquePointer

  package init(key: Span<UInt8>) throws(Failure) {
    guard let mac = unsafe EVP_MAC_fetch(nil, "HMAC", nil) else {
      throw Failure(.library, "EVP_MAC_fetch failed")
    }
    defer { unsafe EVP_MAC_free(mac) }
    guard let context = unsafe EVP_MAC_CTX_new(mac) else {
      throw Failure(.library, "EVP_MAC_CTX_new failed")
    }
    var name = Array("SHA256".utf8CString)
    // The parameter keeps the address of its name, so that must outlive the call too.
    let option = Array("digest".utf8CString)
    let ready = unsafe name.withUnsafeMutableBufferPointer { name in
      unsafe option.withUnsafeBufferPointer { option in
        var parameters = unsafe [
          OSSL_PARAM_construct_utf8_string(option.baseAddress, name.baseAddress, 0),
          OSSL_PARAM_construct_end(),
        ]
        return unsafe key.withUnsafeBytes { key in
          unsafe EVP_MAC_init(
            context, key.baseAddress?.assumingMemoryBound(to: UInt8.self), key.count, &parameters)
        }
      }
    }
    guard ready == 1 else {
      unsafe EVP_MAC_CTX_free(context)
      throw Failure(.library, "EVP_MAC_init failed")
    }
    unsafe self.context = context  // Last: nothing may throw once we own it.
  }

  deinit { unsafe EVP_MAC_CTX_free(context) }

  package mutating func update(_ bytes: Span<UInt8>) throws(Failure) {
    let result = unsafe bytes.withUnsafeBytes { raw in
      unsafe EVP_MAC_update(
        context, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), raw.count)
    }
    guard result == 1 else { throw Failure(.library, "EVP_MAC_update failed") }
  }

  /// Whether `tag` is the MAC of all bytes; compared in constant time.
  package consuming func verify(tag: [UInt8]) throws(Failure) -> Bool {
    let computed = try finish()
    guard tag.count == computed.count else { return false }
    return unsafe CRYPTO_memcmp(tag, computed, tag.count) == 0
  }

  /// The MAC, 32 bytes.
  package consuming func finish() throws(Failure) -> [UInt8] {
    var tag = [UInt8](repeating: 0, count: 32)
    var length = 0
    let result = unsafe tag.withUnsafeMutableBytes { raw in
      unsafe EVP_MAC_final(
        context, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), &length, raw.count)
    }
    guard result == 1, length == 32 else { throw Failure(.library, "EVP_MAC_final failed") }
    return tag
  }
}

/// Cryptographically random bytes from OpenSSL's generator.
package func randomBytes(_ count: Int) throws(Failure) -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: count)
  let result = unsafe bytes.withUnsafeMutableBytes { raw in
    unsafe RAND_bytes(raw.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(count))
  }
  guard result == 1 else { throw Failure(.library, "RAND_bytes failed") }
  return bytes
}

/// The versions of the libraries, for `--version`.
package enum CryptoVersions {
  package static var openssl: String { unsafe String(cString: OpenSSL_version(OPENSSL_VERSION)) }
  package static let argon2 = "Argon2 1.3 (RFC 9106)"
}
