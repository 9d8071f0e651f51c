import Glibc
import TBKArchive
import TBKCore
import TBKFormat
import Testing

@Suite struct TreeWalkerTests {
  @Test func pathsComeInTheOrderOfTheirBytes() throws {
    let tree = try TestTree()
    for name in ["a", "a/b", "a-b", "ab"] { try tree.directory(name) }
    for name in ["a.b", "a/b/c", "a/b.c", "a0", "a-b/x", "A"] { try tree.file(name) }
    try tree.file(RawPath([0x61, 0xff]), [])
    try tree.file(RawPath([0x61, 0x2f, 0x0a]), [])
    let found = paths(try tree.manifest())
    #expect(
      found == [
        "A", "a", "a-b", "a-b/x", "a.b", #""a/\n""#, "a/b", "a/b.c", "a/b/c", "a0", "ab",
        #""a\377""#,
      ])
    #expect(try tree.manifest().files.isSorted())
  }

  @Test func anEmptyTreeIsABackup() throws {
    let tree = try TestTree()
    #expect(try tree.manifest().files.isEmpty)
    let archive = try seal(tree)
    let copy = try TestTree()
    try restore([archive.bytes], to: copy)
    #expect(try copy.names.isEmpty)
  }

  @Test func excludedDirectoriesAreNotGoneInto() throws {
    let tree = try TestTree()
    for name in ["a", "b", "b/a"] { try tree.directory(name) }
    for name in ["a/x", "b/x.o", "b/x.c", "b/a/y"] { try tree.file(name) }
    let manifest = try tree.manifest {
      for pattern in ["/a/", "*.o"] { $0.walk.rules.add(pattern: Array(pattern.utf8)) }
    }
    #expect(paths(manifest) == ["b", "b/a", "b/a/y", "b/x.c"])
  }

  @Test func pathspecBringsBackWhatIsBelowAnExcludedDirectory() throws {
    let tree = try TestTree()
    for name in ["build", "build/deep", "build/deep/er", "build/empty", "build/out", "build-x", "src", "src/none"] {
      try tree.directory(name)
    }
    for name in [
      "build/keep", "build/x", "build/deep/er/a.py", "build/deep/b", "build/out/o", "build.txt", "build-x/y",
      "src/c.py", "src/d",
    ] {
      try tree.file(name)
    }
    func walked(_ patterns: [String], _ meaning: IgnoreRules.Meaning) throws -> [String] {
      paths(
        try tree.manifest {
          $0.walk.rules = IgnoreRules(meaning)
          for pattern in patterns { $0.walk.rules.add(pattern: Array(pattern.utf8)) }
        })
    }
    let others = ["build-x", "build-x/y", "build.txt"]
    let below = ["src", "src/c.py", "src/d", "src/none"]
    let one = ["build/", "!build/keep", "!*.py"]
    #expect(try walked(one, .git) == others + below)
    #expect(
      try walked(one, .pathspec) == ["build"] + others + [
        "build/deep", "build/deep/er", "build/deep/er/a.py", "build/keep",
      ] + below)
    #expect(try walked(["*", "!*.py"], .git) == [])
    #expect(
      try walked(["*", "!*.py"], .pathspec) == [
        "build", "build/deep", "build/deep/er", "build/deep/er/a.py", "src", "src/c.py",
      ])
    #expect(try walked(["*", "!empty/"], .pathspec) == ["build", "build/empty"])
    #expect(try walked(["!keep", "build/"], .pathspec) == others + below)
  }

  @Test func aPatternWithoutEffectIsRemarkedOnce() throws {
    let tree = try TestTree()
    for name in ["a", "a/build", "build"] { try tree.directory(name) }
    for name in ["a/build/keep", "build/keep"] { try tree.file(name) }
    func remarks(_ patterns: [String], _ meaning: IgnoreRules.Meaning = .git) throws -> [String] {
      var found: [String] = []
      _ = try tree.manifest {
        $0.walk.rules = IgnoreRules(meaning)
        for pattern in patterns { $0.walk.rules.add(pattern: Array(pattern.utf8)) }
        $0.remark = { remark in
          if case .ineffective(let pattern, let directory) = remark {
            found.append("\(RawPath(pattern).text) \(RawPath(directory).text)")
          }
        }
      }
      return found
    }
    #expect(try remarks(["build/", "!build/keep", "!keep"]) == ["!keep a/build", "!build/keep build"])
    #expect(try remarks(["build/", "!/other/keep"]) == [])
    #expect(try remarks(["!keep", "build/"]) == [])
    #expect(try remarks(["build/", "!keep"], .pathspec) == [])
    #expect(try remarks(["*.o", "!keep.o"]) == [])
  }

  @Test func aTaggedCacheKeepsItsTagAlone() throws {
    let tree = try TestTree()
    for name in ["cache", "plain"] { try tree.directory(name) }
    try tree.file("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\nmore")
    try tree.file("plain/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc5")
    for name in ["cache/x", "plain/x"] { try tree.file(name) }
    let manifest = try tree.manifest { $0.walk.excludesCaches = true }
    #expect(
      paths(manifest) == ["cache", "cache/CACHEDIR.TAG", "plain", "plain/CACHEDIR.TAG", "plain/x"])
  }

  @Test func linksAreNotFollowed() throws {
    let tree = try TestTree()
    try tree.directory("d")
    try tree.file("d/x")
    try tree.symlink("l", "d")
    try tree.symlink("up", "..")
    let manifest = try tree.manifest()
    #expect(paths(manifest) == ["d", "d/x", "l", "up"])
    #expect(entry(manifest, "up")?.linkTarget == Array("..".utf8))
  }

  @Test func whatIsNoFileIsRemarkedOrSilent() throws {
    let tree = try TestTree()
    let made = try unsafe tree.path.appending("fifo").withCString { path in
      unsafe mkfifo(path, 0o600)
    }
    #expect(made == 0)
    var remarks: [String] = []
    let manifest = try tree.manifest {
      $0.remark = { if case .skipped(_, let what) = $0 { remarks.append(what) } }
    }
    #expect(manifest.files.isEmpty && manifest.unreadable == [])
    #expect(remarks == ["a FIFO"])
  }

  @Test func laterNamesOfAFileAreHardLinksToTheFirst() throws {
    let tree = try TestTree()
    try tree.directory("d")
    try tree.file("m", "x")
    try tree.link("d/n", to: "m")
    try tree.link("z", to: "m")
    let manifest = try tree.manifest()
    #expect(entry(manifest, "d/n")?.hardLink == nil)
    #expect(entry(manifest, "m")?.hardLink == Array("d/n".utf8))
    #expect(entry(manifest, "z")?.hardLink == Array("d/n".utf8))
    #expect(entry(manifest, "z")?.sha256 == entry(manifest, "d/n")?.sha256)
  }

  @Test(arguments: [-1, -86_400 * 365 * 100, 0, 9_300_000_000])
  func timesOutsideOfTheUsualSurvive(seconds: Int) throws {
    let tree = try TestTree()
    try tree.file("f", "x")
    try tree.time("f", seconds: seconds, nanoseconds: 5)
    let kept = try #require(try tree.facts("f")).st_mtim
    let manifest = try tree.manifest()
    let archive = try seal(tree)
    let copy = try TestTree()
    try restore([archive.bytes], to: copy)
    #expect(try problems(manifest, copy) == [])
    if kept.tv_sec == seconds {
      #expect(entry(manifest, "f")?.mtime == FileTime(seconds: Int64(seconds), nanoseconds: 5))
    }
  }

  @Test func aDeepTreeIsWalkedPackedRestoredAndRemoved() throws {
    let tree = try TestTree()
    // Deep, but within the usual limit of descriptors, of which each level takes one.
    var parent = tree.root
    for _ in 0..<300 {
      try parent.makeDirectory(RawPath("d"))
      parent = try parent.open(RawPath("d"), O_RDONLY | O_DIRECTORY)
    }
    try parent.open(RawPath("f"), O_WRONLY | O_CREAT).write([1].span)
    let archive = try seal(tree)
    #expect(archive.manifest.files.count == 301 && archive.isComplete)
    let copy = try TestTree()
    try restore([archive.bytes], to: copy)
    #expect(try problems(archive.manifest, copy) == [])
  }

  @Test func hashesOnSeveralThreadsAreThoseOfOne() throws {
    let tree = try TestTree()
    for index in 0..<50 { try tree.file("f\(index)", String(repeating: "x", count: index * 100)) }
    let one = try tree.manifest { $0.threads = 1 }
    let four = try tree.manifest { $0.threads = 4 }
    #expect(one.files.indices.map { one.files[$0] } == four.files.indices.map { four.files[$0] })
  }

  @Test(arguments: [false, true]) func aThreadAheadFindsTheSame(hasPrevious: Bool) throws {
    let tree = try TestTree()
    for number in 0..<40 {
      let directory = "d\(number)"
      try tree.directory(directory)
      try tree.directory(directory + "/below")
      for file in 0..<(number * 3) { try tree.file("\(directory)/f\(file)") }
      try tree.file(directory + "/below/x.o")
      if number % 5 == 1 { try tree.link(directory + "/linked", to: directory + "/f1") }
      if number % 7 == 0 { try tree.symlink(directory + "/l", "..") }
    }
    try tree.file("d3/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55")
    let fifo = try unsafe tree.path.appending("d9/fifo").withCString { unsafe mkfifo($0, 0o600) }
    #expect(fifo == 0)
    let previous = hasPrevious ? try tree.manifest() : nil

    func walked(ahead: Bool) throws -> (Manifest, [String]) {
      var remarks: [String] = []
      let manifest = try tree.manifest {
        for pattern in ["/d5/", "*.o", "!/d5/f1"] { $0.walk.rules.add(pattern: Array(pattern.utf8)) }
        $0.walk.excludesCaches = true
        $0.walksAhead = ahead
        $0.previous = previous
        $0.remark = { remarks.append("\($0)") }
      }
      return (manifest, remarks)
    }
    let (one, remarks) = try walked(ahead: false)
    let (other, otherRemarks) = try walked(ahead: true)
    #expect(one.files.indices.map { one.files[$0] } == other.files.indices.map { other.files[$0] })
    #expect(one.files.count > 2000 && remarks.count == 2 && remarks == otherRemarks)
  }

  @Test func whatHasNotChangedIsNotReadAgain() throws {
    let tree = try TestTree()
    try tree.file("a", "one")
    try tree.file("b", "two")
    let old = try tree.manifest()
    try tree.file("b", "six")
    var read = 0
    let new = try tree.manifest {
      $0.previous = old
      $0.progress = { read += $0 }
    }
    #expect(read == 3)
    #expect(entry(new, "a")?.sha256 == entry(old, "a")?.sha256)
    #expect(entry(new, "b")?.sha256 != entry(old, "b")?.sha256)
  }
}
