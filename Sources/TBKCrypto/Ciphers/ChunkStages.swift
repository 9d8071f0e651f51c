import TBKCore

/// Encrypts a message chunk by chunk. Does not write the front of the message.
package final class ChunkEncryptor: ByteSink {
  private var cipher: ChunkCipher
  private let scheme: ChunkScheme
  private let next: any ByteSink
  private var chunk: [UInt8] = []
  private var sealed: [UInt8]
  private var index: UInt64 = 0
  private var ended = false

  package init(_ cipher: consuming ChunkCipher, into next: any ByteSink) {
    scheme = cipher.scheme
    sealed = [UInt8](repeating: 0, count: scheme.sealedSize)
    self.cipher = cipher
    self.next = next
    chunk.reserveCapacity(scheme.chunkSize)
  }

  deinit { wipe(&chunk) }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    guard !ended else { throw Failure(.library, "the encryption has ended") }
    ended = true  // Until this write has gone well.
    var done = 0
    while done < bytes.count {
      // In STREAM, a full chunk may be the last one, until more bytes come.
      if chunk.count == scheme.chunkSize { try flush(isLast: false) }
      let count = min(scheme.chunkSize - chunk.count, bytes.count - done)
      chunk.append(bytes.extracting(done..<done + count))
      done += count
      if scheme.lastIsShort, chunk.count == scheme.chunkSize { try flush(isLast: false) }
    }
    ended = false
  }

  package func finish() throws(Failure) {
    guard !ended else { throw Failure(.library, "the encryption has ended") }
    ended = true
    try flush(isLast: true)
    try next.finish()
  }

  private func flush(isLast: Bool) throws(Failure) {
    try emit(try seal(isLast: isLast))
    index += 1
    chunk.removeAll(keepingCapacity: true)
  }

  // Arrays are lent through a local reference that ends before they are changed, so none is copied.

  private func seal(isLast: Bool) throws(Failure) -> Int {
    let chunk = chunk
    return try cipher.seal(chunk.span, index, isLast: isLast, into: &sealed)
  }

  private func emit(_ count: Int) throws(Failure) {
    let sealed = sealed
    try next.write(sealed.span.extracting(0..<count))
  }
}

/// Decrypts a message chunk by chunk; a chunk is passed on once its tag has been verified. The message is complete only
/// when `finish()` has returned.
package final class ChunkDecryptor: ByteSink {
  private var cipher: ChunkCipher
  private let scheme: ChunkScheme
  private let next: any ByteSink
  private var chunk: [UInt8] = []
  private var opened: [UInt8]
  private var index: UInt64 = 0
  private var ended = false

  package init(_ cipher: consuming ChunkCipher, into next: any ByteSink) {
    scheme = cipher.scheme
    opened = [UInt8](repeating: 0, count: scheme.sealedSize)
    self.cipher = cipher
    self.next = next
    chunk.reserveCapacity(scheme.sealedSize)
  }

  deinit { wipe(&opened) }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    guard !ended else { throw Failure(.library, "the decryption has ended") }
    ended = true  // Until this write has gone well.
    let size = scheme.sealedSize
    var done = 0
    while done < bytes.count {
      if chunk.count == size { try openHeld() }
      let left = bytes.count - done
      if chunk.isEmpty, left > size || scheme.lastIsShort && left == size {
        try open(bytes.extracting(done..<done + size))
        done += size
        continue
      }
      let count = min(size - chunk.count, left)
      chunk.append(bytes.extracting(done..<done + count))
      done += count
      if scheme.lastIsShort, chunk.count == size { try openHeld() }
    }
    ended = false
  }

  package func finish() throws(Failure) {
    guard !ended else { throw Failure(.library, "the decryption has ended") }
    ended = true
    guard chunk.count >= aeadTagLength else { throw Self.truncated }
    try scheme.checkLast(index, chunk.count)
    let last = chunk
    guard let count = try cipher.open(last.span, index, isLast: true, into: &opened) else {
      // It is not the last chunk, so the message was truncated after it. It is valid: pass it on.
      if scheme == .stream, last.count == scheme.sealedSize,
        let count = try cipher.open(last.span, index, isLast: false, into: &opened)
      {
        try emit(count)
        throw Self.truncated
      }
      throw altered
    }
    try emit(count)
    try next.finish()
  }

  private func openHeld() throws(Failure) {
    var full: [UInt8] = []
    swap(&full, &chunk)
    try open(full.span)
    full.removeAll(keepingCapacity: true)
    swap(&full, &chunk)
  }

  /// Decrypts a chunk that is not the end of the input.
  private func open(_ sealed: Span<UInt8>) throws(Failure) {
    guard let count = try cipher.open(sealed, index, isLast: false, into: &opened) else {
      // It is the last chunk, but more bytes follow. It is valid: pass it on.
      if scheme == .stream, let count = try cipher.open(sealed, index, isLast: true, into: &opened) {
        try emit(count)
        throw Failure(.malformed, "something follows the end of the encrypted message")
      }
      throw altered
    }
    try emit(count)
    index += 1
  }

  /// Lends the array through a local reference, so that it is not copied.
  private func emit(_ count: Int) throws(Failure) {
    let opened = opened
    try next.write(opened.span.extracting(0..<count))
  }

  private var altered: Failure { ChunkDecryptor.altered(index) }

  static func altered(_ index: UInt64) -> Failure {
    Failure(
      .authentication, "chunk \(index) of the encrypted message does not verify: it has been altered",
      hint: "get the archive again, or another copy of it")
  }

  private static var truncated: Failure {
    Failure(
      .truncated, "the encrypted message ends early",
      hint: "the command that sends it failed, or the copy is incomplete")
  }
}

/// A message whose chunks can be decrypted in any order. Its length is authenticated first, by its last chunk.
package final class ChunkedMessage {
  private let region: any ByteRegion
  private let start: UInt64
  private var cipher: ChunkCipher
  private let scheme: ChunkScheme
  private let last: (index: UInt64, count: Int)
  private var opened: [UInt8]
  /// The chunk that `opened` holds.
  private var held: UInt64?
  private var heldCount = 0

  /// Length of the plaintext in bytes.
  package let length: UInt64

  /// - Parameters:
  ///   - start: where the first chunk begins in `region`.
  ///   - end: where the last one ends; at most the region's length.
  package init(
    _ cipher: consuming ChunkCipher, in region: any ByteRegion, from start: UInt64, to end: UInt64
  ) throws(Failure) {
    guard start <= end, end <= region.length else {
      throw Failure(.truncated, "the encrypted message ends early")
    }
    scheme = cipher.scheme
    self.region = region
    self.start = start
    last = try scheme.lastChunk(ofSealedLength: end - start)
    length = last.index * UInt64(scheme.chunkSize) + UInt64(last.count - aeadTagLength)
    opened = [UInt8](repeating: 0, count: scheme.sealedSize)
    self.cipher = cipher
    try open(last.index)
  }

  deinit { wipe(&opened) }

  /// Copies the plaintext in `range`, which must lie in the message, to `sink`, without finishing it.
  ///
  /// - Parameter further: the end of what the next calls will read, if known.
  package func read(
    _ range: Range<UInt64>, expecting further: UInt64? = nil, into sink: any ByteSink
  ) throws(Failure) {
    precondition(range.upperBound <= length)
    let size = UInt64(scheme.chunkSize)
    var position = range.lowerBound
    if !range.isEmpty {
      let upper = min(max(range.upperBound, further ?? 0), length)
      let end = start + ((upper - 1) / size + 1) * UInt64(scheme.sealedSize)
      region.expect(upTo: min(end, region.length))
    }
    while position < range.upperBound {
      try open(position / size)
      let offset = Int(position % size)
      let count = min(heldCount - offset, Int(clamping: range.upperBound - position))
      try emit(offset..<offset + count, to: sink)
      position += UInt64(count)
    }
  }

  /// Announces which ranges of the plaintext will be read, in this order.
  ///
  /// - Parameter ranges: ascending.
  package func expect(_ ranges: [Range<UInt64>]) {
    let (size, sealed) = (UInt64(scheme.chunkSize), UInt64(scheme.sealedSize))
    region.expect(
      ranges.filter { !$0.isEmpty && $0.upperBound <= length }.map { range in
        let end = start + ((range.upperBound - 1) / size + 1) * sealed
        return start + range.lowerBound / size * sealed..<min(end, region.length)
      })
  }

  /// The plaintext in `range`, which must lie in the message and be small enough for memory.
  package func read(_ range: Range<UInt64>, expecting further: UInt64? = nil) throws(Failure) -> [UInt8] {
    let memory = MemorySink()
    try read(range, expecting: further, into: memory)
    return memory.bytes
  }

  private func emit(_ range: Range<Int>, to sink: any ByteSink) throws(Failure) {
    let opened = opened
    try sink.write(opened.span.extracting(range))
  }

  /// Reads and decrypts a chunk into `opened`.
  private func open(_ index: UInt64) throws(Failure) {
    if held == index { return }
    held = nil
    let isLast = index == last.index
    let sealed = try region.read(
      isLast ? last.count : scheme.sealedSize, at: start + index * UInt64(scheme.sealedSize))
    guard let count = try cipher.open(sealed.span, index, isLast: isLast, into: &opened) else {
      throw ChunkDecryptor.altered(index)
    }
    heldCount = count
    held = index
  }
}
