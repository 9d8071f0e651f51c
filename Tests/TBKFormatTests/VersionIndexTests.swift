import TBKCore
import TBKFormat
import Testing

/// Which backups contain which versions, and the index of these.
struct VersionIndexTests {
  private func id(_ number: Int) -> String { String(repeating: "0", count: 63) + String(number, radix: 16) }

  private func manifest(_ contents: [(path: String, content: UInt8)]) -> Manifest {
    var manifest = Manifest(
      osName: "Linux", architecture: "x86_64", createdAt: "2026-01-01T00:00:00.000000+00:00", mode: "full")
    for (path, content) in contents.sorted(by: { Array($0.path.utf8).lexicographicallyPrecedes(Array($1.path.utf8)) }) {
      let digest = Digest([UInt8](repeating: content, count: 32).span)
      manifest.files.append(
        ManifestEntry(
          path: Array(path.utf8), type: .file, size: 5, sha256: digest, mode: 0o100644, modifiedAt: 1_700_000_000))
    }
    return manifest
  }

  private func found(_ index: VersionIndex, _ pattern: String) -> [[String]] {
    index.matching(Array(pattern.utf8)).map { index.backups(of: $0) }
  }

  private func history() -> VersionIndex {
    var index = VersionIndex()
    index.add(manifest([("a", 1), ("b", 1), ("d/a", 1)]), id: id(0))
    index.add(manifest([("a", 2), ("b", 1)]), id: id(1))
    index.add(manifest([("a", 1), ("b", 1), ("c", 1), ("d/a", 1)]), id: id(2))
    return index
  }

  @Test func eachContentOfAPathIsAVersion() {
    let index = history()
    #expect(found(index, "/a").sorted { $0.count > $1.count } == [[id(0), id(2)], [id(1)]])
    #expect(found(index, "b") == [[id(0), id(1), id(2)]])
    #expect(found(index, "c") == [[id(2)]])
    #expect(found(index, "d/a") == [[id(0), id(2)]])
    #expect(found(index, "a").count == 3 && found(index, "nothing").isEmpty)
  }

  @Test func whatIsWrittenIsRead() throws {
    let index = history()
    let again = try VersionIndex(parsing: index.bytes)
    #expect(again.bytes == index.bytes && again.backups == index.backups)
    #expect(found(again, "*") == found(index, "*"))
    #expect(try VersionIndex(parsing: VersionIndex().bytes).backups.isEmpty)
  }

  @Test func aBackupThatIsGoneIsForgotten() throws {
    var index = history()
    index.keep([id(0), id(2)])
    #expect(index.backups == [id(0), id(2)])
    #expect(found(index, "/a") == [[id(0), id(2)]] && found(index, "b") == [[id(0), id(2)]])
    index.keep([id(2)])
    #expect(found(index, "c") == [[id(2)]])
    #expect(try VersionIndex(parsing: index.bytes).bytes == index.bytes)
    index.keep([])
    #expect(found(index, "*").isEmpty)
  }

  @Test func anyCutAndAnyChangedByteIsRefusedOrReadAsSomethingElse() {
    let bytes = history().bytes
    for length in 0..<bytes.count {
      let cut = try? VersionIndex(parsing: Array(bytes[..<length]))
      #expect(cut == nil || cut!.bytes.count <= length)
    }
    for place in bytes.indices {
      for value in [0, 9, 0x2d, 0x39, 0xff] as [UInt8] {
        var changed = bytes
        changed[place] = value
        // Any change must not cause a trap.
        if let index = try? VersionIndex(parsing: changed) { _ = found(index, "*") }
      }
    }
  }
}
