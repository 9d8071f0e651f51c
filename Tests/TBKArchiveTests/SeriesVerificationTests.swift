import TBKArchive
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

/// One password, and no identities.
private final class OneRing: ArchiveKeys {
  let keys: KeyRing
  init(_ keys: KeyRing) { self.keys = keys }
  func ring() -> KeyRing { keys }
  let failure: Failure? = nil
  func key(of header: AgeHeader) throws(Failure) -> AgeFileKey { try header.unwrap([]) }
}

/// Many backups, verified in one pass.
@Suite struct SeriesVerificationTests {
  private let tree: TestTree
  private var archives: [TestArchive] = []

  init() throws {
    tree = try TestTree()
    try tree.file("a", "one")
    try tree.file("manifest.json", "a tree's own")
    archives.append(try seal(tree))
    for (name, content) in [("b", "two"), ("c", "three")] {
      try tree.file(name, content)
      let previous = archives[archives.count - 1].manifest
      archives.append(
        try seal(
          tree,
          try tree.manifest {
            $0.previous = previous
            $0.incremental = true
          }))
    }
  }

  private func id(_ number: Int) throws -> String { try #require(archives[number].manifest.backupID) }

  /// A frame for an archive, with the values of its ledger entry.
  private func link(
    _ number: Int, _ bytes: [UInt8]? = nil, dependents: Int? = nil, wanted: Bool = true,
    manifest: [UInt8]? = nil, gap: String? = nil, _ change: (inout JSON) -> Void = { _ in }
  ) throws -> [UInt8] {
    let list = archives[number].manifest
    var entry = JSON.object([
      "id": .string(try id(number)), "filename": .string("backup.tbk"),
      "sha256": .string(String(repeating: "0", count: 64)), "size": .number(1),
      "created_at": .string(list.createdAt), "file_count": .number(list.fileCount),
      "mode": .string(list.mode), "depends_on": .array(list.dependsOn.map { .string($0) }),
    ])
    if let gap { entry["presence"] = .object(["archive": .string(gap)]) }
    if let dependents {
      entry["sending"] = .object(["dependents": .number(dependents), "wanted": .bool(wanted)])
    }
    change(&entry)
    let line = entry.line()
    var frames = ChainFrame.entry(length: UInt64(line.count)).bytes + line
    if let manifest { frames += ChainFrame.manifest(length: UInt64(manifest.count)).bytes + manifest }
    let body = gap == nil ? bytes ?? archives[number].bytes : []
    return frames + ChainFrame.archive(length: UInt64(body.count)).bytes + body
  }

  private func verify(_ stream: [UInt8]) throws -> (verdicts: [SeriesVerification.Verdict], keys: KeyRing) {
    let ring = KeyRing(try password())
    let verification = SeriesVerification(
      limits: OpenLimits(), progress: { _ in }, keys: OneRing(ring))
    var verdicts: [SeriesVerification.Verdict] = []
    try verification.verify(MemorySource(stream)) { verdicts.append($0) }
    return (verdicts, ring)
  }

  private func damaged(_ number: Int) -> [UInt8] {
    var bytes = archives[number].bytes
    bytes[bytes.count - 1] ^= 1
    return bytes
  }

  @Test func allHoldWithOneDerivationForEachSalt() throws {
    let (verdicts, keys) = try verify(link(0) + link(1) + link(2))
    #expect(verdicts.map(\.kind) == [.ok, .ok, .ok] && keys.derivations == 3)
    #expect(try verdicts.map(\.id) == [id(0), id(1), id(2)])
    // The same salts again.
    let again = try verify(link(0) + link(1) + link(0) + link(1) + link(0))
    #expect(again.verdicts.count == 5 && again.keys.derivations == 2)
  }

  @Test func whatIsNeededForOthersAloneIsNotReported() throws {
    let stream =
      try link(0, dependents: 1, wanted: false) + link(1, dependents: 1, wanted: false)
      + link(2, dependents: 0)
    let verdicts = try verify(stream).verdicts
    #expect(try verdicts.map(\.id) == [id(2)] && verdicts[0].kind == .ok)
  }

  @Test func whatDependsOnADamagedOneIsNamedAsDepending() throws {
    let cases: [([UInt8], SeriesVerification.Verdict.Kind)] = [
      (try link(0, damaged(0)), .altered), (try link(0, gap: "missing"), .missing),
      (try link(0, gap: "damaged"), .corrupt),
    ]
    for (broken, kind) in cases {
      let verdicts = try verify(broken + link(1) + link(2)).verdicts
      #expect(verdicts.map(\.kind).dropFirst() == [.depends, .depends])
      #expect(try verdicts[1].lacking == [id(0)] && verdicts[2].lacking == [id(0)])
      #expect(verdicts[0].kind == kind)
    }
    // A damaged archive in the middle affects only the content that it contains.
    let verdicts = try verify(link(0) + link(1, damaged(1)) + link(2)).verdicts
    #expect(verdicts.map(\.kind) == [.ok, .altered, .depends])
    #expect(try verdicts[2].lacking == [id(1)])
    #expect(try verify(link(1) + link(2)).verdicts.map(\.kind) == [.depends, .depends])
  }

  /// A backup with the right id, but without the content that another one takes from it.
  @Test func contentIsLookedUpAndNotOnlyTheBackup() throws {
    let other = try TestTree()
    try other.file("a", "xxx")
    var list = try other.manifest()
    list.createdAt = archives[1].manifest.createdAt
    let stranger = try seal(other, list)
    var taken = archives[1].manifest
    for index in taken.files.indices where taken.files.storedIn(index) != nil {
      var entry = taken.files[index]
      entry.storedIn = stranger.manifest.backupID
      taken.files[index] = entry
    }
    taken.backupID = nil
    let liar = try seal(tree, taken)
    let verification = SeriesVerification(
      limits: OpenLimits(), progress: { _ in },
      keys: OneRing(KeyRing(try password())))
    var kinds: [SeriesVerification.Verdict.Kind] = []
    for archive in [stranger, liar] {
      let stream = ChainFrame.archive(length: UInt64(archive.bytes.count)).bytes + archive.bytes
      try verification.verify(MemorySource(stream)) { kinds.append($0.kind) }
    }
    #expect(kinds == [.ok, .depends])
  }

  @Test func aLieOfTheLedgerIsNamed() throws {
    let verdicts = try verify(link(0) { $0["file_count"] = .number(77) } + link(1)).verdicts
    #expect(verdicts[0].kind == .differs)
    #expect(verdicts[0].failure?.message.contains("file_count") == true)
  }

  @Test func sealedManifestsAreOpened() throws {
    let folder = try TestTree()
    let key = try SealingKey(password: try password(), cost: cheapCost)
    let path = folder.path.appending("sealed")
    try Sealing.manifest(archives[0].manifest, key: key, to: path)
    let sealed = try readFile(path, limit: 1 << 20)
    var broken = sealed
    broken[broken.count - 1] ^= 1
    func word(_ number: Int, _ manifest: [UInt8]?) throws -> BackupClaims.BackupPresenceWord? {
      try verify(link(number, manifest: manifest)).verdicts[0].manifest
    }
    #expect(try word(0, sealed) == .whole && word(0, broken) == .damaged)
    #expect(try word(0, []) == .missing && word(0, nil) == nil)
    #expect(try word(1, sealed) == .damaged, "another backup's")
    // It is not an archive.
    #expect(try verify(link(0, sealed)).verdicts[0].kind == .corrupt)
  }

  @Test func aStreamThatEndsEarlyIsNoAnswer() throws {
    let stream = try link(0) + link(1)
    for length in [stream.count - 1, stream.count - archives[1].bytes.count] {
      let verification = SeriesVerification(
        limits: OpenLimits(), progress: { _ in }, keys: OneRing(KeyRing(try password())))
      var kinds: [SeriesVerification.Verdict.Kind] = []
      let failure = #expect(throws: Failure.self) {
        try verification.verify(MemorySource(Array(stream[..<length]))) { kinds.append($0.kind) }
      }
      #expect(failure?.code == .truncated && kinds == [.ok])
    }
  }
}
