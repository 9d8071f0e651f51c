import TBKCore
import TBKCrypto
import TBKFormat

/// Archives of suite 3, without what is in them: header, chunked message, trailer.
package enum ChunkedArchive {
  /// Writes a header to `sink`; what is then written to the stage that comes back is the payload.
  /// Ending it writes the trailer and ends `sink`.
  ///
  /// - Parameter key: 32 bytes, derived from the password as the header says.
  package static func seal(
    _ header: ChunkedHeader, key: borrowing Secret, into sink: any ByteSink
  ) throws(Failure) -> any ByteSink {
    try sink.write(header.bytes)
    let message = MessageSink(into: sink)
    return try ChunkedEncryptionFront.begin(key: key, context: header.context, into: message)
  }

  /// Reads what follows a header in a stream, passes the payload to `sink` chunk by verified chunk, and
  /// ends `sink` when trailer and last chunk are right.
  package static func open(
    _ header: ChunkedHeader, key: borrowing Secret, from source: any ByteSource,
    into sink: any ByteSink
  ) throws(Failure) {
    let cipher = try cipher(header, key: key, front: try front(of: source))
    try decrypt(cipher, from: source, into: sink)
  }

  /// What a message begins with.
  static func front(of source: any ByteSource) throws(Failure) -> ChunkedEncryptionFront {
    let bytes = try source.read(upTo: ChunkedEncryptionFront.length)
    guard bytes.count == ChunkedEncryptionFront.length else { throw truncated }
    return try ChunkedEncryptionFront(parsing: bytes.span)
  }

  /// The cipher of an archive; `.authentication` if the password is another one.
  static func cipher(
    _ header: ChunkedHeader, key: borrowing Secret, front: ChunkedEncryptionFront
  ) throws(Failure) -> ChunkCipher {
    do throws(Failure) {
      return try front.cipher(key: key, context: header.context)
    } catch {
      guard error.code == .authentication else { throw error }
      throw Failure(
        .authentication,
        "the archive does not open with this password, or its header has been altered",
        hint: "try the password again")
    }
  }

  /// Decrypts what follows the front of a message, up to the end of the archive, into `sink`, which is
  /// ended when trailer and last chunk are right.
  static func decrypt(
    _ cipher: consuming ChunkCipher, from source: any ByteSource, into sink: any ByteSink
  ) throws(Failure) {
    let decryptor = ChunkDecryptor(cipher, into: sink)
    // The last bytes that have come may be the trailer.
    var held: [UInt8] = []
    var length = UInt64(ChunkedEncryptionFront.length)
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    while true {
      let count = try source.read(into: &buffer)
      if count == 0 { break }
      held.append(buffer.span.extracting(0..<count))
      let ready = held.count - ChunkedTrailer.length
      if ready <= 0 { continue }
      try decryptor.write(held.span.extracting(0..<ready))
      length += UInt64(ready)
      held.removeFirst(ready)
    }
    _ = try ChunkedTrailer(parsing: held.span, messageLength: length)
    try decryptor.finish()
  }

  /// The message of the archive that fills a region. Its length has been proved.
  package static func message(
    _ header: ChunkedHeader, key: borrowing Secret, in region: any ByteRegion
  ) throws(Failure) -> ChunkedMessage {
    let start = UInt64(header.length)
    let least = start + UInt64(ChunkedEncryptionFront.length + ChunkedTrailer.length)
    guard region.length >= least else { throw truncated }
    let end = region.length - UInt64(ChunkedTrailer.length)
    let trailer = try region.read(ChunkedTrailer.length, at: end)
    _ = try ChunkedTrailer(parsing: trailer.span, messageLength: end - start)
    let bytes = try region.read(ChunkedEncryptionFront.length, at: start)
    let cipher = try cipher(header, key: key, front: try ChunkedEncryptionFront(parsing: bytes.span))
    return try ChunkedMessage(
      cipher, in: region, from: start + UInt64(ChunkedEncryptionFront.length), to: end)
  }

  private static let truncated = Failure(
    .truncated, "the archive ends early",
    hint: "the command that sends it failed, or the copy is incomplete")
}

/// Counts the message, and writes the trailer behind it.
private final class MessageSink: ByteSink {
  private let next: any ByteSink
  private var length: UInt64 = 0

  init(into next: any ByteSink) { self.next = next }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    try next.write(bytes)
    length += UInt64(bytes.count)
  }

  func finish() throws(Failure) {
    try next.write(ChunkedTrailer(messageLength: length).bytes)
    try next.finish()
  }
}
