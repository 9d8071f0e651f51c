import TBKCore
import TBKFormat
import Testing

@Suite struct ManifestVectorTests {
  @Test func everyVectorHasItsCanonicalForm() throws {
    let folder = try vectorFolder("manifest")
    for name in try vectorNames(folder, ".json") {
      let source = try vector(name + ".json", in: folder)
      let canonical = try vector(name + ".canonical", in: folder)
      for piece in [Int.max, 1, 7] {
        let manifest = try parseManifest(source, piece: piece)
        let sink = MemorySink()
        try ManifestWriter.write(manifest, backupID: nil, to: sink)
        #expect(text(sink.bytes) == text(canonical), "\(name)")
        #expect(manifest.backupID != nil)
      }
      let facts = text(try vector(name + ".txt", in: folder))
      #expect(facts.contains("backup-id: \(try parseManifest(source).backupID ?? "none")"))
    }
  }
}

@Suite struct ManifestParserTests {
  private let sample = manifestText(
    [
      entryText("a", ["uid": "4294967295", "mtime_ns": "-1", "user": "\"\\udcff\""]),
      entryText("b", ["permissions": "16877", "type": "\"directory\""]),
      entryText("c", ["link_target": "\"../x\"", "permissions": "41471", "type": "\"symlink\""]),
      entryText("d", ["hard_link": "\"a\""]),
      entryText("e", ["stored_in": "\"\(hashOfNothing)\"", "xattrs": "{\"user.a\":\"AP8=\"}"]),
      entryText("f", ["unknown": "{\"z\":[1,2.50]}"]),
      entryText("g", ["offset": "\(Int64.max)", "size": "1"]),
      entryText("h", ["offset": "512", "size": "1", "stored_in": "\"\(hashOfNothing)\"", "zz": "1"]),
    ],
    [
      "source_dir": "\"/s\"", "unreadable": "[{\"reason\":\"r\",\"relative_path\":\"u\"}]",
      "root": "{\"modified_at\":0.0,\"permissions\":16877,\"type\":\"directory\"}",
    ])

  @Test func whatIsCanonicalIsWrittenAsItWas() throws {
    #expect(try written(parseManifest(sample)) == sample)
  }

  /// Several batches, with entries of all sizes.
  private func large(_ count: Int, _ change: (Int) -> [String: String] = { _ in [:] }) -> String {
    manifestText(
      (0..<count).map { number in
        var fields = change(number)
        if number % 1000 == 7 { fields["xattrs"] = "{\"user.a\":\"\(String(repeating: "QUFB", count: 20_000))\"}" }
        return entryText("name\(100_000 + number)", fields)
      })
  }

  @Test(arguments: [1, 2, 5])
  func manyEntriesAreReadAndWrittenInTheirOrder(threads: Int) throws {
    let source = large(5000)
    let parser = ManifestParser(threads: threads)
    try parser.write(Array(source.utf8).span)
    try parser.finish()
    let manifest = try parser.manifest()
    #expect(manifest.files.count == 5000)
    #expect(try written(manifest) == source)
    let sink = MemorySink()
    var writer = try ManifestWriter(manifest, backupID: manifest.backupID, to: sink, threads: threads)
    for index in manifest.files.indices { try writer.append(manifest.files[index]) }
    try writer.finish()
    #expect(text(sink.bytes) == source)
  }

  @Test(arguments: [1, 2, 5])
  func theFirstFaultOfManyEntriesIsToldOf(threads: Int) throws {
    let source = Array(large(5000) { [1234, 3000].contains($0) ? ["size": "-\($0)"] : [:] }.utf8)
    let place = try #require(source.indices.first { source[$0...].starts(with: Array("-1234".utf8)) })
    // The position after the comma that follows the entry.
    let end = try #require(source[place...].firstIndex(of: UInt8(ascii: "}"))) + 2
    for rest in ["", "}"] {
      let parser = ManifestParser(threads: threads)
      let failure = #expect(throws: Failure.self) {
        try parser.write((source + Array(rest.utf8)).span)
        try parser.finish()
      }
      #expect(failure?.code == .malformed)
      let told = failure?.message ?? ""
      #expect(told.hasPrefix("manifest, before offset \(end): "), "\(told)")
    }
  }

  @Test func itIsTheSameByteByByte() throws {
    #expect(try written(parseManifest(Array(sample.utf8), piece: 1)) == sample)
  }

  @Test(arguments: [
    ("9223372036854775808", FileTime(seconds: 9_223_372_036, nanoseconds: 854_775_808)),
    ("9223372036854775807999999999", .max), ("-9223372036854775808000000000", .min),
    ("-11676096000000000001", FileTime(seconds: -11_676_096_001, nanoseconds: 999_999_999)),
  ])
  func timesOfAnyYearAreReadAndWrittenAsTheyWere(digits: String, time: FileTime) throws {
    let text = manifestText([entryText("a", ["mtime_ns": digits]), entryText("b", ["ctime_ns": digits])])
    let manifest = try parseManifest(text)
    #expect(manifest.files[0].mtime == time && manifest.files[1].ctime == time)
    #expect(try written(manifest) == text)
  }

  @Test func everyFieldIsRead() throws {
    let manifest = try parseManifest(sample)
    #expect(manifest.files.count == 8)
    #expect(manifest.files.offset(0) == nil && manifest.files.offset(6) == UInt64(Int64.max))
    #expect(manifest.files[7].offset == 512)
    #expect(manifest.files[0].uid == .max && manifest.files[0].mtime == FileTime(nanoseconds: -1))
    #expect(manifest.files[0].user == [0xff])
    #expect(manifest.files[2].linkTarget == Array("../x".utf8))
    #expect(manifest.files[3].hardLink == Array("a".utf8))
    #expect(
      manifest.files[4].xattrs == [ExtendedAttribute(name: Array("user.a".utf8), value: [0, 255])])
    #expect(manifest.sourceDirectory == Array("/s".utf8))
    #expect(manifest.unreadable == [UnreadableEntry(path: [0x75], reason: "r")])
    #expect(manifest.root?.mode == 16877)
    #expect(manifest.dependsOn == [hashOfNothing])
    #expect(manifest.fileCount == 6)
  }

  @Test func onlyContentIsSomewhere() throws {
    let directory = ["permissions": "16877", "type": "\"directory\""]
    for (path, members) in [
      ("a", ["size": "0"]), ("a", ["size": "1", "offset": "-1"]), ("a", ["size": "1", "offset": "1.0"]),
      ("a", ["size": "1", "offset": "9223372036854775808"]), ("a", ["size": "1", "offset": "null"]),
      ("b", directory), ("b", ["hard_link": "\"a\"", "size": "1"]),
    ] {
      let entries = [entryText("a", ["size": "1"]), entryText(path, ["offset": "512"].merging(members) { $1 })]
      #expect(throws: Failure.self) {
        try parseManifest(manifestText(path == "a" ? Array(entries.dropFirst()) : entries))
      }
    }
    let root = "{\"modified_at\":0.0,\"offset\":0,\"permissions\":16877,\"type\":\"directory\"}"
    #expect(throws: Failure.self) { try parseManifest(manifestText([], ["root": root])) }
  }

  @Test func everyTruncationIsRefused() throws {
    let bytes = Array(sample.utf8)
    for count in 0..<bytes.count {
      let error = #expect(throws: Failure.self) { try parseManifest(Array(bytes[..<count])) }
      #expect(error?.exitStatus == 65)
    }
  }

  @Test func changedBytesNeverTrap() throws {
    let bytes = Array(sample.utf8)
    var accepted = 0
    for index in bytes.indices {
      for byte in [0, 0x20, 0x22, 0x2c, 0x30, 0x39, 0x3a, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d, 0x80, 0xff]
        as [UInt8]
      {
        var changed = bytes
        changed[index] = byte
        guard let manifest = try? parseManifest(changed) else { continue }
        accepted += 1
        // The parsed manifest is written, and read again without a change.
        let once = try written(manifest)
        #expect(try written(parseManifest(once)) == once)
      }
    }
    #expect(accepted > 0)
  }

  @Test func removedAndRepeatedPiecesNeverTrap() throws {
    let bytes = Array(sample.utf8)
    for start in stride(from: 0, to: bytes.count, by: 3) {
      for length in [1, 2, 5, 40] where start + length <= bytes.count {
        let removed = Array(bytes[..<start] + bytes[(start + length)...])
        let repeated = Array(bytes[..<(start + length)] + bytes[start...])
        for changed in [removed, repeated] {
          if let manifest = try? parseManifest(changed) {
            _ = try written(manifest)
            _ = try? manifest.validate()
          }
        }
      }
    }
  }

  @Test(arguments: [
    "", "[]", "null", "{}", "{} ", "1", "\"a\"", "x", manifestText() + "{}", manifestText() + ",",
    "," + manifestText(), manifestText([","]), manifestText(["1"]), manifestText(["[]"]),
    manifestText(["{}"]), manifestText(["null"]), manifestText([entryText("a") + entryText("b")]),
    manifestText([entryText("a"), ""]), manifestText(["", entryText("a")]),
    manifestText([], ["files": "{}"]), manifestText([], ["files": "null"]),
    manifestText([], ["files": "\"\""]), manifestText([], ["files": "[]]"]),
    manifestText([], ["files": "[],"]), manifestText([], ["files": "[]1"]),
    manifestText([], ["files": "[}"]), manifestText([], ["files": nil as String?, "x": "[1"]),
    manifestText([], ["a": "1,"]), manifestText([], ["a": ""]),
    manifestText([], ["\\u0061\":1,\"a": "1"]),
    manifestText([], ["version": nil as String?]), manifestText([], ["version": "\"3.0\""]),
    manifestText([], ["version": "2.0"]), manifestText([], ["backup_mode": "\"other\""]),
    manifestText([], ["backup_id": "\"00\""]), manifestText([], ["parent_backup_id": "1"]),
    manifestText([], ["source_dir": "\"relative\""]),
    manifestText([], ["source_dir": "\"/a\\u0000\""]),
    manifestText([], ["unreadable": "{}"]), manifestText([], ["unreadable": "[1]"]),
    manifestText([], ["unreadable": "[{\"reason\":\"r\"}]"]), manifestText([], ["root": "{}"]),
    manifestText([], ["root": "1"]),
  ])
  func whatIsNoManifestIsRefused(source: String) {
    let error = #expect(throws: Failure.self) { try parseManifest(source) }
    #expect(error?.exitStatus == 65)
  }

  /// The key has one spelling only; otherwise two readers could see different trees.
  @Test(arguments: ["\"fi\\u006ces\"", "\"fi les\"", "\"files \"", "\" files\""])
  func onlyFilesIsTheListOfFiles(key: String) {
    let base = manifestText([], ["files": nil as String?])
    _ = #expect(throws: Failure.self) {
      try parseManifest(base.dropLast() + ",\(key):[\(entryText("a"))]}")
    }
    #expect(throws: Failure.self) {
      try parseManifest(manifestText().dropLast() + ",\"fi\\u006ces\":[]}")
    }
  }

  @Test func spaceIsAllowedBetweenTokens() throws {
    let spaced =
      " {\n\"files\" \t: [ \(entryText("a")) , \(entryText("b")) ] \r\n, "
      + manifestText([], ["files": nil as String?]).dropFirst() + "\n"
    #expect(try parseManifest(spaced).files.count == 2)
  }

  @Test(arguments: ["{\"", "{\"a\":[1", "{\"a\":\"\\"])
  func anEntryIsBounded(start: String) throws {
    let parser = ManifestParser(entryLength: 1000)
    try parser.write(Array(("{\"files\":[" + start).utf8))
    try parser.write([UInt8](repeating: 0x31, count: 900))
    #expect(throws: Failure.self) { try parser.write([UInt8](repeating: 0x31, count: 100)) }
  }

  /// Members that are each short enough may be too long in total.
  @Test func allMembersTogetherAreBounded() throws {
    let members = (0..<20).map { "\"m\($0)\":\"\(String(repeating: "x", count: 50))\"" }
    for (limit, isRead) in [(2000, true), (1000, false)] {
      let parser = ManifestParser(memberLength: limit)
      let text = "{" + members.joined(separator: ",") + ",\"files\":[]}"
      #expect(((try? parser.write(Array(text.utf8))) != nil) == isRead)
    }
  }

  /// White space only separates tokens, and is not stored.
  @Test func anyAmountOfWhiteSpaceIsAllowed() throws {
    let parser = ManifestParser(entryLength: 1000)
    let text = manifestText([entryText("a", ["x": "[1, \"a  b\"]"])])
    for byte in text.utf8 {
      try parser.write([byte])
      if byte == UInt8(ascii: ",") { try parser.write([UInt8](repeating: 0x20, count: 300)) }
    }
    try parser.finish()
    #expect(try parser.manifest().files[0].extras.first?.value == Array("[1,\"a  b\"]".utf8))
    #expect(throws: Failure.self) {
      try parseManifest(manifestText([entryText("a", ["size": "1 2"])]))
    }
  }

  @Test(
    arguments: [
      ["relative_path": "\"\""], ["relative_path": "\"/a\""], ["relative_path": "\"a/../b\""],
      ["relative_path": "\"./a\""], ["relative_path": "\"a//b\""], ["relative_path": "\"a/\""],
      ["relative_path": "\"a\\u0000\""], ["relative_path": nil], ["relative_path": "1"],
      ["size": "-1"], ["size": "1.0"], ["size": "9223372036854775808"], ["size": "01"],
      ["size": nil],
      ["size": "\"1\""], ["sha256": "null"], ["sha256": "\"\""], ["sha256": nil],
      ["sha256": "\"" + String(repeating: "A", count: 64) + "\""], ["permissions": "-1"],
      ["permissions": "4294967296"], ["permissions": nil], ["permissions": "16877"],
      ["modified_at": "1e400"], ["modified_at": "null"], ["modified_at": nil],
      ["mtime_ns": "9223372036854775808000000000"],
      ["mtime_ns": "-0"], ["mtime_ns": "1.5"], ["mtime_ns": "null"], ["uid": "4294967296"],
      ["uid": "-1"],
      ["type": "\"fifo\""], ["type": "null"], ["type": "\"symlink\""], ["type": "\"directory\""],
      ["type": nil], ["link_target": "\"x\""], ["hard_link": "\"/x\""], ["hard_link": "\"\""],
      ["stored_as": "\"..\""], ["stored_in": "\"\""], ["stored_in": "null"],
      ["stored_in": "\"" + hashOfNothing + "\"", "hard_link": "\"a\""], ["xattrs": "{}"],
      ["xattrs": "{\"\":\"\"}"], ["xattrs": "{\"a\":\"=\"}"], ["xattrs": "{\"a\":\"\",\"a\":\"\"}"],
      ["xattrs": "[]"], ["xattrs": "{\"a\\u0000\":\"\"}"],
      ["x\":1,\"x": "1"], ["size\":0,\"size": "0"],
    ] as [[String: String?]])
  func anEntryThatBreaksARuleIsMalformed(members: [String: String?]) {
    let error = #expect(throws: Failure.self) {
      try parseManifest(manifestText([entryText("p", members)]))
    }
    #expect(error?.code == .malformed)
  }

  @Test func linksAndDirectoriesHaveNoContent() {
    let directory = ["type": "\"directory\"", "permissions": "16877"]
    for more in [
      ["size": "1"], ["hard_link": "\"a\""], ["stored_in": "\"\(hashOfNothing)\""],
      ["sha256": "\"" + String(repeating: "0", count: 64) + "\""],
    ] {
      #expect(throws: Failure.self) {
        try parseManifest(manifestText([entryText("p", directory.merging(more) { $1 })]))
      }
    }
  }

  @Test(arguments: [1, 4095])
  func aLinkTargetIsAsLongAsAKernelTakes(count: Int) throws {
    let target = String(repeating: "x", count: count)
    let members = ["type": "\"symlink\"", "permissions": "41471", "link_target": "\"\(target)\""]
    let manifest = try parseManifest(manifestText([entryText("p", members)]))
    #expect(manifest.files[0].linkTarget?.count == count)
    #expect(throws: Failure.self) {
      try parseManifest(
        manifestText([
          entryText(
            "p",
            members.merging(["link_target": "\"\(String(repeating: "x", count: 4096))\""]) { $1 })
        ]))
    }
  }

  @Test func deferredHashesAreReadWhereTheyAreAllowed() throws {
    let source = manifestText([entryText("p", ["sha256": "null"])])
    #expect(try parseManifest(source, allowsDeferred: true).files[0].sha256 == nil)
    #expect(throws: Failure.self) { try parseManifest(source) }
  }

  @Test(arguments: ["1", "1.50", "15e-1", "-0", "1700000000", "1E3"])
  func numbersKeepTheirTokens(token: String) throws {
    let source = manifestText([entryText("p", ["modified_at": token])])
    #expect(try written(parseManifest(source)) == source)
  }

  @Test func unknownMembersKeepTheirPlace() throws {
    let source = manifestText(
      [entryText("p", ["aaa": "1", "zzz": "[\"\\udcff\",1.0]"])],
      ["aa": "{}", "filf": "1", "filer": "0", "zz": "null"])
    #expect(try written(parseManifest(source)) == source)
  }

  /// Swift compares strings by canonical equivalence; keys are ordered by code point.
  @Test func keysWithCombiningMarksKeepTheirPlace() throws {
    let source = manifestText([], ["a\\u0301": "1", "e\\u0301": "2", "fi\\u0301": "3"])
    let canonical = try written(parseManifest(source))
    #expect(canonical.contains("\"backup_id\":null") && canonical.contains("\"created_at\""))
    #expect(try written(parseManifest(canonical)) == canonical)
  }

  /// The name of an attribute need not be UTF-8.
  @Test func oddAttributeNamesSurviveBesideUnknownMembers() throws {
    let source = manifestText([
      entryText("p", ["xattrs": "{\"user.\\udcff\":\"AA==\"}", "zzz": "1", "modified_at": "1"])
    ])
    #expect(try written(parseManifest(source)) == source)
  }

  /// Comparing each unknown key with all earlier ones would take hours here.
  @Test func manyUnknownMembersAreReadInOnePass() throws {
    var members: [String: String?] = [:]
    for index in 0..<50_000 { members["k\(index)"] = "0" }
    let source = manifestText([entryText("p", members)])
    #expect(try parseManifest(source).files[0].extras.count == 50_000)
  }
}
