import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

struct LedgerSessionTests {
  private let place: DirectoryPlace

  init() throws { place = try DirectoryPlace() }

  private func putLedger(_ text: String) throws {
    try AtomicFile.write(Array(text.utf8), to: place.path.appending("metadata.json"))
  }

  // MARK: Push

  @Test func theSameAgainIsDoneAlready() throws {
    let session = try place.session()
    let first = try session.pushArchive(1)
    let second = try session.pushArchive(1)
    #expect(!first.wasThere && second.wasThere && first.entry == second.entry)
    #expect(try session.snapshot().ledger?.identity?.sequence == 1)
  }

  @Test func theSameIdWithOtherBytesIs73() throws {
    let session = try place.session()
    try session.pushArchive(1)
    #expect(failure { try session.pushArchive(1, bytes: try archive(2)) }?.exitStatus == 73)
    #expect(try session.snapshot().entries.count == 1)
  }

  @Test func whatItDependsOnMustBeThere() throws {
    let session = try place.session()
    #expect(failure { try session.pushArchive(2, dependsOn: [try digest(1)]) }?.exitStatus == 75)
    try session.pushArchive(1)
    let entry = try session.pushArchive(2, dependsOn: [try digest(1)]).entry
    #expect(entry.dependsOn == [try digest(1)] && entry.mode == "incremental")
  }

  @Test func aFirstCommitMakesAnIdentity() throws {
    let session = try place.session()
    try session.pushArchive(1, group: "g")
    let one = try session.snapshot()
    try session.pushArchive(2)
    let two = try session.snapshot()
    #expect(one.ledger?.identity?.sequence == 1 && one.ledger?.identity?.history == [])
    #expect(two.ledger?.identity?.sequence == 2)
    #expect(two.ledger?.identity?.history == [try #require(one.hash)])
    #expect(two.ledger?.identity?.storeID == one.ledger?.identity?.storeID)
    #expect(one.entries.first?.group == GroupID("g"))
  }

  @Test func idsThatBeginAlikeGetDifferentNames() throws {
    let session = try place.session()
    let first = try session.pushArchive(1).entry
    var close = first.id.bytes
    close[31] ^= 1
    var backup = NewBackup(
      receipt: nil, archive: try session.store.stage(try archive(2)), archiveVersion: 2)
    backup.id = try #require(Digest(hex: close.hex))
    let second = try session.push(backup).entry
    #expect(second.filename != first.filename)
    #expect(try place.open().contents(second.archiveReference.path) == archive(2))
  }

  // MARK: Replace and remove

  @Test func aReplacementTakesAnotherNameAndTheOldGoes() throws {
    let session = try place.session()
    let old = try session.pushArchive(1, group: "g", manifest: try archive(10)).entry
    let store = session.store
    let signature = [UInt8](repeating: 9, count: 64)
    let new = try session.replace(
      old.id, archive: try store.stage(try archive(2)), archiveVersion: 2,
      manifest: try store.stage(try archive(11), in: .manifests), signature: signature
    ).entry
    #expect(
      new.filename.description == "backup_\(old.id.hex.prefix(12))-\(new.sha256.hex.prefix(8)).tbk")
    #expect(new.id == old.id && new.createdAt == old.createdAt && new.group == old.group)
    #expect(new.signature == signature)
    #expect(try store.contents(new.archiveReference.path) == archive(2))
    #expect(try store.contents(#require(new.manifestReference?.path)) == archive(11))
    #expect(try !store.has(old.archiveReference.path))
    #expect(try !store.has(#require(old.manifestReference?.path)))
    let again = try session.replace(
      old.id, archive: try store.stage(try archive(2)), archiveVersion: 2, manifest: nil,
      signature: signature)
    #expect(again.wasThere)
    // Then back to the first bytes.
    let back = try session.replace(
      old.id, archive: try store.stage(try archive(1)), archiveVersion: 2, manifest: nil,
      signature: nil
    ).entry
    #expect(try store.contents(back.archiveReference.path) == archive(1))
    #expect(back.signature == nil && back.manifest == new.manifest)
  }

  @Test func anotherBackupTakesThePlaceOfOneThatNothingNeeds() throws {
    let session = try place.session()
    let base = try session.pushArchive(1, group: "g").entry
    let old = try session.pushArchive(
      2, dependsOn: [base.id], group: "g", manifest: try archive(20)
    ).entry
    let last = try session.pushArchive(3, dependsOn: [base.id], group: "g").entry
    var backup = NewBackup(
      receipt: nil, archive: try session.store.stage(try archive(4)), archiveVersion: 2)
    let (stored, dependents) = try session.supersede(old.id, by: backup)
    #expect(dependents.isEmpty && !stored.wasThere)
    let entries = try session.snapshot().entries
    #expect(entries.map(\.id) == [base.id, stored.entry.id, last.id])
    #expect(stored.entry.group == old.group)
    #expect(try session.store.contents(stored.entry.archiveReference.path) == archive(4))
    #expect(try !session.store.has(old.archiveReference.path))
    #expect(try !session.store.has(#require(old.manifestReference?.path)))
    // A repetition after a lost response.
    backup.archive = try session.store.stage(try archive(4))
    #expect(try session.supersede(old.id, by: backup).stored.wasThere)
    backup.archive = try session.store.stage(try archive(5))
    backup.id = try digest(5)
    #expect(failure { _ = try session.supersede(old.id, by: backup) }?.exitStatus == 69)
  }

  @Test func whatOthersNeedStaysBesideItsSuccessor() throws {
    let session = try place.session()
    let old = try session.pushArchive(1).entry
    let last = try session.pushArchive(2, dependsOn: [old.id]).entry
    let backup = NewBackup(
      receipt: nil, archive: try session.store.stage(try archive(3)), archiveVersion: 2)
    let (stored, dependents) = try session.supersede(old.id, by: backup)
    #expect(dependents.map(\.id) == [last.id])
    #expect(try session.snapshot().entries.map(\.id) == [old.id, stored.entry.id, last.id])
    #expect(try session.store.contents(old.archiveReference.path) == archive(1))
  }

  @Test func anArchiveUnderAnotherPasswordRaisesTheKeyEpochAndTakesItsManifestAlong() throws {
    let session = try place.session()
    let old = try session.pushArchive(1, manifest: try archive(10)).entry
    let store = session.store
    #expect(try old.json["key_epoch"] == nil)
    for (number, epoch) in [(2, 1), (3, 2)] {
      let new = try session.replace(
        old.id, archive: try store.stage(try archive(number)), archiveVersion: 2,
        manifest: try store.stage(try archive(number + 10), in: .manifests), signature: nil,
        rekeyed: true
      ).entry
      #expect(try new.json["key_epoch"]?.integer() == epoch)
    }
    let found = failure {
      _ = try session.replace(
        old.id, archive: try store.stage(try archive(4)), archiveVersion: 2, manifest: nil,
        signature: nil, rekeyed: true)
    }
    #expect(found?.code == .cannotCreate)
    let same = try session.replace(
      old.id, archive: try store.stage(try archive(5)), archiveVersion: 2, manifest: nil,
      signature: nil
    ).entry
    #expect(try same.json["key_epoch"]?.integer() == 2)
  }

  @Test func anAgeFileForOthersGetsTheKeyEpochOfItsGroup() throws {
    let session = try place.session()
    let old = try session.pushArchive(1, manifest: try archive(10)).entry
    let store = session.store
    let new = try session.replace(
      old.id, archive: try store.stage(try archive(2)), archiveVersion: .age,
      manifest: try store.stage(try archive(12), in: .manifests), signature: nil, rekeyed: true
    ).entry
    // No identity was stored, so the epoch of the group does not change.
    #expect(try new.json["key_epoch"]?.integer() == 0)
    #expect(new.filename.description.hasSuffix(".age"))
  }

  @Test func replacingWhatIsNotThereIs69() throws {
    let session = try place.session()
    try session.pushArchive(1)
    let found = failure {
      _ = try session.replace(
        try digest(2), archive: try session.store.stage(try archive(2)), archiveVersion: 2,
        manifest: nil, signature: nil)
    }
    #expect(found?.exitStatus == 69)
  }

  @Test func aRemovalTakesEverythingOfIt() throws {
    let session = try place.session()
    try session.pushArchive(1, manifest: try archive(10))
    try session.pushArchive(2, manifest: try archive(11))
    #expect(try session.remove([try digest(1)]).map(\.id) == [try digest(1)])
    #expect(try session.snapshot().entries.map(\.id) == [try digest(2)])
    #expect(try place.files().count { $0.contains("/") } == 2)
    #expect(failure { _ = try session.remove([try digest(1)]) }?.exitStatus == 69)
  }

  @Test func whatIsNeededIsNotRemoved() throws {
    let session = try place.session()
    try session.pushArchive(1)
    try session.pushArchive(2, dependsOn: [try digest(1)])
    let refused = failure { _ = try session.remove([try digest(1)]) }
    #expect(refused?.exitStatus == 77)
    #expect(try session.snapshot().entries.count == 2)
    #expect(
      try place.open().contents(session.snapshot().entries[0].archiveReference.path) == archive(1))
    #expect(try session.remove([try digest(1), try digest(2)]).count == 2)
  }

  // MARK: Checks

  @Test func aCheckIsStoredOnce() throws {
    let session = try place.session()
    let group = try #require(GroupID("g"))
    func store(_ seed: Int, replacing: Bool = false) throws -> Bool {
      try session.storeObject(
        try session.store.stage(try archive(seed), in: .checks), as: .check, of: group, replacing: replacing)
    }
    #expect(try !store(1))
    #expect(try store(1))
    #expect(failure { _ = try store(2) }?.exitStatus == 73)
    let first = path(.checks, "g.tbk")
    #expect(try place.open().contents(first) == archive(1))
    #expect(try session.snapshot().ledger?.group(group)?.keyEpoch == 0)
    #expect(try !store(2, replacing: true))
    // It has a new name, and the previous one is removed.
    let pinned = try #require(try session.snapshot().ledger?.group(group))
    let second = ObjectPath(.checks, try #require(pinned.check).name)
    #expect(pinned.keyEpoch == 1 && second != first)
    #expect(try place.open().contents(second) == archive(2) && !place.open().has(first))
    func send() throws -> [UInt8] {
      let sink = MemorySink()
      let snapshot = try session.snapshot()
      let hash = try Retrieval(session.store, warn: { _ in }).send(.check, of: group, in: snapshot, to: sink)
      #expect(hash == pinned.check?.sha256)
      return sink.bytes
    }
    #expect(try send() == archive(2))
    try AtomicFile.write(try archive(1), to: place.path.appending(second.description))
    #expect(failure { _ = try send() }?.exitStatus == 65)
    try Descriptor.workingDirectory.unlink(place.path.appending(second.description))
    #expect(failure { _ = try send() }?.exitStatus == 66)
  }

  @Test func identitiesOfAGroupStandBesideItsCheck() throws {
    let session = try place.session()
    let group = try #require(GroupID("g"))
    func store(_ seed: Int, replacing: Bool = false, expected: Digest? = nil) throws -> Bool {
      try session.storeObject(
        try session.store.stage(try archive(seed), in: .keys), as: .identity, of: group,
        replacing: replacing, expected: expected)
    }
    _ = try session.storeObject(
      try session.store.stage(try archive(1), in: .checks), as: .check, of: group, replacing: false)
    #expect(try !store(2))
    #expect(try store(2))
    #expect(failure { _ = try store(3) }?.exitStatus == 73)
    let first = try #require(try session.snapshot().ledger?.group(group))
    let hash = try #require(first.identity).sha256
    #expect(first.identity?.name.description == "g-\(hash.hex.prefix(8)).age")
    #expect(first.keyEpoch == 0 && first.check != nil)
    #expect(failure { _ = try store(3, replacing: true, expected: try digest(9)) }?.exitStatus == 75)
    #expect(try !store(3, replacing: true, expected: hash))
    let second = try #require(try session.snapshot().ledger?.group(group))
    #expect(second.keyEpoch == 1 && second.check == first.check)
    #expect(try !place.open().has(ObjectPath(.keys, first.identity!.name)))
    let sink = MemorySink()
    let snapshot = try session.snapshot()
    let sent = try Retrieval(session.store, warn: { _ in }).send(.identity, of: group, in: snapshot, to: sink)
    #expect(try sent == second.identity?.sha256 && sink.bytes == archive(3))
    // The ledger names both, so neither is a leftover.
    #expect(try session.clean(dryRun: true, age: 0).isEmpty)
    #expect(
      try session.snapshot().named(in: .all).filter { $0.id == nil }.map(\.kind) == [.check, .identity])
  }

  @Test func aBackupNamesTheCheckThatWasOpenedAndNoOther() throws {
    let session = try place.session()
    let group = try #require(GroupID("g"))
    _ = try session.storeObject(
      try session.store.stage(try archive(1), in: .checks), as: .check, of: group, replacing: false)
    let opened = try #require(try session.snapshot().ledger?.group(group)?.check?.sha256)
    _ = try session.storeObject(
      try session.store.stage(try archive(2), in: .checks), as: .check, of: group, replacing: true)
    var backup = NewBackup(
      receipt: nil, archive: try session.store.stage(try archive(3)), archiveVersion: 2, group: group,
      groupCheck: opened)
    #expect(failure { _ = try session.push(backup) }?.exitStatus == 75)
    backup.groupCheck = try session.snapshot().ledger?.group(group)?.check?.sha256
    #expect(try session.push(backup).entry.keyEpoch == 1)
  }

  // MARK: Other ledgers

  @Test func aSignedLedgerIsNotChangedWithoutAKey() throws {
    let signed = """
      {"backups": [], "store_id": "00112233445566778899aabbccddeeff", "sequence": 1, "history": [],
       "ledger_signature": {"key": "\(String(repeating: "0a", count: 32))",
                            "signature": "\(String(repeating: "0b", count: 64))"}}
      """
    try putLedger(signed)
    #expect(failure { try place.session().pushArchive(1) }?.exitStatus == 77)
    #expect(try place.open().readLedger()?.bytes == Array(signed.utf8))
    #expect(try place.session().snapshot().ledger?.signature != nil)
  }

  @Test func termBackup6IsExtended() throws {
    let id = String(repeating: "ab", count: 32)
    try putLedger(
      """
      {"tool_version": "6.0", "repository": "me/backups", "created_at": "2024-05-01T10:00:00+00:00",
       "later": [1.50], "backups": [{"id": "\(id)", "filename": "backup_abababababab.tbk",
       "sha256": "\(id)", "commit_sha": "", "size": 5, "created_at": "2024-05-01T10:00:00+00:00",
       "file_count": 1, "verified": false, "verified_at": null, "archive_version": 2,
       "signature": null, "mine": 1e2}]}
      """)
    let session = try place.session()
    let old = try session.snapshot()
    #expect(old.ledger?.isTermBackup6 == true)
    try session.pushArchive(1)
    let new = try session.snapshot()
    #expect(new.entries.map(\.id.hex) == [id, try digest(1).hex])
    #expect(new.ledger?.identity?.history == [try #require(old.hash)])
    let text = String(decoding: new.bytes, as: UTF8.self)
    #expect(text.contains(#""later": [1.50]"#) && text.contains(#""mine":1e2"#))
    #expect(text.contains("me/backups"))
  }

  @Test func aDamagedLedgerIsNotOverwritten() throws {
    try place.session().pushArchive(1)
    try putLedger("{")
    #expect(failure { try place.session().pushArchive(2) }?.exitStatus == 65)
    #expect(try place.open().readLedger()?.bytes == Array("{".utf8))
  }
}

struct ReceiptTests {
  private let id = String(repeating: "ab", count: 32)

  private func text(_ changes: [String: JSON?] = [:]) -> [UInt8] {
    var json = JSON.object([
      "receipt": .number(1), "id": .string(id), "created_at": .string("2026-01-01T00:00:00+00:00"),
      "file_count": .number(3), "mode": .string("full"), "depends_on": .array([]),
      "complete": .bool(true),
    ])
    for (key, value) in changes { json[key] = value }
    return json.line()
  }

  @Test func isReadToTheField() throws {
    let other = String(repeating: "cd", count: 32)
    let receipt = try Receipt(
      parsing: text(["mode": .string("incremental"), "depends_on": .array([.string(other)])]))
    #expect(receipt.id.hex == id && receipt.fileCount == 3 && receipt.complete)
    #expect(receipt.mode == "incremental" && receipt.dependsOn.map(\.hex) == [other])
  }

  @Test(arguments: ["receipt", "id", "created_at", "file_count", "mode", "depends_on", "complete"])
  func everyMemberMatters(_ key: String) {
    for value in [nil, .null, .string("x"), .number(-1), .number(2), .array([.null])] as [JSON?] {
      if key == "file_count", value == .number(2) { continue }
      #expect(failure { _ = try Receipt(parsing: text([key: value])) }?.exitStatus == 65)
    }
  }

  @Test func itDoesNotDependOnItself() {
    #expect(
      failure { _ = try Receipt(parsing: text(["depends_on": .array([.string(id)])])) } != nil)
  }
}
