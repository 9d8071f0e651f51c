import CCrypto
import TBKCore

/// Git's object name of a blob: the SHA-1 of `blob <size>`, a NUL byte and the content (gitformat-pack(5)).
///
/// It shows which content a repository already has. Nothing is trusted because of it.
package struct GitBlobHash: ~Copyable {
  private var running: RunningHash

  /// - Parameter size: of the content, in bytes.
  package init(size: UInt64) throws(Failure) {
    let front = Array("blob \(size)".utf8) + [0]
    var running = try RunningHash(.sha1)
    try running.update(front.span)
    self.running = running
  }

  package mutating func update(_ bytes: Span<UInt8>) throws(Failure) { try running.update(bytes) }

  /// 40 lower-case hexadecimal digits.
  package consuming func finalize() throws(Failure) -> String { try running.finish().hex }
}

/// Fast base64 with padding (RFC 4648, 4) for large inputs.
package enum Base64Encoding {
  /// The length of the text for `count` bytes.
  package static func length(of count: UInt64) -> UInt64 { (count + 2) / 3 * 4 }

  /// Appends the text for `bytes`.
  package static func append(_ bytes: Span<UInt8>, to text: inout [UInt8]) {
    let start = text.count
    // EVP_EncodeBlock appends a NUL byte.
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
