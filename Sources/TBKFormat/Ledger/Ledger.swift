import TBKCore

/// `metadata.json`: the content of a store, and the hashes of earlier ledgers (tbk(5), "Ledger").
///
/// Unknown members are kept, in the ledger and in every entry.
package struct Ledger: Equatable, Sendable {
  /// The random id of a store.
  package struct StoreID: Hashable, Sendable, CustomStringConvertible {
    package let description: String

    /// Nil unless it is 32 lower-case hexadecimal digits.
    package init?(_ text: String) {
      guard text.utf8.count == 32,
        text.utf8.allSatisfy({ hexDigits.contains($0) })
      else { return nil }
      description = text
    }
  }

  /// Identifies a store and a version of its ledger. Ledgers of TermBackup 6 have none.
  package struct Identity: Equatable, Sendable {
    package var storeID: StoreID
    /// Increases by 1 with every commit; starts at 1.
    package var sequence: UInt64
    /// The hashes of earlier ledgers, oldest first.
    package var history: [Digest]
  }

  package static let fileName = "metadata.json"
  /// In bytes: more than 100,000 backups take; parsed, it takes several times as much memory.
  package static let byteLimit = 128 << 20
  package static let entryLimit = 100_000
  /// The maximum length of one entry in bytes: 10,000 parts take less.
  package static let entryByteLimit = 4 << 20
  /// The maximum length of everything else in bytes.
  package static let memberByteLimit = 4 << 20
  package static let historyLimit = 512
  /// Not every JSON parser keeps larger numbers exactly.
  package static let sequenceLimit: UInt64 = 1 << 53

  /// Everything but `backups`, `groups`, the identity and the signature, in order.
  private var members: [JSON.Member]
  package private(set) var identity: Identity?
  /// {key, signature}: kept while the ledger is unchanged.
  package private(set) var signature: JSON?
  /// In the order in which the backups were stored.
  package private(set) var entries: [LedgerEntry] = []
  /// The key objects of groups; nil in ledgers without them.
  package private(set) var groups: [LedgerGroup]?

  /// The first ledger of a store.
  ///
  /// - Parameter repository: "owner/repo", or empty if the store has no such name.
  package init(toolVersion: String, repository: String, createdAt: String) {
    members = [
      JSON.Member("tool_version", .string(toolVersion)),
      JSON.Member("repository", .string(repository)),
      JSON.Member("created_at", .string(createdAt)),
    ]
  }

  /// Throws `.malformed` if it is not a valid ledger.
  package init(parsing bytes: [UInt8]) throws(Failure) {
    do throws(Failure) {
      try self.init(reading: bytes)
    } catch {
      throw error.within("ledger")
    }
  }

  private init(reading bytes: [UInt8]) throws(Failure) {
    guard bytes.count <= Ledger.byteLimit else {
      throw Failure(.malformed, "it is larger than \(Ledger.byteLimit) bytes")
    }
    var reader = JSONReader(bytes)
    var seen: Set<[UInt8]> = []
    var ours: [String: JSON] = [:]
    var hasBackups = false
    members = []
    try reader.beginObject()
    var first = true
    var rest = Ledger.memberByteLimit
    while true {
      let start = reader.position
      guard let key = try reader.nextKey(&first) else { break }
      guard seen.insert(key).inserted, let key = String(validating: key, as: UTF8.self) else {
        throw Failure(.malformed, "the key \(RawPath(key).display) appears twice or is not UTF-8")
      }
      switch key {
      case "backups":
        hasBackups = true
        entries = try Ledger.entries(&reader)
      case "groups": groups = try Ledger.groups(&reader, atMost: rest)
      case "store_id", "sequence", "history", "ledger_signature":
        ours[key] = try reader.value(atMost: rest)
      default: members.append(JSON.Member(key, try reader.value(atMost: rest)))
      }
      if key != "backups" { rest -= reader.position - start }
      guard rest >= 0 else { throw Failure(.malformed, "it holds too much besides its backups") }
    }
    try reader.end()
    guard hasBackups else { throw Failure(.malformed, "\"backups\" is missing") }
    if let signature = ours.removeValue(forKey: "ledger_signature"), !signature.isNull {
      guard signature.members != nil else {
        throw Failure(.malformed, "\"ledger_signature\" is not an object")
      }
      self.signature = signature
    }
    identity = try Ledger.identity(ours)
    if groups != nil, identity == nil {
      throw Failure(.malformed, "\"store_id\" is missing, but \"groups\" is present")
    }
  }

  private static func entries(_ reader: inout JSONReader) throws(Failure) -> [LedgerEntry] {
    var entries: [LedgerEntry] = []
    // Compared as strings, for which a hostile store cannot choose hash collisions.
    var ids: Set<String> = []
    var names: Set<String> = []
    try reader.beginArray()
    var first = true
    while try reader.nextElement(&first) {
      guard entries.count < entryLimit else {
        throw Failure(.malformed, "it has more than \(entryLimit) backups")
      }
      let json = try reader.value(atMost: Ledger.entryByteLimit)
      do throws(Failure) {
        let entry = try LedgerEntry(json)
        guard ids.insert(entry.id.hex).inserted else {
          throw Failure(.malformed, "the id \(entry.id.hex) appears twice")
        }
        guard names.insert(entry.filename.description).inserted else {
          throw Failure(.malformed, "the name \(entry.filename) appears twice")
        }
        entries.append(entry)
      } catch {
        throw error.within("backup \(entries.count + 1)")
      }
    }
    return entries
  }

  private static func identity(_ ours: [String: JSON]) throws(Failure) -> Identity? {
    if ours.isEmpty { return nil }
    guard let id = ours["store_id"]?.text.flatMap({ StoreID($0) }) else {
      throw Failure(.malformed, "\"store_id\" is missing or is not 32 hexadecimal digits")
    }
    guard let sequence: UInt64 = ours["sequence"]?.integer(),
      (1...sequenceLimit).contains(sequence)
    else { throw Failure(.malformed, "\"sequence\" is missing or out of range") }
    guard let list = ours["history"]?.elements, list.count <= historyLimit else {
      throw Failure(.malformed, "\"history\" is missing or too long")
    }
    var history: [Digest] = []
    for element in list {
      guard let hash = element.text.flatMap({ Digest(hex: $0) }) else {
        throw Failure(.malformed, "\"history\" contains an invalid hash")
      }
      history.append(hash)
    }
    return Identity(storeID: id, sequence: sequence, history: history)
  }

  // MARK: Reading

  /// Whether it has no identity, so that TermBackup 6 wrote it last.
  package var isTermBackup6: Bool { identity == nil }

  package func index(of id: Digest) -> Int? { entries.firstIndex { $0.id == id } }

  package subscript(id: Digest) -> LedgerEntry? { index(of: id).map { entries[$0] } }

  /// The ids of all groups that entries or `groups` name.
  package var groupIDs: Set<GroupID> {
    Set(entries.compactMap(\.group)).union((groups ?? []).map(\.id))
  }

  package func group(_ id: GroupID) -> LedgerGroup? { groups?.first { $0.id == id } }

  /// Whether it lists neither backups nor groups.
  package var isEmpty: Bool { entries.isEmpty && groups?.isEmpty ?? true }

  /// Another member of the ledger.
  package subscript(key: String) -> JSON? { members.first { $0.key == key }?.value }

  // MARK: Changing

  /// The ledger that follows this one: with the next sequence number, this one's hash, and no signature.
  ///
  /// - Parameters:
  ///   - hash: this ledger's own; nil if it was never stored.
  ///   - newStoreID: used if the store has no id yet.
  ///   - entries: its entries.
  ///   - groups: its groups; nil to keep the current ones.
  package func successor(
    ofHash hash: Digest?, newStoreID: StoreID, toolVersion: String, entries: [LedgerEntry],
    groups: [LedgerGroup]? = nil
  ) throws(Failure) -> Ledger {
    var next = self
    next.entries = entries
    if let groups { next.groups = groups }
    next.signature = nil
    next.members[required: "tool_version"] = .string(toolVersion)
    var identity = identity ?? Identity(storeID: newStoreID, sequence: 0, history: [])
    guard identity.sequence < Ledger.sequenceLimit else {
      throw Failure(.malformed, "ledger: \"sequence\" is out of range")
    }
    identity.sequence += 1
    if let hash { identity.history.append(hash) }
    identity.history = identity.history.suffix(Ledger.historyLimit)
    next.identity = identity
    return next
  }

  /// The same ledger with this signature, which must sign its `signedBytes()`.
  package func signed(_ signature: LedgerSignature) -> Ledger {
    var signed = self
    signed.signature = signature.json
    return signed
  }

  // MARK: Writing

  private var identityMembers: [JSON.Member] {
    guard let identity else { return [] }
    return [
      JSON.Member("store_id", .string(identity.storeID.description)),
      JSON.Member("sequence", .number(identity.sequence)),
      JSON.Member("history", .array(identity.history.map { .string($0.hex) })),
    ]
  }

  /// The canonical JSON of everything but `ledger_signature`, which is hashed and signed.
  package func canonical() throws(Failure) -> [UInt8] {
    var parts: [(key: String, value: [UInt8])] = []
    for member in members + identityMembers {
      parts.append((member.key, member.value.canonical()))
    }
    var list: [UInt8] = [UInt8(ascii: "[")]
    for (index, entry) in entries.enumerated() {
      if index > 0 { list.append(UInt8(ascii: ",")) }
      list += try entry.json.canonical()
    }
    list.append(UInt8(ascii: "]"))
    parts.append(("backups", list))
    if let groups {
      let sorted = groups.sorted {
        $0.id.description.utf8.lexicographicallyPrecedes($1.id.description.utf8)
      }
      var object: [JSON.Member] = []
      for group in sorted { object.append(JSON.Member(group.id.description, try group.json)) }
      parts.append(("groups", JSON.object(object).canonical()))
    }
    parts.sort { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    var output: [UInt8] = []
    for part in parts {
      output.append(UInt8(ascii: output.isEmpty ? "{" : ","))
      output.appendJSONString(Array(part.key.utf8).span)
      output.append(UInt8(ascii: ":"))
      output += part.value
    }
    output.append(UInt8(ascii: "}"))
    return output
  }

  /// Like `serialized()`, for a terminal: without control characters.
  package func printable() -> [UInt8] {
    // DEL can occur only in strings.
    serialized().flatMap { $0 == 0x7f ? Array("\\u007f".utf8) : [$0] }
  }

  /// The file: one line for each member and each backup, so that diffs are readable.
  package func serialized() -> [UInt8] {
    var output = Array("{\n".utf8)
    var all = members + identityMembers
    if let signature { all.append(JSON.Member("ledger_signature", signature)) }
    for member in all {
      output.append(UInt8(ascii: " "))
      output.appendJSONString(Array(member.key.utf8).span)
      output += ": ".utf8
      output += member.value.line()
      output += ",\n".utf8
    }
    if let groups {
      output += " \"groups\": {".utf8
      for (index, group) in groups.enumerated() {
        output += (index > 0 ? ",\n  \"" : "\n  \"").utf8
        output += group.id.description.utf8
        output += "\": ".utf8
        output += group.line
      }
      output += (groups.isEmpty ? "},\n" : "\n },\n").utf8
    }
    output += " \"backups\": [".utf8
    for (index, entry) in entries.enumerated() {
      output += (index > 0 ? ",\n  " : "\n  ").utf8
      output += entry.line
    }
    output += (entries.isEmpty ? "]\n}\n" : "\n ]\n}\n").utf8
    return output
  }
}

extension Array where Element == JSON.Member {
  /// Sets a member in place, or inserts it first.
  fileprivate subscript(required key: String) -> JSON? {
    get { first { $0.key == key }?.value }
    set {
      guard let newValue else { return }
      if let index = firstIndex(where: { $0.key == key }) {
        self[index].value = newValue
      } else {
        insert(JSON.Member(key, newValue), at: 0)
      }
    }
  }
}
