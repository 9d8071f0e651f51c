import TBKCore
import TBKFormat
import Testing

private func parse(_ text: String) throws(Failure) -> JSON {
  try JSON.parse(Array(text.utf8), what: "x")
}

/// Reads the text, and writes it in canonical form.
private func canonical(_ source: String) throws(Failure) -> String {
  text(try parse(source).canonical())
}

@Suite struct JSONTests {
  @Test(arguments: [
    "null", "true", "false", "0", "-0", "-1.5e+10", "1E5", "0.10", "\"\"", "[]", "{}", "[1,2]",
    #"{"a":[{"b":null}]}"#, #""\ud83d\ude00""#, #""\udc80""#, #""a\"\\b\n\r\t\b\f""#,
    "123456789012345678901234567890", "1.0000000000000000000001",
  ])
  func canonicalTextStaysAsItIs(source: String) throws {
    #expect(try canonical(source) == source)
  }

  @Test(arguments: [
    ("{\"b\":1,\"a\":2}", "{\"a\":2,\"b\":1}"), (" [ 1 ,\t2\r\n] ", "[1,2]"),
    (#""\/\u0041""#, #""/A""#), (#""é中🎉""#, #""\u00e9\u4e2d\ud83c\udf89""#),
    (#""\u007f""#, #""\u007f""#), (#""\u0000""#, #""\u0000""#),
    // In UTF-16, a code point outside the BMP sorts before U+FFFF; in UTF-8, after it.
    (#"{"\ud83d\ude00":1,"\uffff":2}"#, #"{"\uffff":2,"\ud83d\ude00":1}"#),
  ])
  func otherSpellingsBecomeCanonical(source: String, expected: String) throws {
    #expect(try canonical(source) == expected)
  }

  @Test(arguments: [
    "", " ", "nul", "nulll", "truefalse", "01", "-", "+1", ".5", "1.", "1e", "1e+", "0x1", "NaN",
    "Infinity", "-01", "[1,]", "[,1]", "[1 2]", "[", "]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
    "{,}", "{a:1}", "{1:1}", "{\"a\":1 \"b\":2}", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}",
    "'a'", "\"", "\"a", "\"\\", "\"\\u", "\"\\u12", "\"\\x41\"", "\"\\u12g4\"", "\"\n\"",
    "\"\u{1}\"",
    "1 2", "{} {}", "// a\n1", "[1]]", "\u{feff}1", "\u{a0}1",
  ])
  func whatIsNotJSONIsMalformed(source: String) {
    let error = #expect(throws: Failure.self) { try parse(source) }
    #expect(error?.code == .malformed)
  }

  @Test(arguments: [
    #""\ud800""#, #""\ud800x""#, #""\ud800\n""#, #""\ud800\ud800""#, #""\udbff\u0041""#,
    #""\udc00""#, #""\udc7f""#, #""\udd00""#, #""\udfff""#, #""\ud83d""#,
    // Bytes that are valid UTF-8 must not be spelled as surrogates.
    #""\udcc3\udca9""#, #""\udcf0\udc9f\udc8e\udc89""#,
  ])
  func surrogatesThatStandForNoByteAreMalformed(source: String) {
    let error = #expect(throws: Failure.self) { try parse(source) }
    #expect(error?.code == .malformed)
  }

  @Test func bytesThatAreNotUTF8SurviveAsSurrogates() throws {
    for bytes in [
      [0xff], [0x61, 0x80, 0x62], [0xc3], [0xc3, 0x28], [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xe2, 0xc2, 0x82], [0xc0, 0x80], [0x80, 0xc3, 0xa9, 0xff],
    ] as [[UInt8]] {
      let written = JSON.string(bytes).canonical()
      #expect(written.allSatisfy { $0 < 0x80 })
      #expect(try JSON.parse(written, what: "x") == .string(bytes))
    }
  }

  @Test func everyPairOfBytesSurvives() throws {
    for one in 0...255 {
      for other in stride(from: 0, through: 255, by: 3) {
        let value = JSON.string([UInt8(one), UInt8(other)])
        #expect(try JSON.parse(value.canonical(), what: "x") == value)
      }
    }
  }

  @Test(
    arguments: [
      [0x22, 0xff, 0x22], [0x22, 0xc3, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0x22, 0xc0, 0x80, 0x22],
    ] as [[UInt8]])
  func rawBytesThatAreNotUTF8AreMalformed(bytes: [UInt8]) {
    #expect(throws: Failure.self) { try JSON.parse(bytes, what: "x") }
  }

  @Test func depthIsBounded() throws {
    func nested(_ depth: Int) -> String {
      String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }
    #expect(try canonical(nested(JSONReader.maximumDepth)) == nested(JSONReader.maximumDepth))
    #expect(throws: Failure.self) { try parse(nested(JSONReader.maximumDepth + 1)) }
    #expect(throws: Failure.self) { try parse(String(repeating: "[", count: 1_000_000)) }
    #expect(throws: Failure.self) { try parse(String(repeating: "{\"a\":", count: 100_000)) }
  }

  @Test func everyTruncationIsRefused() throws {
    let whole = Array(#"{"a":[1.5e3,"\ud83d\ude00\udc80",null,true],"b":{"c":"d"}}"#.utf8)
    _ = try JSON.parse(whole, what: "x")
    for count in 0..<whole.count {
      #expect(throws: Failure.self) { try JSON.parse(Array(whole[..<count]), what: "x") }
    }
  }

  @Test func changedBytesNeverTrap() throws {
    let whole = Array(#"{"a":[1.5e3,"\ud83d\ude00\udc80",null,true],"b":{"c":"é"}}"#.utf8)
    for index in whole.indices {
      for byte in 0...255 {
        var changed = whole
        changed[index] = UInt8(byte)
        guard let value = try? JSON.parse(changed, what: "x") else { continue }
        #expect(try JSON.parse(value.canonical(), what: "x").canonical() == value.canonical())
      }
    }
  }

  @Test func prettyTextIsIndentedAndKeepsTheOrder() throws {
    let value = try parse(#"{"b":[1,{}],"a":[]}"#)
    let expected = "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": []\n}\n"
    #expect(text(value.pretty()) == expected)
    #expect(text(value.line()) == #"{"b":[1,{}],"a":[]}"#)
  }

  @Test func membersAreSetAndRemovedInPlace() throws {
    var value = try parse(#"{"b":1,"a":2}"#)
    value["b"] = .null
    value["c"] = .bool(true)
    value["a"] = nil
    value["x"] = nil
    #expect(text(value.line()) == #"{"b":null,"c":true}"#)
    #expect(value["b"]?.isNull == true && value["zz"] == nil)
  }

  @Test func numbersAreIntegersOnlyIfWrittenSo() throws {
    #expect(try parse("255").integer(UInt8.self) == 255)
    #expect(try parse("256").integer(UInt8.self) == nil)
    #expect(try parse("1.0").integer(Int.self) == nil)
    #expect(try parse("1e2").integer(Int.self) == nil)
    #expect(try parse("\"1\"").integer(Int.self) == nil)
  }
}

@Suite struct PythonFloatTests {
  @Test func everyFloatIsWrittenAsPythonWroteIt() throws {
    let folder = try vectorFolder("python")
    let lines = text(try vector("floats.txt", in: folder)).split(separator: "\n")
    try #require(lines.count > 1000)
    for line in lines {
      let parts = line.split(separator: " ")
      let bits = try #require(UInt64(parts[0], radix: 16))
      #expect(pythonRepresentation(Double(bitPattern: bits)) == parts[1])
    }
  }
}

@Suite struct Base64Tests {
  @Test(arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")])
  func itIsThatOfTheRFC(plain: String, encoded: String) {
    var output: [UInt8] = []
    output.appendBase64(Array(plain.utf8))
    #expect(text(output) == encoded)
    #expect([UInt8](base64: Array(encoded.utf8)) == Array(plain.utf8))
  }

  @Test func everyLengthAndByteSurvives() {
    for count in 0...256 {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count) }
      var output: [UInt8] = []
      output.appendBase64(bytes)
      #expect([UInt8](base64: output) == bytes)
    }
  }

  @Test(arguments: [
    "Z", "Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n", " Zg==",
    "Z-==", "Z_==", "Zg=A", "Z=g=", "é===",
  ])
  func thereIsOneSpelling(encoded: String) {
    #expect([UInt8](base64: Array(encoded.utf8)) == nil)
  }
}
