import TBKArchive
import TBKCore
import TBKFormat
import Testing

/// An increment based on an earlier archive.
private func increment(
  _ tree: TestTree, over previous: TestArchive, defersHash: Bool = false
) throws(Failure) -> TestArchive {
  try seal(
    tree,
    try tree.manifest {
      $0.previous = previous.manifest
      $0.incremental = true
      $0.defersHash = defersHash
    })
}

@Suite struct IncrementalTests {
  private func check(_ archives: [TestArchive], _ tree: TestTree) throws {
    let copy = try TestTree()
    try restore(archives.map(\.bytes), to: copy)
    #expect(try problems(archives[0].manifest, copy) == [])
    #expect(try problems(try tree.manifest(), copy).filter { !$0.hasPrefix("mtime d") } == [])
    _ = try reader(archives.map(\.bytes)).verifyAll()
  }

  @Test(arguments: [false, true])
  func theWholeTreeComesBackOutOfSeveralArchives(defersHash: Bool) throws {
    let tree = try TestTree()
    try tree.directory("d")
    for name in ["a", "d/b", "gone", "same"] { try tree.file(name, "first \(name)") }
    try tree.link("d/l", to: "a")
    let full = try seal(tree)
    try tree.file("d/b", "second, longer")
    try tree.remove("gone")
    let one = try increment(tree, over: full, defersHash: defersHash)
    try tree.file("new", "third")
    let two = try increment(tree, over: one, defersHash: defersHash)
    #expect(two.manifest.parentBackupID == one.manifest.backupID)
    #expect(entry(two.manifest, "a")?.storedIn == full.manifest.backupID)
    #expect(entry(two.manifest, "d/b")?.storedIn == one.manifest.backupID)
    #expect(entry(two.manifest, "new")?.storedIn == nil)
    #expect(Set(two.manifest.dependsOn) == [full.manifest.backupID, one.manifest.backupID])
    try check([two, one, full], tree)
    let missing = #expect(throws: Failure.self) {
      try restore([two.bytes, one.bytes], to: try TestTree())
    }
    #expect(missing?.code == .inputMissing)
    #expect(missing?.message.contains(full.manifest.backupID ?? "?") == true)
  }

  @Test func aMissingArchiveLeavesTheDestinationEmpty() throws {
    let tree = try TestTree()
    try tree.file("a", "x")
    let full = try seal(tree)
    let one = try increment(tree, over: full)
    let copy = try TestTree()
    #expect(throws: Failure.self) { try restore([one.bytes], to: copy) }
    #expect(try copy.names.isEmpty)
  }

  @Test func contentOfAnotherBackupDoesNotStandIn() throws {
    let tree = try TestTree()
    try tree.file("a", "x")
    let full = try seal(tree)
    let one = try increment(tree, over: full)
    let other = try TestTree()
    try other.file("a", "y")
    let stranger = try seal(other)
    #expect(throws: Failure.self) { try restore([one.bytes, stranger.bytes], to: try TestTree()) }
    // An unrelated archive in the list does no harm.
    try check([one, stranger, full], tree)
  }

  @Test func aFileUnderAnotherTimeIsFoundToBeTheSame() throws {
    let tree = try TestTree()
    try tree.file("a", "x")
    let full = try seal(tree)
    try tree.time("a", seconds: 12345)
    let one = try increment(tree, over: full)
    #expect(entry(one.manifest, "a")?.storedIn == full.manifest.backupID)
    try check([one, full], tree)
  }

  /// The earlier archive has the file's second name as a link, without content.
  @Test func aSecondNameWhoseFirstIsGoneIsStoredAgain() throws {
    let tree = try TestTree()
    try tree.file("a", "x")
    try tree.link("b", to: "a")
    let full = try seal(tree)
    try tree.remove("a")
    let one = try increment(tree, over: full)
    #expect(entry(one.manifest, "b")?.storedIn == nil)
    try check([one, full], tree)
  }

  @Test func aNewFirstNameOfAnOldFileIsStored() throws {
    let tree = try TestTree()
    try tree.file("m", "x")
    let full = try seal(tree)
    try tree.link("a", to: "m")
    let one = try increment(tree, over: full)
    try check([one, full], tree)
    let two = try increment(tree, over: one)
    try check([two, one, full], tree)
  }

  @Test func oneFileOfAnEarlierBackupIsSent() throws {
    let tree = try TestTree()
    try tree.file("a", "content")
    try tree.link("b", to: "a")
    let full = try seal(tree)
    let one = try increment(tree, over: full)
    for name in ["a", "b"] {
      let sink = MemorySink()
      try reader([one.bytes, full.bytes]).send(path: Array(name.utf8), to: sink)
      #expect(sink.bytes == Array("content".utf8))
    }
    #expect(throws: Failure.self) { try reader([one.bytes]).send(path: [0x61], to: MemorySink()) }
  }

  @Test func anOwnManifestOfAnEarlierBackupComesBack() throws {
    let tree = try TestTree()
    try tree.file("manifest.json", "x")
    let full = try seal(tree)
    let one = try increment(tree, over: full)
    try check([one, full], tree)
  }

  /// The name under which it was stored is now in use.
  @Test func anOwnManifestOfAnEarlierBackupComesBackFromUnderAnotherName() throws {
    let tree = try TestTree()
    try tree.file("manifest.json", "x")
    let full = try seal(tree)
    try tree.file("manifest.json~", "y, longer")
    let one = try increment(tree, over: full)
    try check([one, full], tree)
  }

  @Test func whatTermBackup6StoredIsNotBuiltUpon() throws {
    let tree = try TestTree()
    try tree.file("a", "x")
    var full = try seal(tree).manifest
    full.version = "1.0"
    #expect(throws: Failure.self) {
      try tree.manifest {
        $0.previous = full
        $0.incremental = true
      }
    }
  }
}
