import TBKCore
import TBKCrypto
import TBKFormat
import TermBackup
import Testing

@Suite struct BackupTests {
  private func keys(_ store: TestStore, _ kind: TestStore.Kind) throws -> BackupKeys {
    switch kind {
    case .suite1, .suite3: return try BackupKeys(password: Array("correct horse".utf8).span)
    case .age, .armored:
      let text = try store.identityFile()
      return try BackupKeys(identities: text.span)
    }
  }

  private func expect(
    _ kind: ReadingError.Kind, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws(ReadingError) -> Void
  ) {
    do throws(ReadingError) {
      try body()
      Issue.record("nothing fails", sourceLocation: sourceLocation)
    } catch {
      #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: TestStore.Kind.allCases) func aBackupOfEveryKindIsRead(_ kind: TestStore.Kind) throws {
    let store = try TestStore()
    let large = Array(String(repeating: "line of text\n", count: 200_000).utf8)
    try store.write("a", Array("first\n".utf8))
    try store.write("empty", [])
    try store.write("large", large)
    let archive = try store.seal("archive", kind)
    let backup = try Backup(archives: archive, keys: try keys(store, kind))
    #expect(backup.id == store.manifests[0].backupID)
    #expect(backup.mode == "full" && backup.dependsOn == [])
    #expect(backup.sourceDirectory == store.tree.bytes)
    #expect(backup.entries.map(\.displayName) == ["a", "empty", "large"])
    let entry = try #require(backup.entry(at: "large"))
    #expect(entry.kind == .file && entry.size == UInt64(large.count))
    #expect(try entry.sha256 == SHA256.hash(large).bytes)
    // Repeatedly, and in any order.
    #expect(try backup.contents(of: entry) == large)
    for entry in backup.entries where entry.displayName == "a" {
      #expect(try backup.contents(of: entry) == Array("first\n".utf8))
    }
    let empty = try #require(backup.entry(at: "empty"))
    #expect(try backup.contents(of: empty) == [])
    var pieces = 0
    var bytes = 0
    try backup.read(entry) { piece in
      pieces += 1
      bytes += piece.count
      return true
    }
    #expect(bytes == large.count && pieces > 0)
    try backup.verify()
  }

  @Test func readingEndsWhereNoMoreIsWanted() throws {
    let store = try TestStore()
    try store.write("large", [UInt8](repeating: 7, count: 3_000_000))
    let backup = try Backup(archives: try store.seal("archive", .suite3), keys: try keys(store, .suite3))
    var pieces = 0
    try backup.read(backup.entries[0]) { _ in
      pieces += 1
      return false
    }
    #expect(pieces == 1)
  }

  @Test(arguments: [TestStore.Kind.suite1, .suite3]) func anIncrementIsReadOutOfItsArchives(
    _ kind: TestStore.Kind
  ) throws {
    let store = try TestStore()
    try store.write("a", Array("old".utf8))
    try store.write("b", Array("old b".utf8))
    let full = try store.seal("full", kind)
    try store.write("b", Array("newer b".utf8))
    let increment = try store.seal("increment", kind, isIncremental: true)
    let keys = try keys(store, kind)
    let backup = try Backup(archives: full, increment, keys: keys)
    #expect(backup.mode == "incremental" && backup.dependsOn == [store.manifests[0].backupID])
    let (a, b) = (try #require(backup.entry(at: "a")), try #require(backup.entry(at: "b")))
    #expect(try backup.contents(of: a) == Array("old".utf8))
    #expect(try backup.contents(of: b) == Array("newer b".utf8))
    try backup.verify()
    let alone = try Backup(archives: increment, keys: keys)
    #expect(try alone.contents(of: b) == Array("newer b".utf8))
    expect(.missing) { () throws(ReadingError) in _ = try alone.contents(of: a) }
    expect(.missing) { () throws(ReadingError) in try alone.verify() }
  }

  @Test func whatDoesNotOpenSaysWhy() throws {
    let store = try TestStore()
    try store.write("a", Array("content".utf8))
    let archive = try store.seal("archive", .suite3)
    let right = try keys(store, .suite3)
    let noIdentities: [UInt8] = [1, 2]
    let other = try BackupKeys(password: Array("another".utf8).span)
    expect(.wrongKey) { () throws(ReadingError) in _ = try Backup(archives: archive, keys: other) }
    let identities = try keys(store, .age)
    expect(.usage) { () throws(ReadingError) in _ = try Backup(archives: archive, keys: identities) }
    expect(.missing) { () throws(ReadingError) in _ = try Backup(archives: archive + "~", keys: right) }
    expect(.usage) { () throws(ReadingError) in _ = try Backup(archives: store.tree.text, keys: right) }
    expect(.usage) { () throws(ReadingError) in _ = try BackupKeys(password: [UInt8]().span) }
    expect(.damaged) { () throws(ReadingError) in _ = try BackupKeys(identities: noIdentities.span) }
    let cheap = try BackupKeys(password: Array("correct horse".utf8).span, memoryLimit: 63)
    expect(.damaged) { () throws(ReadingError) in _ = try Backup(archives: archive, keys: cheap) }
    var bytes = try store.read("archive")
    bytes[bytes.count - 1] ^= 1
    try store.write("altered", bytes, in: store.path)
    let altered = store.path.appending("altered").text
    expect(.damaged) { () throws(ReadingError) in _ = try Backup(archives: altered, keys: right) }
    // If the first chunk does not open, it was altered or the key is wrong; these cannot be distinguished.
    bytes = try store.read("archive")
    bytes[bytes.count / 2] ^= 1
    try store.write("other", bytes, in: store.path)
    let changed = store.path.appending("other").text
    expect(.wrongKey) { () throws(ReadingError) in _ = try Backup(archives: changed, keys: right) }
    try store.write("short", Array(bytes.dropLast(40)), in: store.path)
    let short = store.path.appending("short").text
    expect(.damaged) { () throws(ReadingError) in _ = try Backup(archives: short, keys: right) }
  }

  @Test func hintsAreForPrograms() throws {
    func hint(_ body: () throws(ReadingError) -> Void) -> String? {
      do throws(ReadingError) {
        try body()
        Issue.record("nothing fails")
        return nil
      } catch {
        return error.hint
      }
    }
    let store = try TestStore()
    try store.write("a", Array("old".utf8))
    _ = try store.seal("full", .suite3)
    try store.write("b", Array("new".utf8))
    let increment = try store.seal("increment", .suite3, isIncremental: true)
    let sealed = try store.seal("sealed", .age)
    let password = try keys(store, .suite3)
    let alone = try Backup(archives: increment, keys: password)
    #expect(hint { () throws(ReadingError) in try alone.verify() } == "give their archives, too")
    #expect(
      hint { () throws(ReadingError) in _ = try Backup(archives: sealed, keys: password) }
        == "make the keys of an identity file")
    let cheap = try BackupKeys(password: Array("correct horse".utf8).span, memoryLimit: 63)
    #expect(
      hint { () throws(ReadingError) in _ = try Backup(archives: increment, keys: cheap) }
        == "if you trust this archive, raise memoryLimit")
    let identity = try TestStore().identityFile()
    let other = try BackupKeys(identities: identity.span)
    #expect(
      hint { () throws(ReadingError) in _ = try Backup(archives: sealed, keys: other) }
        == "make the keys of the identity of one of its recipients")
  }

  @Test func whatIsNoFileOrTooLargeHasNoContents() throws {
    let store = try TestStore()
    try store.write("a", Array("content".utf8))
    try Descriptor.workingDirectory.makeDirectory(store.tree.appending("d"))
    let backup = try Backup(archives: try store.seal("archive", .suite1), keys: try keys(store, .suite1))
    let directory = try #require(backup.entry(at: "d"))
    #expect(directory.kind == .directory && directory.sha256 == nil)
    #expect(backup.entry(at: "e") == nil)
    expect(.usage) { () throws(ReadingError) in _ = try backup.contents(of: directory) }
    expect(.usage) { () throws(ReadingError) in _ = try backup.contents(of: backup.entries[0], limit: 6) }
    #expect(try backup.contents(of: backup.entries[0], limit: 7) == Array("content".utf8))
  }

  @Test func anIdentityFileUnderAPassphraseOpens() throws {
    let store = try TestStore()
    try store.write("a", Array("content".utf8))
    let archive = try store.seal("archive", .age)
    let passphrase = Array("phrase".utf8)
    let plain = try store.identityFile()
    let file = try AgeIdentityFile.encrypt(
      try Secret(copying: plain.span), passphrase: try Secret(copying: passphrase.span))
    let keys = try BackupKeys(identities: file.span, passphrase: passphrase.span)
    #expect(try Backup(archives: archive, keys: keys).entries.count == 1)
    let other: [UInt8] = [1]
    expect(.wrongKey) { () throws(ReadingError) in
      _ = try BackupKeys(identities: file.span, passphrase: other.span)
    }
  }
}

@Suite struct BackupManifestTests {
  /// The text of a manifest as in an archive.
  private func text(of manifest: Manifest) throws -> [UInt8] {
    let sink = MemorySink()
    try ManifestWriter.write(manifest, backupID: manifest.backupID, to: sink)
    return sink.bytes
  }

  @Test func aManifestIsReadWithoutItsArchive() throws {
    let store = try TestStore()
    try store.write("a", Array("content".utf8))
    try store.write("b", Array("old".utf8))
    _ = try store.seal("full", .suite3)
    try store.write("b", Array("newer".utf8))
    _ = try store.seal("increment", .suite3, isIncremental: true)
    let full = try #require(store.manifests[0].backupID)
    let manifest = try BackupManifest(parsing: try text(of: store.manifests[1]))
    try manifest.checkID()
    #expect(manifest.id == store.manifests[1].backupID && manifest.mode == "incremental")
    #expect(manifest.parentID == full && manifest.dependsOn == [full])
    #expect(manifest.backupHolding(Array("a".utf8)) == full && manifest.backupHolding(Array("b".utf8)) == nil)
    #expect(manifest.sourceDirectory == store.tree.bytes && manifest.root?.kind == .directory)
    #expect(manifest.entries.map(\.displayName) == ["a", "b"] && manifest.entries.entry(at: "b")?.size == 5)
    #expect(manifest.unreadable.isEmpty && manifest.entries.entry(at: "c") == nil)
  }

  @Test func anIDThatIsNotThatOfTheContentIsDamaged() throws {
    let store = try TestStore()
    try store.write("a", Array("content".utf8))
    _ = try store.seal("archive", .suite1)
    var manifest = store.manifests[0]
    manifest.mode = "incremental"
    let altered = try BackupManifest(parsing: try text(of: manifest))
    #expect(throws: ReadingError.self) { try altered.checkID() }
    manifest.backupID = nil
    let unsealed = try BackupManifest(parsing: try text(of: manifest))
    do throws(ReadingError) {
      try unsealed.checkID()
      Issue.record("nothing fails")
    } catch {
      #expect(error.kind == .usage)
    }
  }

  @Test func whatIsNoManifestIsDamaged() throws {
    let store = try TestStore()
    try store.write("a", Array("content".utf8))
    _ = try store.seal("archive", .suite1)
    let whole = try text(of: store.manifests[0])
    for bytes in [[], Array("[]".utf8), Array("{}".utf8), Array(whole.dropLast()), whole + whole] {
      do throws(ReadingError) {
        _ = try BackupManifest(parsing: bytes)
        Issue.record("nothing fails")
      } catch {
        #expect(error.kind == .damaged)
      }
    }
  }
}

@Suite struct StoreLedgerTests {
  private func entry(_ digit: String, _ dependsOn: String = "") -> String {
    let id = String(repeating: digit, count: 64)
    return """
      {"id":"\(id)","filename":"backup_\(id.prefix(12)).tbk","sha256":"\(id)","commit_sha":"","size":12,\
      "created_at":"2026-01-01T00:00:00+00:00","file_count":3,"verified":false,"verified_at":null,\
      "archive_version":2,"signature":null,"group":"g","mode":"\(dependsOn.isEmpty ? "full" : "incremental")",\
      "depends_on":[\(dependsOn)]}
      """
  }

  @Test func theBackupsOfAStoreAreListedWithTheirChains() throws {
    let (one, two) = (entry("1"), entry("2", "\"\(String(repeating: "1", count: 64))\""))
    let text = """
      {"tool_version":"7","repository":"x","created_at":"2026-01-01T00:00:00+00:00","backups":[\(one),\(two)]}
      """
    let ledger = try StoreLedger(parsing: Array(text.utf8))
    #expect(ledger.backups.map(\.filename) == ["backup_111111111111.tbk", "backup_222222222222.tbk"])
    #expect(ledger.backups[1].group == "g" && ledger.backups[1].size == 12 && !ledger.backups[1].isInParts)
    #expect(ledger.storeID == nil && ledger.sequence == nil && !ledger.isSigned)
    #expect(ledger.backups[0].sealedManifest == nil)
    #expect(ledger.chain(of: ledger.backups[0]).map(\.id.first) == ["1"])
    #expect(ledger.chain(of: ledger.backups[1]).map(\.id.first) == ["1", "2"])
  }

  @Test func whereABackupIsKeptIsRead() throws {
    let hash = String(repeating: "a", count: 64)
    let file = "\"size\":12,\"sha256\":\"\(hash)\""
    let more = """
      ,"manifest":{"filename":"manifest_1.tbk",\(file)},"parts":[{"name":"p1","place":"git",\(file)}]}
      """
    let text = """
      {"tool_version":"7","repository":"x","created_at":"2026-01-01T00:00:00+00:00",\
      "backups":[\(entry("1").dropLast() + more)],\
      "store_id":"\(String(repeating: "0", count: 32))","sequence":3,"history":["\(hash)","\(hash)"]}
      """
    let ledger = try StoreLedger(parsing: Array(text.utf8))
    #expect(ledger.storeID == String(repeating: "0", count: 32) && ledger.sequence == 3 && !ledger.isSigned)
    let backup = ledger.backups[0]
    #expect(backup.isInParts && backup.parts.map(\.name) == ["p1"] && backup.parts[0].size == 12)
    #expect(backup.sealedManifest?.name == "manifest_1.tbk" && backup.sealedManifest?.sha256.count == 32)
  }

  @Test(arguments: ["", "[]", "{\"backups\":1}", "{"]) func whatIsNoLedgerIsDamaged(text: String) {
    #expect(throws: ReadingError.self) { try StoreLedger(parsing: Array(text.utf8)) }
  }
}
