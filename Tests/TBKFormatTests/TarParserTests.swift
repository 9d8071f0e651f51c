import TBKCore
import TBKFormat
import Testing

/// A header block written by hand, ustar by default, with a valid checksum.
private struct Block {
  var bytes = [UInt8](repeating: 0, count: 512)

  init(_ name: String = "f", type: String = "0", size: Int = 0) {
    put(0, name)
    put(100, "0000644\0")
    put(108, "0000000\0")
    put(116, "0000000\0")
    let octal = String(size, radix: 8)
    put(124, String(repeating: "0", count: 11 - octal.utf8.count) + octal + "\0")
    put(136, "00000000000\0")
    put(156, type)
    put(257, "ustar\u{0}00")
    sign()
  }

  private mutating func put(_ offset: Int, _ text: String) { put(offset, Array(text.utf8)) }

  private mutating func put(_ offset: Int, _ more: [UInt8]) {
    for (index, byte) in more.enumerated() { bytes[offset + index] = byte }
  }

  private mutating func sign(signed: Bool = false) {
    put(148, "        ")
    var sum = 0
    for byte in bytes { sum += signed ? Int(Int8(bitPattern: byte)) : Int(byte) }
    let octal = String(sum, radix: 8)
    put(148, String(repeating: "0", count: 6 - octal.utf8.count) + octal + "\0 ")
  }

  func with(_ offset: Int, _ text: String) -> [UInt8] { with(offset, Array(text.utf8)) }

  func with(_ offset: Int, _ more: [UInt8], signed: Bool = false) -> [UInt8] {
    var copy = self
    copy.put(offset, more)
    copy.sign(signed: signed)
    return copy.bytes
  }
}

private func padded(_ body: [UInt8]) -> [UInt8] {
  body + [UInt8](repeating: 0, count: TarWriter.padding(after: UInt64(body.count)))
}

private func extended(_ type: String, _ body: [UInt8]) -> [UInt8] {
  Block("ext", type: type, size: body.count).bytes + padded(body)
}

private func extended(_ type: String, _ body: String) -> [UInt8] {
  extended(type, Array(body.utf8))
}

private func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
  var length = key.utf8.count + value.count + 3
  while String(length).utf8.count + key.utf8.count + value.count + 3 != length { length += 1 }
  return Array("\(length) \(key)=".utf8) + value + [10]
}

private func record(_ key: String, _ value: String) -> [UInt8] { record(key, Array(value.utf8)) }

private func pax(_ key: String, _ value: String) -> [UInt8] { extended("x", record(key, value)) }

private let plain = Block().bytes
private let end = TarWriter.end

/// The failure of parsing a tar, which must be the same in pieces of any size.
private func failure(
  _ tar: [UInt8], limits: TarLimits = .default, location: SourceLocation = #_sourceLocation
) -> Failure? {
  var failures: [Failure?] = []
  for step in [Int.max, 1, 512] {
    do throws(Failure) {
      _ = try readTar(tar, step: step, limits: limits)
      failures.append(nil)
    } catch {
      failures.append(error)
    }
  }
  #expect(failures[0] == failures[1] && failures[1] == failures[2], sourceLocation: location)
  if failures[0] == nil { Issue.record("accepted", sourceLocation: location) }
  return failures[0]
}

private func expectMalformed(
  _ tar: [UInt8], _ words: String, limits: TarLimits = .default,
  location: SourceLocation = #_sourceLocation
) {
  let found = failure(tar, limits: limits, location: location)
  #expect(found?.code == .malformed, sourceLocation: location)
  #expect(
    found?.message.contains(words) == true, "\(found?.message ?? "")", sourceLocation: location)
}

/// The only member of a tar, which must be the same in pieces of any size.
private func member(
  _ headers: [UInt8], body: [UInt8] = [], location: SourceLocation = #_sourceLocation
) throws -> TarMember {
  let tar = headers + padded(body) + end
  let recorder = try readTar(tar)
  #expect(try readTar(tar, step: 1).members == recorder.members, sourceLocation: location)
  #expect(recorder.bodies == [body], sourceLocation: location)
  return try #require(recorder.members.first, sourceLocation: location)
}

@Suite struct TarParserHeaderTests {
  @Test func aFlippedBitAnywhereInAHeaderIsNoticed() {
    for bit in 0..<512 * 8 {
      var block = Block("name", size: 0).bytes
      block[bit / 8] ^= 1 << UInt8(bit % 8)
      do throws(Failure) {
        let members = try readTar(block + end).members
        // Some bits in the checksum's own field change nothing: NUL against space.
        #expect(
          (148..<156).contains(bit / 8)
            && members == [TarMember(name: Array("name".utf8), kind: .file)])
      } catch {
        #expect(error.code == .malformed)
      }
    }
  }

  @Test func theSignedChecksumOfOldTarsIsTaken() throws {
    let block = Block().with(0, [0xe9, 0xff], signed: true)
    #expect(try member(block).name == [0xe9, 0xff])
  }

  @Test func typesZeroNulAndSevenAreFiles() throws {
    for type in ["0", "\0", "7"] {
      #expect(try member(Block(type: type, size: 3).bytes, body: [1, 2, 3]).kind == .file)
    }
  }

  @Test func everyTypeHasItsKind() throws {
    #expect(try member(Block(type: "3").bytes).kind == .characterDevice)
    #expect(try member(Block(type: "4").bytes).kind == .blockDevice)
    #expect(try member(Block("d/", type: "5").bytes).kind == .directory)
    #expect(try member(Block(type: "6").bytes).kind == .fifo)
    #expect(try member(Block(type: "Z", size: 2).bytes, body: [8, 9]).kind == .other(90))
  }

  @Test func aDirectoryLosesItsSlash() throws {
    #expect(try member(Block("a/b/", type: "5").bytes).name == Array("a/b".utf8))
    #expect(try member(Block("a/b", type: "5").bytes).name == Array("a/b".utf8))
    #expect(try member(Block("a//", type: "5").bytes).name == Array("a".utf8))
    #expect(try member(Block("/", type: "5").bytes).name == Array("/".utf8))
  }

  @Test func aFileWhoseNameEndsInASlashIsADirectoryOfTheSeventhEdition() throws {
    for type in ["0", "\0"] {
      let read = try member(Block("old/", type: type).bytes)
      #expect(read.kind == .directory)
      #expect(read.name == Array("old".utf8))
    }
    expectMalformed(Block("old/", size: 1).bytes + padded([1]) + end, "has a body")
  }

  @Test func theSizeOfALinkIsNotABody() throws {
    let link = Block(type: "1", size: 4096).with(157, "target")
    #expect(try member(link).size == 0)
    #expect(try member(Block("d/", type: "5", size: 4096).bytes).size == 0)
  }

  @Test func aLinkNeedsATarget() {
    expectMalformed(Block(type: "1").bytes + end, "has no target")
    expectMalformed(Block(type: "2").bytes + end, "has no target")
  }

  @Test func anEmptyNameIsRefused() {
    expectMalformed(Block("").bytes + end, "has no name")
  }

  @Test func onlyUstarHasAPrefix() throws {
    #expect(try member(Block().with(345, "a/b")).name == Array("a/b/f".utf8))
    var gnu = Block()
    gnu.bytes = gnu.with(257, "ustar  \0")
    #expect(try member(gnu.with(345, "a/b")).name == Array("f".utf8))
    var old = Block()
    old.bytes = old.with(257, [UInt8](repeating: 0, count: 8))
    #expect(try member(old.with(345, "a/b")).name == Array("f".utf8))
  }

  @Test func theSeventhEditionHasNoOwnerNames() throws {
    var block = Block()
    block.bytes = block.with(265, "user")
    #expect(try member(block.bytes).userName == Array("user".utf8))
    #expect(try member(block.with(257, [UInt8](repeating: 0, count: 8))).userName == [])
  }

  @Test func fieldsMayBeFullToTheLastByte() throws {
    let name = String(repeating: "n", count: 100)
    #expect(try member(Block().with(0, name)).name == Array(name.utf8))
    let user = String(repeating: "u", count: 32)
    #expect(try member(Block().with(265, user)).userName == Array(user.utf8))
  }

  @Test func octalMayHaveSpacesBeforeAndNulOrSpaceOrNothingBehind() throws {
    for (text, mode) in [
      ("    644\0", 0o644), ("  644 \0\0", 0o644), ("0000644 ", 0o644), ("00000644", 0o644),
      ("0100644\0", 0o644), ("\0\0\0\0\0\0\0\0", 0), ("        ", 0), ("7777\0\0\0\0", 0o7777),
    ] { #expect(try member(Block().with(100, text)).mode == UInt32(mode)) }
  }

  @Test(arguments: [
    "0000648\0", "-000644\0", "64 4\0\0\0\0", "0x1ff\0\0\0", "64\04\0\0\0\0", "+644\0\0\0\0",
  ])
  func whatIsNotOctalIsRefused(text: String) {
    expectMalformed(Block().with(100, text) + end, "mode")
  }

  @Test func aBlankSizeIsRefused() {
    expectMalformed(Block().with(124, [UInt8](repeating: 32, count: 12)) + end, "size")
  }

  @Test func base256SaysWhatOctalCannot() throws {
    let large: [UInt8] = [0x80, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]
    #expect(try member(Block().with(108, large)).uid == 0x1234_5678)
    let early = [UInt8](repeating: 0xff, count: 12)
    #expect(try member(Block().with(136, early)).mtime == FileTime(seconds: -1))
    let size: [UInt8] = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    #expect(try member(Block().with(124, size), body: [1, 2]).size == 2)
  }

  @Test(
    arguments: [
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
      [0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
      [0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0],
      [0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] as [[UInt8]])
  func aSizeBelowZeroOrOver63BitsIsRefused(field: [UInt8]) {
    expectMalformed(Block().with(124, field) + end, "size")
  }

  @Test func aNegativeIdIsRefused() {
    expectMalformed(Block().with(108, [UInt8](repeating: 0xff, count: 8)) + end, "user id")
  }

  @Test func anMtimeOfAnyYearIsRead() throws {
    let late: [UInt8] = [0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
    #expect(try member(Block().with(136, late)).mtime == FileTime(seconds: .max))
    let early: [UInt8] = [0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]
    #expect(try member(Block().with(136, early)).mtime == FileTime(seconds: .min))
    #expect(try member(Block().with(136, "777777777777")).mtime == FileTime(seconds: 0o777777777777))
  }

  @Test func anMtimeThatNoFileCanHaveIsRefused() {
    let late: [UInt8] = [0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]
    let early: [UInt8] = [0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
    for field in [late, early] { expectMalformed(Block().with(136, field) + end, "mtime") }
  }

  @Test func aMemberOverTheLimitIsRefused() {
    let limits = TarLimits(maximumSize: 1000)
    expectMalformed(
      Block("big", size: 1001).bytes, "'big' claims 1001 bytes, more than the archive can hold",
      limits: limits)
    expectMalformed(pax("size", "1001") + plain, "more than the archive can hold", limits: limits)
  }

  @Test func gnuSparseFilesAreRefused() {
    expectMalformed(Block(type: "S").bytes + end, "sparse")
    expectMalformed(pax("GNU.sparse.major", "1") + plain + end, "sparse")
  }
}

@Suite struct TarParserEndTests {
  @Test func anEmptyArchiveIsTwoZeroBlocks() throws {
    #expect(try readTar(end).members.isEmpty)
  }

  @Test func aMissingEndIsATruncation() {
    for tar in [[], plain, plain + [UInt8](repeating: 0, count: 512)] {
      let found = failure(tar)
      #expect(found?.code == .truncated)
      #expect(found?.message.contains("end marker") == true)
    }
  }

  @Test func everyCutIsATruncation() {
    let body = [UInt8](repeating: 7, count: 700)
    let tar = pax("mtime", "1.5") + Block(size: 700).bytes + padded(body) + end
    for length in stride(from: 0, to: tar.count, by: 7) {
      #expect(failure(Array(tar[..<length]))?.code == .truncated)
    }
  }

  @Test func aHeaderAfterOneZeroBlockIsRefused() {
    expectMalformed(plain + [UInt8](repeating: 0, count: 512) + plain + end, "single zero block")
  }

  @Test func zerosMayFollowTheEnd() throws {
    for count in [1, 511, 512, 1 << 20] {
      _ = try readTar(plain + end + [UInt8](repeating: 0, count: count), step: 4096)
    }
  }

  @Test func moreThanOneMebibyteOfZerosIsRefused() {
    expectMalformed(
      end + [UInt8](repeating: 0, count: 11), "follow", limits: TarLimits(trailingZeros: 10))
    let zeros = [UInt8](repeating: 0, count: 1 + 1 << 20)
    #expect(throws: Failure.self) { try readTar(end + zeros) }
  }

  @Test func dataAfterTheEndIsRefused() {
    expectMalformed(plain + end + [0, 0, 1], "follows the end of the tar at byte 1538")
    expectMalformed(end + plain + end, "follow")
  }

  @Test func anExtendedHeaderWithoutAMemberIsRefused() {
    expectMalformed(pax("path", "a") + end, "not followed by a member")
    expectMalformed(extended("L", "a\0") + end, "not followed by a member")
  }

  @Test func anEndedParserTakesNothingMore() throws {
    let parser = TarParser(handler: TarRecorder())
    try parser.write(end)
    try parser.finish()
    #expect(throws: Failure.self) { try parser.write(end) }
    #expect(throws: Failure.self) { try parser.finish() }
    let broken = TarParser(handler: TarRecorder())
    #expect(throws: Failure.self) { try broken.write([UInt8](repeating: 1, count: 512)) }
    #expect(throws: Failure.self) { try broken.write(end) }
  }

  @Test func theHandlersFailureComesOutUnchanged() {
    let recorder = TarRecorder()
    recorder.failure = Failure(.malformed, "mine")
    do throws(Failure) {
      try feedTar(plain + end, into: recorder)
      Issue.record("no failure")
    } catch {
      #expect(error == recorder.failure)
    }
  }
}

@Suite struct TarParserExtendedTests {
  @Test func gnuLongNamesAndTargetsAreTaken() throws {
    let long = String(repeating: "x", count: 600)
    #expect(try member(extended("L", long + "\0") + plain).name == Array(long.utf8))
    let link = extended("K", long + "\0") + extended("L", "n") + Block(type: "2").with(157, "t")
    let read = try member(link)
    #expect(read.linkTarget == Array(long.utf8))
    #expect(read.name == Array("n".utf8))
  }

  @Test func aGnuLongNameEndsAtItsFirstNul() throws {
    #expect(try member(extended("L", "ab\0cd") + plain).name == Array("ab".utf8))
    expectMalformed(extended("L", "\0") + plain + end, "empty")
    expectMalformed(extended("L", "") + plain + end, "empty")
  }

  @Test func oneOfEachExtendedHeaderIsTheMost() {
    expectMalformed(pax("uid", "1") + pax("gid", "1") + plain + end, "too many")
    expectMalformed(extended("L", "a") + extended("L", "b") + plain + end, "too many")
    expectMalformed(extended("K", "a") + extended("K", "b") + plain + end, "too many")
    expectMalformed(pax("uid", "1") + extended("g", record("uid", "2")) + plain + end, "too many")
  }

  @Test func aMemberNamedTwiceIsRefused() {
    expectMalformed(extended("L", "a") + pax("path", "b") + plain + end, "named by a GNU and")
    expectMalformed(
      extended("K", "a") + pax("linkpath", "b") + Block(type: "2").with(157, "c") + end,
      "named by a GNU and")
  }

  @Test func anExtendedHeaderOver8MebibytesIsRefusedBeforeItIsRead() {
    for type in ["x", "g", "L", "K", "X"] {
      expectMalformed(Block(type: type, size: 1 + 8 << 20).bytes, "over the limit")
    }
    expectMalformed(
      extended("x", record("comment", "0123456789")) + plain + end, "over the limit",
      limits: TarLimits(extendedHeader: 20))
  }

  @Test func paxRecordsOverrideTheBlock() throws {
    let records =
      record("path", "new/näme") + record("mtime", "12.000000034") + record("uid", "4294967295")
      + record("gid", "18446744073709551615") + record("uname", "üser") + record("gname", "")
      + record("comment", "ignored") + record("SCHILY.xattr.user.k", [0, 61, 10])
      + record("LIBARCHIVE.xattr.user.q", "QQ") + record("size", "3")
    let read = try member(extended("x", records) + Block(size: 1).with(297, "g"), body: [1, 2, 3])
    #expect(
      read
        == TarMember(
          name: Array("new/näme".utf8), kind: .file, size: 3,
          mtime: FileTime(nanoseconds: 12_000_000_034),
          uid: 4_294_967_295, gid: .max, userName: Array("üser".utf8),
          xattrs: [ExtendedAttribute(name: Array("user.k".utf8), value: [0, 61, 10])]))
  }

  @Test func aPaxHeaderHoldsForOneMember() throws {
    let recorder = try readTar(pax("path", "a") + plain + plain + end)
    #expect(recorder.members.map(\.name) == [[97], [102]])
  }

  @Test func aGlobalHeaderHoldsUntilItIsChanged() throws {
    let tar =
      extended("g", record("uid", "7")) + plain + pax("uid", "8") + plain + plain
      + pax("uid", "") + plain + extended("g", record("uid", "9")) + plain
      + extended("g", record("uid", "")) + plain + end
    #expect(try readTar(tar).members.map(\.uid) == [7, 8, 7, 0, 9, 0])
  }

  @Test func aGlobalHeaderCannotNameAMember() {
    for key in ["path", "linkpath", "size", "SCHILY.xattr.user.a"] {
      expectMalformed(extended("g", record(key, "1")) + plain + end, "global")
    }
  }

  @Test func theLastRecordOfAKeyStands() throws {
    let twice = extended("x", record("path", "a") + record("path", "b"))
    #expect(try member(twice + plain).name == [98])
  }

  @Test(arguments: [
    ("1", 1_000_000_000), ("0.5", 500_000_000), ("-0.5", -500_000_000), ("-1.5", -1_500_000_000),
    ("3.", 3_000_000_000), ("1.0000000019", 1_000_000_001), ("-1.0000000011", -1_000_000_002),
    ("007.10", 7_100_000_000), ("", 0), ("9223372036.854775807", Int64.max),
    ("-9223372036.854775808", Int64.min), ("1e-09", 1), ("-1e-09", -1), ("1.2345e-05", 12_345),
    ("9.9999e-05", 99_999), ("-1.5e-09", -2), ("1e-10", 0), ("-5e-324", -1), ("1.0e-999", 0),
  ])
  func mtimeKeepsItsNanoseconds(text: String, expected: Int64) throws {
    #expect(try member(pax("mtime", text) + plain).mtime == FileTime(nanoseconds: expected))
  }

  @Test(
    arguments: [
      ("9223372036.854775808", 9_223_372_036, 854_775_808), ("-9223372036.854775809", -9_223_372_037, 145_224_191),
      ("-9223372036.8547758081", -9_223_372_037, 145_224_191), ("10413792000.5", 10_413_792_000, 500_000_000),
      ("-11676096000.5", -11_676_096_001, 500_000_000), ("9223372036854775807.999999999", .max, 999_999_999),
      ("-9223372036854775808", .min, 0), ("-9223372036854775807.000000001", .min, 999_999_999),
      ("-0.9999999999", -1, 0), ("1e+16", 10_000_000_000_000_000, 0), ("-1.5e+16", -15_000_000_000_000_000, 0),
      ("9.22337203685477e+18", 9_223_372_036_854_770_000, 0),
    ] as [(String, Int64, UInt32)])
  func mtimeMayBeAnyThatAFileCanHave(text: String, seconds: Int64, nanoseconds: UInt32) throws {
    #expect(
      try member(pax("mtime", text) + plain).mtime
        == FileTime(seconds: seconds, nanoseconds: nanoseconds))
  }

  @Test(arguments: [
    "-", ".5", "+1", "1e3", "1,5", " 1", "1 ", "1.-5", "9223372036854775808", "18446744073709551616.0",
    "-9223372036854775808.0000000001", "-18446744073709551615.9999999999", "1e+15", "1e+016", "1.2.3e+16", "12e+16",
    "1.e+16", "1e+99", "9.223372036854775808e+18", "1.23456789012345678e+16", "e+16",
    "1e-0", "1e-0009", "1e-00", "e-09", "-e-09", ".e-09", "1.e-09", "12e-09", "1e-09e-09", "1e-0x", "xe-09",
    "1e09", "1e+09", "1E-09", "1e-1.", "1.-e-09", "99999999999999999999",
  ])
  func anMtimeThatIsNoTimeIsRefused(text: String) {
    expectMalformed(pax("mtime", text) + plain + end, "mtime")
  }

  @Test(arguments: ["-1", "18446744073709551616", "0x1", "1 ", "99999999999999999999999", "a"])
  func aNumberThatIsNoneIsRefused(text: String) {
    for key in ["size", "uid", "gid"] {
      expectMalformed(pax(key, text) + plain + end, "a \(key) that is not a number")
    }
  }

  @Test func aPaxSizeOver63BitsIsRefused() {
    let limits = TarLimits(maximumSize: .max)
    expectMalformed(pax("size", "9223372036854775808") + plain, "out of range", limits: limits)
  }

  @Test(arguments: [
    "10 path=ab", "8 path=ab\n", "path=ab\n", "0 path=ab\n", "1 ", " 9 path=a\n",
    "9path=ab\n", "9\tpath=a\n", "99999999999999999999999 path=ab\n", "10 pathabc\n", "6 =abc\n",
    "5 =a\n", "10 path=ab\n\0\0", "-9 path=a\n", "2 \n", "3 \n", "3  \n", "+9 path=a\n",
  ])
  func aBrokenRecordIsRefused(text: String) throws {
    #expect(try member(extended("x", "10 path=a\n") + plain).name == [97])
    expectMalformed(extended("x", text) + plain + end, "pax header")
  }

  @Test func textsMayNotHoldNul() {
    for key in ["path", "linkpath", "uname", "gname"] {
      expectMalformed(pax(key, "a\0b") + plain + end, "NUL")
    }
    expectMalformed(pax("SCHILY.xattr.a\0b", "") + plain + end, "NUL")
  }

  @Test func anEmptyPathIsRefused() {
    expectMalformed(pax("path", "") + plain + end, "empty path")
  }

  @Test func characterSetsAreTheTwoOfPosix() throws {
    let raw = extended("x", record("hdrcharset", "BINARY") + record("path", [0xff, 0xe9]))
    #expect(try member(raw + plain).name == [0xff, 0xe9])
    #expect(try member(pax("hdrcharset", "ISO-IR 10646 2000 UTF-8") + plain).name == [102])
    expectMalformed(pax("hdrcharset", "KOI8-R") + plain + end, "character set")
  }

  @Test func attributesAreNamedOnceAndCounted() throws {
    let one = record("SCHILY.xattr.user.a", "1")
    expectMalformed(extended("x", one + one) + plain + end, "twice")
    expectMalformed(extended("x", record("SCHILY.xattr.", "1")) + plain + end, "no name")
    var many: [UInt8] = []
    for number in 0...10 { many += record("SCHILY.xattr.user.\(number)", "v") }
    expectMalformed(
      extended("x", many) + plain + end, "over 10 extended attributes",
      limits: TarLimits(attributes: 10))
    #expect(try member(extended("x", many) + plain).xattrs.count == 11)
  }

  @Test func unknownKeysAreIgnored() throws {
    #expect(try member(pax("VENDOR.thing", "\n=\n") + plain).name == [102])
  }

  @Test func anEmptyPaxHeaderChangesNothing() throws {
    #expect(try member(extended("x", "") + plain).name == [102])
  }
}
