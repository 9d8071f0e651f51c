import TBKCommand
import TBKCore
import Testing

@Suite struct ArgumentBytesTests {
  @Test func everyPairOfBytesSurvives() {
    for one in 1...255 {
      for other in 1...255 {
        let bytes = [UInt8(one), UInt8(other)]
        #expect(ArgumentBytes.decode(ArgumentBytes.encode(bytes)) == bytes)
      }
    }
  }

  @Test func textStaysText() {
    for text in ["", "--exclude=*.o", "é中🎉", "e\u{301}", "\r\n"] {
      #expect(Array(ArgumentBytes.encode(Array(text.utf8)).utf8) == Array(text.utf8))
    }
  }

  @Test(
    arguments: [
      [0xf4, 0x8f, 0xbc, 0x80], [0xf4, 0x8f, 0xbf, 0xbf], [0x61, 0xf4, 0x8f, 0xbd, 0xa1, 0xff],
      [0xed, 0xa0, 0x80], [0xc3, 0xa9, 0xff, 0xc3], [0xf0, 0x9f, 0x8e], [0xc0, 0x80], [0xfe, 0xff],
    ] as [[UInt8]])
  func whatLooksLikeTheCodeSurvives(bytes: [UInt8]) {
    #expect(ArgumentBytes.decode(ArgumentBytes.encode(bytes)) == bytes)
  }

  @Test func bytesThatAreNotUTF8AreOneCharacterEach() {
    #expect(ArgumentBytes.encode([0x2d, 0xff]).unicodeScalars.count == 2)
  }
}

@Suite struct HumanSizeTests {
  @Test(
    arguments: [
      (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1_048_575, "1.0 MiB"),
      (1_048_576, "1.0 MiB"), (1_047_552, "1023.0 KiB"), (.max, "16.0 EiB"),
    ] as [(UInt64, String)])
  func sizesAreRoundedToATenth(bytes: UInt64, text: String) {
    #expect(humanSize(bytes) == text)
  }
}
