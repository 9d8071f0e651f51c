import TBKCore
import Testing

@testable import TBKArchive

@Suite struct GzipCompressorTests {
  private static let edges = [
    0, 1, 2, 65535, gzipBlockSize - 1, gzipBlockSize, gzipBlockSize + 1, 2 * gzipBlockSize,
    2 * gzipBlockSize + 1, 7 * gzipBlockSize + 12345,
  ]

  @Test(arguments: edges, [0, 1, 6, 9])
  func everySizeComesBackAndThreadsDoNotShow(size: Int, level: Int) throws {
    let bytes = prose(size)
    let alone = try gzipped(bytes, level: level)
    #expect(try gunzipped(alone) == bytes)
    #expect(try gzipped(bytes, level: level, threads: 2) == alone)
    #expect(try gzipped(bytes, level: level, threads: 5) == alone)
    #expect(try gzipped(bytes, level: level, threads: 2, piece: 65537) == alone)
  }

  @Test(arguments: [1, 2]) func fedByteByByteTheOutputIsTheSame(threads: Int) throws {
    let bytes = prose(2 * gzipBlockSize + 3)
    let whole = try gzipped(bytes)
    #expect(try gzipped(bytes, threads: threads, piece: 1) == whole)
  }

  @Test(arguments: edges, [0, 6])
  func gzipItselfReadsIt(size: Int, level: Int) throws {
    let bytes = prose(size)
    let result = try run(["gzip", "-dc"], input: gzipped(bytes, level: level, threads: 2))
    #expect(result.status == 0)
    #expect(result.output == bytes)
  }

  @Test func noiseIsStoredAndGrowsByHeadersAlone() throws {
    let bytes = noise(3 * gzipBlockSize + 77)
    let compressed = try gzipped(bytes)
    #expect(compressed.count <= bytes.count + 20 + 3 * 15 + 5)
    #expect(try gunzipped(compressed) == bytes)
    #expect(try run(["gzip", "-dc"], input: compressed).output == bytes)
  }

  @Test func noiseBetweenProseDoesNotMakeTheProseBigger() throws {
    let bytes = prose(gzipBlockSize) + noise(gzipBlockSize) + prose(gzipBlockSize, seed: 9)
    let compressed = try gzipped(bytes)
    let apart =
      try gzipped(prose(gzipBlockSize)).count + gzipped(prose(gzipBlockSize, seed: 9)).count
    #expect(compressed.count < apart + gzipBlockSize + 1000)
    #expect(try gunzipped(compressed) == bytes)
  }

  @Test func repeatedNoiseIsDeflated() throws {
    let unit = noise(10_000)
    let bytes = Array(repeatElement(unit, count: 40).joined())
    #expect(try gzipped(bytes).count < bytes.count / 8)
  }

  @Test func evenlyDistributedBytesWithShortRepeatsAreDeflated() throws {
    // Identifiers of 16 random bytes, each of which recurs.
    let identifiers = noise(16 * 200)
    var generator = TestGenerator(seed: 5)
    var bytes: [UInt8] = []
    while bytes.count < 2 * gzipBlockSize {
      let start = Int(generator.next() % 200) * 16
      bytes += identifiers[start..<start + 16]
    }
    #expect(try gzipped(bytes).count < bytes.count / 2)
  }

  @Test func sixteenBitSamplesAreDeflated() throws {
    // Every second byte is noise; the others are nearly constant.
    let low = noise(gzipBlockSize)
    let bytes = low.flatMap { [$0, $0 & 1] }
    #expect(try gzipped(bytes).count < bytes.count * 3 / 4)
  }

  @Test func theHeaderHoldsNoTimeAndNoName() throws {
    #expect(try gzipped([])[..<10] == [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])
    #expect(try gzipped([], level: 9)[8] == 2)
    #expect(try gzipped([], level: 1)[8] == 4)
  }

  @Test(arguments: [(-1, 1), (10, 1), (6, 0), (6, -1), (6, 1025)])
  func parametersOutOfRangeAreRefused(level: Int, threads: Int) {
    let refused = failure { () throws(Failure) in
      _ = try GzipCompressor(level: level, threads: threads, into: MemorySink())
    }
    #expect(refused?.code == .usage)
  }

  @Test(arguments: [1, 2, 5], [0, 5, 12, 20_000, 200_000])
  func anErrorDownstreamComesUpOnceAndNothingIsWrittenAfterIt(threads: Int, limit: Int) throws {
    let sink = FailingSink(after: limit)
    let compressor = try GzipCompressor(level: 1, threads: threads, into: sink)
    let bytes = noise(8 * gzipBlockSize)
    let met = failure { () throws(Failure) in try feed(bytes, to: compressor, piece: 10_000) }
    #expect(met == FailingSink.failure)
    #expect(failure { () throws(Failure) in try compressor.write([1]) } == FailingSink.failure)
    #expect(failure { () throws(Failure) in try compressor.finish() } == FailingSink.failure)
    #expect(sink.callsAfterFailure == 0)
  }

  @Test(arguments: [1, 3]) func anErrorOfTheEndComesUp(threads: Int) throws {
    let compressor = try GzipCompressor(
      level: 6, threads: threads, into: FailingSink(after: .max, atEnd: true))
    #expect(
      failure { () throws(Failure) in try feed([1, 2, 3], to: compressor) } == FailingSink.failure)
  }

  @Test(arguments: [1, 4]) func nothingIsTakenAfterTheEnd(threads: Int) throws {
    let sink = MemorySink()
    let compressor = try GzipCompressor(level: 6, threads: threads, into: sink)
    try feed(prose(1000), to: compressor)
    let count = sink.bytes.count
    #expect(failure { () throws(Failure) in try compressor.write([1]) }?.code == .library)
    #expect(failure { () throws(Failure) in try compressor.finish() }?.code == .library)
    #expect(sink.bytes.count == count)
  }

  @Test(arguments: [0, 1, 3 * gzipBlockSize, 40 * gzipBlockSize])
  func droppedUnfinishedItLetsGoOfWhatItHeld(size: Int) throws {
    let bytes = prose(size)
    for _ in 0..<10 {
      weak var released: MemorySink?
      do {
        let sink = MemorySink()
        released = sink
        let compressor = try GzipCompressor(level: 9, threads: 4, into: sink)
        try compressor.write(bytes)
      }
      #expect(released == nil)
    }
  }
}
