// What decides over the keys of a group: its password check, a small sealed object, and its sealed
// identity. The ledger vouches for both as it does for an archive (tbk(5), "Store" and "Ledger").

import TBKCore
import TBKCrypto
import TBKFormat

extension LedgerSession {
  /// Stores an object of a group, in the commit by which the ledger names it. Returns whether all of
  /// that was so already.
  ///
  /// Nothing is known here of passwords: whoever has sealed or opened the object vouches for it. A check
  /// that no ledger vouches for, as in a store of before, stays and is named from now on if it has the same
  /// bytes. If it has others it counts as the group's where the ledger is not signed; a signed one would
  /// have named it.
  ///
  /// Throws `.cannotCreate` if the group has another one, unless it is to be replaced, and `.tryAgain`
  /// if that is another one than `expected` by now.
  ///
  /// - Parameters:
  ///   - replacing: whether the keys have become others, which raises the key epoch.
  ///   - expected: the SHA-256 of the object that is replaced.
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
        // A name that holds bytes, or that the ledger had for others, is not used for these.
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

  /// Where an object of a group is, or would be, and what is there: nil for nothing. The place of a first
  /// identity depends on its bytes: nil.
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

  /// The groups of the next ledger, for a commit by somebody who has just opened the check with this
  /// SHA-256. Nil if the ledger vouches for it already.
  ///
  /// Throws `.tryAgain` if the group has another check by now, or none.
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

  /// To be asked before anything large is staged; `push` asks again.
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
  /// The groups of a ledger that names `object` for one of them.
  ///
  /// - Parameter isNewPassword: whether the key epoch is raised.
  fileprivate func naming(
    _ part: LedgerGroup.Part, _ object: LedgerGroup.Object, of id: GroupID, isNewPassword: Bool
  ) throws(Failure) -> [LedgerGroup] {
    var groups = self?.groups ?? []
    // What is under another password is ahead of its group until the group follows.
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
  /// Where such objects lie in a store.
  package var folder: ObjectPath.Folder {
    switch self {
    case .check: .checks
    case .identity: .keys
    }
  }

  /// What people call it.
  package var noun: String {
    switch self {
    case .check: "password check"
    case .identity: "sealed identity"
    }
  }

  /// The command of tbk-store that stores one.
  package var command: String {
    switch self {
    case .check: "password-check"
    case .identity: "identity"
    }
  }
}

extension ObjectPath.Folder {
  /// Whether what lies there is of groups, not of backups.
  var isOfGroups: Bool { LedgerGroup.Part.allCases.contains { $0.folder == self } }
}

extension GroupID {
  /// The objects of a group are small: anything larger is something else. In bytes.
  package static let objectLimit = 1 << 20

  /// Where the first check of a group is.
  package func checkPath() throws(Failure) -> ObjectPath { try path(.checks, "\(description).tbk") }

  /// Where an identity is, or a check that takes the place of another.
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
