import TBKCore

/// The frame before each part of a chain (tbk(5), "Chains"): eight bytes for the kind of part, and eight for its
/// length.
package enum ChainFrame: Equatable, Sendable {
  /// What a ledger says about the backup whose archive follows, as JSON.
  case entry(length: UInt64)
  /// The sealed manifest of the same backup.
  case manifest(length: UInt64)
  /// An archive; length 0 means that the store does not have it.
  case archive(length: UInt64)

  /// The length of the frame itself, in bytes.
  package static let size = 16
  /// The maximum length of an entry, in bytes.
  package static let entryLimit: UInt64 = 16 << 20

  private static let entryMagic = Array("TBKENTRY".utf8)
  private static let manifestMagic = Array("TBKMANIF".utf8)
  private static let archiveMagic = Array("TBKCHAIN".utf8)

  /// The end of an archive that was found, while it was sent, not to match the ledger: nothing of it may be used.
  /// `size` bytes, at the end of its frame.
  package static let damaged = Array("TBKCHAIN DAMAGED".utf8)

  /// How many bytes distinguish a frame from an archive.
  package static let prefixSize = 4

  /// Whether `bytes` begin like a frame, which no archive does; false for fewer than `prefixSize` bytes.
  package static func begins(_ bytes: [UInt8]) -> Bool {
    let prefix = bytes.prefix(prefixSize)
    return [entryMagic, manifestMagic, archiveMagic].contains { $0.starts(with: prefix) }
      && prefix.count == prefixSize
  }

  /// Throws `.truncated` for fewer than `size` bytes, `.malformed` if they are not a frame.
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
