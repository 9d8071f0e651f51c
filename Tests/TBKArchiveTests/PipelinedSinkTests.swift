import Glibc
import TBKCore
import Testing

@testable import TBKArchive

@Suite struct PipelinedSinkTests {
  @Test(
    arguments: [0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 20 * chunkSize],
    [1, 2, 8])
  func everythingArrivesInOrder(size: Int, depth: Int) throws {
    let bytes = noise(size)
    for piece in [Int.max, 100_003] {
      let sink = MemorySink()
      try feed(bytes, to: PipelinedSink(depth: depth, into: sink), piece: piece)
      #expect(sink.bytes == bytes)
    }
  }

  @Test func fedByteByByteItHandsOnChunks() throws {
    let sizes = SizeSink()
    try feed(noise(chunkSize + 5), to: PipelinedSink(into: sizes), piece: 1)
    #expect(sizes.sizes == [chunkSize, 5])
    #expect(sizes.finished == 1)
  }

  @Test func whatIsBehindItRunsOnOneOtherThread() throws {
    let sink = ThreadSink()
    try feed(noise(5 * chunkSize), to: PipelinedSink(into: sink))
    #expect(sink.threads.count == 1)
    #expect(!sink.threads.contains(pthread_self()))
  }

  @Test(arguments: [0, 1, chunkSize, 5 * chunkSize - 1], [1, 8])
  func anErrorComesUpAndNothingIsWrittenAfterIt(limit: Int, depth: Int) throws {
    let sink = FailingSink(after: limit)
    let pipelined = PipelinedSink(depth: depth, into: sink)
    let bytes = noise(50 * chunkSize)
    let met = failure { () throws(Failure) in try feed(bytes, to: pipelined, piece: chunkSize) }
    #expect(met == FailingSink.failure)
    #expect(failure { () throws(Failure) in try pipelined.write([1]) } == met)
    #expect(failure { () throws(Failure) in try pipelined.finish() } == met)
    #expect(sink.callsAfterFailure == 0)
  }

  @Test func anErrorOfTheEndComesUp() throws {
    let pipelined = PipelinedSink(into: FailingSink(after: .max, atEnd: true))
    #expect(
      failure { () throws(Failure) in try feed([1], to: pipelined) } == FailingSink.failure)
  }

  @Test func nothingIsTakenAfterTheEnd() throws {
    let sink = MemorySink()
    let pipelined = PipelinedSink(into: sink)
    try feed([1, 2], to: pipelined)
    #expect(failure { () throws(Failure) in try pipelined.write([3]) }?.code == .library)
    #expect(failure { () throws(Failure) in try pipelined.finish() }?.code == .library)
    #expect(sink.bytes == [1, 2])
  }

  @Test(arguments: [0, 1, chunkSize, 30 * chunkSize])
  func droppedUnfinishedItEndsTheThreadAndFinishesNothing(size: Int) throws {
    let bytes = noise(size)
    for _ in 0..<20 {
      let sink = SizeSink()
      weak var released: SizeSink?
      do {
        let inner = SizeSink()
        released = inner
        let pipelined = PipelinedSink(depth: 2, into: CountingSink(into: inner))
        try pipelined.write(bytes)
        let other = PipelinedSink(into: sink)
        try other.write(bytes)
      }
      #expect(sink.finished == 0)
      #expect(released == nil)
    }
  }

  @Test func aChainOfThemCarriesBytesAndErrors() throws {
    let bytes = prose(10 * chunkSize)
    let compressed = try gzipped(bytes, threads: 2)
    let sink = MemorySink()
    try feed(
      compressed, to: PipelinedSink(into: GzipDecompressor(into: PipelinedSink(into: sink))))
    #expect(sink.bytes == bytes)

    for limit in [0, chunkSize, 9 * chunkSize] {
      let chain = PipelinedSink(
        depth: 1, into: try GzipDecompressor(into: PipelinedSink(into: FailingSink(after: limit))))
      let met = failure { () throws(Failure) in try feed(compressed, to: chain, piece: 1000) }
      #expect(met == FailingSink.failure)
    }
    // Dropped while both threads are working.
    for _ in 0..<20 {
      let chain = PipelinedSink(
        depth: 1, into: try GzipDecompressor(into: PipelinedSink(depth: 1, into: SizeSink())))
      try chain.write(compressed)
    }
  }

  @Test func itCanFeedACompressorWithThreads() throws {
    let bytes = prose(3_000_000)
    let sink = MemorySink()
    try feed(bytes, to: PipelinedSink(into: GzipCompressor(level: 1, threads: 3, into: sink)))
    #expect(try gunzipped(sink.bytes) == bytes)
  }
}

@Suite struct OrderedPoolTests {
  @Test(arguments: [1, 2, 7]) func jobsComeBackInOrder(threads: Int) throws {
    let pool = try OrderedPool(workers: (0..<threads).map { _ in UnevenWorker() }, window: 9)
    var results: [Int] = []
    for number in 0..<2000 {
      if pool.inFlight == pool.window { results.append(pool.takeOldest(waiting: true)!.result) }
      pool.submit(UnevenWorker.Number(number))
    }
    while let job = pool.takeOldest(waiting: true) { results.append(job.result) }
    #expect(results == (0..<2000).map { $0 * 2 })
    #expect(pool.inFlight == 0)
  }

  @Test(arguments: [1, 4]) func stoppedItGivesNothingBack(threads: Int) throws {
    let pool = try OrderedPool(workers: (0..<threads).map { _ in UnevenWorker() }, window: 9)
    for number in 0..<9 { pool.submit(UnevenWorker.Number(number)) }
    pool.stop()
    pool.stop()
    #expect(pool.takeOldest(waiting: true) == nil)
  }
}

/// Doubles numbers, some of them slowly.
private final class UnevenWorker: PoolWorker {
  final class Number {
    let number: Int
    var result = 0
    init(_ number: Int) { self.number = number }
  }

  func run(_ job: Number) {
    if job.number % 7 == 0 { for _ in 0..<50 { sched_yield() } }
    job.result = job.number * 2
  }
}

/// Records the threads that call it.
private final class ThreadSink: ByteSink {
  private(set) var threads: Set<pthread_t> = []
  func write(_ bytes: Span<UInt8>) { threads.insert(pthread_self()) }
  func finish() { threads.insert(pthread_self()) }
}
