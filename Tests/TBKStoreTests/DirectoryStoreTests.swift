import Glibc
import TBKCore
import TBKFormat
import Testing

@testable import TBKStore

private func write(_ path: RawPath, _ bytes: [UInt8] = [1]) throws {
  try AtomicFile.write(bytes, to: path)
}

private func mode(_ path: RawPath) throws -> UInt32 {
  try #require(try Descriptor.workingDirectory.statusIfPresent(of: path)).st_mode & 0o7777
}

private func symlink(_ target: RawPath, at path: RawPath) throws {
  let result = try unsafe target.withCString { (target) throws(Failure) in
    try unsafe path.withCString { (path) throws(Failure) in unsafe Glibc.symlink(target, path) }
  }
  #expect(result == 0)
}

private func makeOld(_ path: RawPath, seconds: Int) throws {
  let then = timespec(tv_sec: time(nil) - seconds, tv_nsec: 0)
  let result = try unsafe path.withCString { (path) throws(Failure) in
    unsafe utimensat(AT_FDCWD, path, [then, then], 0)
  }
  #expect(result == 0)
}

struct DirectoryStoreTests {
  private let place: DirectoryPlace

  init() throws { place = try DirectoryPlace() }

  @Test func aDirectoryThatIsNotThereIsNoNewStore() throws {
    let found = failure { _ = try DirectoryStore(place.scratch["absent"]) }
    #expect(found?.exitStatus == 69)
    #expect(try Descriptor.workingDirectory.statusIfPresent(of: place.scratch["absent"]) == nil)
  }

  @Test func aFileIsNoStore() throws {
    try write(place.scratch["file"])
    #expect(failure { _ = try DirectoryStore(place.scratch["file"]) } != nil)
  }

  @Test func somebodysDirectoryIsNotMadeAStore() throws {
    try write(place.path.appending("letter.txt"))
    let store = try place.open()
    #expect(failure { _ = try store.readLedger() }?.exitStatus == 69)
    #expect(failure { _ = try store.stage([1]) }?.exitStatus == 69)
    let commit = Commit(ledger: [1], summary: "x")
    #expect(failure { _ = try store.commit(commit, over: nil) }?.exitStatus == 69)
    #expect(try place.files().subtracting([".tbk-lock"]) == ["letter.txt"])
  }

  @Test func leftoversOfOursDoNotMakeItForeign() throws {
    try write(place.path.appending(".tbk-0123456789abcdef.tmp"))
    try write(place.path.appending(".tbk-lock"))
    for name in ["backups", "lost+found"] {
      try Descriptor.workingDirectory.makeDirectory(place.path.appending(name))
    }
    try place.session().pushArchive(1)
    #expect(try place.session().snapshot().entries.count == 1)
  }

  @Test func aStoreThatLostItsLedgerGetsNoNewOne() throws {
    try place.session().pushArchive(1)
    try Descriptor.workingDirectory.unlink(place.path.appending("metadata.json"))
    let session = try makeSession(try place.open(), home: place.scratch["another-machine"])
    #expect(failure { try session.pushArchive(2) }?.exitStatus == 65)
    #expect(try place.files().contains("backups/backup_\(digest(1).hex.prefix(12)).tbk"))
  }

  @Test func everythingIsForTheOwnerAlone() throws {
    try place.session().pushArchive(1, manifest: try archive(2))
    for folder in ["backups", "manifests"] {
      #expect(try mode(place.path.appending(folder)) == 0o700)
    }
    for file in try place.files() { #expect(try mode(place.path.appending(file)) == 0o600) }
  }

  @Test func afterACommitNothingTemporaryIsLeft() throws {
    let session = try place.session()
    for seed in 0..<3 { try session.pushArchive(seed, manifest: try archive(seed + 100)) }
    #expect(try !place.files().contains { $0.hasSuffix(".tmp") || $0.contains("journal") })
  }

  @Test func whatIsDroppedGoesAway() throws {
    try place.session().pushArchive(1)
    let before = try place.files()
    do {
      let staged = try place.open().stage([1, 2, 3])
      #expect(try place.files().count == before.count + 1)
      withExtendedLifetime(staged) {}
    }
    #expect(try place.files() == before)
  }

  @Test func oldLeftoversGoAndLivingOnesStay() throws {
    let session = try place.session()
    try session.pushArchive(1)
    let names = [
      "backups/.tbk-00.tmp", ".tbk-01.tmp", "manifests/.tbk-02.tmp", "backups/.tbk-03.tmp",
    ]
    try Descriptor.workingDirectory.makeDirectory(place.path.appending("manifests"))
    for name in names { try write(place.path.appending(name)) }
    for name in names.prefix(3) { try makeOld(place.path.appending(name), seconds: 90_000) }
    let held = try Descriptor.workingDirectory.open(place.path.appending(names[2]), O_RDWR)
    #expect(try FileLock.take(held))
    try session.pushArchive(2)
    let left = try place.files().filter { $0.hasSuffix(".tmp") }
    #expect(left == [names[2], names[3]])
    withExtendedLifetime(held) {}
  }

  @Test func aLockThatIsHeldIsWaitedForAndThenItIs75() throws {
    try place.session().pushArchive(1)
    let root = try Descriptor.workingDirectory.open(place.path, O_RDONLY | O_DIRECTORY)
    let lock = try FileLock(DirectoryStore.lockName, in: root, maximumWait: 0, what: "it")
    let store = try DirectoryStore(place.path, maximumWait: 0)
    let version = try store.readLedger()?.version
    let commit = Commit(ledger: Array("{\"backups\": []}".utf8), summary: "x")
    #expect(failure { _ = try store.commit(commit, over: version) }?.exitStatus == 75)
    lock.release()
    #expect(failure { _ = try store.commit(commit, over: version) } == nil)
  }

  // MARK: Links

  @Test(arguments: ["backups", "manifests", "metadata.json", ".tbk-lock", ".tbk-journal"])
  func aLinkOutOfTheStoreIsNotFollowed(_ name: String) throws {
    try place.session().pushArchive(1, manifest: try archive(3))
    let outside = place.scratch["outside"]
    let old = place.path.appending(name)
    if try Descriptor.workingDirectory.statusIfPresent(of: old) != nil {
      try Descriptor.workingDirectory.rename(old, to: .workingDirectory, outside)
    } else {
      try write(outside)
    }
    try symlink(outside, at: old)
    #expect(failure { try place.session().pushArchive(2, manifest: try archive(4)) } != nil)
    if name == "backups" {
      let opened = failure { _ = try place.open().has(path(.backups, "x")) }
      #expect(opened?.exitStatus == 65)
    }
  }

  @Test func objectsThatAreNoFilesAreNotOpened() throws {
    try place.session().pushArchive(1)
    let folder = place.path.appending("backups")
    try symlink(RawPath("/etc/passwd"), at: folder.appending("link"))
    try Descriptor.workingDirectory.makeDirectory(folder.appending("folder"))
    let made = try unsafe folder.appending("pipe").withCString { (path) throws(Failure) in
      unsafe mkfifo(path, 0o600)
    }
    #expect(made == 0)
    for name in ["link", "folder", "pipe"] {
      #expect(failure { _ = try place.open().contents(path(.backups, name)) }?.exitStatus == 65)
    }
  }

  // MARK: The journal

  @Test func whatAKilledCommitPlacedIsRemovedUnlessTheLedgerHasIt() throws {
    let session = try place.session()
    try session.pushArchive(1)
    let kept = try #require(try session.snapshot().entries.first).filename
    try write(place.path.appending("backups/orphan.tbk"))
    try write(place.path.appending("backups/stranger.tbk"))
    try write(
      place.path.appending(".tbk-journal"),
      Array(
        """
        backups/orphan.tbk
        backups/\(kept)
        manifests/absent.tbk
        ../../outside
        checks/x.tbk
        nonsense

        """.utf8))
    try session.pushArchive(2)
    let files = try place.files()
    #expect(!files.contains("backups/orphan.tbk") && !files.contains(".tbk-journal"))
    #expect(files.contains("backups/\(kept)") && files.contains("backups/stranger.tbk"))
  }

  /// Leftovers of a killed first commit cannot be distinguished from a store that lost its ledger.
  @Test func withoutALedgerTheJournalRemovesNothing() throws {
    let first = "backups/backup_\(try digest(1).hex.prefix(12)).tbk"
    try place.session().pushArchive(1)
    try Descriptor.workingDirectory.unlink(place.path.appending("metadata.json"))
    try write(place.path.appending(".tbk-journal"), Array("\(first)\n".utf8))
    try place.elsewhere().pushArchive(2)
    #expect(try place.files().contains(first))
    #expect(try place.elsewhere().clean(dryRun: false, age: -120).map(\.name.text) == [first])
  }

  @Test func whatAJournalDoesNotNameIsALostStore() throws {
    try place.session().pushArchive(1)
    try place.session().pushArchive(2)
    try Descriptor.workingDirectory.unlink(place.path.appending("metadata.json"))
    let before = try place.files()
    let named = "backups/backup_\(try digest(2).hex.prefix(12)).tbk"
    try write(place.path.appending(".tbk-journal"), Array("\(named)\n".utf8))
    #expect(failure { try place.elsewhere().pushArchive(3) }?.exitStatus == 65)
    #expect(try place.files() == before.union([".tbk-journal"]))
  }

  /// Two first commits are killed in turn: neither blocks a third.
  @Test func aStoreMayBeBegunAgainAndAgain() throws {
    var names: [String] = []
    for seed in 1...2 {
      try place.elsewhere().pushArchive(seed)
      names.append("backups/backup_\(try digest(seed).hex.prefix(12)).tbk")
      // As if the commit was killed before it wrote the ledger.
      try Descriptor.workingDirectory.unlink(place.path.appending("metadata.json"))
      let kept = names.dropLast().map { "kept/\($0)\n" }.joined()
      try write(
        place.path.appending(".tbk-journal"), Array("\(names[seed - 1])\n\(kept)".utf8))
    }
    try place.elsewhere().pushArchive(3)
    try place.elsewhere().pushArchive(4)
    #expect(try place.files().isSuperset(of: names))
  }

  @Test func aNameThatAStrangerHasIsAvoided() throws {
    let session = try place.session()
    try session.pushArchive(1)
    let stem = "backup_\(try digest(2).hex.prefix(12))"
    try write(place.path.appending("backups/\(stem).tbk"), [7])
    let stored = try session.pushArchive(2)
    #expect(stored.entry.filename.description == "\(stem)-\(stored.entry.sha256.hex.prefix(8)).tbk")
    #expect(try place.open().contents(path(.backups, "\(stem).tbk")) == [7])
    #expect(try place.open().contents(stored.entry.archiveReference.path) == archive(2))
  }
}

struct StoreAddressTests {
  @Test(arguments: [
    ("/a/b", "/a/b"), ("./a", "./a"), ("a", "a"), ("a/b:c", "a/b:c"), ("file:///a%20b", "/a b"),
    ("A:b", "A:b"), (":a", ":a"), ("./github:x", "./github:x"),
  ])
  func directories(_ operand: String, _ expected: String) throws {
    #expect(try StoreAddress(RawPath(operand)) == .directory(RawPath(expected)))
  }

  @Test(arguments: [
    ("", 64), ("file:a", 64), ("file://host/a", 64), ("file:///a%2", 64), ("file:///a%00", 64),
    ("github:me", 64), ("github:me/x/y", 64), ("github:", 64), ("s3:", 64), ("s3:a\nb", 64),
    ("https://github.com/me/x", 64), ("git@github.com:me/x.git", 64),
  ])
  func others(_ operand: String, _ status: Int32) {
    #expect(failure { _ = try StoreAddress(RawPath(operand)) }?.exitStatus == status)
  }

  @Test func onePlaceHasOneCanonicalAddress() throws {
    let scratch = try Scratch()
    let store = try scratch.makeDirectory("store")
    try symlink(store, at: scratch["link"])
    let plain = try StoreAddress(store).canonical
    #expect(try StoreAddress(scratch["link"]).canonical == plain)
    #expect(try StoreAddress(scratch["x/../store/."]).canonical != plain)
    _ = try scratch.makeDirectory("x")
    #expect(try StoreAddress(scratch["x/../store/."]).canonical == plain)
    #expect(try StoreAddress(RawPath("file://" + store.text)).canonical == plain)
  }
}
