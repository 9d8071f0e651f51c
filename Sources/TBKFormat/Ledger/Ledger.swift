import TBKCore

/// `metadata.json`: what a store holds, and what it held before (tbk(5), "Ledger").
///
/// Members that we do not know are kept, of the whole and of every entry.
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

  /// What tells one store, and one moment of it, from another. TermBackup 6's ledgers have none.
  package struct Identity: Equatable, Sendable {
    package var storeID: StoreID
    /// One more at every commit; the first is 1.
    package var sequence: UInt64
    /// The hashes of the ledgers before this one, oldest first.
    package var history: [Digest]
  }

  package static let fileName = "metadata.json"
  /// What 100,000 backups take, with room to spare; read, it is several times as much.
  package static let byteLimit = 128 << 20
  package static let entryLimit = 100_000
  /// Of one entry: 10,000 parts take less.
  package static let entryByteLimit = 4 << 20
  /// Of everything beside the entries.
  package static let memberByteLimit = 4 << 20
  package static let historyLimit = 512
  /// Beyond this a number is not exact everywhere that JSON is read.
  package static let sequenceLimit: UInt64 = 1 << 53

  /// Everything but `backups`, `groups`, the identity and the signature, in order.
  private var members: [JSON.Member]
  package private(set) var identity: Identity?
  /// {key, signature}: kept as it is while the ledger is not changed.
  package private(set) var signature: JSON?
  /// In the order in which they were stored.
  package private(set) var entries: [LedgerEntry] = []
  /// What decides over the keys of groups; nil in ledgers that do not say it.
  package private(set) var groups: [LedgerGroup]?

  /// The ledger of a store that has none yet.
  ///
  /// - Parameter repository: "owner/repo", or nothing where an address has no such name.
  package init(toolVersion: String, repository: String, createdAt: String) {
    members = [
      JSON.Member("tool_version", .string(toolVersion)),
      JSON.Member("repository", .string(repository)),
      JSON.Member("created_at", .string(createdAt)),
    ]
  }

  /// Throws `.malformed` for what is not a ledger, or one that no writer makes.
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
    // As text, whose hash nobody can aim at: an id is whatever the store says.
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

  /// Whether none of our fields are there: TermBackup 6 wrote it last.
  package var isTermBackup6: Bool { identity == nil }

  package func index(of id: Digest) -> Int? { entries.firstIndex { $0.id == id } }

  package subscript(id: Digest) -> LedgerEntry? { index(of: id).map { entries[$0] } }

  /// The groups that are named, each once.
  package var groupIDs: Set<GroupID> {
    Set(entries.compactMap(\.group)).union((groups ?? []).map(\.id))
  }

  package func group(_ id: GroupID) -> LedgerGroup? { groups?.first { $0.id == id } }

  /// Whether there is nothing in it that anyone could lose.
  package var isEmpty: Bool { entries.isEmpty && groups?.isEmpty ?? true }

  /// Another member of the whole.
  package subscript(key: String) -> JSON? { members.first { $0.key == key }?.value }

  // MARK: Changing

  /// The ledger that follows this one: numbered, linked to it, and not signed.
  ///
  /// - Parameters:
  ///   - hash: this ledger's own; nil if it never was in a store.
  ///   - newStoreID: for a store that has no id yet.
  ///   - entries: what it lists.
  ///   - groups: what it vouches for of groups; nil if that stays as it is.
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

  /// The same ledger with this signature, which must be one of its `signedBytes()`.
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

  /// The canonical JSON of everything but `ledger_signature`: what is hashed and what is signed.
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

  /// As `serialized()`, for a terminal: without a character that it would obey.
  package func printable() -> [UInt8] {
    // Only in strings.
    serialized().flatMap { $0 == 0x7f ? Array("\\u007f".utf8) : [$0] }
  }

  /// The file: a line for each member and each backup, so that people and git see what changed.
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
  /// Sets a member where it stands, or puts it first.
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
