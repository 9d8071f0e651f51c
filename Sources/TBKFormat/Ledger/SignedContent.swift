import TBKCore

/// The kind of a message to sign, determined by its bytes (tbk(5), "Keys and signatures").
///
/// One key signs archives and ledgers in the same way: a signature is valid for anything with the same bytes. So a
/// message must be an archive or a ledger's, never both, and a ledger's message is never signed as a file.
package enum SignedContent: Equatable, Sendable {
  /// A whole archive: its length matches its header or trailer.
  case archive
  /// The signed message of a ledger, in this version of the format or any other.
  case ledger
  /// Anything else, with the reason why it is not an archive.
  case other(Failure)

  package init(of message: Span<UInt8>) {
    if Ledger.isMessage(message) {
      self = .ledger
      return
    }
    do throws(Failure) {
      if ChunkedHeader.isBegun(by: message) == true {
        try SignedContent.checkChunked(message)
        self = .archive
        return
      }
      let header = try ArchiveHeader(parsing: message)
      let length = UInt64(message.count)
      if length < header.totalLength {
        throw Failure(
          .truncated, "it has \(length) of the \(header.totalLength) bytes that its header announces")
      }
      if length > header.totalLength {
        throw Failure(.malformed, "something follows the archive's \(header.totalLength) bytes")
      }
      self = .archive
    } catch {
      self = .other(error)
    }
  }

  /// Throws unless the trailer of an archive in suite 3 matches its header and length.
  private static func checkChunked(_ message: Span<UInt8>) throws(Failure) {
    let around = try ChunkedHeader(parsing: message).length + ChunkedTrailer.length
    guard message.count >= around else { throw Failure(.truncated, "the archive ends early") }
    _ = try ChunkedTrailer(
      parsing: message.extracting(last: ChunkedTrailer.length),
      messageLength: UInt64(message.count - around))
  }

  /// Whether the archive has no signature of its own but is covered only by a signed ledger, through its SHA-256:
  /// archives of suite 3 or age, and those over 1 GiB.
  package static func isLeftToLedger(_ message: Span<UInt8>) -> Bool {
    message.count > 1 << 30 || ChunkedHeader.isBegun(by: message) == true
      || message.extracting(first: 22).elementsEqual(Array("age-encryption.org/v1\n".utf8))
  }
}
