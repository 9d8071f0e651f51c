import TBKCore
import TBKFormat
import Testing

private let id = String(repeating: "ab", count: 32)
private let hash = String(repeating: "cd", count: 32)
private let store = String(repeating: "0f", count: 16)
private let newStore = Ledger.StoreID(String(repeating: "e", count: 32))!

/// As written by TermBackup 6, with members that we do not know.
private let old = """
  {
    "tool_version": "6.0", "repository": "me/backups", "created_at": "2024-05-01T10:00:00.5+00:00",
    "x": {"b": 1.50, "a": [1e3, null]},
    "backups": [{
      "id": "\(id)", "filename": "backup_abababababab.tbk", "sha256": "\(hash)", "commit_sha": "",
      "size": 1234, "created_at": "2024-05-01T10:00:00Z", "file_count": 3, "verified": true,
      "verified_at": null, "archive_version": 2, "signature": null, "y": 0.10
    }]
  }
  """

private func entry(_ members: String) -> String {
  """
  {"id": "\(id)", "filename": "a", "sha256": "\(hash)", "size": 1, "created_at": "2024-05-01"\
  \(members)}
  """
}

private func ledger(_ backups: String, _ members: String = "") -> String {
  "{\"backups\": [\(backups)]\(members)}"
}

private let check = #"{"filename": "g.tbk", "sha256": "\#(hash)"}"#

private func groups(_ text: String) -> String {
  ledger("", #", "store_id": "\#(store)", "sequence": 1, "history": [], "groups": \#(text)"#)
}

private func parse(_ text: String) throws(Failure) -> Ledger {
  try Ledger(parsing: Array(text.utf8))
}

private func failure(_ text: String) -> Failure? {
  do throws(Failure) {
    _ = try parse(text)
    return nil
  } catch {
    return error
  }
}

struct LedgerTests {
  @Test func termBackup6IsRead() throws {
    let ledger = try parse(old)
    #expect(ledger.isTermBackup6 && ledger.signature == nil)
    let entry = try #require(ledger.entries.first)
    #expect(entry.id.hex == id && entry.sha256.hex == hash && entry.size == 1234)
    #expect(entry.filename.description == "backup_abababababab.tbk")
    #expect(entry.fileCount == 3 && entry.verified && entry.signature == nil)
    #expect(entry.mode == nil && entry.group == nil && entry.isTermBackup6)
  }

  @Test func whatIsNotKnownIsWrittenAgainToken() throws {
    let ledger = try parse(old)
    let next = try ledger.successor(
      ofHash: Digest(hex: hash), newStoreID: newStore, toolVersion: "7.0", entries: ledger.entries)
    let text = String(decoding: next.serialized(), as: UTF8.self)
    for part in [
      #""x": {"b":1.50,"a":[1e3,null]}"#, #""y":0.10"#, #""tool_version": "7.0""#,
      #""repository": "me/backups""#, #""commit_sha":"""#,
    ] { #expect(text.contains(part)) }
    let again = try Ledger(parsing: next.serialized())
    #expect(try again.canonical() == next.canonical())
    #expect(again.identity?.storeID == newStore && again.identity?.sequence == 1)
    #expect(again.identity?.history == [Digest(hex: hash)!])
  }

  /// Computed by `json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))`.
  @Test func theCanonicalFormIsPythons() throws {
    let text = """
      {"z": "é😀", "backups": [\(entry(#", "b": 1, "a": {"d": 2, "c": "\u007f"}"#))], "a": 1.5,
       "ledger_signature": {"key": "k", "signature": "s"}, "store_id": "\(store)", "sequence": 7,
       "history": ["\(hash)"]}
      """
    let canonical = String(decoding: try parse(text).canonical(), as: UTF8.self)
    #expect(
      canonical == #"{"a":1.5,"backups":[{"a":{"c":"\u007f","d":2},"b":1,"#
        + #""created_at":"2024-05-01","filename":"a","id":"\#(id)","sha256":"\#(hash)","size":1}],"#
        + #""history":["\#(hash)"],"sequence":7,"store_id":"\#(store)","z":"\u00e9\ud83d\ude00"}"#)
  }

  @Test func theSignatureIsKeptUntilSomethingChanges() throws {
    let text = ledger(
      "",
      #", "ledger_signature": {"key":"k"}, "store_id": "\#(store)", "sequence": 1, "history": []"#)
    let signed = try parse(text)
    #expect(signed.signature != nil)
    #expect(try Ledger(parsing: signed.serialized()).signature == signed.signature)
    let next = try signed.successor(
      ofHash: nil, newStoreID: newStore, toolVersion: "7.0", entries: [])
    #expect(next.signature == nil && next.identity?.sequence == 2)
    #expect(next.identity?.storeID.description == store)
  }

  @Test func historyHoldsTheLast512() throws {
    var current = Ledger(toolVersion: "7.0", repository: "", createdAt: "2024-05-01")
    for number in 0..<520 {
      let hash = Digest([UInt8](repeating: UInt8(number & 255), count: 32).span)
      current = try current.successor(
        ofHash: hash, newStoreID: newStore, toolVersion: "7.0", entries: [])
    }
    let identity = try #require(current.identity)
    #expect(identity.sequence == 520 && identity.history.count == 512)
    #expect(identity.history.last?.bytes.first == UInt8(519 & 255))
    #expect(try Ledger(parsing: current.serialized()) == current)
  }

  @Test func groupsAreReadKeptAndWrittenAgain() throws {
    let text = groups(
      #"{"h": {"key_epoch": 2, "identity": {"filename": "h-1.age", "sha256": "\#(hash)"}, "x": 1.50},"#
        + #" "g": {"key_epoch": 0, "check": \#(check)}}"#)
    let ledger = try parse(text)
    let name = try #require(GroupID("g"))
    let group = try #require(ledger.group(name))
    #expect(group.keyEpoch == 0 && group.check?.name.description == "g.tbk" && group.identity == nil)
    #expect(ledger.group(try #require(GroupID("h")))?.identity?.sha256.hex == hash)
    #expect(try Ledger(parsing: ledger.serialized()) == ledger)
    let canonical = String(decoding: try ledger.canonical(), as: UTF8.self)
    #expect(
      canonical.contains(
        #""groups":{"g":{"check":{"filename":"g.tbk","sha256":"\#(hash)"},"key_epoch":0},"#
          + #""h":{"identity":{"filename":"h-1.age","sha256":"\#(hash)"},"key_epoch":2,"x":1.50}},"history""#))
    let next = try ledger.successor(
      ofHash: nil, newStoreID: newStore, toolVersion: "7.0", entries: [])
    #expect(next.groups == ledger.groups && !next.isEmpty)
  }

  @Test func theSequenceEndsWithoutATrap() throws {
    let last = try parse(
      ledger("", #", "store_id": "\#(store)", "sequence": 9007199254740992, "history": []"#))
    #expect(throws: Failure.self) {
      try last.successor(ofHash: nil, newStoreID: newStore, toolVersion: "7.0", entries: [])
    }
  }

  @Test func oursIsReadToTheField() throws {
    let other = String(repeating: "12", count: 32)
    let text = ledger(
      entry(
        #", "group": "g-1", "mode": "incremental", "depends_on": ["\#(other)"],"#
          + #" "manifest": {"filename": "m", "sha256": "\#(hash)", "size": 9},"#
          + #" "parts": [{"name": "p", "sha256": "\#(hash)", "size": 1, "place": "git"}],"#
          + #" "signature": "\#(String(repeating: "5a", count: 64))""#))
    let entry = try #require(try parse(text).entries.first)
    #expect(entry.group == GroupID("g-1") && entry.mode == "incremental")
    #expect(entry.dependsOn.map(\.hex) == [other])
    #expect(entry.manifest?.size == 9 && entry.parts.first?.place == "git")
    #expect(entry.signature == [UInt8](repeating: 0x5a, count: 64))
  }

  @Test(arguments: [
    "", "[]", "{}", "{\"backups\": {}}", "{\"backups\": [1]}", "{\"backups\": []} x",
    ledger("", ", \"backups\": []"), ledger("", #", "a": 1, "a": 2"#),
    ledger(entry("") + "," + entry("")),
    ledger(entry(#", "id": "\#(id)""#)),
    ledger(#"{"id": "\#(id)", "filename": "a", "sha256": "\#(hash)", "size": 1}"#),
    ledger(entry(#", "mode": "half""#)), ledger(entry(#", "mode": 1"#)),
    ledger(entry(#", "file_count": -1"#)), ledger(entry(#", "file_count": 1.5"#)),
    ledger(entry(#", "verified": "yes""#)), ledger(entry(#", "signature": "abcd""#)),
    ledger(entry(#", "depends_on": ["\#(id)"]"#)), ledger(entry(#", "depends_on": ["x"]"#)),
    ledger(entry(#", "depends_on": {}"#)), ledger(entry(#", "group": "../x""#)),
    ledger(entry(#", "group": "\#(String(repeating: "g", count: 65))""#)),
    ledger(entry(#", "manifest": {}"#)), ledger(entry(#", "parts": [{}]"#)),
    ledger(entry(#", "parts": [{"name":"p","sha256":"\#(hash)","size":2,"place":"git"}]"#)),
    ledger("", #", "groups": {}"#), ledger(entry(#", "key_epoch": -1"#)),
    groups("[]"), groups("null"), groups(#"{"g": 1}"#), groups(#"{"g": {"key_epoch": 0}}"#),
    groups(#"{"../g": {"key_epoch": 0, "check": \#(check)}}"#),
    groups(#"{"g": {"check": \#(check)}}"#), groups(#"{"g": {"key_epoch": -1, "check": \#(check)}}"#),
    groups(#"{"g": {"key_epoch": 9007199254740993, "check": \#(check)}}"#),
    groups(#"{"g": {"key_epoch": 1.5, "check": \#(check)}}"#),
    groups(#"{"g": {"key_epoch": 0, "check": {"filename": "../a", "sha256": "\#(hash)"}}}"#),
    groups(#"{"g": {"key_epoch": 0, "check": \#(check), "identity": []}}"#),
    groups(#"{"g": {"key_epoch": 0, "check": \#(check)}, "h": {"key_epoch": 0, "check": \#(check)}}"#),
    groups(#"{"g": {"key_epoch": 0, "check": \#(check)}, "g": {"key_epoch": 0, "check": \#(check)}}"#),
    ledger("", #", "sequence": 1"#), ledger("", #", "store_id": "\#(store)""#),
    ledger("", #", "store_id": "../../etc/passwd", "sequence": 1, "history": []"#),
    ledger("", #", "store_id": "\#(store)", "sequence": 0, "history": []"#),
    ledger("", #", "store_id": "\#(store)", "sequence": 9007199254740993, "history": []"#),
    ledger("", #", "store_id": "\#(store)", "sequence": 1e3, "history": []"#),
    ledger("", #", "store_id": "\#(store)", "sequence": 1, "history": ["x"]"#),
    ledger("", ", \"ledger_signature\": 1"),
  ])
  func whatNoWriterMakesIsMalformed(_ text: String) {
    #expect(failure(text)?.code == .malformed, "\(text)")
  }

  @Test(arguments: [
    "", ".", "..", ".hidden", "a/b", "/a", "-a", "~a", "a b", "a\\b", "a\u{0}", "a\n", "é", "a:b",
    String(repeating: "a", count: 129),
  ])
  func hostileNamesAreRefused(_ name: String) {
    #expect(ObjectName(name) == nil)
    let json = String(decoding: JSON.string(name).line(), as: UTF8.self)
    let text = ledger(
      #"{"id": "\#(id)", "filename": \#(json), "sha256": "\#(hash)", "size": 1, "created_at": "2024-05-01"}"#
    )
    #expect(failure(text)?.code == .malformed)
  }

  @Test(arguments: [
    "a", "Z9", "backup_abababababab-01234567.tbk", "0~._-", String(repeating: "a", count: 128),
  ])
  func plainNamesAreTaken(_ name: String) {
    #expect(ObjectName(name)?.description == name)
  }

  @Test(arguments: ["9223372036854775808", "-1", "1e3", "\"1\"", "null", "1.0"])
  func absurdSizesAreRefused(_ size: String) {
    let text = ledger(
      #"{"id": "\#(id)", "filename": "a", "sha256": "\#(hash)", "size": \#(size), "created_at": "2024-05-01"}"#
    )
    #expect(failure(text)?.code == .malformed)
  }

  @Test func whatIsReadIsBounded() {
    let spaces = String(repeating: " ", count: Ledger.byteLimit)
    #expect(failure(ledger("") + spaces)?.message.contains("larger than") == true)
    // Parsed numbers take many times their size.
    let numbers = String(repeating: "0,", count: Ledger.entryByteLimit / 2)
    #expect(failure(ledger(entry(", \"x\": [\(numbers)0]")))?.message.contains("too long") == true)
    let members = String(repeating: "0,", count: Ledger.memberByteLimit / 4)
    for name in ["x", "history", "ledger_signature"] {
      let more = ", \"y\": [\(members)0], \"\(name)\": [\(members)0]"
      #expect(failure(ledger("", more))?.message.contains("too long") == true, "\(name)")
    }
    let many = (0..<Ledger.memberByteLimit / 8).map { ", \"\($0)\":0" }.joined()
    let refused = failure(ledger("", many))
    #expect(refused?.code == .malformed)
    #expect(refused?.message.contains("besides its backups") == true || refused?.message.contains("too long") == true)
    // One byte less is accepted.
    let most = String(repeating: "x", count: Ledger.memberByteLimit - 10)
    #expect(failure(ledger("", ", \"x\": \"\(most)\"")) == nil)
  }

  @Test func everyTruncationIsRefused() {
    let bytes = Array(old.utf8)
    for length in bytes.indices {
      #expect(throws: Failure.self) { try Ledger(parsing: Array(bytes[..<length])) }
    }
  }
}
