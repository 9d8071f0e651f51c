import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

/// A machine with its own key.
private final class Machine: Sendable {
  let name: String
  private let pem: [UInt8]
  let key: VerifyingKey

  init(_ name: String) throws {
    let key = try SigningKey.generate()
    let text = try key.plainPEM()
    self.name = name
    self.key = key.verifyingKey
    pem = text.withBytes { Array($0) }
  }

  private func signer() throws -> Signer {
    let pem = pem
    return try Signer(
      try SigningKey(parsing: pem.span) { () throws(Failure) in
        throw Failure(.library, "a key in clear has no password")
      })
  }

  /// The keys to sign with, trusting `others` as well.
  func keys(trusting others: [Machine] = []) throws -> LedgerKeys {
    try LedgerKeys(trusted: others.map(\.key), signer: try signer())
  }

  /// The keys to trust this machine, without signing.
  var publicKeys: LedgerKeys { get throws { try LedgerKeys(trusted: [key]) } }
}

struct SignedLedgerTests {
  private let place: DirectoryPlace
  private let ada: Machine

  init() throws {
    place = try DirectoryPlace()
    ada = try Machine("ada")
  }

  private var ledger: RawPath { place.path.appending("metadata.json") }

  private func change(_ body: (inout JSON) throws -> Void) throws {
    var json = try JSON.parse(try readFile(ledger, limit: 1 << 20), what: "ledger")
    try body(&json)
    try AtomicFile.write(json.pretty(), to: ledger)
  }

  private func push(_ seeds: Range<Int>) throws {
    for seed in seeds { try place.session(keys: ada.keys()).pushArchive(seed) }
  }

  /// How a machine that has never seen the store judges the ledger.
  private func look(_ keys: LedgerKeys? = nil) throws -> LedgerTrust {
    let home = "new \(uniqueSuffix())"
    return try place.session(keys: try keys ?? ada.publicKeys, home: home).snapshot().trust
  }

  // MARK: Judging

  @Test func aSignatureByATrustedKeyIsVerified() throws {
    try push(0..<3)
    let fingerprint = try ada.key.fingerprint
    #expect(try look() == .verified(fingerprint))
    #expect(try look(ada.keys()) == .verified(fingerprint))
    #expect(try place.session(keys: ada.keys()).snapshot().entries.count == 3)
  }

  @Test func whatIsNotSignedIsSaidToBeSo() throws {
    try place.session().pushArchive(0)
    #expect(try look() == .unsigned)
    #expect(try look(LedgerKeys()) == .unsigned)
  }

  @Test func anEmptyStoreIsNotSigned() throws {
    #expect(try look() == .unsigned)
  }

  @Test func withoutAKeyASignatureIsNotChecked() throws {
    try push(0..<1)
    #expect(try look(LedgerKeys()) == .unchecked(ada.key.fingerprint))
    try change { $0["tool_version"] = .string("x") }
    #expect(try look(LedgerKeys()) == .unchecked(ada.key.fingerprint))
  }

  @Test func aKeyThatIsNotTrustedWhereOthersAreIs65() throws {
    try push(0..<1)
    let other = try Machine("other")
    let (reading, writing) = (try other.publicKeys, try other.keys())
    for keys in [reading, writing] {
      let found = failure { _ = try look(keys) }
      #expect(found?.exitStatus == 65)
      #expect(found?.message.contains("not trusted") == true)
      #expect(found?.message.contains(try ada.key.fingerprint.hex) == true)
      #expect(found?.hint?.contains("trusted_keys") == true)
    }
  }

  @Test func acceptingTheStoreDoesNotMakeAForgeryGood() throws {
    try push(0..<1)
    try change { $0["sequence"] = .number(7) }
    let found = failure { _ = try place.session(accepting: true, keys: ada.keys()).snapshot() }
    #expect(found?.exitStatus == 65)
  }

  // MARK: Tampering

  /// Any change of a signed ledger is detected, by a machine that has never seen the store and by the one that
  /// wrote it, and nothing is stored over it.
  @Test(arguments: Tampering.all)
  func isNoticed(_ tampering: Tampering) throws {
    try push(0..<3)
    try change { try tampering.apply(&$0) }
    let before = try readFile(ledger, limit: 1 << 20)
    for attempt in [
      { _ = try look() },
      { _ = try place.session(keys: ada.keys()).snapshot() },
      { try place.session(keys: ada.keys(), home: "new").pushArchive(9) },
    ] as [() throws -> Void] {
      let found = failure(attempt)
      #expect(found?.exitStatus == 65)
      #expect(found?.message.contains("is not valid") == true, "\(found?.message ?? "none")")
    }
    #expect(try readFile(ledger, limit: 1 << 20) == before)
  }

  @Test func theSignatureOfAnotherStoreIsNoticed() throws {
    try push(0..<1)
    let other = try DirectoryPlace()
    try other.session(keys: ada.keys()).pushArchive(0)
    let foreign = try #require(try other.open().readLedger()).bytes
    let signature = try JSON.parse(foreign, what: "ledger")["ledger_signature"]
    try change { $0["ledger_signature"] = signature }
    #expect(failure { _ = try look() }?.message.contains("is not valid") == true)
  }

  /// The signature is valid; only a machine that has seen this store can tell that the ledger belongs to another.
  @Test func theWholeLedgerOfAnotherStoreIsNoticedWhereThisOneWasSeen() throws {
    try push(0..<1)
    let other = try DirectoryPlace()
    try other.session(keys: ada.keys()).pushArchive(0)
    try AtomicFile.write(try #require(try other.open().readLedger()).bytes, to: ledger)
    let found = failure { _ = try place.session(keys: ada.keys()).snapshot() }
    #expect(found?.exitStatus == 65 && found?.message.contains("was the store") == true)
  }

  @Test func anOldSignedLedgerIsNoticed() throws {
    try push(0..<1)
    let old = try readFile(ledger, limit: 1 << 20)
    try push(1..<2)
    try AtomicFile.write(old, to: ledger)
    #expect(try look() == .verified(ada.key.fingerprint))
    let found = failure { _ = try place.session(keys: ada.keys()).snapshot() }
    #expect(found?.exitStatus == 65 && found?.message.contains("was rolled back") == true)
  }

  @Test(arguments: ["[]", "1", #"{"key": "ab"}"#])
  func whatIsNoSignatureIs65(_ text: String) throws {
    try push(0..<1)
    try change { $0["ledger_signature"] = try JSON.parse(Array(text.utf8), what: "text") }
    let (known, none) = (try ada.publicKeys, try LedgerKeys())
    for keys in [known, none] {
      #expect(failure { _ = try look(keys) }?.exitStatus == 65)
    }
  }

  // MARK: What was seen

  @Test func onceSeenSignedAnUnsignedLedgerIs65() throws {
    try push(0..<1)
    try change { $0["ledger_signature"] = nil }
    for attempt in [
      { _ = try place.session(keys: ada.keys()).snapshot() },
      { _ = try place.session().snapshot() },
      { try place.session(keys: ada.keys()).pushArchive(9) },
    ] as [() throws -> Void] {
      let found = failure(attempt)
      #expect(found?.exitStatus == 65)
      #expect(found?.message.contains("was signed, and is not now") == true)
      #expect(found?.hint?.contains("--accept-store-state") == true)
    }
  }

  /// The reader has seen the signature; the next ledger is valid except that it has none.
  @Test func readingASignedLedgerIsEnoughToMissTheSignatureLater() throws {
    try push(0..<1)
    _ = try place.session(keys: ada.publicKeys, home: "reader").snapshot()
    try change { $0["ledger_signature"] = nil }
    try place.session(accepting: true, home: "writer").pushArchive(1)
    let found = failure {
      _ = try place.session(keys: ada.publicKeys, home: "reader").snapshot()
    }
    #expect(found?.message.contains("was signed, and is not now") == true)
  }

  @Test func aSignatureThatWasNotCheckedObligesToNothing() throws {
    try push(0..<1)
    _ = try place.session(home: "other").snapshot()
    try change { $0["ledger_signature"] = nil }
    #expect(try place.session(home: "other").snapshot().trust == .unsigned)
  }

  @Test func acceptingGoesOnUnsignedFromThere() throws {
    try push(0..<1)
    try change { $0["ledger_signature"] = nil }
    #expect(try place.session(accepting: true).snapshot().trust == .unsigned)
    #expect(try place.session().snapshot().trust == .unsigned)
    try place.session().pushArchive(1)
    #expect(try place.session().snapshot().entries.count == 2)
  }

  @Test func acceptingWithAKeySignsAgainOnlyWhatIsAdopted() throws {
    try push(0..<1)
    try change { $0["ledger_signature"] = nil }
    let found = failure { try place.session(accepting: true, keys: ada.keys()).pushArchive(1) }
    #expect(found?.exitStatus == 65 && found?.hint?.contains("tbk-store adopt") == true)
    #expect(try place.session(accepting: true, keys: ada.keys()).adopt().count == 1)
    try place.session(keys: ada.keys()).pushArchive(1)
    #expect(try look() == .verified(ada.key.fingerprint))
    try change { $0["ledger_signature"] = nil }
    #expect(failure { _ = try place.session().snapshot() }?.exitStatus == 65)
  }

  @Test func aStoreSeenSignedIsKnownUnderAnotherAddress() throws {
    try push(0..<1)
    try change { $0["ledger_signature"] = nil }
    let moved = place.scratch["moved"]
    try Descriptor.workingDirectory.rename(place.path, to: .workingDirectory, moved)
    let found = failure {
      _ = try makeSession(try DirectoryStore(moved), home: place.scratch["home"]).snapshot()
    }
    #expect(found?.message.contains("was signed, and is not now") == true)
  }

  // MARK: Writing

  @Test func committingToASignedLedgerWithoutAKeyIs77() throws {
    try push(0..<2)
    let before = try place.files()
    let (known, none) = (try ada.publicKeys, try LedgerKeys())
    for keys in [known, none] {
      for attempt in [
        { try place.session(keys: keys).pushArchive(9) },
        { _ = try place.session(keys: keys).remove([try digest(0)]) },
      ] as [() throws -> Void] {
        let found = failure(attempt)
        #expect(found?.exitStatus == 77 && found?.message.contains("is signed") == true)
      }
      let session = try place.session(keys: keys)
      let early = failure { try session.refuseSigned(try session.snapshot()) }
      #expect(early?.exitStatus == 77)
    }
    #expect(try look() == .verified(ada.key.fingerprint))
    #expect(try place.open().readLedger().map { try Ledger(parsing: $0.bytes).entries.count } == 2)
    #expect(try place.files().isSuperset(of: before))
  }

  @Test func aLedgerThatWasNotSignedIsOnceItIsAdopted() throws {
    try place.session().pushArchive(0)
    let adopted = try place.session(keys: ada.keys()).adopt()
    #expect(try adopted.map(\.id) == [digest(0)])
    #expect(try look() == .verified(ada.key.fingerprint))
    #expect(failure { try place.session().pushArchive(2) }?.exitStatus == 77)
    try place.session(keys: ada.keys()).pushArchive(1)
    // Nothing new is adopted.
    #expect(try place.session(keys: ada.keys()).adopt().count == 2)
    #expect(try place.session().snapshot().ledger?.identity?.sequence == 3)
    // Nor in a store that is still empty.
    let other = try DirectoryPlace()
    #expect(try other.session(keys: ada.keys()).adopt().isEmpty)
    #expect(try other.open().readLedger() == nil)
  }

  // MARK: First contact

  /// A machine with the keys sees the store for the first time, after the store removed the signature and a backup.
  @Test func whatAStoreHasStrippedIsNotBuiltOn() throws {
    try push(0..<3)
    try change {
      $0["ledger_signature"] = nil
      $0["backups"] = .array(try #require($0["backups"]?.elements).dropLast())
    }
    try expectUntouched()
    // Nor if it looks like a ledger of TermBackup 6.
    try change { for key in ["store_id", "sequence", "history"] { $0[key] = nil } }
    try expectUntouched()
  }

  /// Checks that a machine which expects a signature does not change the ledger.
  private func expectUntouched(line: Int = #line) throws {
    let before = try readFile(ledger, limit: 1 << 20)
    let (writing, reading) = (try ada.keys(), try ada.publicKeys)
    for keys in [writing, reading] {
      let home = "new \(uniqueSuffix())"
      let session = { try self.place.session(keys: keys, home: home) }
      var rules = RetentionRules()
      rules.last = 1
      let one = Retention(rules, now: .now())
      for attempt in [
        { try session().pushArchive(9) },
        { _ = try session().remove([try digest(0)]) },
        { _ = try session().markVerified([try digest(0): SHA256.hash(try archive(0))], at: "2024-05-01") },
        { _ = try session().prune(one, .all) },
        {
          _ = try session().storeObject(
            try session().store.stage(try archive(9), in: .checks), as: .check, of: GroupID("g")!, replacing: true)
        },
      ] as [() throws -> Void] {
        let found = failure(attempt)
        #expect(found?.exitStatus == 65, "line \(line): \(found?.message ?? "none")")
        #expect(found?.message.contains("is not signed") == true)
        #expect(found?.hint?.contains("tbk-store adopt") == true)
      }
      let early = failure { try session().refuseUnsigned(try session().snapshot()) }
      #expect(early?.exitStatus == 65)
    }
    #expect(try readFile(ledger, limit: 1 << 20) == before)
    // Reading is allowed: the user decides about that.
    #expect(try place.session(keys: writing, home: "new \(uniqueSuffix())").snapshot().trust == .unsigned)
  }

  @Test func whatAStrippedLedgerNoLongerNamesIsNotCleanedAway() throws {
    try push(0..<2)
    try change {
      $0["ledger_signature"] = nil
      $0["backups"] = .array(try #require($0["backups"]?.elements).dropLast())
    }
    let before = try place.files()
    let session = try place.session(keys: ada.publicKeys, home: "new")
    #expect(failure { _ = try session.clean(dryRun: false, age: -86_400) }?.exitStatus == 65)
    #expect(try session.clean(dryRun: true, age: -86_400).count == 1)
    #expect(try place.files() == before)
  }

  @Test func anEmptyLedgerIsSignedWithoutBeingAdopted() throws {
    try place.session().pushArchive(0)
    _ = try place.session().remove([try digest(0)])
    try place.session(keys: ada.keys()).pushArchive(1)
    #expect(try look() == .verified(ada.key.fingerprint))
  }

  /// A key was generated here, but signing is off: the stores of this machine need not be signed.
  @Test func theKeyOfThisMachineAloneExpectsNothing() throws {
    try place.session().pushArchive(0)
    let keys = try LedgerKeys(trusted: [ada.key], own: ada.key)
    try place.session(keys: keys).pushArchive(1)
    let bob = try Machine("bob")
    let both = try LedgerKeys(trusted: [ada.key, bob.key], own: ada.key)
    #expect(failure { try place.session(keys: both).pushArchive(2) }?.exitStatus == 65)
    // Ledgers signed with it are trusted all the same.
    _ = try place.session(keys: ada.keys()).adopt()
    #expect(try look(keys) == .verified(ada.key.fingerprint))
  }

  @Test func aGroupThatWasSeenSignedIsKnownInAnotherStore() throws {
    try place.session(keys: ada.keys()).pushArchive(0, group: "g")
    let other = try DirectoryPlace()
    try other.session(home: "somebody").pushArchive(1, group: "g")
    try other.session(home: "somebody").pushArchive(2, group: "h")
    let home = place.scratch["home"]
    func visit(accepting: Bool = false) throws -> LedgerSession.Snapshot {
      try makeSession(try other.open(), home: home, accepting: accepting).snapshot()
    }
    let found = failure { _ = try visit() }
    #expect(found?.exitStatus == 65)
    #expect(found?.message.contains("group g were listed in a signed ledger") == true)
    #expect(found?.hint?.contains("--accept-store-state") == true)
    // Another machine has not seen the group, and other groups are not affected.
    _ = try other.session(home: "third").snapshot()
    _ = try other.session(home: "somebody").remove([try digest(1)])
    _ = try visit()
    // An accepted state stays accepted.
    try other.session(home: "somebody").pushArchive(3, group: "g")
    #expect(failure { _ = try visit() }?.exitStatus == 65)
    #expect(try visit(accepting: true).entries.count == 2)
    #expect(try visit().entries.count == 2)
  }

  /// Hourly backups of several profiles fill the history while a machine is offline.
  @Test func aGapUnderATrustedSignatureIsSaidAndTaken() throws {
    try push(0..<1)
    let seen = try #require(try place.session(keys: ada.publicKeys, home: "away").snapshot().ledger)
    var json = try JSON.parse(seen.serialized(), what: "ledger")
    json["sequence"] = .number(1000)
    json["history"] = .array(try (0..<512).map { .string(try digest($0).hex) })
    let keys = try ada.keys()
    let later = try keys.sign(try Ledger(parsing: json.line()))
    try AtomicFile.write(later.serialized(), to: ledger)
    var notices: [String] = []
    let store = try place.open()
    let state = try SeenState(
      home: place.scratch["away"], address: store.address, accepting: false, warn: { _ in },
      notice: { notices.append($0) })
    let session = try LedgerSession(store, seen: state, keys: try ada.publicKeys, toolVersion: "7.0")
    #expect(try session.snapshot().ledger?.identity?.sequence == 1000)
    #expect(try session.snapshot().ledger?.identity?.sequence == 1000)
    #expect(notices.count == 1 && notices.first?.contains("does not reach back to sequence 1") == true)
    // Without a trusted signature, anything may have happened in the gap.
    try AtomicFile.write(seen.serialized(), to: ledger)
    _ = try place.session(home: "unkeyed").snapshot()
    try AtomicFile.write(later.serialized(), to: ledger)
    let found = failure { _ = try place.session(home: "unkeyed").snapshot() }
    #expect(found?.exitStatus == 65 && found?.message.contains("does not reach back") == true)
  }

  @Test func everyKindOfCommitIsSigned() throws {
    let session = try place.session(keys: ada.keys())
    let first = try session.pushArchive(0).entry
    let group = try #require(GroupID("g"))
    _ = try session.replace(
      first.id, archive: try session.store.stage(try archive(5)), archiveVersion: 2, manifest: nil,
      signature: nil)
    #expect(try look() == .verified(ada.key.fingerprint))
    _ = try session.storeObject(
      try session.store.stage(try archive(1), in: .checks), as: .check, of: group, replacing: false)
    #expect(try look() == .verified(ada.key.fingerprint))
    _ = try session.remove([first.id])
    #expect(try look() == .verified(ada.key.fingerprint))
    #expect(try session.snapshot().ledger?.identity?.sequence == 4)
  }

  @Test func whatTheStoreSignedOverIsWhatIsSigned() throws {
    try push(0..<1)
    let parsed = try Ledger(parsing: try readFile(ledger, limit: 1 << 20))
    let signature = try LedgerSignature(try #require(parsed.signature))
    let fingerprint = try ada.key.fingerprint
    #expect(signature.key == fingerprint)
    for (message, holds) in [(try parsed.signedBytes(), true), (try parsed.canonical(), false)] {
      let found = try ada.key.verify(signature.bytes, of: message.span)
      #expect(found == holds)
    }
  }

  @Test func twoMachinesWriteInTurn() throws {
    let bob = try Machine("bob")
    for seed in 0..<6 {
      let one = seed.isMultiple(of: 2) ? ada : bob
      let other = seed.isMultiple(of: 2) ? bob : ada
      let session = try place.session(keys: one.keys(trusting: [other]), home: one.name)
      try session.pushArchive(seed)
      #expect(try session.snapshot().trust == .verified(one.key.fingerprint))
      // The other machine trusts it.
      let reading = try place.session(keys: other.keys(trusting: [one]), home: other.name)
      #expect(try reading.snapshot().entries.count == seed + 1)
    }
    // A machine that does not trust the other refuses the ledger.
    #expect(failure { _ = try place.session(keys: ada.keys(), home: "ada").snapshot() }?.exitStatus == 65)
  }

  @Test func twoMachinesWriteAtOnce() async throws {
    let place = place
    let ada = ada
    let bob = try Machine("bob")
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for seed in 0..<10 {
          try place.session(keys: ada.keys(trusting: [bob]), home: "ada").pushArchive(seed)
        }
      }
      group.addTask {
        for seed in 10..<20 {
          try place.session(keys: bob.keys(trusting: [ada]), home: "bob").pushArchive(seed)
        }
      }
      try await group.waitForAll()
    }
    let last = try place.session(keys: ada.keys(trusting: [bob]), home: "ada").snapshot()
    #expect(last.entries.count == 20 && last.ledger?.identity?.sequence == 20)
  }
}

/// A way to change a signed ledger of three backups.
struct Tampering: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let apply: @Sendable (inout JSON) throws -> Void

  private static func entries(
    _ name: String, _ change: @escaping @Sendable (inout [JSON]) throws -> Void
  ) -> Tampering {
    Tampering(testDescription: name) { json in
      var list = try #require(json["backups"]?.elements)
      try change(&list)
      json["backups"] = .array(list)
    }
  }

  static let all = [
    entries("an entry added") {
      var entry = $0[0]
      entry["id"] = .string(String(repeating: "cd", count: 32))
      entry["filename"] = .string("backup_cdcdcdcdcdcd.tbk")
      $0.append(entry)
    },
    entries("an entry removed") { $0.remove(at: 1) },
    entries("the last entry removed") { $0.removeLast() },
    entries("all entries removed") { $0 = [] },
    entries("two entries exchanged") { $0.swapAt(0, 2) },
    entries("the bytes of one entry under the id of another") {
      for key in ["filename", "sha256", "size"] {
        let one = $0[0][key]
        $0[0][key] = $0[1][key]
        $0[1][key] = one
      }
    },
    entries("a hash") { $0[1]["sha256"] = .string(String(repeating: "ab", count: 32)) },
    entries("a group") { $0[1]["group"] = .string("g") },
    entries("what it depends on") {
      $0[2]["depends_on"] = .array([try #require($0[0]["id"])])
    },
    entries("an archive's signature") {
      $0[2]["signature"] = .string(String(repeating: "ab", count: 64))
    },
    entries("verified") { $0[2]["verified"] = .bool(true) },
    entries("a member that we do not know") { $0[2]["later"] = .bool(true) },
    Tampering(testDescription: "the sequence") { $0["sequence"] = .number(4) },
    Tampering(testDescription: "the history") { $0["history"] = .array([]) },
    Tampering(testDescription: "the store") {
      $0["store_id"] = .string(String(repeating: "0f", count: 16))
    },
    Tampering(testDescription: "the tool") { $0["tool_version"] = .string("7.1") },
    Tampering(testDescription: "a member of the whole that we do not know") {
      $0["later"] = .bool(true)
    },
    Tampering(testDescription: "one digit of the signature") {
      let hex = try #require($0["ledger_signature"]?["signature"]?.text)
      let other = (hex.first == "0" ? "1" : "0") + hex.dropFirst()
      let key = try #require($0["ledger_signature"]?["key"])
      $0["ledger_signature"] = .object(["key": key, "signature": .string(other)])
    },
  ]
}

struct TrustedKeysTests {
  private let scratch: Scratch
  private let home: RawPath

  init() throws {
    scratch = try Scratch()
    home = try scratch.makeDirectory("home")
  }

  private func put(_ name: String, _ bytes: [UInt8]) throws {
    try AtomicFile.write(bytes, to: home.appending(RawPath(name)))
  }

  private func makeFolder() throws { _ = try scratch.makeDirectory("home/trusted_keys") }

  private var found: [VerifyingKey] {
    get throws { try LedgerKeys.trusted(in: home) }
  }

  @Test func whereThereAreNoneThereAreNone() throws {
    #expect(try LedgerKeys.trusted(in: nil).isEmpty)
    #expect(try LedgerKeys.trusted(in: home.appending("no such")).isEmpty)
    #expect(try found.isEmpty)
    try makeFolder()
    #expect(try found.isEmpty)
  }

  @Test func theOwnKeyAndThoseInTheFolderAreTrusted() throws {
    let keys = try [Machine("a"), Machine("b"), Machine("c")].map(\.key)
    try makeFolder()
    try put("signing_key.pub", keys[0].pem)
    try put("trusted_keys/laptop.pub", keys[1].pem)
    try put("trusted_keys/any name", keys[2].pem)
    #expect(try found == [keys[0], keys[2], keys[1]])
  }

  @Test func whatBeginsWithADotOrIsNoFileIsLeftAlone() throws {
    try makeFolder()
    try put("trusted_keys/.DS_Store", [1, 2, 3])
    _ = try scratch.makeDirectory("home/trusted_keys/folder")
    #expect(try found.isEmpty)
  }

  @Test func garbageIs78AndIsNamed() throws {
    try makeFolder()
    let key = try Machine("a")
    try put("trusted_keys/good.pub", key.key.pem)
    let generated = try SigningKey.generate()
    let privatePEM = try generated.plainPEM().withBytes { Array($0) }
    let cut = Array(try key.key.pem.dropLast(30))
    let long = [UInt8](repeating: 10, count: 100_000)
    for bytes in [[], Array("garbage\n".utf8), privatePEM, cut, long] {
      try put("trusted_keys/bad.pub", bytes)
      let found = failure { _ = try self.found }
      #expect(found?.exitStatus == 78)
      #expect(found?.message.contains("trusted_keys/bad.pub") == true)
    }
  }

  @Test func garbageInTheOwnKeyIs78() throws {
    try put("signing_key.pub", Array("garbage\n".utf8))
    let found = failure { _ = try self.found }
    #expect(found?.exitStatus == 78 && found?.message.contains("signing_key.pub") == true)
  }
}
