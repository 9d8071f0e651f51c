import TBKCore
import TBKCrypto
import TBKFormat

/// The cost of opening a sealed manifest. A run opens the last one before its origin is authenticated, so the cost is
/// limited to that of our own manifests.
package enum ManifestCost {
  /// Throws `.integrity` for a header that asks for more, and for an age file encrypted with a passphrase. Input
  /// without a header is left to the opener to reject.
  ///
  /// - Parameter source: a sealed manifest, from its first byte.
  package static func check(_ source: any ByteSource) throws(Failure) {
    let peeking = PeekingSource(source)
    let front = try peeking.peek(ArchiveHeader.maximumLength)
    if AgeHeader.isBegun(by: front) {
      guard let header = try? AgeHeader(reading: peeking), header.hasPassphrase else { return }
      throw Failure(.integrity, "the sealed manifest is under a passphrase of age")
    }
    var cost: Argon2Cost?
    if ChunkedHeader.isBegun(by: front.span) == true {
      if let header = try? ChunkedHeader(parsing: front.span) {
        cost = Argon2Cost(memory: header.memory, passes: UInt32(header.passes), lanes: UInt32(header.lanes))
      }
    } else if case .tbk2(let header)? = try? ArchiveHeader(parsing: front.span) {
      cost = Argon2Cost(memory: header.memory, passes: UInt32(header.passes), lanes: UInt32(header.lanes))
    }
    guard let cost else { return }
    let ours = Argon2Cost.standard
    var limits = Argon2Limits()
    (limits.memory, limits.passes, limits.lanes) = (ours.memory, ours.passes, ours.lanes)
    do throws(Failure) { try limits.check(cost) } catch {
      throw Failure(.integrity, "the sealed manifest: \(error.message)")
    }
  }
}
