import TBKCore

/// What a message is that a key signs, told by its own bytes (tbk(5), "Keys and signatures").
///
/// One key signs archives and ledgers, in the same way: a signature holds for whatever has these
/// bytes. So a message is an archive or one of a ledger, never both, and nobody gets the second kind
/// signed as a file.
package enum SignedContent: Equatable, Sendable {
  /// A whole archive: its length is what its header says.
  case archive
  /// What is signed of a ledger, or would be: of this version of the format or any other.
  case ledger
  /// Anything else, with what keeps it from being an archive.
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

  /// Throws unless the trailer of an archive in suite 3 stands where its header and length say.
  private static func checkChunked(_ message: Span<UInt8>) throws(Failure) {
    let around = try ChunkedHeader(parsing: message).length + ChunkedTrailer.length
    guard message.count >= around else { throw Failure(.truncated, "the archive ends early") }
    _ = try ChunkedTrailer(
      parsing: message.extracting(last: ChunkedTrailer.length),
      messageLength: UInt64(message.count - around))
  }

  /// Whether a signed ledger vouches for the archive alone, by its SHA-256: for one of suite 3 or age, and for
  /// one over 1 GiB.
  package static func isLeftToLedger(_ message: Span<UInt8>) -> Bool {
    message.count > 1 << 30 || ChunkedHeader.isBegun(by: message) == true
      || message.extracting(first: 22).elementsEqual(Array("age-encryption.org/v1\n".utf8))
  }
}
