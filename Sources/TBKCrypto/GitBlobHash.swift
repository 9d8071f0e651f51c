import CCrypto
import TBKCore

/// Git's name of a blob: SHA-1 of `blob <size>`, a NUL byte and the content (gitformat-pack(5)).
///
/// It says which bytes a repository has already. Nothing is trusted because of it.
@safe package struct GitBlobHash: ~Copyable {
  private let context: OpaquePointer

  /// - Parameter size: of the content, in bytes.
  package init(size: UInt64) throws(Failure) {
    guard let context = unsafe EVP_MD_CTX_new() else {
      throw Failure(.library, "EVP_MD_CTX_new failed")
    }
    let start = Array("blob \(size)".utf8) + [0]
    let count = start.count
    guard unsafe EVP_DigestInit_ex(context, EVP_sha1(), nil) == 1,
      unsafe EVP_DigestUpdate(context, start, count) == 1
    else {
      unsafe EVP_MD_CTX_free(context)
      throw Failure(.library, "EVP_DigestInit_ex failed")
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

  /// 40 lower-case hexadecimal digits.
  package consuming func finalize() throws(Failure) -> String {
    var output = [UInt8](repeating: 0, count: 20)
    let result = unsafe output.withUnsafeMutableBytes { raw in
      unsafe EVP_DigestFinal_ex(
        context, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), nil)
    }
    guard result == 1 else { throw Failure(.library, "EVP_DigestFinal_ex failed") }
    return output.hex
  }
}

/// Base64 with padding (RFC 4648, 4) of many bytes at once.
package enum Base64Encoding {
  /// How long the text for `count` bytes is.
  package static func length(of count: UInt64) -> UInt64 { (count + 2) / 3 * 4 }

  /// Appends the text for `bytes`.
  package static func append(_ bytes: Span<UInt8>, to text: inout [UInt8]) {
    let start = text.count
    // EVP_EncodeBlock ends what it writes with a NUL byte.
    text += [UInt8](repeating: 0, count: Int(length(of: UInt64(bytes.count))) + 1)
    let written = unsafe text.withUnsafeMutableBufferPointer { target in
      unsafe bytes.withUnsafeBufferPointer { source in
        unsafe EVP_EncodeBlock(
          target.baseAddress! + start, source.baseAddress, Int32(source.count))
      }
    }
    text.removeLast(text.count - start - Int(written))
  }
}
