import TBKCore

/// The header of a Zstandard frame (RFC 8878, 3.1.1), as far as our payloads use it.
package struct ZstdFrameHeader: Equatable, Sendable {
  /// The maximum bytes of tar in one frame, and the maximum window.
  package static let contentLimit = 4 << 20
  /// The maximum length of such a frame, for incompressible content (ZSTD_compressBound), with the longest header and a
  /// checksum.
  package static let sealedLimit = contentLimit + contentLimit / 256 + 64
  /// The maximum length of a header in bytes.
  package static let maximumLength = 18
  package static let magic: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd]

  /// Length of the content in bytes.
  package let contentSize: Int
  /// Whether four bytes of checksum follow the last block.
  package let hasChecksum: Bool
  /// Length of this header in bytes, including the magic.
  package let length: Int

  /// Parses the header at the start of `bytes`.
  ///
  /// Throws `.truncated` if `bytes` end inside it; `.malformed` if it is not a frame, does not state its content size,
  /// or needs a dictionary, or more than 4 MiB of content or window.
  package init(parsing bytes: Span<UInt8>) throws(Failure) {
    guard bytes.count >= 5 else { throw Failure(.truncated, "a zstd frame ends early") }
    guard bytes.extracting(0..<4).elementsEqual(Self.magic) else {
      throw Failure(.malformed, "the payload has no zstd frame where one should be")
    }
    let descriptor = bytes[4]
    let isSingleSegment = descriptor & 0x20 != 0
    guard descriptor & 0x08 == 0 else {
      throw Failure(.malformed, "a zstd frame has a reserved bit set")
    }
    guard descriptor & 0x03 == 0 else { throw Failure(.malformed, "a zstd frame needs a dictionary") }
    let sizeLength =
      switch descriptor >> 6 {
      case 0: isSingleSegment ? 1 : 0
      case 1: 2
      case 2: 4
      default: 8
      }
    guard sizeLength > 0 else {
      throw Failure(.malformed, "a zstd frame does not say how large its content is")
    }
    let windowLength = isSingleSegment ? 0 : 1
    length = 5 + windowLength + sizeLength
    guard bytes.count >= length else { throw Failure(.truncated, "a zstd frame ends early") }
    var size = littleEndian(bytes.extracting(5 + windowLength..<length))
    if sizeLength == 2 { size += 256 }
    guard size <= UInt64(Self.contentLimit) else {
      throw Failure(.malformed, "a zstd frame holds more than \(Self.contentLimit) bytes")
    }
    if !isSingleSegment {
      let (exponent, mantissa) = (UInt64(bytes[5] >> 3), UInt64(bytes[5] & 7))
      let base = UInt64(1) << (10 + exponent)
      guard base + base / 8 * mantissa <= UInt64(Self.contentLimit) else {
        throw Failure(.malformed, "a zstd frame needs a window of more than \(Self.contentLimit) bytes")
      }
    }
    contentSize = Int(size)
    hasChecksum = descriptor & 0x04 != 0
  }
}

/// A little-endian number of at most eight bytes.
func littleEndian(_ bytes: Span<UInt8>) -> UInt64 {
  var value: UInt64 = 0
  for index in bytes.indices { value |= UInt64(bytes[index]) << UInt64(8 * index) }
  return value
}

extension Array where Element == UInt8 {
  /// Appends a four-byte little-endian integer.
  mutating func append(littleEndian value: UInt32) {
    for shift in stride(from: UInt32(0), to: 32, by: 8) {
      append(UInt8(truncatingIfNeeded: value >> shift))
    }
  }
}

/// Finds the end of a frame in a stream that begins with one. Use one scanner per frame.
package struct ZstdFrameScanner: Sendable {
  package enum Kind: Equatable, Sendable {
    case frame(ZstdFrameHeader)
    /// A skippable frame, with the last four bits of its magic.
    case skippable(UInt8)
  }

  /// The maximum content length of a skippable frame in bytes.
  private let skippableLimit: UInt64
  private var kind: Kind?
  /// How many bytes are needed for the next step, or up to the end of the frame.
  private var needed = 5
  private var isLast = false

  package init(skippableLimit: UInt64) { self.skippableLimit = skippableLimit }

  /// - Parameter bytes: the frame so far, from its first byte.
  /// - Returns: the frame's length and kind once all of it is there; else nil.
  package mutating func end(in bytes: Span<UInt8>) throws(Failure) -> (length: Int, kind: Kind)? {
    while true {
      guard bytes.count >= needed else { return nil }
      guard let kind else {
        try begin(bytes)
        continue
      }
      if isLast { return (needed, kind) }
      // A block header of three bytes ends at `needed`.
      let header = littleEndian(bytes.extracting(needed - 3..<needed))
      let (type, size) = (header >> 1 & 3, Int(header >> 3))
      guard type != 3 else { throw Failure(.malformed, "a zstd frame has a block of an unknown type") }
      needed += type == 1 ? 1 : size
      if header & 1 == 1 {
        isLast = true
        if case .frame(let header) = kind, header.hasChecksum { needed += 4 }
      } else {
        needed += 3
      }
      guard needed <= ZstdFrameHeader.sealedLimit else {
        throw Failure(.malformed, "a zstd frame is longer than its content can make it")
      }
    }
  }

  private mutating func begin(_ bytes: Span<UInt8>) throws(Failure) {
    let magic = littleEndian(bytes.extracting(0..<4))
    guard magic >> 4 == 0x0184_d2a5 else {
      let header: ZstdFrameHeader
      do throws(Failure) {
        header = try ZstdFrameHeader(parsing: bytes)
      } catch {
        guard error.code == .truncated, needed < ZstdFrameHeader.maximumLength else { throw error }
        needed += 1
        return
      }
      kind = .frame(header)
      needed = header.length + 3
      return
    }
    guard bytes.count >= 8 else {
      needed = 8
      return
    }
    let size = littleEndian(bytes.extracting(4..<8))
    guard size <= skippableLimit else {
      throw Failure(.malformed, "a skippable zstd frame of \(size) bytes is not one of ours")
    }
    kind = .skippable(UInt8(magic & 15))
    needed = 8 + Int(size)
    isLast = true
  }
}
