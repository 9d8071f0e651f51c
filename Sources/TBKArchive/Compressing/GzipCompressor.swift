// Parallel gzip (RFC 1952) like pigz: blocks are deflated independently, each with the preceding 32 KiB as its
// dictionary and a sync flush at its end, and together form one gzip member.

import CZlib
import TBKCore

/// The size of one block in bytes. Blocks two or four times as large are no faster and, on trees of programs and text,
/// compress no better.
let gzipBlockSize = 128 * 1024

/// How far back deflate refers (RFC 1951 §2).
private let dictionarySize = 32 * 1024

/// The maximum length of a stored deflate block in bytes (RFC 1951 §3.2.4).
private let storedLimit = 65535

/// The size of `count` bytes in stored blocks.
private func storedSize(_ count: Int) -> Int {
  count + 5 * ((count + storedLimit - 1) / storedLimit)
}

/// Compresses what is written into one gzip member.
///
/// The output depends only on the input and the level, not on the number of threads or the sizes of the writes; the
/// header's time is 0 and its system "Unix". `next` is used only by the calling thread, inside `write` and `finish`.
/// Memory is about 1.2 MiB per thread. After an error, or when deinitialised unfinished, all threads have ended.
package final class GzipCompressor: ByteSink, PhasedStage {
  private let next: any ByteSink
  private let level: Int
  private let pool: OrderedPool<BlockDeflater>
  var phase = StagePhase.open
  private var filling = GzipBlock()
  private var spare: [GzipBlock] = []
  private var checksum: UInt = 0
  private var length: UInt64 = 0
  private var headerWritten = false

  /// - Parameters:
  ///   - level: 0 (stored) to 9.
  ///   - threads: 1 to 1024; with 1 the calling thread does the work.
  package init(level: Int, threads: Int, into next: any ByteSink) throws(Failure) {
    guard (0...9).contains(level) else {
      throw Failure(.usage, "compression level \(level) is not between 0 and 9")
    }
    guard (1...1024).contains(threads) else {
      throw Failure(.usage, "\(threads) threads are not between 1 and 1024")
    }
    self.next = next
    self.level = level
    var workers: [BlockDeflater] = []
    for _ in 0..<threads { workers.append(try BlockDeflater(level: level)) }
    pool = try OrderedPool(workers: workers, window: threads == 1 ? 1 : 3 * threads)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    try step { () throws(Failure) in
      var done = 0
      while done < bytes.count {
        done += filling.append(bytes.extracting(done..<bytes.count))
        if filling.isFull { try submit() }
      }
    }
  }

  package func finish() throws(Failure) {
    try end { () throws(Failure) in
      if !filling.isEmpty { try submit() }
      try pool.passAll(emit)
      try writeHeaderOnce()
      try next.write(trailer)
      pool.stop()
      try next.finish()
    }
  }

  func stop() { pool.stop() }

  /// Passes the current block to the pool, and finished blocks to `next`.
  private func submit() throws(Failure) {
    // Make room first, then give the threads work, then take what they have finished.
    try pool.makeRoom(emit)
    let full = filling
    filling = spare.popLast() ?? GzipBlock()
    filling.begin(after: full)
    pool.submit(full)
    try pool.passDone(emit)
  }

  private func emit(_ block: GzipBlock) throws(Failure) {
    if let failure = block.failure { throw failure }
    try writeHeaderOnce()
    let output = block.output
    try next.write(output.span.extracting(0..<block.outputCount))
    checksum = crc32_combine(checksum, block.checksum, block.count)
    length &+= UInt64(block.count)
    spare.append(block)
  }

  /// RFC 1952 §2.3.
  private func writeHeaderOnce() throws(Failure) {
    if headerWritten { return }
    headerWritten = true
    let extraFlags: UInt8 =
      switch level {
      case 9: 2
      case 1: 4
      default: 0
      }
    try next.write([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extraFlags, 3])
  }

  /// An empty last block, then checksum and size, least significant byte first.
  private var trailer: [UInt8] {
    var bytes: [UInt8] = [3, 0]
    for value in [UInt32(truncatingIfNeeded: checksum), UInt32(truncatingIfNeeded: length)] {
      for shift in stride(from: 0, to: 32, by: 8) {
        bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(shift)))
      }
    }
    return bytes
  }
}

/// A block in the pool, with its result. Reused.
final class GzipBlock {
  /// The dictionary, in the first 32 KiB, then the bytes of the block.
  private var input = [UInt8](repeating: 0, count: dictionarySize + gzipBlockSize)
  private(set) var count = 0
  fileprivate private(set) var hasDictionary = false
  /// Deflate blocks that end on a byte boundary, none of them the last.
  fileprivate(set) var output = [UInt8](repeating: 0, count: storedSize(gzipBlockSize))
  fileprivate(set) var outputCount = 0
  fileprivate(set) var checksum: UInt = 0
  fileprivate(set) var failure: Failure?

  var isFull: Bool { count == gzipBlockSize }
  var isEmpty: Bool { count == 0 }

  /// Appends as many bytes as fit, and returns how many.
  func append(_ bytes: Span<UInt8>) -> Int {
    let taken = min(bytes.count, gzipBlockSize - count)
    let start = dictionarySize + count
    unsafe bytes.withUnsafeBytes { source in
      unsafe input.withUnsafeMutableBytes { target in
        unsafe UnsafeMutableRawBufferPointer(rebasing: target[start..<start + taken])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[0..<taken]))
      }
    }
    count += taken
    return taken
  }

  /// Empties the block and takes the end of `previous`, which is full, as dictionary.
  func begin(after previous: GzipBlock) {
    count = 0
    hasDictionary = previous.isFull
    if !hasDictionary { return }
    unsafe previous.input.withUnsafeBytes { source in
      unsafe input.withUnsafeMutableBytes { target in
        unsafe UnsafeMutableRawBufferPointer(rebasing: target[0..<dictionarySize])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[gzipBlockSize...]))
      }
    }
  }

  /// Lends the dictionary (empty if there is none), the input and the output buffer.
  fileprivate func withBuffers(
    _ body: (
      _ dictionary: UnsafeMutableBufferPointer<UInt8>, _ bytes: UnsafeMutableBufferPointer<UInt8>,
      _ output: UnsafeMutableBufferPointer<UInt8>
    ) -> Void
  ) {
    unsafe input.withUnsafeMutableBufferPointer { input in
      unsafe output.withUnsafeMutableBufferPointer { output in
        unsafe body(
          UnsafeMutableBufferPointer(rebasing: input[0..<(hasDictionary ? dictionarySize : 0)]),
          UnsafeMutableBufferPointer(rebasing: input[dictionarySize..<dictionarySize + count]),
          output)
      }
    }
  }
}

/// Deflates blocks. Owns one `z_stream`, which it reuses.
@safe final class BlockDeflater: PoolWorker {
  // Allocated: zlib's state points back at it, so it must not move. Nil at level 0.
  private let stream: UnsafeMutablePointer<z_stream>?
  private var incompressible = IncompressibleTest()

  init(level: Int) throws(Failure) {
    if level == 0 {
      unsafe stream = nil
      return
    }
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    // -15: raw deflate with a window of 32 KiB.
    let status = unsafe tbk_deflate_init(stream, Int32(level), -15)
    guard status == Z_OK else {
      unsafe stream.deallocate()
      throw zlibFailure("deflateInit2", status)
    }
    unsafe self.stream = stream
  }

  deinit {
    if let stream = unsafe stream {
      unsafe deflateEnd(stream)
      unsafe stream.deallocate()
    }
  }

  func run(_ block: GzipBlock) {
    block.failure = nil
    unsafe block.withBuffers { dictionary, bytes, output in
      unsafe block.checksum = crc32_z(0, bytes.baseAddress, bytes.count)
      if let stream = unsafe stream, unsafe !incompressible.holds(for: bytes.span) {
        switch unsafe deflated(stream, dictionary, bytes, output) {
        case .success(let count?):
          block.outputCount = count
          return
        case .success(nil): break  // Larger than stored.
        case .failure(let failure):
          block.failure = failure
          return
        }
      }
      block.outputCount = unsafe stored(bytes, output)
    }
  }

  /// - Returns: the output size in bytes, or nil if it would not be smaller than stored.
  private func deflated(
    _ stream: UnsafeMutablePointer<z_stream>, _ dictionary: UnsafeMutableBufferPointer<UInt8>,
    _ bytes: UnsafeMutableBufferPointer<UInt8>, _ output: UnsafeMutableBufferPointer<UInt8>
  ) -> Result<Int?, Failure> {
    var status = unsafe deflateReset(stream)
    if status == Z_OK, !dictionary.isEmpty {
      status = unsafe deflateSetDictionary(
        stream, dictionary.baseAddress, uInt(dictionary.count))
    }
    let limit = storedSize(bytes.count)
    if status == Z_OK {
      unsafe stream.pointee.next_in = bytes.baseAddress
      unsafe stream.pointee.avail_in = uInt(bytes.count)
      unsafe stream.pointee.next_out = output.baseAddress
      unsafe stream.pointee.avail_out = uInt(limit)
      status = unsafe deflate(stream, Z_SYNC_FLUSH)
    }
    guard status == Z_OK else {
      return .failure(zlibFailure("deflate", status))
    }
    // A flush is complete only if room is left after it (zlib.h).
    let room = unsafe Int(stream.pointee.avail_out)
    return .success(room == 0 ? nil : limit - room)
  }

  /// Stored blocks (RFC 1951 §3.2.4). `output` has room for them.
  private func stored(
    _ bytes: UnsafeMutableBufferPointer<UInt8>, _ output: UnsafeMutableBufferPointer<UInt8>
  ) -> Int {
    var position = 0
    for start in stride(from: 0, to: bytes.count, by: storedLimit) {
      let count = min(storedLimit, bytes.count - start)
      let size = UInt16(count)
      unsafe output[position] = 0
      unsafe output[position + 1] = UInt8(truncatingIfNeeded: size)
      unsafe output[position + 2] = UInt8(truncatingIfNeeded: size >> 8)
      unsafe output[position + 3] = UInt8(truncatingIfNeeded: ~size)
      unsafe output[position + 4] = UInt8(truncatingIfNeeded: ~size >> 8)
      position += 5
      _ = unsafe UnsafeMutableBufferPointer(rebasing: output[position..<position + count])
        .update(fromContentsOf: bytes[start..<start + count])
      position += count
    }
    return position
  }
}

/// The failure of a zlib call that is not about the data.
func zlibFailure(_ call: String, _ status: Int32) -> Failure {
  status == Z_MEM_ERROR
    ? Failure(.exhausted, "out of memory")
    : Failure(.library, "\(call) failed with status \(status)")
}
