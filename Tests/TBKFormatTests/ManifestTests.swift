import TBKCore
import TBKFormat
import Testing

func manifest(_ entries: [ManifestEntry]) -> Manifest {
  var manifest = Manifest(osName: "Linux", architecture: "x", createdAt: "t", mode: "full")
  for entry in entries { manifest.files.append(entry) }
  return manifest
}

private func link(_ path: String, to first: String) -> ManifestEntry {
  var entry = plainEntry(path)
  entry.hardLink = Array(first.utf8)
  return entry
}

@Suite struct ManifestValidationTests {
  private func isValid(_ entries: [ManifestEntry]) -> Bool {
    (try? manifest(entries).validate()) != nil
  }

  @Test func treesAreValid() {
    #expect(isValid([]))
    #expect(isValid([plainEntry("a", .directory), plainEntry("a.b"), plainEntry("a/b")]))
    #expect(isValid([plainEntry("a/b/c")]))
  }

  @Test func aManifestOutOfOrderIsRefused() {
    #expect(!isValid([plainEntry("b"), plainEntry("a")]))
    #expect(!isValid([plainEntry("a/b"), plainEntry("a.b")]))
  }

  @Test func noPathIsListedTwice() {
    #expect(!isValid([plainEntry("a"), plainEntry("a")]))
    #expect(!isValid([plainEntry("a"), plainEntry("b"), plainEntry("a", .directory)]))
  }

  @Test(arguments: [EntryType.file, .symlink])
  func nothingIsBelowWhatIsNoDirectory(type: EntryType) {
    #expect(!isValid([plainEntry("a", type), plainEntry("a/b")]))
    #expect(!isValid([plainEntry("a", type), plainEntry("a.b"), plainEntry("a/b")]))
    #expect(!isValid([plainEntry("a", type), plainEntry("a.b"), plainEntry("a/b/c/d")]))
    #expect(!isValid([plainEntry("a/b/c/d"), plainEntry("a.b"), plainEntry("a", type)]))
    #expect(
      !isValid([
        plainEntry("a", .directory), plainEntry("a/b", type), plainEntry("a/b/c", .directory),
        plainEntry("a/b/c/d"),
      ]))
    #expect(!isValid([plainEntry("a/b", type), plainEntry("a/b.c"), plainEntry("a/b/c")]))
    #expect(isValid([plainEntry("a", type), plainEntry("a.b"), plainEntry("ab")]))
  }

  @Test func hardLinksAreToEarlierFilesOfTheSameContent() {
    #expect(isValid([plainEntry("a"), link("b", to: "a")]))
    #expect(!isValid([link("a", to: "b"), plainEntry("b")]))
    #expect(!isValid([link("a", to: "a")]))
    #expect(!isValid([link("a", to: "no")]))
    #expect(!isValid([plainEntry("a", .directory), link("b", to: "a")]))
    #expect(!isValid([plainEntry("a", .symlink), link("b", to: "a")]))
    #expect(!isValid([plainEntry("a"), link("b", to: "a"), link("c", to: "b")]))
    #expect(!isValid([plainEntry("a", size: 1), link("b", to: "a")]))
  }

  /// Looking up all parent directories of every entry would take minutes here.
  @Test func aDeepTreeIsValidatedInOnePass() {
    var path = "d"
    var entries = [plainEntry(path, .directory)]
    for _ in 0..<2000 {
      path += "/d"
      entries.append(plainEntry(path, .directory))
    }
    #expect(isValid(entries))
    #expect(!isValid(Array(entries.dropFirst(1001)) + [plainEntry(String(path.prefix(2001)))]))
  }
}

@Suite struct ManifestFactsTests {
  @Test func sizesAndCountsAreThoseOfFiles() {
    let whole = manifest([
      plainEntry("a", size: 5), link("b", to: "a"), plainEntry("c", .directory),
      plainEntry("d", .symlink),
    ])
    #expect(whole.fileCount == 2)
    #expect(whole.totalSize == 5)
  }

  @Test func sumsBeyondTheRangeDoNotTrap() {
    let whole = manifest((0..<4).map { plainEntry("\($0)", size: .max >> 1) })
    _ = whole.totalSize
    #expect(whole.fileCount == 4)
  }

  @Test func dependenciesComeOnceInOrderOfUse() {
    let ids = ["b", "a", "b"].map { String(repeating: $0, count: 64) }
    let entries = ids.enumerated().map { index, id in
      var entry = plainEntry("\(index)")
      entry.storedIn = id
      return entry
    }
    #expect(manifest(entries).dependsOn == [ids[0], ids[1]])
  }

  @Test(arguments: [0, 1, -1, 1_700_000_000_123_456_789, .min, .max] as [Int64])
  func aTimeKeepsItsNanoseconds(nanoseconds: Int64) {
    var entry = plainEntry("a")
    entry.setModification(FileTime(nanoseconds: nanoseconds))
    #expect(entry.modification == FileTime(nanoseconds: nanoseconds))
    #expect(entry.modifiedAt == Double(nanoseconds) / 1_000_000_000)
  }

  @Test(
    arguments: [(1e10, 10_000_000_000, 0), (-2e10 - 0.5, -20_000_000_001, 500_000_000)] as [(Double, Int64, UInt32)])
  func secondsOfAnyYearAreATime(seconds: Double, whole: Int64, nanoseconds: UInt32) {
    var entry = plainEntry("a")
    entry.modifiedAt = seconds
    #expect(entry.modification == FileTime(seconds: whole, nanoseconds: nanoseconds))
  }

  @Test(arguments: [1e300, -1e300, 1e19, -1e19])
  func aTimeOutOfRangeIsNone(seconds: Double) {
    var entry = plainEntry("a")
    entry.modifiedAt = seconds
    #expect(entry.modification == nil)
  }
}

@Suite struct ManifestDiffTests {
  private func changes(_ old: [ManifestEntry], _ new: [ManifestEntry]) throws -> [String] {
    var found: [String] = []
    try ManifestDiff.compare(manifest(old), manifest(new)) { change, path in
      found.append("\(change.rawValue) \(text(path))")
    }
    return found
  }

  @Test func sameTreesDoNotDiffer() throws {
    #expect(
      try changes([fullEntry("a"), plainEntry("b")], [plainEntry("b"), fullEntry("a")]) == [])
    #expect(try changes([], []) == [])
  }

  @Test func eachKindOfChangeIsTold() throws {
    var other = plainEntry("e")
    other.mode = 0o100600
    var later = plainEntry("f")
    later.mtime = FileTime(nanoseconds: 5)
    let old = ["a", "c", "d", "e", "f", "g"].map { plainEntry($0) }
    let new = [
      plainEntry("b"), plainEntry("c", size: 1), plainEntry("d", .directory), other, later,
      plainEntry("g"),
    ]
    #expect(
      try changes(old, new) == [
        "deleted a", "added b", "modified c", "type d", "mode e", "metadata f",
      ])
  }

  @Test func changesComeInTheOrderOfPaths() throws {
    let old = [plainEntry("z"), plainEntry("a/b")]
    #expect(try changes(old, [plainEntry("a.b")]) == ["added a.b", "deleted a/b", "deleted z"])
  }
}
