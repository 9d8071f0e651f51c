// What proves the password of a group: a small sealed object, which the ledger vouches for as it does
// for an archive (tbk(5), "Store" and "Ledger").

import TBKCore
import TBKCrypto
import TBKFormat

extension LedgerSession {
  /// Stores the password check of a group, in the commit by which the ledger names it. Returns whether
  /// all of that was so already.
  ///
  /// Nothing is known here of passwords: whoever has sealed or opened the check vouches for it. One that
  /// no ledger vouches for, as in a store of before, stays and is named from now on if it has the same
  /// bytes. If it has others it counts as the group's where the ledger is not signed; a signed one would
  /// have named it.
  ///
  /// Throws `.cannotCreate` if the group has another check, unless it is to be replaced, and `.tryAgain`
  /// if that is another one than `expected` by now.
  ///
  /// - Parameters:
  ///   - replacing: whether the password has become another one, which raises the key epoch.
  ///   - expected: the SHA-256 of the check that is replaced.
  package func storeCheck(
    _ object: any StagedObject, of group: GroupID, replacing: Bool, expected: Digest? = nil
  ) throws(Failure) -> Bool {
    try transact { (snapshot, taken) throws(Failure) in
      let ledger = snapshot.ledger
      let known = ledger?.group(group)
      let standing = try self.standingCheck(of: group, in: snapshot)
      if known?.check?.sha256 == object.sha256, standing.sha256 == object.sha256 {
        return .done(true)
      }
      let isOther: Bool
      if let check = known?.check {
        isOther = check.sha256 != object.sha256
      } else {
        isOther = standing.sha256 != nil && standing.sha256 != object.sha256 && snapshot.trust == .unsigned
      }
      if isOther, !replacing {
        throw Failure(
          .cannotCreate,
          "the store \(self.store.address.display) has another password check for \(group)",
          hint: "if the password has changed, use 'tbk-store password-check --replace'")
      }
      if isOther, let expected, known?.check?.sha256 != expected { throw self.otherCheck(of: group) }
      var plan = Plan(entries: snapshot.entries, summary: "Add the password check of \(group)")
      var path = standing.path
      if standing.sha256 != object.sha256 {
        // A name that holds bytes, or that the ledger had for others, is not used for these.
        let isFree = standing.sha256 == nil && !isOther && !taken.contains(path)
        if !isFree {
          plan.removals.append(ObjectReference(path))
          path = try group.checkPath(of: object.sha256)
        }
        plan.additions.append(.init(path, object))
      }
      let check = LedgerGroup.Object(name: path.name, sha256: object.sha256)
      plan.groups = try ledger.naming(check, of: group, isNewPassword: replacing && isOther)
      return .commit(plan, false)
    }
  }

  /// Where the password check of a group is, or would be, and what is there: nil for nothing.
  private func standingCheck(
    of group: GroupID, in snapshot: Snapshot
  ) throws(Failure) -> (path: ObjectPath, sha256: Digest?) {
    let path = try snapshot.checkPath(of: group)
    do throws(Failure) {
      let hashing = try HashingSink(into: MemorySink(limit: GroupID.checkLimit))
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
      guard check.sha256 == sha256 else { throw otherCheck(of: group) }
      return nil
    }
    let standing = try standingCheck(of: group, in: snapshot)
    guard standing.sha256 == sha256 else { throw otherCheck(of: group) }
    let check = LedgerGroup.Object(name: standing.path.name, sha256: sha256)
    return try snapshot.ledger.naming(check, of: group, isNewPassword: false)
  }

  /// To be asked before anything large is staged; `push` asks again.
  package func requireCheck(
    _ sha256: Digest, of group: GroupID, in snapshot: Snapshot
  ) throws(Failure) {
    _ = try naming(opened: sha256, of: group, in: snapshot)
  }

  private func otherCheck(of group: GroupID) -> Failure {
    Failure(
      .tryAgain,
      "the store \(store.address.display) has another password check for \(group) by now: nothing was "
        + "stored",
      hint: "the password may have been changed meanwhile: try again with the one of now")
  }
}

extension Ledger? {
  /// The groups of a ledger that names `check` for one of them.
  ///
  /// - Parameter isNewPassword: whether the key epoch is raised.
  fileprivate func naming(
    _ check: LedgerGroup.Object, of id: GroupID, isNewPassword: Bool
  ) throws(Failure) -> [LedgerGroup] {
    var groups = self?.groups ?? []
    // What is under another password is ahead of its group until the group follows.
    var epoch = self?.entries.reduce(0) { $1.group == id ? max($0, $1.keyEpoch) : $0 } ?? 0
    guard let index = groups.firstIndex(where: { $0.id == id }) else {
      groups.append(try LedgerGroup(id, keyEpoch: epoch, check: check))
      return groups
    }
    let known = groups[index]
    epoch = isNewPassword ? max(epoch, known.keyEpoch + 1) : known.keyEpoch
    guard epoch <= LedgerGroup.epochLimit else {
      throw Failure(.malformed, "ledger: \"key_epoch\" of the group \(id) is out of range")
    }
    groups[index] = try known.with(keyEpoch: epoch, check: check)
    return groups
  }
}

extension LedgerSession.Snapshot {
  /// Where the ledger has the password check of a group, or where a first one is.
  package func checkPath(of group: GroupID) throws(Failure) -> ObjectPath {
    if let name = ledger?.group(group)?.check?.name { return ObjectPath(.checks, name) }
    return try group.checkPath()
  }
}

extension GroupID {
  /// A password check is a sealed constant: anything larger is something else.
  package static let checkLimit = 1 << 20

  /// Where the first check of a group is.
  package func checkPath() throws(Failure) -> ObjectPath { try checkPath("\(description).tbk") }

  /// Where one is that takes the place of another.
  func checkPath(of sha256: Digest) throws(Failure) -> ObjectPath {
    try checkPath("\(description)\(ObjectPath.suffix(sha256))")
  }

  private func checkPath(_ text: String) throws(Failure) -> ObjectPath {
    guard let name = ObjectName(text) else {
      throw Failure(.usage, "\(description) is not the name of a group")
    }
    return ObjectPath(.checks, name)
  }
}
