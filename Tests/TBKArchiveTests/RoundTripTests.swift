import Glibc
import TBKArchive
import TBKCore
import TBKFormat
import Testing

@Suite struct RoundTripTests {
  @Test func aTreeComesBackAsItWas() throws {
    let tree = try TestTree()
    for name in ["d", "d/empty", "closed"] { try tree.directory(name) }
    try tree.file("d/f", String(repeating: "text ", count: 100_000))
    try tree.file(RawPath([0x64, 0x2f, 0xff, 0x0a]), [0, 1, 2])
    try tree.file("zero")
    try tree.file(RawPath(String(repeating: "n", count: 255)), [7])
    try tree.symlink("l", String(repeating: "t", count: 4095))
    try tree.symlink("dangling", "/no/such")
    try tree.link("h", to: "d/f")
    try tree.mode("zero", 0o604)
    try tree.mode("closed", 0o500)
    try tree.time("d", seconds: 1000, nanoseconds: 123_456_789)
    let archive = try seal(tree)
    #expect(archive.isComplete && archive.mishaps == [])
    let copy = try TestTree()
    let summary = try restore([archive.bytes], to: copy)
    #expect(try problems(archive.manifest, copy) == [])
    #expect(try copy.inode("h") == copy.inode("d/f"))
    #expect(summary.files == 5 && summary.isExact)
    #expect(summary.backup.id == archive.manifest.backupID)
    #expect(try !copy.names.contains { $0.hasPrefix(".tbk") })
    try copy.mode("closed", 0o700)
    try tree.mode("closed", 0o700)
  }

  @Test(arguments: ["file", "directory", "file beside manifest.json~", "linked"])
  func aTreesOwnManifestComesBack(kind: String) throws {
    let tree = try TestTree()
    switch kind {
    case "directory":
      try tree.directory("manifest.json")
      try tree.file("manifest.json/x", "inner")
      try tree.file("manifest.json-x", "between")
    case "linked":
      try tree.file("manifest.json", "{}")
      try tree.link("other", to: "manifest.json")
    default: try tree.file("manifest.json", "{}")
    }
    if kind.contains("beside") { try tree.file("manifest.json~", "taken") }
    let archive = try seal(tree)
    let stored = entry(archive.manifest, "manifest.json")?.storedAs
    #expect(stored == Array(("manifest.json~" + (kind.contains("beside") ? "~" : "")).utf8))
    let copy = try TestTree()
    try restore([archive.bytes], to: copy)
    #expect(try problems(archive.manifest, copy) == [])
    #expect(try copy.names == tree.names)
  }

  @Test func alteredArchivesAreNotOpened() throws {
    let tree = try TestTree()
    try tree.file("f", "x")
    let archive = try seal(tree).bytes
    for index in stride(from: 0, to: archive.count, by: 3) {
      var altered = archive
      altered[index] ^= 0x10
      let copy = try TestTree()
      let error = #expect(throws: Failure.self) { try restore([altered], to: copy) }
      #expect([65, 77].contains(error?.exitStatus))
      #expect(try copy.names.isEmpty)
    }
  }

  @Test func everyTruncationIsRefused() throws {
    let tree = try TestTree()
    try tree.file("f", "x")
    let archive = try seal(tree).bytes
    for count in stride(from: 0, to: archive.count, by: 7) {
      let error = #expect(throws: Failure.self) { try authenticate(Array(archive[..<count])) }
      #expect(error?.exitStatus == 65)
    }
    #expect(throws: Failure.self) { try authenticate(archive + [0]) }
  }

  @Test func anotherPasswordDoesNotOpenIt() throws {
    let tree = try TestTree()
    let archive = try seal(tree).bytes
    let error = #expect(throws: Failure.self) { try authenticate(archive, password: [1]) }
    #expect(error?.code == .authentication)
  }

  @Test(arguments: [0, 1, 511, 512, 513, chunkSize - 1, chunkSize, chunkSize + 1])
  func aStreamComesBackAsOneFile(count: Int) throws {
    let bytes = noise(count)
    let file = try TemporaryFile.anonymous()
    let backup = try Sealing.stream(
      MemorySource(bytes), name: RawPath("db.sql"),
      key: try SealingKey(password: try password(), cost: cheapCost), compression: Compression(),
      output: try ArchiveOutput(to: file, lengthIsKnown: true), progress: { _ in }, ended: {})
    let length = backup.archiveLength
    try backup.commit()
    try file.seek(to: 0)
    let archive = try DescriptorSource(file).readAll(limit: 1 << 26, what: "x")
    #expect(UInt64(archive.count) == length)
    let copy = try TestTree()
    try restore([archive], to: copy)
    #expect(try readFile(RawPath("db.sql"), in: copy.root, limit: 1 << 26) == bytes)
  }

  @Test func aStreamThatFailsSealsNothing() throws {
    let place = try TestTree()
    try place.file("out", "before")
    do {
      let file = try place.root.open(RawPath("out"), O_RDWR)
      #expect(throws: Failure(.io, "it failed")) {
        _ = try Sealing.stream(
          MemorySource([1, 2]), name: RawPath("x"),
          key: try SealingKey(password: try password(), cost: cheapCost),
          compression: Compression(), output: try ArchiveOutput(to: file, lengthIsKnown: true),
          progress: { _ in }
        ) { () throws(Failure) in throw Failure(.io, "it failed") }.archiveLength
      }
    }
    #expect(try place.content("out") == "")
  }

  @Test func aSealedManifestListsAndDoesNotRestore() throws {
    let tree = try TestTree()
    try tree.file("f", "x")
    let archive = try seal(tree)
    let place = try TestTree()
    try Sealing.manifest(
      archive.manifest, key: try SealingKey(password: try password(), cost: cheapCost),
      to: place.path.appending("m"))
    let sealed = try readFile(RawPath("m"), in: place.root, limit: 1 << 20)
    #expect(try reader([sealed]).manifest().id == archive.manifest.backupID)
    let copy = try TestTree()
    let error = #expect(throws: Failure.self) { try restore([sealed], to: copy) }
    #expect(error?.code == .malformed)
    #expect(try copy.names.isEmpty)
  }

  @Test func largeAttributesSurvive() throws {
    let tree = try TestTree()
    try tree.file("f", "x")
    let value = noise(4000)
    let attribute = ExtendedAttribute(name: Array("user.tbk".utf8), value: value)
    guard (try? FileFacts.setAttribute(attribute, of: RawPath("f"), in: tree.root)) != nil else {
      return  // The file system does not support them.
    }
    let archive = try seal(tree)
    #expect(entry(archive.manifest, "f")?.xattrs == [attribute])
    let copy = try TestTree()
    try restore([archive.bytes], to: copy)
    #expect(try FileFacts.attributes(of: RawPath("f"), in: copy.root) == [attribute])
  }

  @Test func anAttributeOfSixtyFourKiBPassesThroughTheTar() throws {
    let tree = try TestTree()
    try tree.file("f", "x")
    var manifest = try tree.manifest()
    var listed = manifest.files[0]
    listed.xattrs = [ExtendedAttribute(name: Array("user.tbk".utf8), value: noise(65_536))]
    manifest.files[0] = listed
    let archive = try seal(tree, manifest)
    #expect(try reader([archive.bytes]).manifest().manifest.files[0].xattrs == listed.xattrs)
  }

  @Test func theLargestIDsSurvive() throws {
    let tree = try TestTree()
    try tree.directory("d")
    var manifest = try tree.manifest()
    var listed = manifest.files[0]
    (listed.uid, listed.gid) = (.max, .max - 1)
    listed.setModification(.max)
    manifest.files[0] = listed
    let archive = try seal(tree, manifest)
    let read = try reader([archive.bytes]).manifest().manifest.files[0]
    #expect(read.uid == .max && read.gid == .max - 1 && read.mtime == .max)
  }

  @Test func oneFileIsSent() throws {
    let tree = try TestTree()
    try tree.file("f", "content")
    try tree.link("g", to: "f")
    try tree.directory("d")
    let archive = try seal(tree).bytes
    for name in ["f", "g"] {
      let sink = MemorySink()
      try reader([archive]).send(path: Array(name.utf8), to: sink)
      #expect(sink.bytes == Array("content".utf8))
    }
    #expect(throws: Failure.self) { try reader([archive]).send(path: [0x64], to: MemorySink()) }
    let error = #expect(throws: Failure.self) {
      try reader([archive]).send(path: [0x7a], to: MemorySink())
    }
    #expect(error?.code == .inputMissing)
  }

  @Test func anotherIDThanExpectedIsRefused() throws {
    let tree = try TestTree()
    let archive = try seal(tree)
    let id = try #require(archive.manifest.backupID)
    _ = try reader([archive.bytes], expectedID: String(id.prefix(8))).verifyAll()
    let error = #expect(throws: Failure.self) {
      try reader([archive.bytes], expectedID: "0000000000").verifyAll()
    }
    #expect(error?.code == .integrity)
  }
}

@Suite struct PackingTests {
  private func check(_ archive: TestArchive) throws -> TestTree {
    let copy = try TestTree()
    try restore([archive.bytes], to: copy)
    #expect(try problems(archive.manifest, copy).filter { !$0.hasPrefix("mtime") } == [])
    return copy
  }

  @Test func aFileThatVanishesIsNamedAndLeftOut() throws {
    let tree = try TestTree()
    try tree.file("a", "x")
    try tree.file("b", "y")
    let archive = try seal(
      tree, try tree.manifest(), meanwhile: { () throws(Failure) in try tree.remove("a") })
    #expect(archive.mishaps == ["a: it is gone"] && !archive.isComplete)
    #expect(try check(archive).names == ["b"])
    #expect(archive.manifest.unreadable?.map(\.path) == [[0x61]])
  }

  @Test func aFileThatChangedBeforeIsPackedAsItIs() throws {
    let tree = try TestTree()
    try tree.file("a", "x")
    let archive = try seal(
      tree, try tree.manifest(), meanwhile: { () throws(Failure) in try tree.file("a", "longer") })
    #expect(archive.isComplete)
    #expect(try check(archive).content("a") == "longer")
  }

  @Test(arguments: [0, 300_000, 900_000])
  func aFileThatChangesWhileItIsReadIsNamed(size: Int) throws {
    let tree = try TestTree()
    try tree.file("a", String(repeating: "x", count: 600_000))
    var once = true
    let archive = try seal(
      tree,
      progress: { _ in
        if once, let file = try? tree.root.open(RawPath("a"), O_WRONLY) {
          _ = try? file.truncate(to: UInt64(size))
        }
        once = false
      })
    #expect(archive.mishaps == ["a: it changed while it was read"] && !archive.isComplete)
    let content = try check(archive).content("a")
    #expect(content.utf8.count == 600_000)
    #expect(content.utf8.last == (size < 600_000 ? 0 : 0x78))
  }

  @Test func aLinkInPlaceOfAFileIsNotFollowed() throws {
    let tree = try TestTree()
    try tree.directory("d")
    try tree.file("d/a", "x")
    try tree.file("secret", "y")
    let archive = try seal(tree, try tree.manifest()) { () throws(Failure) in
      try tree.remove("d/a")
      try tree.symlink("d/a", "../secret")
    }
    #expect(archive.mishaps.count == 1 && !archive.isComplete)
    #expect(entry(archive.manifest, "d/a") == nil)
    try tree.remove("d/a")
    try tree.file("d/a", "x")
    let other = try seal(tree, try tree.manifest()) { () throws(Failure) in
      try tree.remove("d/a")
      try tree.root.unlink(RawPath("d"), directory: true)
      try tree.symlink("d", ".")
    }
    #expect(entry(other.manifest, "d/a") == nil)
  }

  @Test func aFIFOInPlaceOfAFileDoesNotBlock() throws {
    let tree = try TestTree()
    try tree.file("a", "x")
    let archive = try seal(tree, try tree.manifest()) { () throws(Failure) in
      try tree.remove("a")
      _ = try unsafe tree.path.appending("a").withCString { path in unsafe mkfifo(path, 0o600) }
    }
    #expect(archive.mishaps.count == 1 && archive.manifest.files.isEmpty)
  }

  @Test func aNameStandsInForAFirstNameThatIsGone() throws {
    let tree = try TestTree()
    try tree.file("a", "x")
    for name in ["b", "c", "d"] { try tree.link(name, to: "a") }
    let archive = try seal(tree, try tree.manifest()) { () throws(Failure) in
      try tree.remove("a")
      try tree.remove("b")
    }
    #expect(archive.mishaps == ["a: it is gone", "b: it is gone"])
    let copy = try check(archive)
    #expect(try copy.names == ["c", "d"])
    #expect(try copy.inode("c") == copy.inode("d"))
    #expect(try copy.content("d") == "x")
  }

  /// A second name may have become a different file, whose content is stored nowhere else.
  @Test func aNameThatIsAnotherFileByNowIsPackedAsOne() throws {
    let tree = try TestTree()
    try tree.file("a", "x")
    for name in ["b", "c"] { try tree.link(name, to: "a") }
    let archive = try seal(tree, try tree.manifest()) { () throws(Failure) in
      try tree.remove("b")
      try tree.file("b", "another")
    }
    let copy = try check(archive)
    #expect(try copy.content("b") == "another")
    #expect(try copy.inode("a") == copy.inode("c"))
  }

  @Test func aSecondNameThatIsGoneIsNamed() throws {
    let tree = try TestTree()
    try tree.file("a", "x")
    try tree.link("b", to: "a")
    let archive = try seal(
      tree, try tree.manifest(), meanwhile: { () throws(Failure) in try tree.remove("b") })
    #expect(archive.mishaps == ["b: it is gone"])
    #expect(try check(archive).names == ["a"])
  }

  @Test func aManifestThatIsNotSortedIsNotPacked() throws {
    let tree = try TestTree()
    var manifest = try tree.manifest()
    for path in ["b", "a"] {
      manifest.files.append(
        ManifestEntry(
          path: Array(path.utf8), type: .directory, size: 0, sha256: .ofNothing, mode: 0o40755,
          modifiedAt: 0))
    }
    #expect(throws: Failure.self) { try seal(tree, manifest) }
  }
}
