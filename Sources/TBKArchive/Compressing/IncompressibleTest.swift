import TBKCore

/// Whether deflating a block would be wasted time: media, archives, ciphertext.
///
/// The rule: a block is stored if what deflate would save on it is estimated at less than 1 %.
/// Deflate saves in two ways, and both are estimated:
///
/// - By Huffman codes. How far the bytes of each 16 KiB slice are from evenly distributed is
///   measured with a chi-square test; the excess over what chance gives (255 on average), divided
///   by 2 ln 2, is about the bits that codes save. For uneven data that says too much, never too
///   little.
/// - By repeats. One position in 16, chosen by its content so that both ends of a repeat are
///   chosen alike, is looked up by its four bytes; each one found stands for 16 bytes saved.
///   Repeats from the block before are not seen, but from the middle of a block on they show.
///
/// A sample of 4 KiB comes first: most data is visibly uneven there, and costs no more than that.
///
/// Measured at level 6: packages, images and fonts become 0.08 % larger and take three quarters of
/// the time; ciphertext takes a fifth; programs, libraries and text do not change.
struct IncompressibleTest {
  private var positions = [UInt32](repeating: 0, count: 1 << 13)
  private var counts = [UInt32](repeating: 0, count: 256)

  private static let sliceSize = 16 * 1024

  /// The answer depends only on `bytes`.
  mutating func holds(for bytes: Span<UInt8>) -> Bool {
    // Small blocks cost little either way.
    if bytes.count < Self.sliceSize { return false }
    let limit = bytes.count * 8 / 100
    if sampleIsUneven(bytes) { return false }
    var saved = 0
    var start = 0
    while start < bytes.count {
      let end = min(start + Self.sliceSize, bytes.count)
      saved += bitsSavedByCodes(bytes.extracting(start..<end))
      if saved > limit { return false }
      start = end
    }
    return saved + bitsSavedByRepeats(bytes) <= limit
  }

  /// Sixteen runs of 256 bytes, whose places do not follow a power of two.
  private mutating func sampleIsUneven(_ bytes: Span<UInt8>) -> Bool {
    for index in counts.indices { counts[index] = 0 }
    let step = bytes.count / 16
    for run in 0..<16 {
      let start = run * step + run * 97 % (step - 256)
      for index in start..<start + 256 { counts[Int(bytes[index])] += 1 }
    }
    // Chance alone gives 255 with a deviation of 23; 4 % saved would give 255 + 227.
    return chiSquare(4096) > 700
  }

  private mutating func bitsSavedByCodes(_ bytes: Span<UInt8>) -> Int {
    for index in counts.indices { counts[index] = 0 }
    for index in bytes.indices { counts[Int(bytes[index])] += 1 }
    return max(0, (chiSquare(bytes.count) - 255) * 1000 / 1386)
  }

  private func chiSquare(_ total: Int) -> Int {
    var sum = 0
    for count in counts { sum += Int(count) * Int(count) }
    return sum * 256 / total - total
  }

  private mutating func bitsSavedByRepeats(_ bytes: Span<UInt8>) -> Int {
    for index in positions.indices { positions[index] = 0 }
    var window: UInt32 = 0
    var found = 0
    for index in bytes.indices {
      window = window << 8 | UInt32(bytes[index])
      let hash = window &* 0x9e37_79b1
      if hash >> 28 != 0 || index < 3 { continue }
      let slot = Int(hash >> 15 & 0x1fff)
      let earlier = Int(positions[slot])
      positions[slot] = UInt32(index)
      // A repeat of the same four bytes within reach; 0 is an empty slot.
      if earlier != 0, index - earlier <= 32 * 1024, same(bytes, index, earlier) { found += 1 }
    }
    return found * 16 * 8
  }

  /// Whether the four bytes that end at `one` are those that end at `other`; both at least 3.
  private func same(_ bytes: Span<UInt8>, _ one: Int, _ other: Int) -> Bool {
    for back in 0..<4 where bytes[one - back] != bytes[other - back] { return false }
    return true
  }
}
