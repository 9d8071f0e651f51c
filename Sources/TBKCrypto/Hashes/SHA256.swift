import CCrypto
import TBKCore

/// The algorithms, fetched once: an implicit fetch for every file would cost more than a small file.
nonisolated(unsafe) private let sha256 = unsafe EVP_MD_fetch(nil, "SHA256", nil)
nonisolated(unsafe) private let sha512 = unsafe EVP_MD_fetch(nil, "SHA512", nil)
nonisolated(unsafe) private let sha1 = unsafe EVP_MD_fetch(nil, "SHA1", nil)

/// A running OpenSSL hash. Owns one `EVP_MD_CTX`, and can be used again after `finish()`.
@safe package struct RunningHash: ~Copyable {
  package enum Algorithm {
    case sha256
    case sha512
    /// Only for git's object names; proves nothing.
    case sha1

    fileprivate var pointer: OpaquePointer? {
      switch self {
      case .sha256: unsafe TBKCrypto.sha256
      case .sha512: unsafe TBKCrypto.sha512
      case .sha1: unsafe TBKCrypto.sha1
      }
    }

    /// Of the hash, in bytes.
    fileprivate var length: Int {
      switch self {
      case .sha256: 32
      case .sha512: 64
      case .sha1: 20
      }
    }
  }

  private let context: OpaquePointer
  private let algorithm: Algorithm

  package init(_ algorithm: Algorithm) throws(Failure) {
    guard let context = unsafe EVP_MD_CTX_new() else {
      throw Failure(.library, "EVP_MD_CTX_new failed")
    }
    guard unsafe EVP_DigestInit_ex2(context, algorithm.pointer, nil) == 1 else {
      unsafe EVP_MD_CTX_free(context)
      throw Failure(.library, "EVP_DigestInit_ex2 failed")
    }
    self.algorithm = algorithm
    unsafe self.context = context  // Last: nothing may throw once we own it.
  }

  deinit { unsafe EVP_MD_CTX_free(context) }

  package mutating func update(_ bytes: Span<UInt8>) throws(Failure) {
    let result = unsafe bytes.withUnsafeBytes { raw in
      unsafe EVP_DigestUpdate(context, raw.baseAddress, raw.count)
    }
    guard result == 1 else { throw Failure(.library, "EVP_DigestUpdate failed") }
  }

  /// The hash of all bytes since the start or the last `finish()`.
  package mutating func finish() throws(Failure) -> [UInt8] {
    var output = [UInt8](repeating: 0, count: algorithm.length)
    let result = unsafe output.withUnsafeMutableBytes { raw in
      unsafe EVP_DigestFinal_ex(
        context, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), nil)
    }
    guard result == 1, unsafe EVP_DigestInit_ex2(context, algorithm.pointer, nil) == 1 else {
      throw Failure(.library, "EVP_DigestFinal_ex failed")
    }
    return output
  }
}

/// A running SHA-256 (FIPS 180-4), which can be used again after `finish()`.
package struct SHA256: ~Copyable {
  private var running: RunningHash

  package init() throws(Failure) { running = try RunningHash(.sha256) }

  package mutating func update(_ bytes: Span<UInt8>) throws(Failure) { try running.update(bytes) }

  /// The hash of all bytes since the start or the last `finish()`.
  package mutating func finish() throws(Failure) -> Digest {
    let bytes = try running.finish()
    guard let digest = Digest(bytes.span) else { throw Failure(.library, "a hash of another length") }
    return digest
  }

  package static func hash(_ bytes: Span<UInt8>) throws(Failure) -> Digest {
    var running = try SHA256()
    try running.update(bytes)
    return try running.finish()
  }

  package static func hash(_ bytes: [UInt8]) throws(Failure) -> Digest { try hash(bytes.span) }
}

/// Hashes bytes and passes them to the next sink.
package final class HashingSink: ByteSink {
  private var running: SHA256
  private let next: any ByteSink
  package private(set) var count: UInt64 = 0

  package init(into next: any ByteSink) throws(Failure) {
    running = try SHA256()
    self.next = next
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    try running.update(bytes)
    count += UInt64(bytes.count)
    try next.write(bytes)
  }

  package func finish() throws(Failure) { try next.finish() }

  /// The hash of everything written; call once, after `finish()`.
  package func digest() throws(Failure) -> Digest { try running.finish() }
}
