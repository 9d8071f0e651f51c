import TBKCore

/// The key objects of a group, as listed in a ledger (tbk(5), "Ledger").
///
/// The properties here have been checked; all other members are kept and written unchanged.
package struct LedgerGroup: Equatable, Sendable {
  /// An object that checks a password of the group, or that contains its keys.
  package struct Object: Equatable, Sendable {
    package let name: ObjectName
    package let sha256: Digest

    package init(name: ObjectName, sha256: Digest) {
      self.name = name
      self.sha256 = sha256
    }

    fileprivate init(_ json: JSON, _ key: String) throws(Failure) {
      guard json.members != nil else { throw Failure(.malformed, "\"\(key)\" is not an object") }
      guard let name = json["filename"]?.text.flatMap({ ObjectName($0) }) else {
        throw Failure(.malformed, "\"filename\" of \"\(key)\" is missing or is not the name of an object")
      }
      guard let sha256 = json["sha256"]?.text.flatMap({ Digest(hex: $0) }) else {
        throw Failure(.malformed, "\"sha256\" of \"\(key)\" is missing or is not 64 hexadecimal digits")
      }
      self.init(name: name, sha256: sha256)
    }

    fileprivate var json: JSON {
      .object(["filename": .string(name.description), "sha256": .string(sha256.hex)])
    }
  }

  /// Which object of the group.
  package enum Part: String, CaseIterable, Sendable { case check, identity }

  /// Not every JSON parser keeps larger numbers exactly.
  package static let epochLimit: UInt64 = 1 << 53

  package let id: GroupID
  /// Increases by 1 with every new password. Entries have their own epoch, which is ahead of this one while they are
  /// being re-encrypted with a new password.
  package let keyEpoch: UInt64
  /// The password check, in `checks/`.
  package let check: Object?
  /// The sealed identity, in `keys/`.
  package let identity: Object?
  /// The members on one line of JSON, in their original order.
  private let text: [UInt8]

  /// Throws `.malformed`, naming the member that is wrong.
  package init(_ id: GroupID, _ json: JSON) throws(Failure) {
    guard json.members != nil else { throw Failure(.malformed, "it is not an object") }
    self.id = id
    text = json.line()
    guard let epoch: UInt64 = json["key_epoch"]?.integer(), epoch <= LedgerGroup.epochLimit else {
      throw Failure(.malformed, "\"key_epoch\" is missing or out of range")
    }
    keyEpoch = epoch
    func object(_ key: String) throws(Failure) -> Object? {
      guard let value = json[key], !value.isNull else { return nil }
      return try Object(value, key)
    }
    check = try object("check")
    identity = try object("identity")
    guard check != nil || identity != nil else {
      throw Failure(.malformed, "it has neither \"check\" nor \"identity\"")
    }
  }

  /// A group that is in no ledger yet.
  package init(_ id: GroupID, keyEpoch: UInt64, _ part: Part, _ object: Object) throws(Failure) {
    try self.init(
      id, .object([JSON.Member("key_epoch", .number(keyEpoch)), JSON.Member(part.rawValue, object.json)]))
  }

  package func object(_ part: Part) -> Object? {
    switch part {
    case .check: check
    case .identity: identity
    }
  }

  /// The group with one object replaced.
  package func with(keyEpoch: UInt64, _ part: Part, _ object: Object) throws(Failure) -> LedgerGroup {
    var json = try json
    json["key_epoch"] = .number(keyEpoch)
    json[part.rawValue] = object.json
    return try LedgerGroup(id, json)
  }

  package var json: JSON {
    get throws(Failure) { try JSON.parse(text, what: "ledger group") }
  }

  /// The members on one line of JSON, in their original order.
  package var line: [UInt8] { text }
}

extension Ledger {
  /// The maximum number of groups in a ledger.
  package static let groupLimit = 10_000

  /// Parses the member `groups`, in which each key and each object name must be unique.
  ///
  /// - Parameter limit: the maximum length of all of them together, in bytes.
  static func groups(_ reader: inout JSONReader, atMost limit: Int) throws(Failure) -> [LedgerGroup] {
    let start = reader.position
    var groups: [LedgerGroup] = []
    // Strings, for which a hostile store cannot choose hash collisions.
    var ids: Set<String> = []
    var checks: Set<String> = []
    var identities: Set<String> = []
    try reader.beginObject()
    var first = true
    while let key = try reader.nextKey(&first) {
      guard groups.count < groupLimit else {
        throw Failure(.malformed, "it has more than \(groupLimit) groups")
      }
      guard let id = String(validating: key, as: UTF8.self).flatMap({ GroupID($0) }) else {
        throw Failure(.malformed, "\(RawPath(key).display) is not the name of a group")
      }
      let json = try reader.value(atMost: max(0, limit - (reader.position - start)))
      do throws(Failure) {
        let group = try LedgerGroup(id, json)
        guard ids.insert(id.description).inserted else {
          throw Failure(.malformed, "it appears twice")
        }
        for (object, names) in [(group.check, checks), (group.identity, identities)] {
          guard let name = object?.name.description, names.contains(name) else { continue }
          throw Failure(.malformed, "the name \(name) is that of another group's object")
        }
        if let check = group.check { checks.insert(check.name.description) }
        if let identity = group.identity { identities.insert(identity.name.description) }
        groups.append(group)
      } catch {
        throw error.within("group \(id)")
      }
    }
    return groups
  }
}
