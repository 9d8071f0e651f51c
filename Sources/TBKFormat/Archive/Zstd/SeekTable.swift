import TBKCore

/// Locates the manifest in the tar of a payload: a skippable frame before the seek table.
package struct ManifestLocator: Equatable, Sendable {
  /// The offset of the manifest's tar header in the tar, in bytes.
  package let offset: UInt64
  /// Length of the manifest's JSON in bytes.
  package let length: UInt64

  package static let magicBits: UInt8 = 0
  /// Length of the frame in bytes.
  package static let frameLength = 28
  private static let front: [UInt8] = [0x50, 0x2a, 0x4d, 0x18, 20, 0, 0, 0] + Array("TBKM".utf8)

  package init(offset: UInt64, length: UInt64) {
    self.offset = offset
    self.length = length
  }

  /// Parses a whole frame.
  package init(parsing frame: Span<UInt8>) throws(Failure) {
    guard frame.count == Self.frameLength,
      frame.extracting(0..<Self.front.count).elementsEqual(Self.front)
    else { throw Failure(.malformed, "the payload's locator of the manifest is missing") }
    func number(_ start: Int) -> UInt64 {
      var value: UInt64 = 0
      for index in start..<start + 8 { value = value << 8 | UInt64(frame[index]) }
      return value
    }
    offset = number(12)
    length = number(20)
  }

  package var bytes: [UInt8] {
    var bytes = Self.front
    bytes.append(bigEndian: offset, width: 8)
    bytes.append(bigEndian: length, width: 8)
    return bytes
  }
}

/// The frames of a payload, in order: the seek table of the zstd seekable format, which comes last.
///
/// Uses a little more than eight bytes of memory per frame.
package struct SeekTable: Equatable, Sendable {
  /// For each frame, its compressed size in bytes in the lower half, its decompressed size in the upper.
  private var entries: [UInt64] = []
  /// The lower half of the XXH64 of each frame's content, if the table has them.
  private var checksums: [UInt32] = []
  /// The compressed and decompressed offsets of every `stride`th frame.
  private var marks: [(UInt64, UInt64)] = []
  private static let stride = 256
  /// Compressed length of all frames in bytes.
  package private(set) var compressedLength: UInt64 = 0
  /// Decompressed length of all frames in bytes.
  package private(set) var length: UInt64 = 0

  package static let magicBits: UInt8 = 14
  /// Length of the footer, which gives the length of the table, in bytes.
  package static let footerLength = 9
  /// Length of the frame header before the first entry, in bytes.
  private static let headerLength = 8
  package static let frameLimit = 1 << 27
  private static let magic: [UInt8] = [0xb1, 0xea, 0x92, 0x8f]

  package init() {}

  package static func == (one: SeekTable, other: SeekTable) -> Bool { one.entries == other.entries }

  package var count: Int { entries.count }

  package var hasChecksums: Bool { !checksums.isEmpty }

  /// Adds a frame after the others.
  package mutating func append(compressed: UInt32, length: UInt32, checksum: UInt32? = nil) throws(Failure) {
    guard entries.count < Self.frameLimit else {
      throw Failure(.malformed, "the payload has more than \(Self.frameLimit) frames")
    }
    if entries.count % Self.stride == 0 { marks.append((compressedLength, self.length)) }
    entries.append(UInt64(compressed) | UInt64(length) << 32)
    if let checksum { checksums.append(checksum) }
    // Cannot overflow: at most 2^27 frames of less than 2^32 bytes.
    compressedLength += UInt64(compressed)
    self.length += UInt64(length)
  }

  package struct Frame: Equatable, Sendable {
    /// Its offset in the payload, and its compressed length in bytes.
    package let position: UInt64
    package let compressed: Int
    /// The offset of its content in the tar, and its length in bytes.
    package let offset: UInt64
    package let length: Int
    /// The lower half of the XXH64 of its content, if the table has it.
    package let checksum: UInt32?
  }

  /// - Parameter index: below `count`.
  package func frame(_ index: Int) -> Frame {
    var (position, offset) = marks[index / Self.stride]
    for before in index / Self.stride * Self.stride..<index {
      position += entries[before] & 0xffff_ffff
      offset += entries[before] >> 32
    }
    return Frame(
      position: position, compressed: Int(entries[index] & 0xffff_ffff), offset: offset,
      length: Int(entries[index] >> 32), checksum: checksums.isEmpty ? nil : checksums[index])
  }

  /// The frame that contains an offset of the tar; nil past the end.
  package func index(ofOffset offset: UInt64) -> Int? {
    guard offset < length else { return nil }
    var (low, high) = (0, marks.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if marks[middle].1 <= offset { low = middle } else { high = middle }
    }
    var end = marks[low].1
    for index in low * Self.stride..<entries.count {
      end += entries[index] >> 32
      if offset < end { return index }
    }
    return nil
  }

  // MARK: Bytes

  /// The table as a frame, without checksums.
  package var bytes: [UInt8] {
    var bytes: [UInt8] = [0x5e, 0x2a, 0x4d, 0x18]
    bytes.reserveCapacity(Self.headerLength + 8 * entries.count + Self.footerLength)
    bytes.append(littleEndian: UInt32(8 * entries.count + Self.footerLength))
    for entry in entries {
      bytes.append(littleEndian: UInt32(truncatingIfNeeded: entry))
      bytes.append(littleEndian: UInt32(truncatingIfNeeded: entry >> 32))
    }
    bytes.append(littleEndian: UInt32(entries.count))
    return bytes + [0] + Self.magic
  }

  /// The length of the whole table in bytes, from its last `footerLength` bytes.
  package static func length(byFooter footer: Span<UInt8>) throws(Failure) -> UInt64 {
    guard footer.count == footerLength, footer.extracting(5..<9).elementsEqual(magic) else {
      throw Failure(.malformed, "the payload does not end in a seek table")
    }
    let count = littleEndian(footer.extracting(0..<4))
    guard footer[4] & 0x7f == 0, count <= UInt64(frameLimit) else {
      throw Failure(.malformed, "the payload's seek table is malformed")
    }
    return UInt64(headerLength + footerLength) + count * (footer[4] == 0 ? 8 : 12)
  }

  /// Parses a whole table. Each frame holds 1 byte to 4 MiB of tar, except the last one, the locator.
  package init(parsing bytes: Span<UInt8>) throws(Failure) {
    let wrong = Failure(.malformed, "the payload's seek table is malformed")
    guard bytes.count >= Self.headerLength + Self.footerLength else { throw wrong }
    let footer = bytes.extracting(bytes.count - Self.footerLength..<bytes.count)
    guard try Self.length(byFooter: footer) == UInt64(bytes.count),
      bytes.extracting(0..<4).elementsEqual([0x5e, 0x2a, 0x4d, 0x18]),
      littleEndian(bytes.extracting(4..<8)) == UInt64(bytes.count - Self.headerLength)
    else { throw wrong }
    let count = Int(littleEndian(footer.extracting(0..<4)))
    let width = footer[4] == 0 ? 8 : 12
    guard count >= 1 else { throw wrong }
    entries.reserveCapacity(count)
    for index in 0..<count {
      let start = Self.headerLength + index * width
      let compressed = littleEndian(bytes.extracting(start..<start + 4))
      let length = littleEndian(bytes.extracting(start + 4..<start + 8))
      if index == count - 1 {
        guard compressed == UInt64(ManifestLocator.frameLength), length == 0 else { throw wrong }
      } else {
        guard (1...UInt64(ZstdFrameHeader.contentLimit)).contains(length),
          (1...UInt64(ZstdFrameHeader.sealedLimit)).contains(compressed)
        else { throw wrong }
      }
      let checksum = width == 12 ? UInt32(littleEndian(bytes.extracting(start + 8..<start + 12))) : nil
      try append(compressed: UInt32(compressed), length: UInt32(length), checksum: checksum)
    }
  }
}
