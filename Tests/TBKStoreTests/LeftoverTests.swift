import Glibc
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

/// Objects in a store that nothing names are removed, and no others.
struct LeftoverTests {
  /// Every object is older than this.
  private let anyAge: Int64 = -120

  /// Adds an object to a store without naming it in the ledger.
  private func strand(_ bytes: [UInt8], as path: ObjectPath, in store: any Store) throws {
    let ledger = try #require(try store.readLedger())
    let outcome = try store.commit(
      Commit(
        ledger: ledger.bytes, additions: [.init(path, try store.stage(bytes, in: path.folder))],
        summary: "strand"),
      over: ledger.version)
    guard case .committed = outcome else { throw Failure(.library, "not committed") }
  }

  private static let orphans = [
    path(.backups, "backup_aaaaaaaaaaaa.tbk"),
    path(.backups, "backup_0123456789ab-01234567.tbk"),
    path(.backups, "part_0123456789abcdef0123456789abcdef.tbk"),
    path(.manifests, "manifest_aaaaaaaaaaaa.tbk"),
  ]

  @Test(arguments: StoreKind.all) func whatALedgerNamesStays(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let session = try makeSession(try place.open(), home: nil)
    for seed in 1...3 {
      try session.pushArchive(seed, group: "g", manifest: try archive(100 + seed))
    }
    let before = try #require(try place.open().readLedger())
    #expect(try session.clean(dryRun: false, age: anyAge) == [])
    let store = try place.open()
    #expect(try store.readLedger()?.bytes == before.bytes)
    for entry in try Ledger(parsing: before.bytes).entries {
      #expect(try store.has(entry.archiveReference.path))
      #expect(try store.has(try #require(entry.manifestReference).path))
    }
  }

  @Test(arguments: StoreKind.all) func whatNothingNamesGoesAndTheLedgerStays(
    _ kind: StoreKind
  ) throws {
    let place = try kind.makePlace()
    let session = try makeSession(try place.open(), home: nil)
    try session.pushArchive(1)
    for orphan in LeftoverTests.orphans {
      try strand(Array(orphan.description.utf8), as: orphan, in: try place.open())
    }
    let before = try #require(try place.open().readLedger())
    let told = try session.clean(dryRun: true, age: anyAge)
    #expect(Set(told.map(\.name.text)) == Set(LeftoverTests.orphans.map(\.description)))
    #expect(told.allSatisfy { $0.kind == .object && $0.size == UInt64($0.name.bytes.count) })
    for orphan in LeftoverTests.orphans { #expect(try place.open().has(orphan)) }

    #expect(try session.clean(dryRun: false, age: anyAge) == told)
    let store = try place.open()
    for orphan in LeftoverTests.orphans { #expect(try !store.has(orphan)) }
    #expect(try store.readLedger()?.bytes == before.bytes)
    let entry = try #require(try Ledger(parsing: before.bytes).entries.first)
    #expect(try store.has(entry.archiveReference.path))
    #expect(try session.clean(dryRun: false, age: anyAge) == [])
    // The store can still be used.
    try session.pushArchive(2)
  }

  @Test(arguments: StoreKind.all) func nothingOfTheLastDayGoes(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let session = try makeSession(try place.open(), home: nil)
    try session.pushArchive(1)
    let orphan = LeftoverTests.orphans[0]
    try strand([1, 2, 3], as: orphan, in: try place.open())
    #expect(try session.clean(dryRun: false) == [])
    #expect(try session.clean(dryRun: false, age: 3600) == [])
    #expect(try place.open().has(orphan))
    #expect(LedgerSession.leftoverAge == 86_400)
  }

  @Test(arguments: StoreKind.all) func checksAndOthersFilesStay(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let session = try makeSession(try place.open(), home: nil)
    try session.pushArchive(1)
    let others = [
      path(.checks, "0123456789abcdef0123456789abcdef.tbk"), path(.checks, "backup_aaaaaaaaaaaa.tbk"),
      path(.backups, "notes.txt"), path(.backups, "backup_AAAAAAAAAAAA.tbk"),
      path(.backups, "new_backup_aaaaaaaaaaaa.tbk"), path(.backups, "manifest_aaaaaaaaaaaa.tbk"),
      path(.backups, "backup_aaaaaaaaaaaa.tbk.old"), path(.backups, "manifest_aaaaaaaaaaaa.json"),
      path(.manifests, "manifest_aaaaaaaaaaaaa.json"),
    ]
    for other in others { try strand([1], as: other, in: try place.open()) }
    #expect(try session.clean(dryRun: false, age: anyAge) == [])
    for other in others { #expect(try place.open().has(other), "\(other)") }
  }

  @Test(arguments: StoreKind.all) func anEmptyStoreHasNone(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let session = try makeSession(try place.open(), home: nil)
    #expect(try session.clean(dryRun: false, age: anyAge) == [])
  }

  @Test(arguments: StoreKind.all) func aLostRaceIsDecidedAnew(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    try makeSession(try place.open(), home: nil).pushArchive(1)
    try strand([1], as: LeftoverTests.orphans[0], in: try place.open())
    // The calls: the ledger, the listing, then the removal.
    let faulty = FaultyStore(try place.open(), .conflict, atCall: 2)
    let gone = try makeSession(faulty, home: nil).clean(dryRun: false, age: anyAge)
    #expect(faulty.hasFailed && gone.map(\.name.text) == [LeftoverTests.orphans[0].description])
    #expect(try !place.open().has(LeftoverTests.orphans[0]))
  }

  @Test(arguments: StoreKind.all) func manifestsInClearGoAtAnyAge(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    try makeSession(try place.open(), home: nil).pushArchive(1)
    let clear = ObjectPath(.manifests, ObjectName("manifest_0123456789ab.json")!)
    // Not a manifest of TermBackup 6, so it is left alone.
    let other = ObjectPath(.manifests, ObjectName("notes.json")!)
    for path in [clear, other] { try strand([1, 2, 3], as: path, in: try place.open()) }
    let found = try place.open().clearManifests()
    #expect(found.map(\.name.text) == [clear.description] && found.first?.size == 3)
    let gone = try makeSession(try place.open(), home: nil).clean(dryRun: false)
    #expect(gone.map(\.name.text) == [clear.description])
    #expect(try !place.open().has(clear) && place.open().has(other))
    #expect(try place.open().clearManifests().isEmpty)
  }

  @Test(arguments: StoreKind.all) func aLedgerThatHasMovedOnRemovesNothing(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let session = try makeSession(try place.open(), home: nil)
    try session.pushArchive(1)
    let orphan = LeftoverTests.orphans[0]
    try strand([1], as: orphan, in: try place.open())
    let store = try place.open()
    let old = try #require(try store.readLedger())
    let found = try store.leftovers(besides: NamedObjects(), age: anyAge)
    try makeSession(try place.open(), home: nil).pushArchive(2)
    #expect(try store.remove(found, over: old) == nil)
    #expect(try place.open().has(orphan))
  }

  @Test(arguments: StoreKind.all) func aSignedLedgerNeedsNoKey(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let pem = try SigningKey.generate().plainPEM().withBytes { Array($0) }
    let signer = try Signer(
      try SigningKey(parsing: pem.span) { () throws(Failure) in
        throw Failure(.library, "a key in clear has no password")
      })
    try makeSession(
      try place.open(), home: nil, keys: try LedgerKeys(trusted: [], signer: signer)
    ).pushArchive(1)
    try strand([1], as: LeftoverTests.orphans[0], in: try place.open())
    let before = try #require(try place.open().readLedger())
    #expect(try Ledger(parsing: before.bytes).signature != nil)
    let gone = try makeSession(try place.open(), home: nil).clean(dryRun: false, age: anyAge)
    #expect(gone.count == 1)
    #expect(try place.open().readLedger()?.bytes == before.bytes)
  }

  @Test(arguments: StoreKind.all) func aLedgerOfTermBackup6IsNotJudgedBy(_ kind: StoreKind) throws {
    let place = try kind.makePlace()
    let store = try place.open()
    let orphan = LeftoverTests.orphans[0]
    _ = try store.commit(
      Commit(
        ledger: Array(#"{"tool_version": "6.0", "backups": []}"#.utf8),
        additions: [.init(orphan, try store.stage([1]))], summary: "old"),
      over: nil)
    let session = try makeSession(try place.open(), home: nil)
    #expect(failure { _ = try session.clean(dryRun: false, age: anyAge) }?.code == .denied)
    #expect(try place.open().has(orphan))
  }

  // MARK: Directories

  @Test func temporaryFilesGoUnlessAWriterHoldsThem() throws {
    let place = try DirectoryPlace()
    let session = try place.session()
    try session.pushArchive(1)
    let abandoned = [".tbk-0123456789abcdef.tmp", "backups/.tbk-0123456789abcdef.tmp"]
    for name in abandoned { try AtomicFile.write([1], to: place.path.appending(name)) }
    let writer = try place.open().stage([1, 2, 3])
    let alive = try place.files().subtracting(abandoned)
    let gone = try session.clean(dryRun: false, age: anyAge)
    #expect(gone.map(\.name.text) == abandoned && gone.allSatisfy { $0.kind == .temporary })
    #expect(try place.files() == alive)
    withExtendedLifetime(writer) {}
  }

  @Test func onlyWhatIsGoneIsTold() throws {
    let place = try DirectoryPlace()
    try place.session().pushArchive(1)
    for seed in 1...2 { try AtomicFile.write([1], to: place.path.appending(".tbk-\(seed).tmp")) }
    let store = try place.open()
    let ledger = try #require(try store.readLedger())
    let found = try store.leftovers(besides: NamedObjects(), age: anyAge).filter {
      $0.kind == .temporary
    }
    let held = try Descriptor.workingDirectory.open(place.path.appending(".tbk-1.tmp"), O_RDWR)
    #expect(try found.count == 2 && FileLock.take(held))
    #expect(try store.remove(found, over: ledger)?.map(\.name.text) == [".tbk-2.tmp"])
  }

  @Test func noLinkIsFollowedOrRemoved() throws {
    let place = try DirectoryPlace()
    let session = try place.session()
    try session.pushArchive(1)
    let target = place.scratch["target"]
    try AtomicFile.write([1], to: target)
    let link = place.path.appending("backups/backup_aaaaaaaaaaaa.tbk")
    let made = unsafe symlink(target.text, link.text)
    #expect(made == 0)
    #expect(try session.clean(dryRun: false, age: anyAge) == [])
    #expect(try Descriptor.workingDirectory.statusIfPresent(of: link) != nil)
  }

  // MARK: GitHub

  @Test(.enabled(if: GitHubServer.canRun)) func assetsThatNothingNamesGo() throws {
    let place = try GitHubPlace(placement: .release)
    let session = try makeSession(try place.open(), home: nil)
    try session.pushArchive(1)
    let stranded = try place.open().stage(try archive(2))
    let head = try #require(try place.open().readLedger())
    let part = try #require(stranded.parts.first)
    let gone = try session.clean(dryRun: false, age: anyAge)
    #expect(gone.map(\.name.text) == ["\(part.place)/\(part.object.name)"])
    #expect(gone.first?.kind == .asset)
    // This made no commit.
    #expect(try place.open().readLedger()?.version == head.version)
    let entry = try #require(try Ledger(parsing: head.bytes).entries.first)
    let bytes = try place.open().open(entry.archiveReference).readAll(limit: 1 << 20, what: "it")
    #expect(try bytes == archive(1))
    #expect(try session.clean(dryRun: false, age: anyAge) == [])
  }

  @Test(.enabled(if: GitHubServer.canRun)) func assetsOfAnotherBranchStay() throws {
    let place = try GitHubPlace(placement: .release)
    let session = try makeSession(try place.open(), home: nil)
    try session.pushArchive(1)
    let other = try #require(GitHubRepository("\(place.repository.fullName)#other"))
    var context = StoreContext(
      userAgent: "termbackup/test", maximumWait: 30,
      token: { () throws(Failure) in try Secret(copying: Array(GitHubPlace.token.utf8).span) })
    context.placement = .release
    let elsewhere = try GitHubStore(other, context, root: place.server.root)
    try makeSession(elsewhere, home: nil).pushArchive(2)
    #expect(try session.clean(dryRun: false, age: anyAge) == [])
    let again = try makeSession(
      try GitHubStore(other, context, root: place.server.root), home: nil)
    #expect(try again.clean(dryRun: false, age: anyAge) == [])
  }
}
