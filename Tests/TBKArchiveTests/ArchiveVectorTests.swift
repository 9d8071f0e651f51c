import Glibc
import TBKArchive
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

/// One archive in `Tests/Vectors/archives`, with its description.
private struct ArchiveVector {
  let name: String
  let archive: [UInt8]
  let needs: [[UInt8]]
  let password: [UInt8]
  /// The valid exit statuses for each way of opening it.
  let expect: [String: Set<Int32>]
  let values: [String: [String]]

  init(_ name: String, in folder: Descriptor) throws {
    self.name = name
    archive = try readFile(RawPath(name + ".tbk"), in: folder, limit: 1 << 26)
    var values: [String: [String]] = [:]
    let text = String(
      decoding: try readFile(RawPath(name + ".txt"), in: folder, limit: 1 << 20), as: UTF8.self)
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ": ", maxSplits: 1)
      values[String(parts[0]), default: []].append(parts.count > 1 ? String(parts[1]) : "")
    }
    self.values = values
    password = try #require([UInt8](hex: values["password"]?.first ?? "none"))
    var expect: [String: Set<Int32>] = [:]
    for pair in (values["expect"]?.first ?? "").split(separator: " ") {
      let sides = pair.split(separator: "=")
      expect[String(sides[0])] = Set(sides[1].split(separator: ",").compactMap { Int32($0) })
    }
    self.expect = expect
    needs = try (values["needs"] ?? []).map {
      try readFile(RawPath($0), in: folder, limit: 1 << 26)
    }
  }

  var id: String? { values["backup-id"]?.first }

  /// Newest first.
  var archives: [[UInt8]] { [archive] + needs.reversed() }
}

private func allVectors() throws -> [ArchiveVector] {
  let path = RawPath(#filePath).parent.parent.appending("Vectors/archives")
  let folder = try Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY)
  let names = try folder.names().map(\.name.text).filter { $0.hasSuffix(".txt") }
  try #require(names.count > 100, "no vectors in \(path.text)")
  return try names.sorted().map { try ArchiveVector(String($0.dropLast(4)), in: folder) }
}

/// The exit status of a command that runs `body`.
private func status(_ body: () throws(Failure) -> Int32) -> Int32 {
  do throws(Failure) { return try body() } catch { return error.exitStatus }
}

@Suite struct ArchiveVectorTests {
  @Test func everyVectorIsVerifiedAsItSays() throws {
    for vector in try allVectors() where vector.needs.isEmpty {
      let found = status { () throws(Failure) in
        let verified = try reader(vector.archives, password: vector.password).verifyAll()
        if let id = vector.id { #expect(verified.id == id, "\(vector.name)") }
        return verified.missing.isEmpty ? 0 : 3
      }
      #expect(vector.expect["verify"]?.contains(found) == true, "\(vector.name): \(found)")
    }
  }

  @Test func everyVectorIsListedAsItSays() throws {
    for vector in try allVectors() where vector.needs.isEmpty {
      let found = status { () throws(Failure) in
        let verified = try reader(vector.archives, password: vector.password).manifest()
        let lines = verified.manifest.files.indices.map { verified.manifest.files[$0].path.hex }
        let listed = (vector.values["entry"] ?? []).map { String($0.split(separator: " ")[4]) }
        if vector.values["entry"] != nil { #expect(lines == listed, "\(vector.name)") }
        return 0
      }
      #expect(vector.expect["list"]?.contains(found) == true, "\(vector.name): \(found)")
    }
  }

  @Test func everyVectorIsATarAsItSays() throws {
    for vector in try allVectors() where vector.needs.isEmpty {
      let hashing = try HashingSink(into: CountingSink())
      let found = status { () throws(Failure) in
        let backup = try reader(vector.archives, password: vector.password).sendTar(to: hashing)
        return backup.missing.isEmpty ? 0 : 3
      }
      #expect(vector.expect["tar"]?.contains(found) == true, "\(vector.name): \(found)")
      if found == 0 || found == 3, let hash = vector.values["tar-sha256"]?.first {
        #expect(try hashing.digest().hex == hash, "\(vector.name)")
      }
    }
  }

  @Test func everyVectorIsExtractedAsItSays() throws {
    for vector in try allVectors() {
      let copy = try TestTree()
      let found = status { () throws(Failure) in
        let summary = try restore(vector.archives, to: copy, password: vector.password)
        return summary.backup.missing.isEmpty && summary.isExact ? 0 : 3
      }
      #expect(vector.expect["extract"]?.contains(found) == true, "\(vector.name): \(found)")
      if found != 0 && found != 3 {
        #expect(try copy.names == [], "\(vector.name) left something")
      } else if vector.needs.isEmpty || !vector.name.hasPrefix("termbackup6") {
        try check(vector, copy)
      }
    }
  }

  private func check(_ vector: ArchiveVector, _ copy: TestTree) throws {
    for line in vector.values["entry"] ?? [] {
      let fields = line.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
      let path = RawPath(try #require([UInt8](hex: fields[4])))
      let facts = try copy.root.statusIfPresent(of: path)
      switch fields[0] {
      case "vanished": #expect(facts == nil)
      case "symlink" where fields.count == 5: #expect(facts.map { $0.st_mode & S_IFMT } == S_IFLNK)
      case "symlink" where fields.count > 5:
        #expect(try copy.root.readLink(path).bytes == [UInt8](hex: fields[5]), "\(vector.name)")
      case "directory": #expect(facts?.st_mode == UInt32(fields[1], radix: 8), "\(vector.name)")
      default:
        try #require(facts != nil, "\(vector.name) lacks \(path.quoted)")
        let bytes = try readFile(path, in: copy.root, limit: 1 << 26)
        #expect(try SHA256.hash(bytes).hex == fields[3], "\(vector.name) \(path.quoted)")
        if fields[0] == "hardlink", fields.count > 5 {
          let first = RawPath(try #require([UInt8](hex: fields[5])))
          #expect(try copy.root.statusIfPresent(of: first)?.st_ino == facts?.st_ino)
        }
      }
    }
  }
}
