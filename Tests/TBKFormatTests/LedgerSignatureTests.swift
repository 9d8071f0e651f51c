import TBKCore
import TBKFormat
import Testing

private let key = String(repeating: "ab", count: 32)
private let hex = String(repeating: "5a", count: 64)
private let store = String(repeating: "0f", count: 16)

/// - Parameter signature: further members, as in the file.
private func ledger(_ signature: String = "") throws(Failure) -> Ledger {
  try Ledger(
    parsing: Array(
      """
      {"tool_version": "7.0", "store_id": "\(store)", "sequence": 3, "history": []\(signature),
       "backups": [], "a": 1.50}
      """.utf8))
}

private func parse(_ text: String) throws(Failure) -> LedgerSignature {
  try LedgerSignature(try JSON.parse(Array(text.utf8), what: "text"))
}

struct LedgerSignatureTests {
  @Test func whatIsSignedIsAPrefixAndTheCanonicalLedger() throws {
    let wanted =
      "termbackup-ledger-v1\n"
      + #"{"a":1.50,"backups":[],"history":[],"sequence":3,"store_id":"\#(store)","tool_version":"7.0"}"#
    #expect(try String(decoding: ledger().signedBytes(), as: UTF8.self) == wanted)
  }

  @Test func theSignatureIsNoPartOfWhatIsSigned() throws {
    let signature = try #require(
      LedgerSignature(key: Digest(hex: key)!, bytes: [UInt8](repeating: 0x5a, count: 64)))
    let bare = try ledger()
    let signed = bare.signed(signature)
    #expect(try signed.signedBytes() == bare.signedBytes())
    let other = try ledger(#", "ledger_signature": {"key": "\#(key)", "signature": "\#(hex)"}"#)
    #expect(try other.signedBytes() == bare.signedBytes())
    #expect(other == signed)
    let again = try Ledger(parsing: signed.serialized())
    #expect(try LedgerSignature(try #require(again.signature)) == signature)
  }

  @Test func everythingElseIs() throws {
    let bare = try ledger().signedBytes()
    for text in [
      #"{"tool_version": "7.1", "store_id": "\#(store)", "sequence": 3, "history": [], "backups": [], "a": 1.50}"#,
      #"{"tool_version": "7.0", "store_id": "\#(store)", "sequence": 4, "history": [], "backups": [], "a": 1.50}"#,
      #"{"tool_version": "7.0", "store_id": "\#(store)", "sequence": 3, "history": ["\#(key)"], "backups": [], "a": 1.50}"#,
      #"{"tool_version": "7.0", "store_id": "\#(store)", "sequence": 3, "history": [], "backups": [], "a": 1.5}"#,
      #"{"tool_version": "7.0", "store_id": "\#(store)", "sequence": 3, "history": [], "backups": [], "a": 1.50, "b": null}"#,
    ] {
      let other = try Ledger(parsing: Array(text.utf8))
      #expect(try other.signedBytes() != bare, "\(text)")
    }
  }

  @Test func itIsReadInEitherOrderAndWrittenInOne() throws {
    let one = try parse(#"{"key": "\#(key)", "signature": "\#(hex)"}"#)
    let other = try parse(#"{ "signature":"\#(hex)" , "key":"\#(key)" }"#)
    #expect(one == other && one.key.hex == key && one.bytes.hex == hex)
    #expect(
      String(decoding: one.json.line(), as: UTF8.self)
        == #"{"key":"\#(key)","signature":"\#(hex)"}"#)
  }

  @Test(arguments: [
    "null", "1", "[]", "{}", "\"\(hex)\"", #"{"key": "\#(key)"}"#, #"{"signature": "\#(hex)"}"#,
    #"{"key": "\#(key)", "signature": "\#(hex)", "x": 1}"#,
    #"{"key": "\#(key)", "key": "\#(key)", "signature": "\#(hex)"}"#,
    #"{"key": null, "signature": "\#(hex)"}"#, #"{"key": "\#(key)", "signature": null}"#,
    #"{"key": "\#(key)0", "signature": "\#(hex)"}"#,
    #"{"key": "\#(key.dropLast())", "signature": "\#(hex)"}"#,
    #"{"key": "\#(key.uppercased())", "signature": "\#(hex)"}"#,
    #"{"key": "\#(key)", "signature": "\#(hex.uppercased())"}"#,
    #"{"key": "\#(key)", "signature": "\#(hex)00"}"#,
    #"{"key": "\#(key)", "signature": "\#(hex.dropLast(2))"}"#,
    #"{"key": "\#(key)", "signature": "\#(hex.dropLast())"}"#,
    #"{"key": "\#(key)", "signature": "\#(hex.dropLast())g"}"#,
    #"{"key": "\#(key)", "signature": "\#(hex)\n"}"#, #"{"key": "\#(key)", "signature": ""}"#,
    #"{"Key": "\#(key)", "signature": "\#(hex)"}"#,
  ])
  func whatIsNotExactlyThatIsRefused(text: String) {
    let error = #expect(throws: Failure.self) { try parse(text) }
    #expect(error?.code == .malformed)
  }

  @Test(arguments: [0, 63, 65])
  func aSignatureHas64Bytes(count: Int) {
    #expect(LedgerSignature(key: .ofNothing, bytes: [UInt8](repeating: 1, count: count)) == nil)
  }
}

struct SignedContentTests {
  private func archive(_ payload: Int) throws -> [UInt8] {
    let header = try TBK2Header(
      memory: 8, passes: 1, lanes: 1, salt: [UInt8](repeating: 1, count: 32),
      nonce: [UInt8](repeating: 2, count: 12), payloadLength: UInt64(payload))
    return header.bytes + [UInt8](repeating: 3, count: payload)
  }

  @Test func whatIsSignedOfALedgerIsNoFile() throws {
    for message in [
      try ledger().signedBytes(), Array("termbackup-ledger-v1".utf8),
      Array("termbackup-ledger-".utf8), Array("termbackup-ledger-v2\n{}".utf8),
    ] {
      #expect(SignedContent(of: message.span) == .ledger)
    }
  }

  @Test func anArchiveIsOneOnlyWhole() throws {
    let whole = try archive(40)
    #expect(SignedContent(of: whole.span) == .archive)
    for (bytes, code) in [
      (Array(whole.dropLast()), Failure.Code.truncated), (whole + [0], .malformed), ([], .truncated),
      (Array("termbackup-ledger".utf8), .malformed), (Array("{}".utf8), .malformed),
      (Array(" termbackup-ledger-v1\n".utf8), .malformed),
    ] {
      guard case .other(let problem) = SignedContent(of: bytes.span) else {
        Issue.record("\(bytes.count) bytes are taken for an archive or a ledger")
        continue
      }
      #expect(problem.code == code, "\(bytes.count) bytes")
    }
  }
}
