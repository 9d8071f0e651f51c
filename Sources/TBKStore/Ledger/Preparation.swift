import TBKCore
import TBKFormat

/// What a run must know about a store before it reads a tree: the last backup, whether the next one can be based on it,
/// and what proves the password. All of it is from one ledger.
package struct Preparation: Sendable {
  /// Why the next backup is full.
  package enum Reason: String, Sendable {
    /// There is no backup yet.
    case first
    /// An archive that the last backup needs is missing or damaged in the store.
    case lost
    /// A limit of the profile excludes the backup that it would be based on.
    case limits
    /// The last backup already needs the maximum number of archives.
    case chain
    /// A full backup is due, by number or by time.
    case due
    /// The store lacks the sealed manifest that the ledger names for the last backup.
    case manifest
  }

  package enum Manifest: String, Sendable {
    /// The given file has the SHA-256 that the ledger names.
    case cached
    /// There is a local copy for this machine only, which the ledger does not name.
    case local
    /// It was sent to the caller.
    case fetched
    /// The last backup has no manifest.
    case none
    case missing, damaged
  }

  package enum Check: String, Sendable {
    /// The ledger names it.
    case pinned
    case unpinned
    /// The group has no check.
    case none
    /// The ledger names one, but the store does not have it.
    case lost
  }

  package enum Identity: String, Sendable {
    /// The store has the bytes that the ledger names.
    case whole
    case missing, altered
  }

  package fileprivate(set) var last: LedgerEntry?
  /// Nil if the next backup can be incremental, or this was not asked for.
  package fileprivate(set) var reason: Reason?
  /// The backups that the last one needs and that are missing or damaged in the store.
  package fileprivate(set) var lost: [Digest] = []
  /// Nil if it is not needed.
  package fileprivate(set) var manifest: Manifest?
  package fileprivate(set) var check = Check.none
  package fileprivate(set) var checkHash: Digest?
  /// The key epoch of the group; nil if the ledger does not name its keys.
  package fileprivate(set) var keyEpoch: UInt64?
  /// The hash of the group's sealed identity; nil if the ledger names none.
  package fileprivate(set) var identityHash: Digest?
  /// Whether the store has that identity; nil if there is none, or this was not asked for.
  package fileprivate(set) var identity: Identity?
  /// Whether opening the last manifest proves the password as opening the check does.
  package fileprivate(set) var manifestProves = false
  /// Whether the retention rules would remove a backup.
  package fileprivate(set) var wouldPrune = false
}

/// How often an incremental series gets a full backup.
package enum FullEvery: Equatable, Sendable {
  /// One of this many backups in a row is full.
  case backups(Int)
  /// When the last full one is older than this many seconds.
  case seconds(Int64)

  /// A number, or a length of time such as `90d`; nil for anything else.
  package init?(_ text: String) {
    if let count = wholeNumber(text) {
      self = .backups(count)
    } else if let seconds = ConfigurationShape.seconds(ofAge: text) {
      self = .seconds(seconds)
    } else {
      return nil
    }
  }

  /// Whether the next backup must be full. True if none of them is.
  ///
  /// - Parameter entries: the backups of the series, in the ledger's order.
  package func isDue(after entries: [LedgerEntry], now: Timestamp) -> Bool {
    guard let place = entries.lastIndex(where: { $0.mode == "full" }) else { return true }
    switch self {
    case .backups(let count): return entries.count - place >= count
    case .seconds(let seconds):
      guard let time = Timestamp(iso8601: entries[place].createdAt) else { return true }
      return time < now.earlier(seconds: UInt64(clamping: seconds))
    }
  }
}

/// What a run asks for before it reads the tree.
package struct PreparationRequest {
  /// Whether the next backup should be incremental if possible.
  package var isIncremental: Bool
  /// The limits of the profile.
  package var rules: RetentionRules?
  /// How often a full backup is due.
  package var fullEvery: FullEvery?
  /// The most archives that a backup may need; nil for no limit.
  package var maximumChain: Int?
  /// The group whose password check is looked up.
  package var group: GroupID?
  /// Whether to look up its sealed identity instead: backups are sealed to recipients.
  package var wantsIdentity: Bool
  package var scope: BackupScope
  /// The SHA-256 of the cached sealed manifest of a backup, or nil.
  package var cached: (Digest) -> Digest?
  /// Whether there is a local copy of a backup's manifest for this machine only.
  package var hasLocal: (Digest) -> Bool

  package init(
    isIncremental: Bool, rules: RetentionRules?, fullEvery: FullEvery? = nil,
    maximumChain: Int? = nil, group: GroupID?, wantsIdentity: Bool = false, scope: BackupScope,
    cached: @escaping (Digest) -> Digest? = { _ in nil }, hasLocal: @escaping (Digest) -> Bool = { _ in false }
  ) {
    self.isIncremental = isIncremental
    self.rules = rules
    self.fullEvery = fullEvery
    self.maximumChain = maximumChain
    self.group = group
    self.wantsIdentity = wantsIdentity
    self.scope = scope
    self.cached = cached
    self.hasLocal = hasLocal
  }
}

extension LedgerSession {
  /// Collects the answers from one snapshot.
  ///
  /// - Parameters:
  ///   - manifest: sends the sealed manifest of the last backup, if it is wanted and not cached.
  ///   - check: sends the password check of the group, if there is one.
  package func prepare(
    _ request: PreparationRequest, over snapshot: Snapshot, _ retrieval: Retrieval,
    manifest: (LedgerEntry) throws(Failure) -> Void, check: (GroupID) throws(Failure) -> Digest
  ) throws(Failure) -> Preparation {
    var found = Preparation()
    let entries = snapshot.entries
    found.last = entries.last { request.scope.holds($0) }
    let retention = request.rules.map { Retention($0, now: .now()) }
    if let retention { found.wouldPrune = !retention.decide(entries, request.scope).gone.isEmpty }
    if let group = request.group {
      found.keyEpoch = snapshot.ledger?.group(group)?.keyEpoch
      found.identityHash = snapshot.ledger?.group(group)?.identity?.sha256
      if request.wantsIdentity {
        found.identity = try identity(of: group, in: snapshot)
      } else {
        (found.check, found.checkHash) = try state(of: group, in: snapshot, check)
      }
    }
    guard request.isIncremental else { return found }
    guard let last = found.last else {
      found.reason = .first
      return found
    }
    found.lost = try presence(of: [last], in: snapshot)[0].lost
    if !found.lost.isEmpty {
      found.reason = .lost
      return found
    }
    if let retention, request.rules?.hasLimits == true,
      retention.wantsFull(after: entries, in: request.scope)
    {
      found.reason = .limits
      return found
    }
    if let most = request.maximumChain, last.dependsOn.count >= most {
      found.reason = .chain
      return found
    }
    if let every = request.fullEvery,
      every.isDue(after: entries.filter { request.scope.holds($0) }, now: .now())
    {
      found.reason = .due
      return found
    }
    let state = try state(of: last, request, manifest)
    found.manifest = state
    guard [.cached, .local, .fetched].contains(state) else {
      found.reason = .manifest
      return found
    }
    // A cached manifest was opened here before; any other is as trustworthy as the signature of the ledger. An entry of
    // another epoch may be under a password other than the group's.
    let known = request.group.flatMap { snapshot.ledger?.group($0) }
    var isSigned = false
    if case .verified = snapshot.trust { isSigned = true }
    found.manifestProves =
      found.check == .pinned && last.group == request.group && last.keyEpoch == known?.keyEpoch
      && (state == .cached || isSigned)
    return found
  }

  /// The identity is small, so it is read: a listing would not show whether it is the one that the ledger names.
  private func identity(of group: GroupID, in snapshot: Snapshot) throws(Failure) -> Preparation.Identity? {
    guard let object = snapshot.named(.identity, of: group) else { return nil }
    return switch try problem(of: object) {
    case nil: .whole
    case .missing?: .missing
    case .damaged?, .altered?: .altered
    }
  }

  private func state(
    of group: GroupID, in snapshot: Snapshot, _ check: (GroupID) throws(Failure) -> Digest
  ) throws(Failure) -> (Preparation.Check, Digest?) {
    let named = snapshot.ledger?.group(group)?.check
    do throws(Failure) {
      let hash = try check(group)
      return (named == nil ? .unpinned : .pinned, hash)
    } catch {
      switch error.code {
      case .inputMissing: return (.lost, named?.sha256)
      case .unavailable where named == nil: return (.none, nil)
      default: throw error
      }
    }
  }

  private func state(
    of last: LedgerEntry, _ request: PreparationRequest, _ manifest: (LedgerEntry) throws(Failure) -> Void
  ) throws(Failure) -> Preparation.Manifest {
    guard let object = last.manifest else { return .none }
    if request.cached(last.id) == object.sha256 { return .cached }
    if request.hasLocal(last.id) { return .local }
    do throws(Failure) {
      try manifest(last)
      return .fetched
    } catch {
      switch error.code {
      case .inputMissing: return .missing
      case .integrity: return .damaged
      default: throw error
      }
    }
  }
}
