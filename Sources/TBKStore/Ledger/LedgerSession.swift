import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// Reads and changes the ledger of one store, and checks it against what this machine has seen.
package final class LedgerSession {
  /// The ledger at one moment.
  package struct Snapshot: Sendable {
    /// Nil if the store is still empty.
    package let ledger: Ledger?
    /// The bytes as stored.
    package let bytes: [UInt8]
    package let version: LedgerVersion?
    package let hash: Digest?
    package let trust: LedgerTrust

    package var entries: [LedgerEntry] { ledger?.entries ?? [] }
  }

  /// What a transaction does with a snapshot.
  package enum Change<Result> {
    /// There is nothing to do.
    case done(Result)
    case commit(Plan, Result)
  }

  package struct Plan {
    package var entries: [LedgerEntry]
    /// The groups of the next ledger; nil if they are unchanged.
    package var groups: [LedgerGroup]?
    package var additions: [Commit.Addition] = []
    package var removals: [ObjectReference] = []
    package var summary: String
  }

  package let store: any Store
  private let keys: LedgerKeys
  private let seen: SeenState
  private let toolVersion: String
  let maximumWait: Int
  private let newStoreID: Ledger.StoreID
  /// The last snapshot read, unless a change was already based on it.
  private var latest: Snapshot?
  /// The ledger that this session has just committed.
  private var committed: Snapshot?

  /// - Parameters:
  ///   - keys: the keys to check its signature, and to sign the next one.
  ///   - toolVersion: recorded in the ledger as its writer, as in "7.0".
  ///   - maximumWait: seconds to retry after conflicts; then throws `.tryAgain`.
  package init(
    _ store: any Store, seen: SeenState, keys: LedgerKeys? = nil, toolVersion: String,
    maximumWait: Int = 60
  ) throws(Failure) {
    self.store = store
    if let keys { self.keys = keys } else { self.keys = try LedgerKeys() }
    self.seen = seen
    self.toolVersion = toolVersion
    self.maximumWait = maximumWait
    guard let id = Ledger.StoreID(try randomBytes(16).hex) else {
      throw Failure(.library, "no random store id")
    }
    newStoreID = id
  }

  /// The current ledger. Throws `.integrity` if the store was rolled back, was split, lost its ledger, or is a
  /// different store.
  package func snapshot() throws(Failure) -> Snapshot {
    var memory = try seen.recall()
    var snapshot = try read()
    if memory.storeID == nil, let id = snapshot.ledger?.identity?.storeID {
      // A known store at a new address. Recall what was seen of it before it is checked.
      memory.moment = try seen.recall(id)
      memory.wasSigned = try seen.wasSigned(id)
      memory.groups = try seen.groups(of: id)
      if memory.moment != nil { snapshot = try read() }
    }
    try seen.check(
      snapshot.ledger, hash: snapshot.hash, trust: snapshot.trust, against: memory)
    try seen.raise(to: snapshot.ledger, hash: snapshot.hash, trust: snapshot.trust)
    latest = snapshot
    return snapshot
  }

  private func read() throws(Failure) -> Snapshot {
    guard let stored = try store.readLedger() else {
      return Snapshot(ledger: nil, bytes: [], version: nil, hash: nil, trust: .unsigned)
    }
    let ledger = try Ledger(parsing: stored.bytes)
    let hash = try SHA256.hash(try ledger.canonical())
    let trust = try keys.trust(in: ledger, of: store.address.display)
    return Snapshot(
      ledger: ledger, bytes: stored.bytes, version: stored.version, hash: hash, trust: trust)
  }

  /// Changes the ledger; after a conflict, again on top of what other writers have committed meanwhile.
  ///
  /// The first attempt uses the last snapshot: if it is out of date, the commit meets a conflict. A result without a
  /// commit, or a failure, is only accepted from a fresh snapshot.
  ///
  /// - Parameters:
  ///   - adopting: whether an unsigned ledger is accepted even if this machine expects a signature.
  ///   - continuing: whether the first attempt uses what this session has just committed, without reading the store
  ///     again, and that counts as fresh.
  ///   - change: makes the change, given a snapshot and the names to avoid. Called once for each attempt.
  package func transact<Result>(
    adopting: Bool = false, continuing: Bool = false,
    _ change: (Snapshot, Set<ObjectPath>) throws(Failure) -> Change<Result>
  ) throws(Failure) -> Result {
    let deadline = monotonicNanoseconds() + Int64(maximumWait) * 1_000_000_000
    var taken: Set<ObjectPath> = []
    var pause: useconds_t = 5000
    var own = continuing ? committed : nil
    committed = nil
    while true {
      let isFresh = latest == nil || own != nil
      let snapshot: Snapshot
      if let known = own ?? latest { snapshot = known } else { snapshot = try self.snapshot() }
      latest = nil
      own = nil
      let plan: Plan
      let result: Result
      do throws(Failure) {
        switch try change(snapshot, taken) {
        case .done(let value):
          if !isFresh { continue }
          return value
        case .commit(let made, let value): (plan, result) = (made, value)
        }
      } catch {
        if isFresh || error.isOfProcess { throw error }
        continue
      }
      try refuseSigned(snapshot)
      if !adopting { try refuseUnsigned(snapshot) }
      let (commit, ledger) = try prepare(plan, over: snapshot)
      switch try store.commit(commit, over: snapshot.version) {
      case .committed(let version):
        let hash = try SHA256.hash(try ledger.canonical())
        let trust = try keys.trust(in: ledger, of: store.address.display)
        try seen.raise(to: ledger, hash: hash, trust: trust)
        committed = Snapshot(
          ledger: ledger, bytes: commit.ledger, version: version, hash: hash, trust: trust)
        return result
      case .taken(let path):
        guard taken.insert(path).inserted else {
          throw Failure(
            .cannotCreate, "the store \(store.address.display) already holds other bytes as \(path)"
          )
        }
      case .conflict:
        try Interruption.check()
        guard monotonicNanoseconds() < deadline else {
          throw Failure(
            .tryAgain,
            "other writers were faster each time, for \(maximumWait) s: nothing was stored",
            hint: "try again when they have finished")
        }
        usleep(useconds_t.random(in: pause / 2...pause))
        pause = min(pause * 2, 1_000_000)
      }
    }
  }

  /// Call before staging anything large; a commit checks again.
  package func refuseSigned(_ snapshot: Snapshot) throws(Failure) {
    if snapshot.ledger?.signature != nil, !keys.canSign {
      throw Failure(
        .denied,
        "the ledger of the store \(store.address.display) is signed, and there is no key to sign "
          + "the next one with",
        hint: "give the private key of a machine that is trusted with --sign-key")
    }
  }

  /// Throws `.integrity` for an unsigned ledger where this machine expects a signature, unless it is empty: a ledger
  /// whose signature the store may have removed is neither changed nor signed. A ledger of TermBackup 6 could not be
  /// signed, and is accepted.
  /// Call before staging anything large; a commit checks again.
  package func refuseUnsigned(_ snapshot: Snapshot) throws(Failure) {
    guard keys.expectsSignature, let ledger = snapshot.ledger, ledger.signature == nil,
      !ledger.isEmpty, ledger.identity != nil || !ledger.entries.allSatisfy(\.isTermBackup6)
    else { return }
    let why = keys.canSign ? "signing is on" : "the keys of those who sign it are trusted here"
    throw Failure(
      .integrity,
      "the ledger of the store \(store.address.display) is not signed, and \(why): its signature may "
        + "have been removed, and backups with it",
      hint: "if it was never signed, and 'tbk-pull STORE --list' shows all backups that should be "
        + "there, sign it with 'tbk-store adopt STORE --sign-key FILE'")
  }

  /// An attacker who controls the store could have replaced the trusted key with their own.
  func refuseOtherSigner(of store: Ledger.StoreID, than key: Digest) throws(Failure) {
    guard !seen.accepting, let known = try seen.signer(of: store), known != key else { return }
    throw Failure(
      .integrity,
      "this machine has seen the ledger signed by the key \(known.hex), which is not the "
        + "one that it names now",
      hint: "somebody else may have signed it; --accept-store-state accepts it anyway")
  }

  private func prepare(
    _ plan: Plan, over snapshot: Snapshot
  ) throws(Failure) -> (Commit, Ledger) {
    let base =
      snapshot.ledger
      ?? Ledger(
        toolVersion: toolVersion, repository: store.address.repository,
        createdAt: Timestamp.now().iso8601())
    let next = try keys.sign(
      try base.successor(
        ofHash: snapshot.hash, newStoreID: newStoreID, toolVersion: toolVersion,
        entries: plan.entries, groups: plan.groups))
    let bytes = next.serialized()
    guard plan.entries.count <= Ledger.entryLimit, bytes.count <= Ledger.byteLimit else {
      throw Failure(
        .cannotCreate, "the ledger of the store \(store.address.display) is full",
        hint: "remove backups, or start another store")
    }
    let commit = Commit(
      ledger: bytes, additions: plan.additions, removals: unshared(plan), summary: plan.summary)
    return (commit, next)
  }

  /// The removals without the parts that entries of the new ledger name: parts are named after their content, and the
  /// same archive can be stored under two ids.
  private func unshared(_ plan: Plan) -> [ObjectReference] {
    guard plan.removals.contains(where: { !$0.parts.isEmpty }) else { return plan.removals }
    var kept: Set<String> = []
    for entry in plan.entries {
      for part in entry.parts + entry.manifestParts { kept.insert(part.object.name.description) }
    }
    return plan.removals.compactMap { removal in
      if removal.parts.isEmpty { return removal }
      let gone = removal.parts.filter { !kept.contains($0.object.name.description) }
      return gone.isEmpty ? nil : ObjectReference(removal.path, parts: gone)
    }
  }
}

extension StoreAddress {
  /// The repository name in the ledger; empty if the address has none.
  var repository: String {
    switch self {
    case .directory: ""
    case .gitHub(let repository): repository.fullName
    case .helper: ""
    }
  }
}
