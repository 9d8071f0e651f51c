import TBKArchive
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@Suite struct ChunkedArchiveTests {
  private let key = [UInt8](1...32)

  private func header() throws(Failure) -> ChunkedHeader {
    try ChunkedHeader(memory: 64, passes: 1, lanes: 1, salt: [UInt8](0..<32))
  }

  private func secret() throws(Failure) -> Secret { try Secret(copying: key.span) }

  private func sealed(_ payload: [UInt8]) throws(Failure) -> [UInt8] {
    let message = MemorySink()
    let stage = try ChunkedEncryptionFront.begin(
      key: try secret(), context: try header().context, into: message)
    try stage.write(payload)
    try stage.finish()
    let trailer = ChunkedTrailer(messageLength: UInt64(message.bytes.count))
    return try header().bytes + message.bytes + trailer.bytes
  }

  /// The output as a stream, and that of a random reader; nil if the latter refuses the archive when opening it.
  private func opened(_ archive: [UInt8]) -> (bytes: [UInt8], failure: Failure?, region: [UInt8]?) {
    let sink = MemorySink()
    var region: [UInt8]?
    do throws(Failure) {
      let header = try ChunkedHeader(parsing: archive.span)
      if let whole = try? StreamedArchive.open(header, key: try secret(), region: MemoryRegion(archive)) {
        let all = MemorySink()
        _ = try? whole.replay(into: all)
        region = all.bytes
      }
      let source = MemorySource(Array(archive.dropFirst(header.length)))
      try StreamedArchive.open(header, key: try secret(), stream: source).replay(into: sink)
      return (sink.bytes, nil, region)
    } catch {
      return (sink.bytes, error, region)
    }
  }

  private func payload(_ count: Int) -> [UInt8] { (0..<count).map { UInt8($0 % 251) } }

  @Test func anArchiveIsHeaderMessageAndTrailer() throws {
    for size in [0, 1, 16_383, 16_384, 16_385, 300_000] {
      let archive = try sealed(payload(size))
      let header = try ChunkedHeader(parsing: archive.span)
      #expect(try header == self.header() && archive.starts(with: header.bytes))
      #expect(ChunkedHeader.isBegun(by: archive.span) == true)
      let message = archive.count - header.length - 16
      #expect(archive.suffix(16) == ChunkedTrailer(messageLength: UInt64(message)).bytes[...])
      let result = opened(archive)
      #expect(result.failure == nil)
      #expect(result.bytes == payload(size))
      #expect(result.region == payload(size))
    }
  }

  @Test func aCutIsSeenWithoutTheKeyAndWhatIsLostNeverReachesTheEnd() throws {
    let archive = try sealed(payload(40_000))
    for cut in 1..<archive.count where cut < 200 || cut % 1009 == 0 || cut > archive.count - 60 {
      let result = opened(Array(archive[..<cut]))
      let failure = try #require(result.failure)
      #expect(failure.code == .truncated || failure.code == .malformed || failure.code == .authentication)
      #expect(result.region == nil)
      #expect(payload(40_000).starts(with: result.bytes))
    }
    for behind in [[0], Array("TBK2 end".utf8), Array(archive.suffix(16))] as [[UInt8]] {
      #expect(opened(archive + behind).failure != nil)
      #expect(opened(archive + behind).region == nil)
    }
  }

  @Test func everyBitOfTheHeaderCounts() throws {
    let archive = try sealed(payload(10))
    for index in 0..<archive.count {
      for bit in 0..<8 {
        var flipped = archive
        flipped[index] ^= 1 << UInt8(bit)
        let result = opened(flipped)
        #expect(result.failure != nil, "byte \(index)")
        #expect(result.region == nil, "byte \(index)")
        #expect(result.bytes.isEmpty || index >= archive.count - 16)
      }
    }
  }

  @Test func aHeaderHasOneSpelling() throws {
    let bytes = try header().bytes
    for count in 0..<bytes.count {
      #expect(throws: Failure.self) { try ChunkedHeader(parsing: bytes.span.extracting(0..<count)) }
    }
    for salt in [[], payload(7), payload(256)] {
      #expect(throws: Failure.self) { try ChunkedHeader(memory: 1, passes: 1, lanes: 1, salt: salt) }
    }
    let other = try TBK2Header(memory: 64, passes: 1, lanes: 1, salt: payload(32), nonce: payload(12)).bytes
    #expect(ChunkedHeader.isBegun(by: other.span) == false)
    #expect(throws: Failure.self) { try ChunkedHeader(parsing: other.span) }
    #expect(ChunkedHeader.isBegun(by: other.span.extracting(0..<20)) == nil)
    #expect(ChunkedHeader.isBegun(by: Array("age-encryption.org/v1".utf8).span) == false)
  }
}
