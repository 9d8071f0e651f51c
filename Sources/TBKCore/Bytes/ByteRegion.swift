/// Bytes of known length that can be read at any offset. They are not trusted: they may change between two reads.
package protocol ByteRegion: AnyObject {
  /// In bytes.
  var length: UInt64 { get }

  /// Fills the front of `buffer`, which keeps its size, with the bytes from `offset`. Returns how many; fewer than
  /// `buffer.count` only at the end.
  func read(into buffer: inout [UInt8], at offset: UInt64) throws(Failure) -> Int

  /// Announces that everything from the next read up to `end` will be read: a remote region then fetches larger pieces.
  func expect(upTo end: UInt64)

  /// Announces what will be read from now on, in this order: a remote region requests some of it in advance.
  ///
  /// - Parameter ranges: ascending; they replace earlier ones.
  func expect(_ ranges: [Range<UInt64>])
}

extension ByteRegion {
  package func expect(upTo end: UInt64) {}
  package func expect(_ ranges: [Range<UInt64>]) {}

  /// Exactly `count` bytes from `offset`; `.truncated` if there are fewer. The caller must know that `count` is small
  /// enough for memory.
  package func read(_ count: Int, at offset: UInt64) throws(Failure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    if count == 0 { return bytes }
    guard try read(into: &bytes, at: offset) == count else {
      throw Failure(.truncated, "the archive ends early")
    }
    return bytes
  }
}

/// A region in memory.
package final class MemoryRegion: ByteRegion {
  private let bytes: [UInt8]

  package init(_ bytes: [UInt8]) { self.bytes = bytes }

  package var length: UInt64 { UInt64(bytes.count) }

  package func read(into buffer: inout [UInt8], at offset: UInt64) -> Int {
    guard offset < length else { return 0 }
    let start = Int(offset)
    let bytes = self.bytes
    let count = min(buffer.count, bytes.count - start)
    buffer.replaceFront(with: bytes.span.extracting(start..<start + count))
    return count
  }
}

/// Reads a region sequentially to its end, or up to `end`.
package final class RegionSource: ByteSource {
  private let region: any ByteRegion
  private var offset: UInt64
  private let end: UInt64

  package init(_ region: any ByteRegion, from offset: UInt64 = 0, to end: UInt64 = .max) {
    self.region = region
    self.offset = offset
    self.end = end
  }

  package func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    let left = end - min(offset, end)
    if left == 0 { return 0 }
    if left < UInt64(buffer.count) {
      var piece = [UInt8](repeating: 0, count: Int(left))
      let count = try region.read(into: &piece, at: offset)
      buffer.replaceFront(with: piece.span.extracting(0..<count))
      offset += UInt64(count)
      return count
    }
    let count = try region.read(into: &buffer, at: offset)
    offset += UInt64(count)
    return count
  }
}

/// Part of a seekable file, read without moving the file's position.
package final class DescriptorRegion: ByteRegion {
  private let file: Descriptor
  private let start: UInt64
  package let length: UInt64

  /// From `start` to the file's current end.
  package init(_ file: Descriptor, from start: UInt64 = 0) throws(Failure) {
    let size = UInt64(clamping: try file.status().st_size)
    self.file = file
    self.start = start
    length = size - min(start, size)
  }

  package func read(into buffer: inout [UInt8], at offset: UInt64) throws(Failure) -> Int {
    guard offset < length else { return 0 }
    let wanted = Int(min(UInt64(buffer.count), length - offset))
    var done = 0
    var piece: [UInt8] = []
    while done < wanted {
      // The first read usually returns everything.
      if done == 0, wanted == buffer.count {
        done = try file.read(into: &buffer, at: start + offset)
        if done == 0 { break }
        continue
      }
      piece = [UInt8](repeating: 0, count: wanted - done)
      let count = try file.read(into: &piece, at: start + offset + UInt64(done))
      if count == 0 { break }
      for index in 0..<count { buffer[done + index] = piece[index] }
      done += count
    }
    return done
  }
}

/// A source whose next bytes can be looked at before they are read.
package final class PeekingSource: ByteSource {
  private let rest: any ByteSource
  /// Bytes that were read ahead, from `first` on.
  private var held: [UInt8] = []
  private var first = 0

  package init(_ rest: any ByteSource) { self.rest = rest }

  /// The next `count` bytes, or fewer if the source ends, without consuming them.
  package func peek(_ count: Int) throws(Failure) -> [UInt8] {
    while held.count - first < count, try fill() {}
    return Array(held[first..<min(held.count, first + count)])
  }

  /// The next line without its line feed, which is consumed too; nil at the end of the source.
  ///
  /// - Parameter limit: in bytes; a longer line is `.malformed`. A last line without a line feed is `.truncated`.
  package func line(limit: Int) throws(Failure) -> [UInt8]? {
    var searched = 0
    while true {
      while first + searched < held.count {
        if held[first + searched] == UInt8(ascii: "\n") {
          let line = Array(held[first..<first + searched])
          first += searched + 1
          return line
        }
        searched += 1
        if searched > limit { throw Failure(.malformed, "a line is longer than \(limit) bytes") }
      }
      if try !fill() {
        if searched == 0 { return nil }
        throw Failure(.truncated, "the last line does not end")
      }
    }
  }

  /// Likewise, but nil if the whole line is not available yet.
  ///
  /// - Parameter isReady: whether the source can be read without waiting.
  package func lineAtHand(limit: Int, isReady: () -> Bool) throws(Failure) -> [UInt8]? {
    while true {
      if held[first...].contains(UInt8(ascii: "\n")) { return try line(limit: limit) }
      guard held.count - first <= limit, isReady(), try fill() else { return nil }
    }
  }

  package func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    if first == held.count { return try rest.read(into: &buffer) }
    let count = min(buffer.count, held.count - first)
    let held = self.held
    buffer.replaceFront(with: held.span.extracting(first..<first + count))
    first += count
    return count
  }

  private func fill() throws(Failure) -> Bool {
    if first > 0 {
      held.removeFirst(first)
      first = 0
    }
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = try rest.read(into: &buffer)
    held.append(buffer.span.extracting(0..<count))
    return count > 0
  }
}
