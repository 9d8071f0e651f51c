import TBKCore
import Testing

@Suite struct BytesTests {
  @Test func everyByteSurvivesHexadecimal() {
    let bytes = (0...255).map { UInt8($0) }
    #expect([UInt8](hex: bytes.hex) == bytes)
    #expect([UInt8](hex: bytes.hex.uppercased()) == bytes)
    #expect(bytes.hex.hasPrefix("000102"))
    #expect(bytes.hex.hasSuffix("fdfeff"))
    #expect([UInt8](hex: "") == [])
  }

  @Test(arguments: ["0", "0g", "00 ", "é0", "0x00", "000"])
  func otherTextIsNotHexadecimal(text: String) {
    #expect([UInt8](hex: text) == nil)
  }

  @Test func integersAreWrittenMostSignificantFirst() {
    var bytes: [UInt8] = []
    bytes.append(bigEndian: 0x0102_0304_0506_0708, width: 8)
    bytes.append(bigEndian: 0xffff_0a0b, width: 2)
    bytes.append(bigEndian: 9, width: 0)
    #expect(bytes == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11])
  }

  @Test func replacingTheFrontKeepsTheRest() {
    var bytes: [UInt8] = [1, 2, 3]
    bytes.replaceFront(with: [9, 8].span)
    #expect(bytes == [9, 8, 3])
    bytes.replaceFront(with: [UInt8]().span)
    #expect(bytes == [9, 8, 3])
  }

  @Test func spansOfOtherLengthsDiffer() {
    let one: [UInt8] = [1, 2]
    let answers = [[1, 2], [1, 2, 3], [1, 3], []].map { one.span.elementsEqual($0) }
    #expect(answers == [true, false, false, false])
  }

  @Test func sumsThatOverflowAreFailures() throws {
    #expect(try UInt64(1).adding(2, "x") == 3)
    #expect(throws: Failure(.malformed, "the length is out of range")) {
      try UInt64.max.adding(1, "the length")
    }
    #expect(throws: Failure.self) { try Int64.min.adding(-1, "x") }
  }

  @Test func aDigestHasOneSpelling() {
    let text = "00" + Digest.ofNothing.hex.dropFirst(2)
    #expect(Digest(hex: text)?.hex == text)
    #expect(Digest(hex: text.uppercased()) == nil)
    #expect(Digest(hex: text.dropLast()) == nil)
    #expect(Digest(hex: text + "0") == nil)
    let (short, whole) = ([UInt8](repeating: 7, count: 31), [UInt8](repeating: 7, count: 32))
    let digests = [Digest(short.span), Digest(whole.span)]
    #expect(digests[0] == nil && digests[1]?.bytes == whole)
  }
}

@Suite struct ByteStreamTests {
  @Test(arguments: [0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize])
  func copyingPassesEverything(count: Int) throws {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let sink = MemorySink()
    #expect(try MemorySource(bytes).copy(to: sink) == UInt64(count))
    #expect(sink.bytes == bytes)
    #expect(try MemorySource(bytes).readAll(limit: count, what: "x") == bytes)
    #expect(try MemorySource(bytes).read(upTo: count + 1) == bytes)
    #expect(try MemorySource(bytes).read(upTo: count / 2) == Array(bytes.prefix(count / 2)))
  }

  @Test func readingStopsAtTheLimit() {
    #expect(throws: Failure(.malformed, "x is larger than 2 bytes")) {
      try MemorySource([1, 2, 3]).readAll(limit: 2, what: "x")
    }
  }

  @Test func aMemorySinkRefusesMoreThanItsLimit() throws {
    let sink = MemorySink(limit: 3)
    try sink.write([1, 2, 3])
    #expect(throws: Failure.self) { try sink.write([4]) }
    #expect(sink.bytes == [1, 2, 3])
  }
}
