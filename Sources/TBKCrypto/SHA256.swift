import CCrypto
import TBKCore

/// The algorithm, fetched once: an implicit fetch for every file would cost more than a small file.
nonisolated(unsafe) private let algorithm = unsafe EVP_MD_fetch(nil, "SHA256", nil)

/// A running SHA-256. Owns one `EVP_MD_CTX`, and can be used again after `finish()`.
@safe package struct SHA256: ~Copyable {
  private let context: OpaquePointer

  package init() throws(Failure) {
    guard let context = unsafe EVP_MD_CTX_new() else {
      throw Failure(.library, "EVP_MD_CTX_new failed")
    }
    guard unsafe EVP_DigestInit_ex2(context, algorithm, nil) == 1 else {
      unsafe EVP_MD_CTX_free(context)
      throw Failure(.library, "EVP_DigestInit_ex2 failed")
    }
    unsafe self.context = context  // Last: nothing may throw once we own it.
  }

  deinit { unsafe EVP_MD_CTX_free(context) }

  package mutating func update(_ bytes: Span<UInt8>) throws(Failure) {
    let result = unsafe bytes.withUnsafeBytes { raw in
      unsafe EVP_DigestUpdate(context, raw.baseAddress, raw.count)
    }
    guard result == 1 else { throw Failure(.library, "EVP_DigestUpdate failed") }
  }

  /// The hash of what was given since the start or the last `finish()`.
  package mutating func finish() throws(Failure) -> Digest {
    var output = [UInt8](repeating: 0, count: 32)
    let result = unsafe output.withUnsafeMutableBytes { raw in
      unsafe EVP_DigestFinal_ex(
        context, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), nil)
    }
    guard result == 1, unsafe EVP_DigestInit_ex2(context, algorithm, nil) == 1,
      let digest = Digest(output.span)
    else { throw Failure(.library, "EVP_DigestFinal_ex failed") }
    return digest
  }

  package static func hash(_ bytes: Span<UInt8>) throws(Failure) -> Digest {
    var running = try SHA256()
    try running.update(bytes)
    return try running.finish()
  }

  package static func hash(_ bytes: [UInt8]) throws(Failure) -> Digest { try hash(bytes.span) }
}

/// Hashes what passes through to the next sink.
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

  /// The hash of everything written so far; to be taken once, after `finish()`.
  package func digest() throws(Failure) -> Digest { try running.finish() }
}
