import TBKCore
import Testing

@testable import TBKArchive

@Suite struct GzipDecompressorTests {
  @Test(arguments: [0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 3_000_000])
  func everySizeComesBackInChunks(size: Int) throws {
    let bytes = prose(size)
    let compressed = try gzipped(bytes)
    let sizes = SizeSink()
    try feed(compressed, to: GzipDecompressor(into: sizes))
    #expect(sizes.sizes.dropLast().allSatisfy { $0 == chunkSize })
    #expect(sizes.sizes.reduce(0, +) == size)
    #expect(sizes.finished == 1)
    #expect(try gunzipped(compressed, piece: 1) == bytes)
  }

  @Test func whatGzipWritesIsRead() throws {
    let bytes = prose(1_000_000)
    for level in ["-1", "-9"] {
      #expect(try gunzipped(run(["gzip", "-c", level], input: bytes).output) == bytes)
    }
  }

  @Test(arguments: [Int.max, 1]) func membersAreTakenAsOne(piece: Int) throws {
    let parts = [prose(100_000), [], prose(7), noise(70_000)]
    let compressed = try parts.flatMap { try gzipped($0) }
    #expect(try gunzipped(compressed, piece: piece) == Array(parts.joined()))
  }

  @Test(arguments: [Int.max, 1]) func optionalHeaderFieldsAreSkipped(piece: Int) throws {
    // FTEXT, FEXTRA, FNAME and FCOMMENT; RFC 1952 §2.3.1.
    let plain = try gzipped(prose(50))
    var header: [UInt8] = [0x1f, 0x8b, 8, 0b11101, 1, 2, 3, 4, 0, 255]
    header += [3, 0, 7, 8, 9] + Array("name\0comment\0".utf8)
    #expect(try gunzipped(header + plain[10...], piece: piece) == prose(50))
  }

  @Test func theHeaderChecksumIsChecked() throws {
    // FHCRC: the low 16 bits of the header's CRC-32, as computed by Python's zlib.
    let plain = try gzipped(prose(50))
    let header: [UInt8] = [0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 3]
    let check: [UInt8] = [0xa7, 0x77]
    #expect(try gunzipped(header + check + plain[10...]) == prose(50))
    for bit in 0..<16 {
      var altered = check
      altered[bit / 8] ^= 1 << UInt8(bit % 8)
      let met = failure { () throws(Failure) in
        _ = try gunzipped(header + altered + plain[10...])
      }
      #expect(met?.code == .malformed)
    }
  }

  @Test(arguments: [Int.max, 1]) func everyTruncationIsRefused(piece: Int) throws {
    let compressed = try gzipped(prose(300)) + gzipped(noise(100))
    let first = try gzipped(prose(300)).count
    for count in 0..<compressed.count where count != first {
      let met = failure { () throws(Failure) in
        _ = try gunzipped(Array(compressed[..<count]), piece: piece)
      }
      #expect(met?.code == .truncated, "cut to \(count)")
    }
    #expect(try gunzipped(Array(compressed[..<first])) == prose(300))
  }

  @Test(arguments: [Int.max, 1], [[0], [0, 0, 0, 0], [10], [0x8b], [0x1f, 0x8c], [0xff, 0x8b]])
  func whatFollowsTheLastMemberIsRefused(piece: Int, tail: [UInt8]) throws {
    let compressed = try gzipped(prose(300))
    let met = failure { () throws(Failure) in _ = try gunzipped(compressed + tail, piece: piece) }
    #expect(met?.code == .malformed)
  }

  @Test func whatIsNotGzipIsRefused() throws {
    for bytes in [[0], Array("BZh9".utf8), Array(repeating: 0, count: 100), noise(1000)] {
      let met = failure { () throws(Failure) in _ = try gunzipped(bytes) }
      #expect(met?.code == .malformed)
    }
  }

  @Test func everyFlippedBitIsRefusedOrHarmless() throws {
    let bytes = prose(400)
    let compressed = try gzipped(bytes)
    for bit in 0..<compressed.count * 8 {
      var altered = compressed
      altered[bit / 8] ^= 1 << UInt8(bit % 8)
      // Time, extra flags, system and the text flag are not covered by the checksum.
      let unchecked = (4 * 8..<10 * 8).contains(bit) || bit == 3 * 8
      if unchecked {
        #expect(try gunzipped(altered) == bytes)
      } else {
        let met = failure { () throws(Failure) in _ = try gunzipped(altered, piece: 7) }
        // Padding bits before a stored block and at the end are ignored.
        if met == nil {
          #expect(try gunzipped(altered) == bytes)
        } else {
          #expect([.malformed, .truncated].contains(met?.code))
        }
      }
    }
  }

  @Test func noiseBehindAHeaderNeverTraps() throws {
    for seed in 0..<2000 {
      let body = noise(200, seed: UInt64(seed))
      let met = failure { () throws(Failure) in
        _ = try gunzipped([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3] + body)
      }
      #expect(met?.code == .malformed || met?.code == .truncated)
    }
  }

  @Test func aBombIsHandedOnInChunks() throws {
    let sizes = SizeSink()
    let count = 64 << 20
    let compressed = try gzipped(Array(repeating: 0, count: count))
    try feed(compressed, to: GzipDecompressor(into: sizes))
    #expect(sizes.sizes.count == count / chunkSize)
    #expect(sizes.sizes.allSatisfy { $0 == chunkSize })
  }

  @Test func anErrorDownstreamComesUpAndStays() throws {
    let compressed = try gzipped(noise(3 * chunkSize))
    for limit in [0, chunkSize, 3 * chunkSize - 1] {
      let sink = FailingSink(after: limit)
      let decompressor = try GzipDecompressor(into: sink)
      let met = failure { () throws(Failure) in try feed(compressed, to: decompressor) }
      #expect(met == FailingSink.failure)
      #expect(failure { () throws(Failure) in try decompressor.write([1]) } == met)
      #expect(failure { () throws(Failure) in try decompressor.finish() } == met)
      #expect(sink.callsAfterFailure == 0)
    }
  }

  @Test func nothingIsTakenAfterTheEnd() throws {
    let decompressor = try GzipDecompressor(into: MemorySink())
    try feed(gzipped([1]), to: decompressor)
    #expect(failure { () throws(Failure) in try decompressor.write([0x1f]) }?.code == .library)
    #expect(failure { () throws(Failure) in try decompressor.finish() }?.code == .library)
  }
}

/// Records the sizes of its input.
final class SizeSink: ByteSink {
  private(set) var sizes: [Int] = []
  private(set) var finished = 0
  func write(_ bytes: Span<UInt8>) { sizes.append(bytes.count) }
  func finish() { finished += 1 }
}
