import TBKCore

/// What comes before each part of a chain (tbk(5), "Chains"): eight bytes that say what follows, and its
/// length in eight more.
package enum ChainFrame: Equatable, Sendable {
  /// What a ledger says about the backup whose archive comes next, as JSON.
  case entry(length: UInt64)
  /// The sealed manifest of the same backup.
  case manifest(length: UInt64)
  /// An archive; of length 0, the store does not have it.
  case archive(length: UInt64)

  /// Of the frame itself, in bytes.
  package static let size = 16
  /// The most that an entry may take, in bytes.
  package static let entryLimit: UInt64 = 16 << 20

  private static let entryMagic = Array("TBKENTRY".utf8)
  private static let manifestMagic = Array("TBKMANIF".utf8)
  private static let archiveMagic = Array("TBKCHAIN".utf8)

  /// How an archive ends that was found, while it was sent, not to be the one that the ledger names: nothing of it is
  /// to be used. `size` bytes, at the end of its frame.
  package static let damaged = Array("TBKCHAIN DAMAGED".utf8)

  /// The first bytes of a frame, which distinguish it from an archive.
  package static let prefixSize = 4

  /// Whether bytes, at least `prefixSize` of them, begin as a frame does; no archive does.
  package static func begins(_ bytes: [UInt8]) -> Bool {
    let prefix = bytes.prefix(prefixSize)
    return [entryMagic, manifestMagic, archiveMagic].contains { $0.starts(with: prefix) }
      && prefix.count == prefixSize
  }

  /// Throws `.truncated` for fewer than `size` bytes, `.malformed` for what is not a frame.
  package init(parsing bytes: [UInt8]) throws(Failure) {
    guard bytes.count >= ChainFrame.size else {
      throw Failure(.truncated, "the chain ends inside a frame")
    }
    var length: UInt64 = 0
    for byte in bytes[8..<16] { length = length << 8 | UInt64(byte) }
    guard length <= UInt64(Int64.max) else {
      throw Failure(.malformed, "the chain holds a frame of an impossible length")
    }
    switch Array(bytes[..<8]) {
    case ChainFrame.entryMagic:
      guard length <= ChainFrame.entryLimit else {
        throw Failure(
          .malformed, "the chain holds an entry of \(length) bytes, above the limit")
      }
      self = .entry(length: length)
    case ChainFrame.manifestMagic: self = .manifest(length: length)
    case ChainFrame.archiveMagic: self = .archive(length: length)
    default: throw Failure(.malformed, "the chain holds what is neither a frame nor an archive")
    }
  }

  /// The frame, `size` bytes.
  package var bytes: [UInt8] {
    let (magic, length) =
      switch self {
      case .entry(let length): (ChainFrame.entryMagic, length)
      case .manifest(let length): (ChainFrame.manifestMagic, length)
      case .archive(let length): (ChainFrame.archiveMagic, length)
      }
    return magic + (0..<8).map { UInt8(truncatingIfNeeded: length >> (56 - 8 * UInt64($0))) }
  }
}
