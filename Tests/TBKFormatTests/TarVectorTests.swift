import TBKCore
import TBKFormat
import Testing

/// Records the members of a tar.
final class TarRecorder: TarHandler {
  private(set) var members: [TarMember] = []
  private(set) var bodies: [[UInt8]] = []
  private(set) var ended = 0
  var failure: Failure?

  func begin(_ member: TarMember) throws(Failure) {
    if let failure { throw failure }
    members.append(member)
    bodies.append([])
  }

  func body(_ bytes: Span<UInt8>) {
    let count = bytes.count
    #expect(count > 0)
    bodies[bodies.count - 1].append(bytes)
  }

  func end() {
    ended += 1
    #expect(ended == members.count)
    #expect(UInt64(bodies[ended - 1].count) == members[ended - 1].size)
  }

  /// One line per member, in the format of `Tests/Vectors/tar/generate.py`.
  var lines: [String] {
    zip(members, bodies).map { member, body in
      let xattrs = member.xattrs.map { percent($0.name) + "=" + percent($0.value) }
      return [
        "\(member.kind)", percent(member.name), "\(member.size)",
        String(member.mode, radix: 8), "\(member.mtime)", "\(member.uid)", "\(member.gid)",
        percent(member.userName), percent(member.groupName), percent(member.linkTarget),
        xattrs.isEmpty ? "-" : xattrs.joined(separator: ","), fnv1a(body),
      ].joined(separator: "\t")
    }
  }
}

/// Feeds `tar` to a parser in pieces of `step` bytes and ends it.
func feedTar(
  _ tar: [UInt8], step: Int = .max, limits: TarLimits = .default, into recorder: TarRecorder
) throws(Failure) {
  let parser = TarParser(handler: recorder, limits: limits)
  var position = 0
  while position < tar.count {
    let end = position + min(step, tar.count - position)
    try parser.write(tar.span.extracting(position..<end))
    position = end
  }
  try parser.finish()
}

/// Reads the members of a tar in pieces of `step` bytes.
func readTar(
  _ tar: [UInt8], step: Int = .max, limits: TarLimits = .default
) throws(Failure) -> TarRecorder {
  let recorder = TarRecorder()
  try feedTar(tar, step: step, limits: limits, into: recorder)
  return recorder
}

/// Printable bytes unchanged, others as %xx; "-" for none.
private func percent(_ bytes: [UInt8]) -> String {
  if bytes.isEmpty { return "-" }
  var text = ""
  for byte in bytes {
    if (0x21...0x7e).contains(byte) && !"%,=".utf8.contains(byte) {
      text.unicodeScalars.append(Unicode.Scalar(byte))
    } else {
      text += "%" + [byte].hex
    }
  }
  return text
}

private func fnv1a(_ bytes: [UInt8]) -> String {
  var hash: UInt64 = 0xcbf2_9ce4_8422_2325
  for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
  var text: [UInt8] = []
  text.append(bigEndian: hash, width: 8)
  return text.hex
}

/// The files in a folder of Tests/Vectors whose names end in `suffix`, by name.
func vectorFiles(
  _ folder: String, _ suffix: String
) throws(Failure) -> [(name: String, bytes: [UInt8])] {
  let tests = RawPath(#filePath).parent.parent
  let path = tests.appending("Vectors").appending(folder)
  let directory = try Descriptor.openForReading(path)
  var found: [(name: String, bytes: [UInt8])] = []
  for name in try directory.names().map(\.name.text).sorted() where name.hasSuffix(suffix) {
    found.append((name, try readFile(RawPath(name), in: directory, limit: 16 << 20)))
  }
  return found
}

@Suite struct TarVectorTests {
  @Test(arguments: [Int.max, 1, 511, 513]) func everyVectorReadsAsPythonReadsIt(step: Int) throws {
    let tars = try vectorFiles("tar", ".tar")
    let texts = try vectorFiles("tar", ".txt")
    #expect(tars.count >= 9)
    #expect(tars.count == texts.count)
    for (tar, text) in zip(tars, texts) {
      #expect(tar.name.dropLast(4) == text.name.dropLast(4))
      let lines = text.bytes.split(separator: 10).map { String(decoding: $0, as: UTF8.self) }
      do {
        #expect(try readTar(tar.bytes, step: step).lines == lines, "\(tar.name)")
      } catch {
        Issue.record("\(tar.name): \(error)")
      }
    }
  }

  @Test func everyVectorCutShortIsTruncated() throws {
    for tar in try vectorFiles("tar", ".tar") {
      // The end of the second zero block; what follows is padding to the record size.
      let end = tar.bytes.count - tar.bytes.reversed().prefix { $0 == 0 }.count
      for length in stride(from: 0, to: end, by: 997) {
        do throws(Failure) {
          _ = try readTar(Array(tar.bytes[..<length]))
          Issue.record("\(tar.name) at \(length) is accepted")
        } catch {
          #expect(error.code == .truncated, "\(tar.name) at \(length): \(error.message)")
        }
      }
    }
  }
}
