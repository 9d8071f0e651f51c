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
}
