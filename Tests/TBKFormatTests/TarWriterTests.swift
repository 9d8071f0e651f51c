import TBKCore
import TBKFormat
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func repeated(_ letter: String, _ count: Int) -> [UInt8] {
  bytes(String(repeating: letter, count: count))
}

/// One member of each kind, and the limits of each field.
private let samples: [(member: TarMember, body: [UInt8])] = {
  var list: [TarMember] = [
    TarMember(
      name: bytes("dir"), kind: .directory, mode: 0o1755, mtime: FileTime(seconds: 1_700_000_000),
      uid: 1, gid: 2, userName: bytes("user"), groupName: bytes("group")),
    TarMember(name: bytes("dir/sub"), kind: .directory, mode: 0),
    TarMember(name: bytes("dir/soft"), kind: .symlink, mode: 0o777, linkTarget: bytes("../x")),
    TarMember(
      name: bytes("far"), kind: .symlink, mode: 0o777, linkTarget: bytes("/dir/") + [0xff, 0xe9]),
    TarMember(name: bytes("pipe"), kind: .fifo, mode: 0o600),
  ]
  for size in [0, 1, 511, 512, 513, 1024, 10_000] {
    list.append(TarMember(name: bytes("f\(size)"), kind: .file, size: UInt64(size), mode: 0o7777))
  }
  list.append(TarMember(name: bytes("hard"), kind: .hardlink, linkTarget: bytes("f513")))
  for length in [98, 99, 100, 101, 155, 156, 254, 255] {
    list.append(TarMember(name: repeated("n", length), kind: .file))
    list.append(TarMember(name: repeated("d", length), kind: .directory, mode: 0o755))
    let target = repeated("t", length)
    list.append(TarMember(name: bytes("l\(length)"), kind: .symlink, linkTarget: target))
    list.append(
      TarMember(name: bytes("h\(length)"), kind: .hardlink, linkTarget: repeated("n", length)))
  }
  for (prefix, name) in [(50, 60), (155, 100), (155, 99), (156, 100), (155, 101), (154, 100)] {
    let path = repeated("p", prefix) + bytes("/") + repeated("q", name)
    list.append(TarMember(name: path, kind: .file))
    list.append(TarMember(name: path + bytes("r"), kind: .directory))
  }
  let deep = [[UInt8]](repeating: repeated("s", 255), count: 16).joined(separator: bytes("/"))
  list.append(TarMember(name: Array(deep), kind: .file))
  list.append(TarMember(name: bytes("größe"), kind: .directory, userName: bytes("müller")))
  list.append(TarMember(name: [0xff, 0xfe], kind: .file, groupName: [0xe9]))
  list.append(TarMember(name: bytes("two\nlines\ttab\u{1}"), kind: .file))
  for length in [31, 32, 33] {
    list.append(
      TarMember(
        name: bytes("u\(length)"), kind: .file, userName: repeated("u", length),
        groupName: repeated("g", length)))
  }
  let second: Int64 = 1_000_000_000
  let times: [Int64] = [
    1, -1, second, -second, second + 1, -second - 1, -1_500_000_000, 8_589_934_591 * second,
    8_589_934_592 * second, .max, .min,
  ]
  for time in times {
    list.append(
      TarMember(name: bytes("t\(time)"), kind: .file, mtime: FileTime(nanoseconds: time)))
  }
  let ids: [UInt64] = [0o7777777, 0o10000000, 4_294_967_295]
  for id in ids { list.append(TarMember(name: bytes("i\(id)"), kind: .file, uid: id, gid: id)) }
  list.append(
    TarMember(
      name: bytes("attributes"), kind: .directory,
      xattrs: [
        ExtendedAttribute(name: bytes("user.z"), value: [0, 10, 255, 61]),
        ExtendedAttribute(name: bytes("user.empty"), value: []),
        ExtendedAttribute(name: bytes("user.a=b%c %3D"), value: bytes("x=y")),
        ExtendedAttribute(name: bytes("user.long"), value: repeated("v", 1000)),
      ]))
  return list.map { ($0, (0..<Int($0.size)).map { UInt8(truncatingIfNeeded: $0 &* 7) }) }
}()

/// Times that 64 bits of nanoseconds cannot represent.
private let farTimes: [FileTime] = [
  FileTime(seconds: 9_223_372_036, nanoseconds: 854_775_808),
  FileTime(seconds: -9_223_372_037, nanoseconds: 145_224_191),
  FileTime(seconds: 10_413_792_000), FileTime(seconds: -11_676_096_000, nanoseconds: 1),
  FileTime(seconds: 1 << 62, nanoseconds: 999_999_999), .min, FileTime(seconds: .min, nanoseconds: 1), .max,
]

private func tar(_ members: [(member: TarMember, body: [UInt8])]) throws(Failure) -> [UInt8] {
  var output: [UInt8] = []
  for (member, body) in members {
    output += try TarWriter.header(for: member)
    output += body
    output += [UInt8](repeating: 0, count: TarWriter.padding(after: member.size))
  }
  return output + TarWriter.end
}

@Suite struct TarWriterTests {
  @Test(arguments: [Int.max, 1, 512, 700]) func whatIsWrittenReadsBackTheSame(step: Int) throws {
    let recorder = try readTar(try tar(samples), step: step)
    #expect(recorder.members.count == samples.count)
    for (read, sample) in zip(recorder.members, samples) { #expect(read == sample.member) }
    #expect(recorder.bodies == samples.map(\.body))
    #expect(recorder.ended == samples.count)
  }

  /// `ours.txt` is what Python reads in `ours.tar`; GNU tar was also seen to extract it. To write it again: set
  /// TBK_WRITE_VECTORS=1, then run `generate.py --texts`.
  @Test func whatIsWrittenIsWhatOtherToolsWereShown() throws {
    let written = try tar(samples)
    if environment("TBK_WRITE_VECTORS") != nil {
      let folder = RawPath(#filePath).parent.parent.appending("Vectors/tar/ours.tar")
      try AtomicFile.write(written, to: folder, mode: 0o644)
    }
    let ours = try #require(try vectorFiles("tar", "ours.tar").first)
    #expect(ours.bytes == written)
  }

  @Test func aSizeOf8GiBGoesIntoThePaxHeader() throws {
    let limit: UInt64 = 8 << 30
    let plain = TarMember(name: bytes("f"), kind: .file, size: limit - 1)
    #expect(try TarWriter.header(for: plain).count == 512)
    for size in [limit, limit + 1, UInt64(Int64.max)] {
      let member = TarMember(name: bytes("f"), kind: .file, size: size)
      let header = try TarWriter.header(for: member)
      #expect(header.count == 1536)
      let recorder = TarRecorder()
      let parser = TarParser(handler: recorder)
      try parser.write(header)
      #expect(recorder.members == [member])
      #expect(throws: Failure.self) { try parser.finish() }
    }
  }

  @Test(arguments: farTimes) func timesOfAnyYearReadBackTheSame(time: FileTime) throws {
    for kind in [TarKind.file, .directory] {
      let member = TarMember(name: bytes("far"), kind: kind, mtime: time)
      #expect(try readTar(try tar([(member, [])])).members == [member])
    }
  }

  @Test func plainMembersNeedOneBlock() throws {
    let member = TarMember(
      name: bytes("a/b"), kind: .file, size: 5, mtime: FileTime(seconds: 1_700_000_000),
      userName: bytes("user"), groupName: bytes("group"))
    #expect(try TarWriter.header(for: member).count == 512)
  }

  @Test func paddingFillsTheLastBlock() {
    #expect(TarWriter.padding(after: 0) == 0)
    #expect(TarWriter.padding(after: 1) == 511)
    #expect(TarWriter.padding(after: 511) == 1)
    #expect(TarWriter.padding(after: 512) == 0)
    #expect(TarWriter.padding(after: .max) == 1)
    #expect(TarWriter.end.count == 1024)
  }

  @Test(arguments: [
    TarMember(name: [], kind: .file),
    TarMember(name: [97, 0], kind: .file),
    TarMember(name: [97, 47], kind: .file),
    TarMember(name: [97], kind: .file, mode: 0o10000),
    TarMember(name: [97], kind: .directory, size: 1),
    TarMember(name: [97], kind: .file, size: 1 << 63),
    TarMember(name: [97], kind: .symlink),
    TarMember(name: [97], kind: .file, linkTarget: [98]),
    TarMember(name: [97], kind: .hardlink, linkTarget: [98, 0]),
    TarMember(name: [97], kind: .file, userName: [0]),
    TarMember(name: [97], kind: .characterDevice),
    TarMember(name: [97], kind: .other(90)),
    TarMember(name: [97], kind: .file, xattrs: [ExtendedAttribute(name: [], value: [])]),
    TarMember(name: [97], kind: .file, xattrs: [ExtendedAttribute(name: [0], value: [])]),
  ])
  func whatATarCannotHoldIsRefused(member: TarMember) {
    do throws(Failure) {
      _ = try TarWriter.header(for: member)
      Issue.record("written: \(member)")
    } catch {
      #expect(error.code == .malformed)
    }
  }
}
