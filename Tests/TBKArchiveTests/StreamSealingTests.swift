import TBKArchive
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

/// A password and an identity.
private final class TestKeys: ArchiveKeys {
  private let identity: AgeIdentity?
  private let text: String
  let failure: Failure? = nil

  init(_ identity: AgeIdentity? = nil, password text: String = "correct horse") {
    self.identity = identity
    self.text = text
  }

  func ring() throws(Failure) -> KeyRing { KeyRing(try password(text)) }

  func key(of header: AgeHeader) throws(Failure) -> AgeFileKey {
    try header.unwrap(identity.map { [$0] } ?? [])
  }
}

@Suite struct StreamSealingTests {
  private struct Sealed {
    let archive: [UInt8]
    let manifest: [UInt8]
    let backup: StreamedBackup
  }

  enum Kind: CaseIterable { case suite3, age, armored }

  private func sample() throws -> TestTree {
    let tree = try TestTree()
    try tree.file("a", "first\n")
    try tree.file("empty", "")
    try tree.directory("d")
    try tree.file("d/large", String(repeating: "content \u{1F600} ", count: 700_000))
    try tree.file("manifest.json", "mine\n")
    try tree.link("z", to: "a")
    return tree
  }

  private func seal(
    _ tree: TestTree, _ kind: Kind, _ identity: AgeIdentity, threads: Int = 2, level: Int = 1
  ) throws -> Sealed {
    let encryption: StreamSealing.Encryption =
      switch kind {
      case .suite3: .password(try SealingKey(password: try password(), cost: cheapCost))
      case .age: .recipients([identity.recipient], armored: false)
      case .armored: .recipients([identity.recipient], armored: true)
      }
    let (archive, manifest) = (MemorySink(), MemorySink())
    let backup = try Sealing.tree(
      try tree.manifest(), root: tree.root,
      sealing: StreamSealing(encryption, level: level, threads: threads),
      sealedManifest: manifest, into: archive, begin: { _ in }, progress: { _ in }, report: { _ in })
    return Sealed(archive: archive.bytes, manifest: manifest.bytes, backup: backup)
  }

  /// Opens bytes as a stream or as a file.
  private func open(
    _ bytes: [UInt8], _ keys: TestKeys, asFile: Bool
  ) throws -> any OpenedArchive {
    let opener = ArchiveOpener(keys, limits: OpenLimits())
    guard asFile else {
      return try opener.open(stream: PeekingSource(MemorySource(bytes)), isFramed: true)
    }
    let file = try TemporaryFile.anonymous()
    try file.write(bytes.span)
    return try opener.open(file: file, start: 0)
  }

  private func reader(_ archive: any OpenedArchive) throws -> BackupReader {
    var rest: (any OpenedArchive)? = archive
    return try BackupReader(progress: { _ in }, warn: { _ in }) { (_) throws(Failure) in rest.take() }
  }

  @Test(arguments: Kind.allCases, [false, true]) func whatIsSealedComesBack(
    _ kind: Kind, asFile: Bool
  ) throws {
    let (tree, identity) = (try sample(), try AgeIdentity.generate())
    let sealed = try seal(tree, kind, identity)
    #expect(sealed.backup.isComplete && sealed.backup.archiveLength == UInt64(sealed.archive.count))
    #expect(try sealed.backup.sha256 == SHA256.hash(sealed.archive))
    let keys = TestKeys(identity)
    // Everything is read, and each offset is that of the content.
    let verified = try reader(try open(sealed.archive, keys, asFile: asFile)).verifyAll()
    #expect(verified.id == sealed.backup.manifest.backupID)
    let files = verified.manifest.files
    for index in files.indices {
      let hasContent = files[index].carriesContent && files.size(index) > 0
      #expect((files.offset(index) != nil) == hasContent, "\(files.path(index))")
    }
    let out = try TestTree()
    let summary = try reader(try open(sealed.archive, keys, asFile: asFile))
      .restore(to: out.root, destinationIsNew: true, RestoreOptions())
    #expect(summary.isExact && summary.files == 5)
    #expect(try out.content("d/large") == tree.content("d/large"))
    #expect(try out.content("manifest.json") == "mine\n" && out.inode("z") == out.inode("a"))
    let part = try TestTree()
    var options = RestoreOptions()
    options.include.add(pattern: Array("a".utf8))
    _ = try reader(try open(sealed.archive, keys, asFile: asFile))
      .restore(to: part.root, destinationIsNew: true, options)
    #expect(try part.names == ["a"] && part.content("a") == "first\n")
  }

  @Test(arguments: Kind.allCases) func theManifestIsSealedAlong(_ kind: Kind) throws {
    let (tree, identity) = (try sample(), try AgeIdentity.generate())
    let sealed = try seal(tree, kind, identity)
    for asFile in [false, true] {
      let keys = TestKeys(identity)
      let alone = try reader(try open(sealed.manifest, keys, asFile: asFile))
      let verified = try alone.manifest()
      #expect(verified.isAlone && verified.id == sealed.backup.manifest.backupID)
      #expect(throws: Failure.self) {
        try self.reader(try self.open(sealed.manifest, keys, asFile: asFile)).verifyAll()
      }
    }
  }

  @Test func theTarDependsOnTheTreeAlone() throws {
    let (tree, identity) = (try sample(), try AgeIdentity.generate())
    func payload(_ threads: Int) throws -> [UInt8] {
      let sealed = try seal(tree, .age, identity, threads: threads)
      let sink = MemorySink()
      try open(sealed.archive, TestKeys(identity), asFile: false).replay(into: sink)
      return sink.bytes
    }
    func content(_ payload: [UInt8]) throws -> ArraySlice<UInt8> {
      let length = Int(try SeekTable.length(byFooter: payload.span.extracting((payload.count - 9)...)))
      let table = try SeekTable(parsing: payload.span.extracting((payload.count - length)...))
      #expect(table.count > 3)
      // All except the manifest, which has a nonce: its frame and the locator.
      return payload.prefix(Int(table.frame(table.count - 2).position))
    }
    #expect(try content(payload(1)) == content(payload(3)))
  }

  @Test func aSealThatFailsHasNoEnd() throws {
    let (tree, identity) = (try sample(), try AgeIdentity.generate())
    let whole = try seal(tree, .suite3, identity).archive.count
    // Each manifest has its own nonce and time, so the lengths differ a little.
    for limit in [10, 100, whole / 3, whole / 2, whole * 3 / 4] {
      let sink = MemorySink(limit: limit)
      #expect(throws: Failure.self) {
        try Sealing.tree(
          try tree.manifest(), root: tree.root,
          sealing: StreamSealing(
            .password(try SealingKey(password: try password(), cost: cheapCost)), level: 1, threads: 2),
          into: sink, begin: { _ in }, progress: { _ in }, report: { _ in })
      }
      #expect(throws: Failure.self) {
        try self.reader(try self.open(sink.bytes, TestKeys(), asFile: false)).verifyAll()
      }
    }
  }

  @Test(arguments: [0, 1, 511, 512, (1 << 20) - 1, 1 << 20, (4 << 20) + 1]) func aStreamIsOneFile(
    _ size: Int
  ) throws {
    let identity = try AgeIdentity.generate()
    let data = [UInt8]((0..<size).map { UInt8(truncatingIfNeeded: $0 / 7) })
    let (archive, manifest) = (MemorySink(), MemorySink())
    let backup = try Sealing.stream(
      MemorySource(data), name: RawPath("dump"), group: nil,
      sealing: StreamSealing(.recipients([identity.recipient], armored: false), level: 1, threads: 2),
      sealedManifest: manifest, into: archive, progress: { _ in }, ended: {})
    #expect(backup.contentLength == UInt64(size))
    let keys = TestKeys(identity)
    for asFile in [false, true] {
      let verified = try reader(try open(archive.bytes, keys, asFile: asFile)).verifyAll()
      #expect((verified.manifest.files.offset(0) != nil) == (size > 0))
      let out = try TestTree()
      var options = RestoreOptions()
      options.include.add(pattern: Array("dump".utf8))
      _ = try reader(try open(archive.bytes, keys, asFile: asFile))
        .restore(to: out.root, destinationIsNew: true, options)
      #expect(try Array(out.content("dump").utf8) == Array(String(decoding: data, as: UTF8.self).utf8))
    }
    #expect(try reader(try open(manifest.bytes, keys, asFile: true)).manifest().isAlone)
  }

  @Test func aStreamThatFailsHasNoEnd() throws {
    let key = try SealingKey(password: try password(), cost: cheapCost)
    for size in [100, 5 << 20] {
      let sink = MemorySink()
      #expect(throws: Failure(.io, "no")) {
        try Sealing.stream(
          MemorySource([UInt8](repeating: 7, count: size)), name: RawPath("dump"), group: nil,
          sealing: StreamSealing(.password(key), threads: 1), into: sink, progress: { _ in },
          ended: { () throws(Failure) in throw Failure(.io, "no") })
      }
      #expect(throws: Failure.self) {
        try self.reader(try self.open(sink.bytes, TestKeys(), asFile: false)).verifyAll()
      }
    }
  }

  /// Salt and costs are taken from the check if its costs are at least those requested.
  @Test func aSaltIsSharedUnderTheSamePasswordAlone() throws {
    func front(_ bytes: [UInt8]) throws -> ChunkedHeader { try ChunkedHeader(parsing: bytes.span) }
    func seal(_ key: SealingKey) throws -> [UInt8] {
      let sink = MemorySink()
      _ = try Sealing.stream(
        MemorySource([1]), name: RawPath("check"), group: nil,
        sealing: StreamSealing(.password(key), threads: 1), into: sink, progress: { _ in }, ended: {})
      return sink.bytes
    }
    let check = try seal(try SealingKey(password: try password(), cost: cheapCost))
    func shared(_ cost: Argon2Cost, _ password: borrowing Secret) throws -> [UInt8] {
      try seal(try SealingKey.sharing(MemorySource(check), password: password, cost: cost))
    }
    let same = try shared(cheapCost, try password())
    #expect(try front(same) == front(check))
    #expect(same[..<200] != check[..<200], "the salt of the message is another")
    #expect(try front(shared(Argon2Cost(memory: 128, passes: 1, lanes: 1), try password())).salt != front(check).salt)
    #expect(throws: Failure.self) { try shared(cheapCost, try password("wrong")) }
  }
}
