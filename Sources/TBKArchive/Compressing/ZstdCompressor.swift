// The payload of suite 3 and age (tbk(5)): independent zstd frames of at most 4 MiB, the manifest's locator, and the
// seek table.

import CZstd
import TBKCore
import TBKFormat

/// Compresses a tar into frames on several threads.
///
/// The output depends only on the input, the level and where `beginMember` and `beginManifest` were called, not on the
/// number of threads or the sizes of the writes. `next` is used only by the calling thread, inside `write` and
/// `finish`. Memory is about 14 MiB per thread at level 3, and eight bytes per frame. After an error, or when
/// deinitialised unfinished, all threads have ended.
package final class ZstdCompressor: ByteSink, PhasedStage {
  private let next: any ByteSink
  private let pool: OrderedPool<FrameCompressor>
  var phase = StagePhase.open
  private var filling = ZstdFrameJob()
  private var spare: [ZstdFrameJob] = []
  private var table = SeekTable()
  private var offset: UInt64 = 0
  private var locator: ManifestLocator?
  /// Also gets the manifest's frames, as a separate payload.
  private var copy: (any ByteSink)?
  private var copyTable = SeekTable()
  /// The number of the manifest's first frame.
  private var manifestFrame = Int.max

  package static let levels = 1...19
  /// The default of zstd.
  package static let standardLevel = 3
  /// A tar member of at most this many bytes is not split between frames.
  private static let wholeMemberLimit: UInt64 = 1 << 20

  /// - Parameters:
  ///   - level: 1 to 19.
  ///   - threads: 1 to 1024; with 1 the calling thread does the work.
  package init(level: Int, threads: Int, into next: any ByteSink) throws(Failure) {
    guard Self.levels.contains(level) else {
      throw Failure(.usage, "compression level \(level) is not between 1 and 19")
    }
    guard (1...1024).contains(threads) else {
      throw Failure(.usage, "\(threads) threads are not between 1 and 1024")
    }
    self.next = next
    var workers: [FrameCompressor] = []
    for _ in 0..<threads { workers.append(try FrameCompressor(level: level)) }
    pool = try OrderedPool(workers: workers, window: threads == 1 ? 1 : threads + 1)
  }

  /// Bytes of tar so far.
  package var position: UInt64 { offset }

  /// Announces the next member of the tar.
  ///
  /// - Parameters:
  ///   - header: length of its headers in bytes.
  ///   - content: length of its content in bytes, without padding.
  package func beginMember(header: Int, content: UInt64) throws(Failure) {
    try phase.check()
    guard content <= Self.wholeMemberLimit else { return }
    let size = header + Int(content) + TarWriter.padding(after: content)
    let room = ZstdFrameHeader.contentLimit - filling.count
    if UInt64(size) <= Self.wholeMemberLimit, size > room { try step(endFrame) }
  }

  // MARK: Frames that are held back

  /// Writes the frames that follow to `spool`, until `release`.
  package func holdBack(into spool: any ByteSink) throws(Failure) {
    try step { () throws(Failure) in
      try endFrame()
      try pool.passAll(emit)
    }
    held = Held(spool: spool, position: offset)
  }

  /// Writes `front`, and then the frames that were held back.
  ///
  /// - Parameter replay: copies the spool to a sink, without finishing it.
  package func release(
    behind front: [UInt8], replay: (any ByteSink) throws(Failure) -> Void
  ) throws(Failure) {
    try step { () throws(Failure) in
      try endFrame()
      try pool.passAll(emit)
      guard let held else { throw Failure(.library, "no frames are held back") }
      self.held = nil
      try held.spool.finish()
      let length = offset - held.position
      offset = held.position
      try write(front.span)
      try endFrame()
      try pool.passAll(emit)
      try replay(next)
      for index in 0..<held.table.count {
        let frame = held.table.frame(index)
        try table.append(compressed: UInt32(frame.compressed), length: UInt32(frame.length))
      }
      offset += length
    }
  }

  /// Frames that are not part of the payload yet.
  private struct Held {
    let spool: any ByteSink
    /// Position in the tar where they begin.
    let position: UInt64
    var table = SeekTable()
  }

  private var held: Held?

  /// Announces that the rest of the tar is the manifest, header first.
  ///
  /// - Parameters:
  ///   - length: length of its JSON in bytes.
  ///   - copy: gets a payload of only the manifest; finished before `next`.
  package func beginManifest(length: UInt64, copy: (any ByteSink)? = nil) throws(Failure) {
    try step(endFrame)
    self.copy = copy
    manifestFrame = table.count + pool.inFlight
    locator = ManifestLocator(offset: offset, length: length)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    try step { () throws(Failure) in
      var done = 0
      while done < bytes.count {
        if filling.count == ZstdFrameHeader.contentLimit { try submit() }
        let count = min(ZstdFrameHeader.contentLimit - filling.count, bytes.count - done)
        filling.append(bytes.extracting(done..<done + count))
        done += count
      }
      offset += UInt64(bytes.count)
    }
  }

  /// Writes locator and table after the frames. Throws `.library` without `beginManifest`.
  package func finish() throws(Failure) {
    try end { () throws(Failure) in
      guard let locator, held == nil else { throw Failure(.library, "a payload without a manifest") }
      if filling.count > 0 { try submit() }
      try pool.passAll(emit)
      pool.stop()
      if let copy {
        try copy.write(ManifestLocator(offset: 0, length: locator.length).bytes)
        try copyTable.append(compressed: UInt32(ManifestLocator.frameLength), length: 0)
        try copy.write(copyTable.bytes)
        try copy.finish()
      }
      try next.write(locator.bytes)
      try table.append(compressed: UInt32(ManifestLocator.frameLength), length: 0)
      try next.write(table.bytes)
      try next.finish()
    }
  }

  func stop() { pool.stop() }

  private func endFrame() throws(Failure) {
    if filling.count > 0 { try submit() }
  }

  private func submit() throws(Failure) {
    // Make room first, then give the threads work, then take what they have finished.
    try pool.makeRoom(emit)
    let full = filling
    filling = spare.popLast() ?? ZstdFrameJob()
    pool.submit(full)
    try pool.passDone(emit)
  }

  private func emit(_ job: ZstdFrameJob) throws(Failure) {
    if let failure = job.failure { throw failure }
    if let held {
      try self.held!.table.append(compressed: UInt32(job.outputCount), length: UInt32(job.count))
      try job.emit(to: held.spool)
      job.clear()
      spare.append(job)
      return
    }
    if let copy, table.count >= manifestFrame {
      try copyTable.append(compressed: UInt32(job.outputCount), length: UInt32(job.count))
      try job.emit(to: copy)
    }
    try table.append(compressed: UInt32(job.outputCount), length: UInt32(job.count))
    try job.emit(to: next)
    job.clear()
    spare.append(job)
  }
}

/// A frame in a pool, with its result. Reused.
final class ZstdFrameJob {
  /// The bytes to compress or decompress.
  fileprivate(set) var input: [UInt8] = []
  var output: [UInt8] = []
  /// Length of the output in bytes: the result of compression, or what decompression must produce.
  var outputCount = 0
  /// The lower half of the XXH64 of the decompressed bytes.
  var checksum: UInt32 = 0
  var failure: Failure?

  var count: Int { input.count }

  func append(_ bytes: Span<UInt8>) {
    if input.isEmpty { input.reserveCapacity(min(ZstdFrameHeader.contentLimit, max(bytes.count, 1 << 16))) }
    input.append(bytes)
  }

  func emit(to sink: any ByteSink) throws(Failure) {
    let output = output
    try sink.write(output.span.extracting(0..<outputCount))
  }

  func clear() {
    input.removeAll(keepingCapacity: true)
    outputCount = 0
    failure = nil
  }
}

/// Compresses frames. Owns one `ZSTD_CCtx`, which it reuses.
@safe final class FrameCompressor: PoolWorker {
  private let context: OpaquePointer
  private let level: Int32
  private var incompressible = IncompressibleTest()

  init(level: Int) throws(Failure) {
    guard let context = unsafe ZSTD_createCCtx() else {
      throw Failure(.library, "ZSTD_createCCtx failed: out of memory")
    }
    self.level = Int32(level)
    unsafe self.context = context
  }

  deinit { unsafe _ = ZSTD_freeCCtx(context) }

  func run(_ job: ZstdFrameJob) {
    job.failure = nil
    let bound = ZSTD_compressBound(job.count)
    if job.output.count < bound { job.output = [UInt8](repeating: 0, count: bound) }
    // For incompressible data level 1 is fastest, and zstd stores it.
    let isWaste = level > 1 && isIncompressible(job)
    // At the default level zstd's tables take 768 KiB, as much as a core's cache. With half of that a frame takes four
    // fifths of the time and is one percent larger. 0 means zstd's own choice.
    let isTuned = !isWaste && level == 3 && job.count > 1 << 18
    let result = unsafe job.input.withUnsafeBytes { input in
      unsafe job.output.withUnsafeMutableBytes { output in
        let settings = [
          (ZSTD_c_compressionLevel, isWaste ? 1 : level), (ZSTD_c_hashLog, isTuned ? 16 : 0),
          (ZSTD_c_chainLog, isTuned ? 15 : 0),
        ]
        for (parameter, value) in settings {
          let set = unsafe ZSTD_CCtx_setParameter(context, parameter, value)
          if ZSTD_isError(set) != 0 { return set }
        }
        return unsafe ZSTD_compress2(
          context, output.baseAddress, output.count, input.baseAddress, input.count)
      }
    }
    guard ZSTD_isError(result) == 0 else {
      let reason = unsafe String(cString: ZSTD_getErrorName(result))
      job.failure = Failure(.library, "zstd: \(reason)")
      return
    }
    job.outputCount = result
  }

  private func isIncompressible(_ job: ZstdFrameJob) -> Bool {
    let input = job.input
    return incompressible.holds(for: input.span)
  }
}
