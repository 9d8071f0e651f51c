// The objects that determine the keys of a group: its password check, a small sealed object, and its sealed identity.
// The ledger authenticates both as it does archives (tbk(5), "Store" and "Ledger").

import TBKCore
import TBKCrypto
import TBKFormat

extension LedgerSession {
  /// Stores an object of a group and names it in the ledger, in one commit. Returns whether it was already stored and
  /// named.
  ///
  /// Passwords are not checked here: the caller has sealed or opened the object. A check that is in the store but not
  /// in the ledger, as older versions left it, stays and is named from now on if it has the same bytes. If it has other
  /// bytes, it counts as the group's check if the ledger is not signed; a signed ledger would have named it.
  ///
  /// Throws `.cannotCreate` if the group has a different one, unless it is to be replaced, and `.tryAgain` if that one
  /// is no longer `expected`.
  ///
  /// - Parameters:
  ///   - replacing: whether the keys have changed, which raises the key epoch.
  ///   - expected: the SHA-256 of the object to be replaced.
  package func storeObject(
    _ object: any StagedObject, as part: LedgerGroup.Part, of group: GroupID, replacing: Bool,
    expected: Digest? = nil
  ) throws(Failure) -> Bool {
    try transact { (snapshot, taken) throws(Failure) in
      let ledger = snapshot.ledger
      let known = ledger?.group(group)?.object(part)
      let standing = try self.standing(part, of: group, in: snapshot)
      if known?.sha256 == object.sha256, standing.sha256 == object.sha256 {
        return .done(true)
      }
      let isOther: Bool
      if let known {
        isOther = known.sha256 != object.sha256
      } else {
        isOther = standing.sha256 != nil && standing.sha256 != object.sha256 && snapshot.trust == .unsigned
      }
      if isOther, !replacing {
        throw Failure(
          .cannotCreate,
          "the store \(self.store.address.display) has another \(part.noun) for \(group)",
          hint: part == .identity
            ? "another machine was faster: run it again to use that one"
            : "if the password has changed, use 'tbk-store \(part.command) --replace'")
      }
      if isOther, let expected, known?.sha256 != expected { throw self.other(part, of: group) }
      var plan = Plan(entries: snapshot.entries, summary: "Add the \(part.noun) of \(group)")
      let own = try group.path(of: part, object.sha256)
      var path = standing.path ?? own
      if standing.sha256 != object.sha256 {
        // A name that has bytes, or that the ledger once used for others, is not reused for these.
        let isFree = standing.sha256 == nil && !isOther && !taken.contains(path)
        if !isFree {
          plan.removals.append(ObjectReference(path))
          path = own
        }
        plan.additions.append(.init(path, object))
      }
      let named = LedgerGroup.Object(name: path.name, sha256: object.sha256)
      plan.groups = try ledger.naming(part, named, of: group, isNewPassword: replacing && isOther)
      return .commit(plan, false)
    }
  }

  /// The path of a group's object, and the hash of what is stored there, nil if nothing. The path is nil for a first
  /// identity, as its name depends on its bytes.
  private func standing(
    _ part: LedgerGroup.Part, of group: GroupID, in snapshot: Snapshot
  ) throws(Failure) -> (path: ObjectPath?, sha256: Digest?) {
    var found = snapshot.ledger?.group(group)?.object(part).map { ObjectPath(part.folder, $0.name) }
    if found == nil, part == .check { found = try group.checkPath() }
    guard let path = found else { return (nil, nil) }
    do throws(Failure) {
      let hashing = try HashingSink(into: MemorySink(limit: GroupID.objectLimit))
      try store.open(ObjectReference(path)).copy(to: hashing)
      return (path, try hashing.digest())
    } catch {
      if error.code == .inputMissing { return (path, nil) }
      throw error
    }
  }

  /// The groups of the next ledger, for a caller that has just opened the check with this SHA-256. Nil if the ledger
  /// already names it.
  ///
  /// Throws `.tryAgain` if the group now has a different check, or none.
  func naming(
    opened sha256: Digest, of group: GroupID, in snapshot: Snapshot
  ) throws(Failure) -> [LedgerGroup]? {
    if let check = snapshot.ledger?.group(group)?.check {
      guard check.sha256 == sha256 else { throw other(.check, of: group) }
      return nil
    }
    let standing = try standing(.check, of: group, in: snapshot)
    guard let path = standing.path, standing.sha256 == sha256 else { throw other(.check, of: group) }
    let check = LedgerGroup.Object(name: path.name, sha256: sha256)
    return try snapshot.ledger.naming(.check, check, of: group, isNewPassword: false)
  }

  /// Call before staging anything large; `push` checks again.
  package func requireCheck(
    _ sha256: Digest, of group: GroupID, in snapshot: Snapshot
  ) throws(Failure) {
    _ = try naming(opened: sha256, of: group, in: snapshot)
  }

  private func other(_ part: LedgerGroup.Part, of group: GroupID) -> Failure {
    Failure(
      .tryAgain,
      "the store \(store.address.display) has another \(part.noun) for \(group) by now: nothing was "
        + "stored",
      hint: "the password may have been changed meanwhile: try again with the current one")
  }
}

extension Ledger? {
  /// The groups of the ledger, with `object` named for one of them.
  ///
  /// - Parameter isNewPassword: whether the key epoch is raised.
  fileprivate func naming(
    _ part: LedgerGroup.Part, _ object: LedgerGroup.Object, of id: GroupID, isNewPassword: Bool
  ) throws(Failure) -> [LedgerGroup] {
    var groups = self?.groups ?? []
    // Backups resealed under a new password may already have a higher epoch than their group.
    var epoch = self?.entries.reduce(0) { $1.group == id ? max($0, $1.keyEpoch) : $0 } ?? 0
    guard let index = groups.firstIndex(where: { $0.id == id }) else {
      groups.append(try LedgerGroup(id, keyEpoch: epoch, part, object))
      return groups
    }
    let known = groups[index]
    epoch = isNewPassword ? max(epoch, known.keyEpoch + 1) : known.keyEpoch
    guard epoch <= LedgerGroup.epochLimit else {
      throw Failure(.malformed, "ledger: \"key_epoch\" of the group \(id) is out of range")
    }
    groups[index] = try known.with(keyEpoch: epoch, part, object)
    return groups
  }
}

extension LedgerGroup.Part {
  /// The folder of such objects in a store.
  package var folder: ObjectPath.Folder {
    switch self {
    case .check: .checks
    case .identity: .keys
    }
  }

  /// The name for messages.
  package var noun: String {
    switch self {
    case .check: "password check"
    case .identity: "sealed identity"
    }
  }

  /// The tbk-store command that stores one.
  package var command: String {
    switch self {
    case .check: "password-check"
    case .identity: "identity"
    }
  }
}

extension ObjectPath.Folder {
  /// Whether the folder's objects belong to groups, not to backups.
  var isOfGroups: Bool { LedgerGroup.Part.allCases.contains { $0.folder == self } }
}

extension GroupID {
  /// The size limit for a group's objects, in bytes. They are small: anything larger is something else.
  package static let objectLimit = 1 << 20

  /// The path of a group's first check.
  package func checkPath() throws(Failure) -> ObjectPath { try path(.checks, "\(description).tbk") }

  /// The path of an identity, or of a check that replaces another.
  func path(of part: LedgerGroup.Part, _ sha256: Digest) throws(Failure) -> ObjectPath {
    let suffix = ObjectPath.suffix(sha256, part == .check ? "tbk" : "age")
    return try path(part.folder, "\(description)\(suffix)")
  }

  private func path(_ folder: ObjectPath.Folder, _ text: String) throws(Failure) -> ObjectPath {
    guard let name = ObjectName(text) else {
      throw Failure(.usage, "\(description) is not the name of a group")
    }
    return ObjectPath(folder, name)
  }
}
