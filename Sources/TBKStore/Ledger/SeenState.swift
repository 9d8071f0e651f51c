import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// What this machine has seen of each store: its id and the latest state of its ledger. It shows whether a store was
/// rolled back, split or replaced (tbk(5), "Ledger").
///
/// Stored below `TERMBACKUP_HOME/state`: `<store_id>.json`; `stores/<hash of the address>.json` for the id seen at an
/// address; and `groups/<group>.json` for each group seen in a ledger signed by a trusted key, at any address: under a
/// new id at a new address it is still known. If it cannot be written, backups continue with a warning.
package final class SeenState {
  /// The latest state of a store that was seen here.
  package struct Moment: Equatable, Sendable {
    package let storeID: Ledger.StoreID
    package let sequence: UInt64
    package let hash: Digest

    package init(storeID: Ledger.StoreID, sequence: UInt64, hash: Digest) {
      self.storeID = storeID
      self.sequence = sequence
      self.hash = hash
    }
  }

  /// What was known before the store was read.
  package struct Memory: Sendable {
    /// The id last seen at this address.
    package internal(set) var storeID: Ledger.StoreID?
    package internal(set) var moment: Moment?
    /// Whether its ledger was signed by a trusted key.
    package internal(set) var wasSigned = false
    /// The groups seen in a ledger signed by a trusted key, of this store or any other.
    var signedGroups: Set<String> = []
    /// The latest state seen of each of its groups.
    var groups: [String: GroupMoment] = [:]
  }

  /// The highest key epoch of a group seen here, and the hashes of its objects at that epoch.
  struct GroupMoment: Equatable, Sendable {
    let keyEpoch: UInt64
    let check: Digest?
    let identity: Digest?

    init(keyEpoch: UInt64, check: Digest?, identity: Digest? = nil) {
      (self.keyEpoch, self.check, self.identity) = (keyEpoch, check, identity)
    }

    /// What to keep of a group, given what was seen before: at the same epoch, new hashes are added; an older epoch is
    /// ignored.
    func raised(by group: LedgerGroup) -> GroupMoment {
      if group.keyEpoch < keyEpoch { return self }
      let isSame = group.keyEpoch == keyEpoch
      return GroupMoment(
        keyEpoch: group.keyEpoch, check: isSame ? check ?? group.check?.sha256 : group.check?.sha256,
        identity: isSame ? identity ?? group.identity?.sha256 : group.identity?.sha256)
    }
  }

  /// Large enough for all groups of a ledger; in bytes.
  private static let fileLimit = 4 << 20

  /// Nil if there is no home directory.
  private let directory: RawPath?
  private let addressName: RawPath
  private let addressText: [UInt8]
  private let display: String
  let accepting: Bool
  private let warn: (String) -> Void
  private let report: (String) -> Void
  private var warned = false

  /// - Parameters:
  ///   - home: `TERMBACKUP_HOME`; created when needed. Nil if there is none.
  ///   - accepting: whether the current state of the store is accepted regardless of what was seen.
  ///   - warn: called once if nothing can be written.
  ///   - notice: called for anything that could not be checked and is accepted anyway.
  package init(
    home: RawPath?, address: StoreAddress, accepting: Bool, warn: @escaping (String) -> Void,
    notice: @escaping (String) -> Void = { _ in }
  ) throws(Failure) {
    directory = home?.appending("state")
    addressText = address.canonical
    addressName = RawPath("stores").appending("\(try SHA256.hash(addressText).hex).json")
    display = address.display
    self.accepting = accepting
    self.warn = warn
    report = notice
  }

  // MARK: Reading

  /// Call before reading the store: otherwise a commit by another process of this machine in between would look like a
  /// rollback.
  package func recall() throws(Failure) -> Memory {
    var memory = Memory()
    memory.signedGroups = try signedGroups()
    guard let json = try read(addressName) else { return memory }
    guard let id = json["store_id"]?.text.flatMap({ Ledger.StoreID($0) }) else {
      if accepting { return memory }
      throw damaged(addressName)
    }
    memory.storeID = id
    memory.moment = try recall(id)
    memory.wasSigned = try wasSigned(id)
    memory.groups = try groups(of: id)
    return memory
  }

  /// What was seen of the groups of a store.
  func groups(of id: Ledger.StoreID) throws(Failure) -> [String: GroupMoment] {
    let name = RawPath("\(id).json")
    guard let json = try read(name)?["groups"], !json.isNull else { return [:] }
    var groups: [String: GroupMoment] = [:]
    for member in json.members ?? [] {
      guard let epoch: UInt64 = member.value["key_epoch"]?.integer() else {
        if accepting { return [:] }
        throw damaged(name)
      }
      func hash(_ key: String) -> Digest? { member.value[key]?.text.flatMap { Digest(hex: $0) } }
      groups[member.key] = GroupMoment(keyEpoch: epoch, check: hash("check"), identity: hash("identity"))
    }
    return groups
  }

  /// Whether the ledger of a store was ever seen signed by a key that was trusted.
  package func wasSigned(_ id: Ledger.StoreID) throws(Failure) -> Bool {
    try read(RawPath("\(id).json"))?["signed_by"]?.text != nil
  }

  /// The trusted key that signed the ledger when last seen; nil if none ever did.
  func signer(of id: Ledger.StoreID) throws(Failure) -> Digest? {
    try read(RawPath("\(id).json"))?["signed_by"]?.text.flatMap { Digest(hex: $0) }
  }

  /// The groups ever seen in a ledger signed by a trusted key.
  private func signedGroups() throws(Failure) -> Set<String> {
    guard let directory else { return [] }
    do throws(Failure) {
      guard
        let folder = try Descriptor.workingDirectory.openIfPresent(
          directory.appending(SeenState.groupFolder), O_RDONLY | O_DIRECTORY)
      else { return [] }
      var groups: Set<String> = []
      for (name, _) in try folder.names() where name.text.hasSuffix(SeenState.suffix) {
        groups.insert(String(name.text.dropLast(SeenState.suffix.count)))
      }
      return groups
    } catch {
      if error.code == .inputMissing { return [] }  // A parent is not a directory.
      if error.code == .interrupted { throw error }
      complain(error)
      return []
    }
  }

  private static let groupFolder = RawPath("groups")
  private static let suffix = ".json"

  package func recall(_ id: Ledger.StoreID) throws(Failure) -> Moment? {
    let name = RawPath("\(id).json")
    guard let json = try read(name) else { return nil }
    guard json["store_id"]?.text == id.description,
      let sequence: UInt64 = json["sequence"]?.integer(),
      let hash = json["hash"]?.text.flatMap({ Digest(hex: $0) })
    else {
      if accepting { return nil }
      throw damaged(name)
    }
    return Moment(storeID: id, sequence: sequence, hash: hash)
  }

  private func damaged(_ name: RawPath) -> Failure {
    Failure(
      .integrity, "\((directory ?? RawPath("")).appending(name).display) is damaged",
      hint: "it says what this machine has seen of the store; --accept-store-state rewrites it")
  }

  private func read(_ name: RawPath) throws(Failure) -> JSON? {
    guard let directory else { return nil }
    let path = directory.appending(name)
    let bytes: [UInt8]
    do throws(Failure) {
      guard let kept = try readKeptFile(path, limit: SeenState.fileLimit) else { return nil }
      bytes = kept
    } catch {
      if error.code == .inputMissing { return nil }  // A parent is not a directory.
      if error.isOfProcess { throw error }
      complain(error)
      return nil
    }
    do throws(Failure) {
      return try JSON.parse(bytes, what: path.display)
    } catch {
      if accepting { return nil }
      throw damaged(name)
    }
  }

  // MARK: Judging

  /// Throws `.integrity` if this ledger cannot follow from what was seen of the store.
  ///
  /// - Parameters:
  ///   - ledger: nil if the store has none.
  ///   - hash: the hash of the ledger.
  ///   - trust: the result of checking its signature.
  package func check(
    _ ledger: Ledger?, hash: Digest?, trust: LedgerTrust, against memory: Memory
  ) throws(Failure) {
    if accepting { return }
    guard let ledger, let hash else {
      guard memory.storeID != nil else { return }
      throw notice("the store \(display) had a ledger, and has none now")
    }
    guard let identity = ledger.identity else {
      guard memory.storeID != nil else { return try refuseUnsignedGroup(ledger, trust, memory) }
      throw notice(
        "the ledger of the store \(display) had a sequence, and has none now: something that "
          + "does not know it, or somebody, wrote it")
    }
    if let known = memory.storeID, known != identity.storeID {
      throw notice(
        "\(display) was the store \(known), and is the store \(identity.storeID) now")
    }
    if memory.wasSigned, trust == .unsigned {
      throw notice(
        "the ledger of the store \(display) was signed, and is not now: somebody without a key "
          + "wrote it")
    }
    try refuseUnsignedGroup(ledger, trust, memory)
    try checkMoment(identity, hash: hash, trust: trust, against: memory)
    try checkGroups(ledger, against: memory)
  }

  private func checkMoment(
    _ identity: Ledger.Identity, hash: Digest, trust: LedgerTrust, against memory: Memory
  ) throws(Failure) {
    guard let seen = memory.moment, seen.storeID == identity.storeID else { return }
    if identity.sequence < seen.sequence {
      throw notice(
        "the store \(display) was rolled back: its ledger has sequence \(identity.sequence), "
          + "and this machine has seen \(seen.sequence)")
    }
    if identity.sequence == seen.sequence {
      if hash == seen.hash { return }
      throw notice(
        "the store \(display) split: its ledger of sequence \(seen.sequence) is not the one "
          + "that this machine has seen")
    }
    // The last hash of the history is that of the preceding ledger.
    let age = identity.sequence - seen.sequence
    guard age <= UInt64(identity.history.count) else {
      let gap = "the history of the store \(display) does not reach back to sequence \(seen.sequence)"
      guard case .verified = trust else { throw notice("\(gap), which this machine has seen") }
      // The signer knows the earlier history.
      return report("\(gap), which this machine saw last: the signature by a trusted key stands for it")
    }
    guard identity.history[identity.history.count - Int(age)] == seen.hash else {
      throw notice(
        "the store \(display) split: the history of its ledger does not contain sequence "
          + "\(seen.sequence) as this machine has seen it")
    }
  }

  /// Key objects must not be rolled back: an old password check would accept an old password.
  private func checkGroups(_ ledger: Ledger, against memory: Memory) throws(Failure) {
    if memory.groups.isEmpty { return }
    let now = Dictionary(
      (ledger.groups ?? []).map { ($0.id.description, $0) }, uniquingKeysWith: { first, _ in first })
    for (name, seen) in memory.groups.sorted(by: { $0.key < $1.key }) {
      let which = "the group \(RawPath(name).display) of the store \(display)"
      guard let group = now[name] else {
        throw notice("the ledger no longer names \(which)")
      }
      if group.keyEpoch < seen.keyEpoch {
        throw notice(
          "\(which) was rolled back to key epoch \(group.keyEpoch): this machine has seen \(seen.keyEpoch)")
      }
      if group.keyEpoch == seen.keyEpoch, let check = seen.check, group.check?.sha256 != check {
        throw notice(
          "\(which) has another password check than this machine has seen, at the same key epoch")
      }
      if group.keyEpoch == seen.keyEpoch, let identity = seen.identity, group.identity?.sha256 != identity {
        throw notice(
          "\(which) has another sealed identity than this machine has seen, at the same key epoch")
      }
    }
  }

  /// Under a new id at a new address it counts as another store, but its groups are still known.
  private func refuseUnsignedGroup(
    _ ledger: Ledger, _ trust: LedgerTrust, _ memory: Memory
  ) throws(Failure) {
    guard trust == .unsigned, !memory.signedGroups.isEmpty,
      let group = ledger.groupIDs.first(where: { memory.signedGroups.contains($0.description) })
    else { return }
    throw notice(
      "the backups of the group \(group) were listed in a signed ledger, and the ledger of the store "
        + "\(display) is not signed")
  }

  private func notice(_ message: String) -> Failure {
    Failure(
      .integrity, message,
      hint: "find out why before anything is stored there; --accept-store-state, which tbk-pull and "
        + "'termbackup list' take, accepts what it holds now")
  }

  // MARK: Keeping

  /// Records what was seen, unless something later was recorded meanwhile.
  package func raise(
    to ledger: Ledger?, hash: Digest?, trust: LedgerTrust
  ) throws(Failure) {
    guard let directory else {
      complain(Failure(.configuration, "neither TERMBACKUP_HOME nor HOME is set"))
      return
    }
    do throws(Failure) {
      try keep(ledger, trust, directory)
      guard let identity = ledger?.identity, let hash else {
        // There is no id to recognise this store by. What was known of the address no longer applies.
        if accepting { try Descriptor.workingDirectory.unlink(directory.appending(addressName)) }
        return
      }
      try keep(
        Moment(storeID: identity.storeID, sequence: identity.sequence, hash: hash),
        groups: ledger?.groups ?? [], trust, directory)
    } catch {
      if error.isOfProcess { throw error }
      if error.code == .inputMissing, accepting { return }
      complain(error)
    }
  }

  /// Records which groups a trusted key has signed for, or no longer does.
  private func keep(
    _ ledger: Ledger?, _ trust: LedgerTrust, _ directory: RawPath
  ) throws(Failure) {
    guard let ledger else { return }
    let known = try signedGroups()
    let folder = directory.appending(SeenState.groupFolder)
    switch trust {
    case .verified(let key):
      let new = ledger.groupIDs.filter { !known.contains($0.description) }
      if new.isEmpty { return }
      try makeDirectories(folder)
      for group in new {
        let json = JSON.object(["group": .string(group.description), "signed_by": .string(key.hex)])
        try AtomicFile.write(
          json.pretty(), to: folder.appending(RawPath("\(group)\(SeenState.suffix)")),
          inherits: true)
      }
    case .unsigned where accepting:
      for group in ledger.groupIDs where known.contains(group.description) {
        try Descriptor.workingDirectory.unlink(
          folder.appending(RawPath("\(group)\(SeenState.suffix)")))
      }
    default: break
    }
  }

  private func keep(
    _ moment: Moment, groups: [LedgerGroup], _ trust: LedgerTrust, _ directory: RawPath
  ) throws(Failure) {
    let old = try recall(moment.storeID)
    let isGroupNew = try raised(self.groups(of: moment.storeID), by: groups) != nil
    var signedBy: Digest?
    if case .verified(let key) = trust { signedBy = key }
    let wasSigned = try wasSigned(moment.storeID)
    let isNewlySigned = signedBy != nil && !wasSigned
    let isNewlyUnsigned = accepting && trust == .unsigned && wasSigned
    if old == moment, !isNewlySigned, !isNewlyUnsigned, !isGroupNew,
      try read(addressName)?["store_id"]?.text == moment.storeID.description
    {
      return  // Nothing to write, so no need to wait for the lock.
    }
    try makeDirectories(directory.appending("stores"))
    let state = try Descriptor.workingDirectory.open(directory, O_RDONLY | O_DIRECTORY)
    let lock = try FileLock(RawPath(".lock"), in: state, maximumWait: 10, what: "the state")
    defer { lock.release() }
    let current = try recall(moment.storeID)
    let name = RawPath("\(moment.storeID).json")
    if accepting || (current?.sequence ?? 0) < moment.sequence {
      try write(
        name, in: state,
        [
          "store_id": .string(moment.storeID.description), "sequence": .number(moment.sequence),
          "hash": .string(moment.hash.hex),
        ])
    }
    if let raised = raised(try self.groups(of: moment.storeID), by: groups) {
      let members = raised.sorted { $0.key < $1.key }.map { (key, value) in
        JSON.Member(
          key,
          .object([
            "key_epoch": .number(value.keyEpoch), "check": value.check.map { .string($0.hex) } ?? .null,
            "identity": value.identity.map { .string($0.hex) } ?? .null,
          ]))
      }
      try write(name, in: state, ["groups": .object(members)])
    }
    if let signedBy {
      try write(name, in: state, ["signed_by": .string(signedBy.hex)])
    } else if isNewlyUnsigned {
      try write(name, in: state, ["signed_by": .null])
    }
    try write(
      addressName, in: state,
      ["address": .string(addressText), "store_id": .string(moment.storeID.description)])
  }

  /// The new record of the groups; nil if it is unchanged.
  private func raised(
    _ known: [String: GroupMoment], by groups: [LedgerGroup]
  ) -> [String: GroupMoment]? {
    var next = accepting ? [:] : known
    for group in groups {
      let new = GroupMoment(
        keyEpoch: group.keyEpoch, check: group.check?.sha256, identity: group.identity?.sha256)
      next[group.id.description] = next[group.id.description]?.raised(by: group) ?? new
    }
    return next == known ? nil : next
  }

  /// Sets members of a file and keeps the others, which a later version may have added.
  private func write(
    _ name: RawPath, in state: Descriptor, _ members: KeyValuePairs<String, JSON>
  ) throws(Failure) {
    var json = try read(name) ?? .object([])
    if json.members == nil { json = .object([]) }
    let before = json
    for (key, value) in members { json[key] = value }
    if json != before { try AtomicFile.write(json.pretty(), to: name, in: state, inherits: true) }
  }

  /// Creates the missing directories of a path, with mode 0700.
  private func makeDirectories(_ path: RawPath) throws(Failure) {
    if try Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_DIRECTORY) != nil { return }
    if path.parent != path, path.parent != RawPath(".") { try makeDirectories(path.parent) }
    do throws(Failure) {
      try Descriptor.workingDirectory.makeOwnedDirectory(path)
    } catch  where error.code == .cannotCreate {
      // Another process created it, or it is not a directory, which opening it shows.
      _ = try Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY)
    }
  }

  private func complain(_ failure: Failure) {
    if warned { return }
    warned = true
    warn(
      "cannot save what was seen of the store \(display), so that a rollback "
        + "would not be noticed: \(failure.message)")
  }
}
