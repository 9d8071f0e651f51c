import CZlib
import TBKCore

/// Decompresses gzip (RFC 1952): one or more members, as one stream.
///
/// Headers, checksums and sizes are checked. Anything after the last member that is not another member, including
/// padding, is `.malformed`; an input that ends inside a member, or is empty, is `.truncated`. Output is passed on in
/// pieces of at most `chunkSize`, before its checksum has been checked: trust it no more than the input. Memory does
/// not depend on the input.
@safe package final class GzipDecompressor: ByteSink, PhasedStage {
  private let next: any ByteSink
  // Allocated: zlib's state points back at it, so it must not move.
  private let stream: UnsafeMutablePointer<z_stream>
  var phase = StagePhase.open
  private var output = [UInt8](repeating: 0, count: chunkSize)
  private var outputCount = 0
  /// Between members, and before the first.
  private var atBoundary = true
  private var members = 0

  package init(into next: any ByteSink) throws(Failure) {
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    // 16: gzip only; 15: windows up to 32 KiB.
    let status = unsafe tbk_inflate_init(stream, 16 + 15)
    guard status == Z_OK else {
      unsafe stream.deallocate()
      throw zlibFailure("inflateInit2", status)
    }
    self.next = next
    unsafe self.stream = stream
  }

  deinit {
    unsafe inflateEnd(stream)
    unsafe stream.deallocate()
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    try step { () throws(Failure) in
      var done = 0
      while done < bytes.count {
        // avail_in is 32 bits wide.
        let count = min(bytes.count - done, 1 << 30)
        try inflateAll(bytes.extracting(done..<done + count))
        done += count
      }
    }
  }

  package func finish() throws(Failure) {
    try end { () throws(Failure) in
      if !atBoundary || members == 0 {
        throw Failure(.truncated, "compressed data ends too early")
      }
      try flush()
      try next.finish()
    }
  }

  /// Decompresses all of `bytes`, and takes all output that zlib can produce.
  private func inflateAll(_ bytes: Span<UInt8>) throws(Failure) {
    var used = 0
    var mayHaveMore = false
    while used < bytes.count || mayHaveMore {
      if atBoundary {
        try beginMember(first: bytes[used])
      }
      let (status, taken) = inflateOnce(bytes.extracting(used..<bytes.count))
      used += taken
      let full = outputCount == chunkSize
      switch status {
      case Z_STREAM_END:
        atBoundary = true
        members += 1
        mayHaveMore = false
      case Z_BUF_ERROR where used < bytes.count && !full:
        throw Failure(.library, "inflate makes no progress")
      case Z_OK, Z_BUF_ERROR:
        // zlib holds back output only if the buffer is full.
        mayHaveMore = full
      case Z_MEM_ERROR, Z_STREAM_ERROR, Z_VERSION_ERROR: throw zlibFailure("inflate", status)
      default:
        throw Failure(.malformed, "compressed data is damaged: \(reason)")
      }
      if full { try flush() }
    }
  }

  /// Begins a member with the byte `first`; zlib checks the rest of the header.
  private func beginMember(first: UInt8) throws(Failure) {
    guard first == 0x1f else {
      throw Failure(
        .malformed,
        members == 0 ? "not gzip data" : "unexpected bytes after the end of the compressed data")
    }
    if members > 0, unsafe inflateReset(stream) != Z_OK {
      throw Failure(.library, "inflateReset failed")
    }
    atBoundary = false
  }

  /// Calls `inflate` once, into the rest of `output`.
  private func inflateOnce(_ bytes: Span<UInt8>) -> (status: Int32, taken: Int) {
    unsafe bytes.withUnsafeBufferPointer { input in
      unsafe output.withUnsafeMutableBufferPointer { output in
        // inflate does not write to its input.
        unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
        unsafe stream.pointee.avail_in = uInt(input.count)
        unsafe stream.pointee.next_out = output.baseAddress.map { unsafe $0 + outputCount }
        unsafe stream.pointee.avail_out = uInt(output.count - outputCount)
        let status = unsafe inflate(stream, Z_NO_FLUSH)
        let taken = unsafe input.count - Int(stream.pointee.avail_in)
        outputCount = unsafe output.count - Int(stream.pointee.avail_out)
        unsafe stream.pointee.next_in = nil
        unsafe stream.pointee.next_out = nil
        return (status, taken)
      }
    }
  }

  private var reason: String {
    guard let message = unsafe stream.pointee.msg else { return "unknown reason" }
    return unsafe String(cString: message)
  }

  private func flush() throws(Failure) {
    if outputCount == 0 { return }
    // One write may expand 1000:1.
    try Interruption.check()
    let output = self.output
    try next.write(output.span.extracting(0..<outputCount))
    outputCount = 0
  }
}

/// The version of zlib, for `--version`.
package var zlibVersion: String { unsafe String(cString: CZlib.zlibVersion()) }
