import CZstd
import TBKArchive
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

/// Slightly compressible content: words of a small vocabulary in a fixed random order.
private func text(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var state = seed
  var bytes: [UInt8] = []
  bytes.reserveCapacity(count + 8)
  while bytes.count < count {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    bytes += Array("word\(state >> 54) ".utf8)
  }
  return Array(bytes.prefix(count))
}

private let frameSize = 4 << 20

@Suite struct ZstdTests {
  /// A payload of `content` and a manifest; the manifest's offset and length.
  private func payload(
    _ content: [UInt8], manifest: [UInt8] = text(700), threads: Int = 2, level: Int = 1, piece: Int = 1 << 20
  ) throws(Failure) -> [UInt8] {
    let sink = MemorySink()
    let compressor = try ZstdCompressor(level: level, threads: threads, into: sink)
    try feed(content, to: compressor, piece: piece)
    try compressor.beginManifest(length: UInt64(manifest.count - 512))
    try feed(manifest, to: compressor, piece: piece)
    try compressor.finish()
    return sink.bytes
  }

  private func feed(_ bytes: [UInt8], to sink: any ByteSink, piece: Int) throws(Failure) {
    var start = 0
    while start < bytes.count {
      let end = min(start + piece, bytes.count)
      try sink.write(bytes.span.extracting(start..<end))
      start = end
    }
  }

  private func opened(
    _ payload: [UInt8], threads: Int = 2, piece: Int = 1 << 20
  ) -> (bytes: [UInt8], locator: ManifestLocator?, failure: Failure?) {
    let sink = MemorySink()
    do throws(Failure) {
      let decompressor = try ZstdDecompressor(threads: threads, into: sink)
      try feed(payload, to: decompressor, piece: piece)
      try decompressor.finish()
      return (sink.bytes, decompressor.locator, nil)
    } catch {
      return (sink.bytes, nil, error)
    }
  }

  private func table(_ payload: [UInt8]) throws -> SeekTable {
    let length = try SeekTable.length(byFooter: payload.span.extracting(payload.count - 9..<payload.count))
    return try SeekTable(parsing: payload.span.extracting(payload.count - Int(length)..<payload.count))
  }

  @Test func whatWasCompressedComesBackWhateverTheThreadsAndPieces() throws {
    for size in [0, 1, 1000, frameSize, frameSize + 1] {
      let (content, manifest) = (text(size), text(700))
      let bytes = try payload(content, manifest: manifest)
      #expect(try payload(content, manifest: manifest, threads: 1, piece: 77_777) == bytes)
      for (threads, piece) in [(1, 1 << 20), (3, 65_537)] {
        let result = opened(bytes, threads: threads, piece: piece)
        #expect(result.failure == nil)
        #expect(result.bytes == content + manifest)
        #expect(result.locator == ManifestLocator(offset: UInt64(size), length: 188))
      }
      let table = try table(bytes)
      #expect(table.count == (size + frameSize - 1) / frameSize + 2)
      #expect(table.length == UInt64(size + 700))
    }
    let small = try payload(text(1000))
    #expect(opened(small, piece: 1).bytes.count == 1700)
  }

  @Test func aMemberOfAMegabyteIsNotSplit() throws {
    let sink = MemorySink()
    let compressor = try ZstdCompressor(level: 1, threads: 2, into: sink)
    // Three that fit, one that does not, one that is too large to stay in one frame.
    for size in [1 << 20, 1 << 20, 1 << 20, (1 << 20) - 512, 1 << 20, 5 << 20] {
      try compressor.beginMember(header: 0, content: UInt64(size))
      try compressor.write(text(size))
    }
    try compressor.beginManifest(length: 1)
    try compressor.write(text(513))
    try compressor.finish()
    let table = try table(sink.bytes)
    let lengths = (0..<table.count).map { table.frame($0).length }
    #expect(lengths == [(4 << 20) - 512, 4 << 20, 2 << 20, 513, 0])
  }

  @Test func whatDoesNotCompressTakesHardlyMore() throws {
    let noise = try randomBytes(6 << 20)
    let bytes = try payload(noise, level: 19)
    #expect(bytes.count < noise.count + 4096)
    #expect(opened(bytes).bytes.starts(with: noise))
  }

  @Test func aCutAnywhereIsTruncated() throws {
    let bytes = try payload(text(frameSize + 100))
    let table = try table(bytes)
    var cuts = [0, 1, 4, 5, 17, bytes.count - 1, bytes.count - 9]
    for index in 0..<table.count {
      let end = Int(table.frame(index).position) + table.frame(index).compressed
      cuts += [end - 1, end, end + 1]
    }
    for cut in cuts where cut < bytes.count {
      #expect(opened(Array(bytes[..<cut])).failure?.code == .truncated, "at \(cut)")
    }
    #expect(opened(bytes + [0]).failure?.code == .malformed)
  }

  @Test func framesInAnotherOrderAndTablesThatLieAreRefused() throws {
    let bytes = try payload(text(2 * frameSize, seed: 3) + text(100))
    let table = try table(bytes)
    func part(_ index: Int) -> [UInt8] {
      let frame = table.frame(index)
      return Array(bytes[Int(frame.position)..<Int(frame.position) + frame.compressed])
    }
    let parts = (0..<table.count).map(part)
    let (last, tail) = (parts.count - 1, Array(bytes[Int(table.compressedLength)...]))
    let locator = parts[last]
    func assembled(_ order: [Int], _ tail: [UInt8]) -> [UInt8] { order.flatMap { parts[$0] } + tail }
    let all = Array(0..<parts.count)
    #expect(opened(assembled(all, tail)).failure == nil)
    for order in [[1, 2, 3, 4], [0, 0, 1, 2, 3, 4], [0, 1, 2, 3], [0, 1, 4, 2, 3], [0, 1, 2, 3, 4, 4], [4]] {
      #expect(opened(assembled(order, tail)).failure?.code == .malformed, "\(order)")
    }
    // Tables and locators with one changed number.
    for place in stride(from: 8, to: tail.count - 9, by: 4) {
      var lie = tail
      lie[place] ^= 1
      #expect(opened(assembled(all, lie)).failure?.code == .malformed, "byte \(place)")
    }
    for (offset, length) in [(UInt64.max, UInt64(1)), (1, 1), (UInt64(frameSize), .max), (table.length, 0)] {
      let lie = ManifestLocator(offset: offset, length: length).bytes
      #expect(lie.count == locator.count)
      let whole = all.dropLast().flatMap { parts[$0] } + lie + tail
      #expect(opened(whole).failure?.code == .malformed)
    }
    // A skippable frame of another kind.
    #expect(opened(parts[0] + [0x53, 0x2a, 0x4d, 0x18, 0, 0, 0, 0] + parts[1]).failure?.code == .malformed)
  }

  @Test func framesThatLieAboutTheirSizeAreRefused() throws {
    let bytes = try payload(text(100_000))
    let header = try ZstdFrameHeader(parsing: bytes.span)
    #expect(header.contentSize == 100_000)
    for (place, value) in [(5, UInt8(0xff)), (5, bytes[5] ^ 1), (7, 2), (8, 1)] {
      var lie = bytes
      lie[place] = value
      #expect(opened(lie).failure?.code == .malformed, "byte \(place)")
    }
    // Frames without a declared size, as other tools write them for a stream.
    var unsized = bytes
    unsized[4] = 0
    #expect(opened(unsized).failure?.code == .malformed)
    for bits in [UInt8(1), 2, 3, 8] {
      var wrong = bytes
      wrong[4] |= bits
      #expect(opened(wrong).failure?.code == .malformed)
    }
  }

  @Test func aFrameOfMoreThanFourMebibytesIsRefused() throws {
    let content = [UInt8](repeating: 7, count: frameSize + 1)
    var frame = [UInt8](repeating: 0, count: 1 << 20)
    let count = unsafe ZSTD_compress(&frame, frame.count, content, content.count, 1)
    #expect(opened(Array(frame[..<count])).failure?.code == .malformed)
    let small = unsafe ZSTD_compress(&frame, frame.count, content, frameSize, 1)
    #expect(opened(Array(frame[..<small])).failure?.code == .truncated)
  }

  @Test func checksumsInATableCountIfTheyAreThere() throws {
    let content = text(1000)
    let bytes = try payload(content)
    let table = try table(bytes)
    let manifest = Array(opened(bytes).bytes.dropFirst(1000))
    let sums = [XXH64.hash(content.span), XXH64.hash(manifest.span), XXH64.hash([UInt8]().span)]
    func little(_ value: UInt64) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) } }
    func tail(_ sums: [UInt64]) -> [UInt8] {
      var tail: [UInt8] = [0x5e, 0x2a, 0x4d, 0x18] + little(UInt64(12 * sums.count + 9))
      for (index, sum) in sums.enumerated() {
        let frame = table.frame(index)
        tail += little(UInt64(frame.compressed)) + little(UInt64(frame.length)) + little(sum)
      }
      return tail + little(UInt64(sums.count)) + [0x80, 0xb1, 0xea, 0x92, 0x8f]
    }
    let frames = Array(bytes[..<Int(table.compressedLength)])
    #expect(opened(frames + tail(sums)).failure == nil)
    #expect(opened(frames + tail([sums[0], sums[1] ^ 1, sums[2]])).failure?.code == .malformed)
  }

  @Test func xxh64() {
    // Computed by the reference implementation.
    #expect(XXH64.hash([UInt8]().span) == 0xef46_db37_51d8_e999)
    #expect(XXH64.hash(Array("a".utf8).span) == 0xd24e_c4f1_a98c_6e5b)
    #expect(XXH64.hash(Array("abc".utf8).span) == 0x44bc_2cf5_ad77_0999)
    #expect(XXH64.hash(Array("Nobody inspects the spammish repetition".utf8).span) == 0xfbce_a83c_8a37_8bf1)
  }

  // MARK: Any part

  private func seekable(_ payload: [UInt8]) throws(Failure) -> SeekablePayload {
    let key = try Secret(copying: [UInt8](0..<32).span)
    let sink = MemorySink()
    let encryptor = try ChunkedEncryptionFront.begin(key: key, context: [], into: sink)
    try encryptor.write(payload)
    try encryptor.finish()
    let front = try ChunkedEncryptionFront(parsing: sink.bytes.span)
    return try SeekablePayload(
      try ChunkedMessage(
        try front.cipher(key: key, context: []), in: MemoryRegion(sink.bytes),
        from: UInt64(ChunkedEncryptionFront.length), to: UInt64(sink.bytes.count)))
  }

  @Test func anyPartOfTheTarIsRead() throws {
    let content = text(2 * frameSize + 1000)
    let manifest = text(3000, seed: 9)
    let payload = try seekable(try payload(content, manifest: manifest))
    let whole = content + manifest
    #expect(payload.locator == ManifestLocator(offset: UInt64(content.count), length: UInt64(manifest.count - 512)))
    #expect(payload.length == UInt64(whole.count))
    for (from, to) in [(0, 10), (frameSize - 5, frameSize + 5), (content.count, whole.count), (0, whole.count), (7, 7)]
    {
      let sink = MemorySink()
      try payload.read(UInt64(from)..<UInt64(to), into: sink)
      #expect(sink.bytes == Array(whole[from..<to]))
    }
    #expect(throws: Failure.self) { try payload.read(0..<UInt64(whole.count + 1), into: MemorySink()) }
    #expect(throws: Failure.self) { try payload.read(UInt64.max - 1..<UInt64.max, into: MemorySink()) }
  }

  @Test func aTableThatDoesNotFitItsPayloadIsRefused() throws {
    let bytes = try payload(text(1000))
    for wrong in [
      [], Array(bytes.suffix(9)), Array(bytes.suffix(41)), Array(bytes.dropFirst()), [0] + bytes,
      Array(bytes.dropLast()),
    ] {
      let attempt = Result { () throws(Failure) in try seekable(wrong).length }
      #expect(throws: Failure.self) { try attempt.get() }
    }
    // The sums are right, the frames are not.
    let table = try table(bytes)
    var lie = SeekTable()
    let (one, two) = (table.frame(0), table.frame(1))
    try lie.append(compressed: UInt32(one.compressed + 1), length: UInt32(one.length))
    try lie.append(compressed: UInt32(two.compressed - 1), length: UInt32(two.length))
    try lie.append(compressed: UInt32(ManifestLocator.frameLength), length: 0)
    let payload = try seekable(Array(bytes[..<Int(table.compressedLength)]) + lie.bytes)
    #expect(throws: Failure.self) { try payload.read(0..<10, into: MemorySink()) }
  }

  @Test func tablesAreReadAsTheyAreWritten() throws {
    var table = SeekTable()
    for index in 0..<1000 { try table.append(compressed: UInt32(index + 1), length: UInt32(index % 7 + 1)) }
    try table.append(compressed: UInt32(ManifestLocator.frameLength), length: 0)
    let bytes = table.bytes
    let again = try SeekTable(parsing: bytes.span)
    #expect(again == table && again.bytes == bytes)
    #expect(try SeekTable.length(byFooter: bytes.span.extracting(bytes.count - 9..<bytes.count)) == UInt64(bytes.count))
    var (position, offset): (UInt64, UInt64) = (0, 0)
    for index in 0..<1000 {
      let frame = again.frame(index)
      #expect(frame.position == position && frame.offset == offset)
      #expect(again.index(ofOffset: offset) == index)
      position += UInt64(frame.compressed)
      offset += UInt64(frame.length)
      #expect(again.index(ofOffset: offset - 1) == index)
    }
    #expect(again.index(ofOffset: offset) == nil)
  }
}
