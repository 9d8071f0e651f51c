import TBKCore
import TBKCrypto

/// Holds a compressed stream of unknown length in an unnamed file, encrypted with a key that never leaves this object.
package final class EncryptedSpool: ByteSink {
  private let file: Descriptor
  private let buffer: DescriptorSink
  private let encryptor: GCMEncryptor
  private let key: Secret
  private let nonce: [UInt8]
  /// Bytes written.
  package var count: UInt64 { encryptor.count }

  package init() throws(Failure) {
    file = try TemporaryFile.anonymous()
    buffer = DescriptorSink(file, name: RawPath("temporary file"))
    var bytes = try randomBytes(32)
    defer { wipe(&bytes) }
    key = try Secret(copying: bytes.span)
    nonce = try randomBytes(12)
    encryptor = try GCMEncryptor(key: key, nonce: nonce, into: buffer)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) { try encryptor.write(bytes) }

  package func finish() throws(Failure) {
    try encryptor.finish()
    try buffer.finish()
  }

  /// Writes everything to `sink`, which must not trust the bytes until this returns.
  package func replay(into sink: any ByteSink) throws(Failure) {
    try file.seek(to: 0)
    var decryption = try AESGCM(key: key, nonce: nonce, encrypting: false)
    var input = [UInt8](repeating: 0, count: chunkSize)
    var output: [UInt8] = []
    while true {
      let more = try file.read(into: &input)
      if more == 0 { break }
      try decryption.update(input.span.extracting(0..<more), into: &output)
      try sink.write(output.span.extracting(0..<more))
    }
    guard decryption.verify(tag: encryptor.tag) else {
      throw Failure(.io, "the temporary file changed while it was in use")
    }
  }
}

/// Encrypts what is written with AES-256-GCM, as one message.
final class GCMEncryptor: ByteSink {
  private let next: any ByteSink
  private var cipher: AESGCM?
  private var ciphertext: [UInt8] = []
  /// Bytes written.
  private(set) var count: UInt64 = 0
  /// Empty before `finish()`.
  private(set) var tag: [UInt8] = []

  /// - Parameter next: gets the ciphertext without the tag; it is not finished.
  init(key: borrowing Secret, nonce: [UInt8], into next: any ByteSink) throws(Failure) {
    self.next = next
    cipher = try AESGCM(key: key, nonce: nonce, encrypting: true)
  }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    guard cipher != nil else { throw GCMEncryptor.ended }
    var piece: [UInt8] = []
    swap(&piece, &ciphertext)
    defer { swap(&piece, &ciphertext) }
    try cipher!.update(bytes, into: &piece)
    try next.write(piece.span.extracting(0..<bytes.count))
    count += UInt64(bytes.count)
  }

  func finish() throws(Failure) {
    guard let running = cipher.take() else { throw GCMEncryptor.ended }
    tag = try running.finish()
  }

  private static var ended: Failure { Failure(.library, "the encryption has ended") }
}
