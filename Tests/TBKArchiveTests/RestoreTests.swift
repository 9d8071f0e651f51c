import Glibc
import TBKArchive
import TBKCore
import TBKFormat
import Testing

@Suite struct PlacementTests {
  /// A tree with a file, a link, and a directory with a file.
  private func source() throws -> (TestTree, TestArchive) {
    let tree = try TestTree()
    try tree.directory("d")
    try tree.file("d/f", "inner")
    try tree.file("f", "content")
    try tree.symlink("l", "f")
    return (tree, try seal(tree))
  }

  @Test(arguments: ["f", "l", "d/f"])
  func neverRefusesBeforeAnythingIsChanged(name: String) throws {
    let (_, archive) = try source()
    let copy = try TestTree()
    if name.hasPrefix("d/") { try copy.directory("d") }
    try copy.file(name, "mine")
    let error = #expect(throws: Failure.self) {
      try restore([archive.bytes], to: copy, isNew: false)
    }
    #expect(error?.code == .cannotCreate)
    #expect(try copy.content(name) == "mine")
    #expect(try copy.names == [name.hasPrefix("d/") ? "d" : name])
  }

  @Test func neverMergesIntoDirectoriesThatAreThere() throws {
    let (_, archive) = try source()
    let copy = try TestTree()
    try copy.directory("d")
    try copy.file("d/mine", "kept")
    try restore([archive.bytes], to: copy, isNew: false)
    #expect(try copy.content("d/mine") == "kept")
    #expect(try copy.content("d/f") == "inner")
  }

  @Test func ifChangedKeepsWhatIsTheSame() throws {
    let (_, archive) = try source()
    let copy = try TestTree()
    try copy.file("f", "content")
    try copy.directory("d")
    try copy.file("d/f", "other")
    try copy.mode("f", 0o604)
    let inode = try copy.inode("f")
    try restore([archive.bytes], to: copy, isNew: false) { $0.policy = .ifChanged }
    #expect(try copy.inode("f") == inode)
    #expect(try copy.content("d/f") == "inner")
    #expect(try problems(archive.manifest, copy) == [])
  }

  /// Existing hard links are kept only if all of them are links to the same file.
  @Test(arguments: [true, false], [true, false])
  func ifChangedKeepsHardLinksTogether(areLinked: Bool, isChanged: Bool) throws {
    let tree = try TestTree()
    try tree.file("a", "content")
    for name in ["b", "c"] { try tree.link(name, to: "a") }
    let archive = try seal(tree)
    let copy = try TestTree()
    try copy.file("a", "content")
    try copy.link("b", to: "a")
    if areLinked { try copy.link("c", to: "a") } else { try copy.file("c", "content") }
    if isChanged {
      try copy.remove("b")
      try copy.file("b", "another")
    }
    let before = try copy.inode("a")
    try restore([archive.bytes], to: copy, isNew: false) { $0.policy = .ifChanged }
    let after = try copy.inode("a")
    #expect(try ["b", "c"].allSatisfy { try copy.inode($0) == after })
    #expect((after == before) == (areLinked && !isChanged))
    #expect(try problems(archive.manifest, copy) == [])
  }

  @Test func alwaysReplacesFilesAndLinks() throws {
    let (_, archive) = try source()
    let copy = try TestTree()
    let outside = try TestTree()
    try outside.file("target", "untouched")
    try copy.symlink("f", outside.path.appending("target").text)
    try copy.file("l", "a file")
    try copy.file("d", "a file")
    try restore([archive.bytes], to: copy, isNew: false) { $0.policy = .always }
    #expect(try problems(archive.manifest, copy) == [])
    #expect(try outside.content("target") == "untouched")
  }

  @Test(arguments: OverwritePolicy.allCases)
  func aDirectoryWithSomethingInItIsNeverReplacedByAFile(policy: OverwritePolicy) throws {
    let (_, archive) = try source()
    let copy = try TestTree()
    try copy.directory("f")
    try copy.file("f/mine", "kept")
    #expect(throws: Failure.self) {
      try restore([archive.bytes], to: copy, isNew: false) { $0.policy = policy }
    }
    #expect(try copy.names == ["f"])
  }

  @Test(arguments: OverwritePolicy.allCases)
  func anEmptyDirectoryIsReplacedByAFileIfThatIsAsked(policy: OverwritePolicy) throws {
    let (_, archive) = try source()
    let copy = try TestTree()
    try copy.directory("f")
    if policy == .never {
      #expect(throws: Failure.self) { try restore([archive.bytes], to: copy, isNew: false) }
      #expect(try copy.names == ["f"])
    } else {
      try restore([archive.bytes], to: copy, isNew: false) { $0.policy = policy }
      #expect(try copy.content("f") == "content")
    }
  }

  @Test(arguments: OverwritePolicy.allCases)
  func aLinkInTheDestinationIsNotFollowed(policy: OverwritePolicy) throws {
    let (_, archive) = try source()
    let (copy, outside) = (try TestTree(), try TestTree())
    try copy.symlink("d", outside.path.text)
    _ = try? restore([archive.bytes], to: copy, isNew: false) { $0.policy = policy }
    #expect(try outside.names.isEmpty)
  }

  @Test func theRootGetsItsMetadataIfItIsNew() throws {
    let tree = try TestTree()
    try tree.file("f")
    try tree.mode(".", 0o711)
    try tree.time(".", seconds: 1000)
    let archive = try seal(tree)
    let (new, old) = (try TestTree(), try TestTree())
    try old.file("mine")
    try restore([archive.bytes], to: new)
    try restore([archive.bytes], to: old, isNew: false)
    #expect(
      try new.facts(".").map { [$0.st_mode & 0o777, UInt32($0.st_mtim.tv_sec)] } == [0o711, 1000])
    #expect(try old.facts(".")?.st_mode == 0o40700)
  }

  @Test func setIDBitsAreRestoredOnlyWhereThatIsAsked() throws {
    let tree = try TestTree()
    try tree.file("f")
    try tree.mode("f", 0o4755)
    let archive = try seal(tree)
    let (plain, asked) = (try TestTree(), try TestTree())
    try restore([archive.bytes], to: plain)
    try restore([archive.bytes], to: asked) { $0.metadata.setID = true }
    #expect(try plain.facts("f")?.st_mode == 0o100755)
    #expect(try asked.facts("f")?.st_mode == 0o104755)
  }

  @Test func aPreviewChangesNothing() throws {
    let (_, archive) = try source()
    let copy = try TestTree()
    try copy.file("f", "mine")
    var lines: [String] = []
    _ = try reader([archive.bytes]).preview(to: copy.root, RestoreOptions()) { word, path in
      lines.append("\(word) \(RawPath(path).quoted)")
    }
    #expect(lines == ["create d", "create d/f", "conflict f", "create l"])
    #expect(try copy.names == ["f"])
  }

  @Test func anotherManifestIsNotAgreedWith() throws {
    let (_, archive) = try source()
    let (other, copy) = (try TestTree(), try TestTree())
    try other.file("x")
    let stranger = try seal(other)
    let error = #expect(throws: Failure.self) {
      try restore([archive.bytes], to: copy) { $0.against = stranger.manifest }
    }
    #expect(error?.code == .integrity)
    #expect(try copy.names.isEmpty)
    try restore([archive.bytes], to: copy) { $0.against = archive.manifest }
  }
}

@Suite struct SelectionTests {
  private func rules(_ patterns: String...) -> IgnoreRules {
    var rules = IgnoreRules()
    for pattern in patterns { rules.add(pattern: Array(pattern.utf8)) }
    return rules
  }

  /// All paths below a directory.
  private func all(_ tree: TestTree) throws -> [String] { paths(try tree.manifest()) }

  private func source() throws -> TestArchive {
    let tree = try TestTree()
    for name in ["d", "d/e", "x"] { try tree.directory(name) }
    for name in ["d/a", "d/e/b", "x/c"] { try tree.file(name, "in \(name)") }
    try tree.link("d/z", to: "d/a")
    try tree.link("x/z", to: "d/a")
    return try seal(tree)
  }

  @Test func includedPathsComeWithTheirDirectories() throws {
    let copy = try TestTree()
    let summary = try restore([source().bytes], to: copy) { $0.include = rules("b") }
    #expect(try all(copy) == ["d", "d/e", "d/e/b"])
    #expect(summary.files == 1)
  }

  @Test func whatIsBelowAnIncludedDirectoryComesToo() throws {
    let copy = try TestTree()
    try restore([source().bytes], to: copy) { $0.include = rules("/d/") }
    #expect(try all(copy) == ["d", "d/a", "d/e", "d/e/b", "d/z"])
  }

  @Test func excludedPathsDoNotCome() throws {
    let copy = try TestTree()
    try restore([source().bytes], to: copy) {
      $0.include = rules("/d/")
      $0.exclude = rules("e/")
    }
    #expect(try all(copy) == ["d", "d/a", "d/z"])
  }

  @Test(arguments: ["/x/z", "/d/z"])
  func aHardLinkComesWithoutItsFirstName(path: String) throws {
    let copy = try TestTree()
    try restore([source().bytes], to: copy) { $0.include = rules(path) }
    #expect(try all(copy) == [String(path.dropFirst().prefix(1)), String(path.dropFirst())])
    #expect(try copy.content(String(path.dropFirst())) == "in d/a")
    #expect(try copy.facts(String(path.dropFirst()))?.st_nlink == 1)
  }

  @Test func aHardLinkToContentOfAnEarlierBackupComesWithoutItsFirstName() throws {
    let tree = try TestTree()
    try tree.directory("d")
    try tree.file("d/a", "content")
    try tree.link("d/z", to: "d/a")
    let full = try seal(tree)
    let one = try seal(
      tree,
      try tree.manifest {
        $0.previous = full.manifest
        $0.incremental = true
      })
    let copy = try TestTree()
    try restore([one.bytes, full.bytes], to: copy) { $0.include = rules("/d/z") }
    #expect(try all(copy) == ["d", "d/z"])
    #expect(try copy.content("d/z") == "content")
  }

  @Test func nothingChosenRestoresNothing() throws {
    let copy = try TestTree()
    let summary = try restore([source().bytes], to: copy) { $0.include = rules("no-such-name") }
    #expect(try copy.names.isEmpty && summary.files == 0)
  }
}
