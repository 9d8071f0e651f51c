import TBKCore
import TBKCrypto
import TBKFormat

/// The encrypted message of an archive of suite 3, between header and trailer.
enum ChunkedArchive {
  /// Reads the front of a message.
  static func front(of source: any ByteSource) throws(Failure) -> ChunkedEncryptionFront {
    let bytes = try source.read(upTo: ChunkedEncryptionFront.length)
    guard bytes.count == ChunkedEncryptionFront.length else { throw truncated }
    return try ChunkedEncryptionFront(parsing: bytes.span)
  }

  /// The cipher of an archive; `.authentication` if the password is wrong.
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

  /// Decrypts the rest of an archive, after the front of its message, into `sink`, which is finished only if trailer
  /// and last chunk are valid.
  static func decrypt(
    _ cipher: consuming ChunkCipher, from source: any ByteSource, into sink: any ByteSink
  ) throws(Failure) {
    let decryptor = ChunkDecryptor(cipher, into: sink)
    // The last bytes read so far, which may be the trailer.
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

  static let truncated = Failure(
    .truncated, "the archive ends early",
    hint: "the command that sends it failed, or the copy is incomplete")
}
