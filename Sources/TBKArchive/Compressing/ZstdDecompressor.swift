import CZstd
import TBKCore
import TBKFormat

/// Decompresses a payload of frames on several threads into a tar. Accepts only what `ZstdCompressor` may write: frames
/// that state their size, the manifest's locator, and a seek table that matches all frames.
///
/// `next` is used only by the calling thread. Memory is about 9 MiB per thread, and eight bytes per frame.
package final class ZstdDecompressor: ByteSink, PhasedStage {
  private enum Place { case frames, table, end }

  private let next: any ByteSink
  private let pool: OrderedPool<FrameDecompressor>
  var phase = StagePhase.open
  private var place = Place.frames
  private var held: [UInt8] = []
  private var scanner = ZstdFrameScanner(skippableLimit: UInt64(ManifestLocator.frameLength))
  private var spare: [ZstdFrameJob] = []
  private var frames = SeekTable()
  private var checksums: [UInt32] = []

  /// Where the manifest is; set when `finish()` has returned.
  package private(set) var locator: ManifestLocator?

  /// - Parameter threads: 1 to 1024; with 1 the calling thread does the work.
  package init(threads: Int, into next: any ByteSink) throws(Failure) {
    self.next = next
    var workers: [FrameDecompressor] = []
    for _ in 0..<threads { workers.append(try FrameDecompressor()) }
    pool = try OrderedPool(workers: workers, window: threads == 1 ? 1 : threads + 1)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    try step { () throws(Failure) in
      var done = 0
      while done < bytes.count {
        // `held` never exceeds one frame and a piece of what follows it.
        let count = min(bytes.count - done, chunkSize)
        held.append(bytes.extracting(done..<done + count))
        done += count
        try takeFrames()
      }
    }
  }

  package func finish() throws(Failure) {
    try end { () throws(Failure) in
      guard place == .end, held.isEmpty else {
        throw Failure(.truncated, "the payload ends early")
      }
      pool.stop()
      try next.finish()
    }
  }

  func stop() { pool.stop() }

  private func takeFrames() throws(Failure) {
    var start = 0
    while let end = try scan(from: start) {
      try take(start..<start + end.length, end.kind)
      start += end.length
    }
    if start > 0 { held.removeFirst(start) }
    if place == .end, !held.isEmpty {
      throw Failure(.malformed, "something follows the payload's seek table")
    }
  }

  private func scan(from start: Int) throws(Failure) -> (length: Int, kind: ZstdFrameScanner.Kind)? {
    if place == .end { return nil }
    let held = held
    return try scanner.end(in: held.span.extracting(start..<held.count))
  }

  private func take(_ range: Range<Int>, _ kind: ZstdFrameScanner.Kind) throws(Failure) {
    let held = held
    let bytes = held.span.extracting(range)
    switch (kind, place) {
    case (.frame(let header), .frames):
      guard header.contentSize > 0 else {
        throw Failure(.malformed, "the payload has an empty zstd frame")
      }
      try submit(bytes, header)
    case (.skippable(ManifestLocator.magicBits), .frames):
      try pool.passAll(emit)
      let found = try ManifestLocator(parsing: bytes)
      try check(found)
      locator = found
      try frames.append(compressed: UInt32(bytes.count), length: 0)
      checksums.append(UInt32(truncatingIfNeeded: XXH64.hash([UInt8]().span)))
      place = .table
    case (.skippable(SeekTable.magicBits), .table):
      let table = try SeekTable(parsing: bytes)
      guard table == frames else {
        throw Failure(.malformed, "the payload's seek table is not that of its frames")
      }
      if table.hasChecksums {
        for index in 0..<table.count where table.frame(index).checksum != checksums[index] {
          throw Failure(.malformed, "a checksum in the payload's seek table is wrong")
        }
      }
      place = .end
    default:
      throw Failure(.malformed, "the payload has a frame where none of its kind belongs")
    }
    scanner = ZstdFrameScanner(skippableLimit: skippableLimit)
  }

  /// The limit for the next skippable frame: the locator, then the table of the frames so far, with checksums.
  private var skippableLimit: UInt64 {
    place == .frames
      ? UInt64(ManifestLocator.frameLength)
      : UInt64(SeekTable.footerLength) + 12 * UInt64(frames.count)
  }

  /// The manifest begins where a frame does, and ends within the tar.
  private func check(_ locator: ManifestLocator) throws(Failure) {
    let wrong = Failure(.malformed, "the payload's locator points where no manifest can be")
    guard let index = frames.index(ofOffset: locator.offset),
      frames.frame(index).offset == locator.offset,
      locator.length <= frames.length - locator.offset
    else { throw wrong }
  }

  private func submit(_ bytes: Span<UInt8>, _ header: ZstdFrameHeader) throws(Failure) {
    try pool.makeRoom(emit)
    let job = spare.popLast() ?? ZstdFrameJob()
    job.append(bytes)
    job.outputCount = header.contentSize
    try frames.append(compressed: UInt32(bytes.count), length: UInt32(header.contentSize))
    pool.submit(job)
    try pool.passDone(emit)
  }

  private func emit(_ job: ZstdFrameJob) throws(Failure) {
    if let failure = job.failure { throw failure }
    checksums.append(job.checksum)
    try job.emit(to: next)
    job.clear()
    spare.append(job)
  }
}

/// Decompresses frames. Owns one `ZSTD_DCtx`, which it reuses.
@safe final class FrameDecompressor: PoolWorker {
  private let context: OpaquePointer

  init() throws(Failure) {
    guard let context = unsafe ZSTD_createDCtx() else {
      throw Failure(.library, "ZSTD_createDCtx failed: out of memory")
    }
    // 2^22: the largest window that a frame's header may ask for.
    guard ZSTD_isError(unsafe ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 22)) == 0 else {
      unsafe _ = ZSTD_freeDCtx(context)
      throw Failure(.library, "ZSTD_DCtx_setParameter failed")
    }
    unsafe self.context = context
  }

  deinit { unsafe _ = ZSTD_freeDCtx(context) }

  /// `outputCount` is the content size in the frame's header, at most 4 MiB.
  func run(_ job: ZstdFrameJob) {
    job.failure = nil
    let count = job.outputCount
    if job.output.count < count { job.output = [UInt8](repeating: 0, count: count) }
    let result = unsafe job.input.withUnsafeBytes { input in
      unsafe job.output.withUnsafeMutableBytes { output in
        unsafe ZSTD_decompressDCtx(context, output.baseAddress, count, input.baseAddress, input.count)
      }
    }
    guard ZSTD_isError(result) == 0, result == count else {
      job.failure = Failure(.malformed, "a zstd frame is corrupt or lies about its size")
      return
    }
    let output = job.output
    job.checksum = UInt32(truncatingIfNeeded: XXH64.hash(output.span.extracting(0..<count)))
  }
}
