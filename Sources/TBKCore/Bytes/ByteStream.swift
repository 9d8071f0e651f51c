/// Where bytes go. A stage wraps the sink it writes to.
///
/// After an error or `finish()` a stage refuses further bytes.
package protocol ByteSink: AnyObject {
  func write(_ bytes: Span<UInt8>) throws(Failure)
  /// Ends the stream. Without it the output is truncated, and never looks complete.
  func finish() throws(Failure)
}

/// Where bytes come from.
package protocol ByteSource: AnyObject {
  /// Fills the front of `buffer`, which must not be empty and keeps its size. Returns how many bytes it put there; 0
  /// means the end, and every later call returns 0 too.
  func read(into buffer: inout [UInt8]) throws(Failure) -> Int
}

/// The size in bytes of the chunks that stages pass on: large enough that calls cost nothing, small enough for the
/// second-level cache.
package let chunkSize = 256 * 1024

extension ByteSink {
  package func write(_ bytes: [UInt8]) throws(Failure) { try write(bytes.span) }
}

extension ByteSource {
  /// Copies the rest to `sink`, without finishing it, and returns the number of bytes.
  @discardableResult
  package func copy(to sink: any ByteSink) throws(Failure) -> UInt64 {
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    var total: UInt64 = 0
    while true {
      let count = try read(into: &buffer)
      if count == 0 { return total }
      try sink.write(buffer.span.extracting(0..<count))
      total += UInt64(count)
    }
  }

  /// Reads exactly `count` bytes, or fewer if the source ends.
  ///
  /// The caller must know that `count` is small enough for memory.
  package func read(upTo count: Int) throws(Failure) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      var buffer = [UInt8](repeating: 0, count: min(count - bytes.count, chunkSize))
      let more = try read(into: &buffer)
      if more == 0 { break }
      bytes.append(buffer.span.extracting(0..<more))
    }
    return bytes
  }

  /// Reads the rest; more than `limit` bytes is `.malformed`.
  package func readAll(limit: Int, what: String) throws(Failure) -> [UInt8] {
    var bytes: [UInt8] = []
    while true {
      let more = try read(upTo: min(chunkSize, limit - bytes.count + 1))
      if more.isEmpty { return bytes }
      bytes += more
      if bytes.count > limit {
        throw Failure(.malformed, "\(what) is larger than \(limit) bytes")
      }
    }
  }
}

/// Collects what is written; more than `limit` bytes is `.malformed`.
package final class MemorySink: ByteSink {
  package private(set) var bytes: [UInt8] = []
  private let limit: Int

  package init(limit: Int = .max) { self.limit = limit }

  package func write(_ more: Span<UInt8>) throws(Failure) {
    guard more.count <= limit - bytes.count else {
      throw Failure(.malformed, "more than \(limit) bytes")
    }
    bytes.append(more)
  }

  package func finish() {}
}

/// Reads from an array.
package final class MemorySource: ByteSource {
  private let bytes: [UInt8]
  private var position = 0

  package init(_ bytes: [UInt8]) { self.bytes = bytes }

  package func read(into buffer: inout [UInt8]) -> Int {
    let count = min(buffer.count, bytes.count - position)
    let bytes = self.bytes
    buffer.replaceFront(with: bytes.span.extracting(position..<position + count))
    position += count
    return count
  }
}

/// Counts the bytes and passes them to `next`, if any.
package final class CountingSink: ByteSink {
  package private(set) var count: UInt64 = 0
  private let next: (any ByteSink)?

  package init(into next: (any ByteSink)? = nil) { self.next = next }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    count += UInt64(bytes.count)
    try next?.write(bytes)
  }

  package func finish() throws(Failure) { try next?.finish() }
}
