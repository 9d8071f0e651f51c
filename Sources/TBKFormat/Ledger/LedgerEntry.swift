import TBKCore

/// The name of an object in a store. Names in a ledger may be hostile: no slash, no leading dot, nothing that a shell,
/// a terminal or another file system would interpret differently.
package struct ObjectName: Hashable, Sendable, CustomStringConvertible {
  package static let maximumLength = 128

  package let description: String

  /// Nil unless it matches `^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$`.
  package init?(_ text: String) {
    let bytes = Array(text.utf8)
    guard (1...ObjectName.maximumLength).contains(bytes.count), bytes[0].isLetterOrDigit,
      bytes.allSatisfy({ $0.isLetterOrDigit || "._~-".utf8.contains($0) })
    else { return nil }
    description = text
  }
}

extension UInt8 {
  fileprivate var isLetterOrDigit: Bool {
    switch self {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "a")...UInt8(ascii: "z"):
      true
    default: false
    }
  }
}

/// The id of a profile's backups within a store, so that profiles can share one. It names the
/// password-check object, so it is an `ObjectName` of at most 64 characters.
package struct GroupID: Hashable, Sendable, CustomStringConvertible {
  package let description: String

  package init?(_ text: String) {
    guard text.utf8.count <= 64, ObjectName(text) != nil else { return nil }
    description = text
  }
}

/// One backup in the ledger (tbk(5), "Ledger").
///
/// The properties here have been checked; all other members are kept in `json` and written unchanged.
package struct LedgerEntry: Equatable, Sendable {
  /// An object, with its size in bytes and its hash.
  package struct Object: Equatable, Sendable {
    package let name: ObjectName
    package let sha256: Digest
    package let size: UInt64

    package init(name: ObjectName, sha256: Digest, size: UInt64) {
      self.name = name
      self.sha256 = sha256
      self.size = size
    }
  }

  /// A part of an archive that its store keeps in several objects.
  package struct Part: Equatable, Sendable {
    package let object: Object
    /// Where the store keeps it, in a word that the store defines.
    package let place: String

    package init(object: Object, place: String) {
      self.object = object
      self.place = place
    }
  }

  package static let maximumParts = 10_000

  /// The members on one line of JSON, in their original order.
  private let text: [UInt8]

  package let id: Digest
  package let filename: ObjectName
  package let sha256: Digest
  package let size: UInt64
  /// ISO 8601.
  package let createdAt: String
  package let fileCount: UInt64
  package let verified: Bool
  /// "full" or "incremental"; nil in entries of TermBackup 6.
  package let mode: String?
  package let group: GroupID?
  /// Backups that hold content of this one.
  package let dependsOn: [Digest]
  /// The sealed manifest.
  package let manifest: Object?
  /// The parts of the archive; empty if it is one object.
  package let parts: [Part]
  /// Likewise for the sealed manifest.
  package let manifestParts: [Part]
  /// The signature of the archive; 64 bytes.
  package let signature: [UInt8]?
  /// Which password of its group it is encrypted with, counted from 0.
  package let keyEpoch: UInt64

  /// Whether it has none of our fields, so that TermBackup 6 wrote it.
  package var isTermBackup6: Bool { mode == nil && group == nil && manifest == nil }

  package var archive: Object { Object(name: filename, sha256: sha256, size: size) }

  /// Checks the known members. Throws `.malformed`, naming the member.
  package init(_ json: JSON) throws(Failure) {
    guard json.members != nil else { throw Failure(.malformed, "it is not an object") }
    text = json.line()
    id = try json.digest("id")
    filename = try json.name("filename")
    sha256 = try json.digest("sha256")
    size = try json.size("size")
    guard let created = json["created_at"]?.text, Timestamp(iso8601: created) != nil else {
      throw Failure(.malformed, "\"created_at\" is missing or is not a time")
    }
    createdAt = created
    fileCount = json["file_count"]?.isNull ?? true ? 0 : try json.size("file_count")
    switch json["verified"] {
    case nil, .null: verified = false
    case .bool(let value): verified = value
    default: throw Failure(.malformed, "\"verified\" is not true or false")
    }
    mode = try json.text("mode")
    if let mode, mode != "full", mode != "incremental" {
      throw Failure(.malformed, "\"mode\" is neither full nor incremental")
    }
    group = try json.text("group").map { (text) throws(Failure) in
      guard let group = GroupID(text) else {
        throw Failure(.malformed, "\"group\" is not a name")
      }
      return group
    }
    var dependsOn: [Digest] = []
    for id in try json.list("depends_on") {
      guard let digest = id.text.flatMap({ Digest(hex: $0) }) else {
        throw Failure(.malformed, "\"depends_on\" contains an invalid id")
      }
      if digest == self.id { throw Failure(.malformed, "it depends on itself") }
      dependsOn.append(digest)
    }
    self.dependsOn = dependsOn
    if let manifest = json["manifest"], !manifest.isNull {
      let object = Object(
        name: try manifest.name("filename"), sha256: try manifest.digest("sha256"),
        size: try manifest.size("size"))
      self.manifest = object
      manifestParts = try manifest.parts(of: object.size)
    } else {
      manifest = nil
      manifestParts = []
    }
    parts = try json.parts(of: size)
    if let epoch = json["key_epoch"], !epoch.isNull {
      guard let value: UInt64 = epoch.integer(), value <= LedgerGroup.epochLimit else {
        throw Failure(.malformed, "\"key_epoch\" is not a number, or out of range")
      }
      keyEpoch = value
    } else {
      keyEpoch = 0
    }
    if let hex = try json.text("signature"), !hex.isEmpty {
      guard let bytes = [UInt8](hex: hex), bytes.count == 64 else {
        throw Failure(.malformed, "\"signature\" is not 64 bytes in hexadecimal")
      }
      signature = bytes
    } else {
      signature = nil
    }
  }

  package var json: JSON {
    get throws(Failure) { try JSON.parse(text, what: "ledger entry") }
  }

  /// The members on one line of JSON, in their original order.
  package var line: [UInt8] { text }

  /// The entry with changed members.
  package func changing(
    _ body: (inout JSON) throws(Failure) -> Void
  ) throws(Failure) -> LedgerEntry {
    var json = try self.json
    try body(&json)
    return try LedgerEntry(json)
  }
}

extension LedgerEntry.Object {
  /// The JSON for the member `manifest`.
  ///
  /// - Parameter parts: empty if it is one object.
  package func json(parts: [LedgerEntry.Part]) -> JSON {
    var json = JSON.object([
      "filename": .string(name.description), "sha256": .string(sha256.hex), "size": .number(size),
    ])
    if !parts.isEmpty { json["parts"] = .array(parts.map(\.json)) }
    return json
  }
}

extension LedgerEntry.Part {
  package var json: JSON {
    .object([
      "name": .string(object.name.description), "size": .number(object.size),
      "sha256": .string(object.sha256.hex), "place": .string(place),
    ])
  }
}

extension JSON {
  fileprivate func digest(_ key: String) throws(Failure) -> Digest {
    guard let digest = self[key]?.text.flatMap({ Digest(hex: $0) }) else {
      throw Failure(.malformed, "\"\(key)\" is missing or is not 64 hexadecimal digits")
    }
    return digest
  }

  fileprivate func name(_ key: String) throws(Failure) -> ObjectName {
    guard let text = self[key]?.text else {
      throw Failure(.malformed, "\"\(key)\" is missing or is not a string")
    }
    guard let name = ObjectName(text) else {
      throw Failure(.malformed, "\"\(key)\" is \(RawPath(text).display), which no store holds")
    }
    return name
  }

  /// A size in bytes, which must fit a signed file offset.
  fileprivate func size(_ key: String) throws(Failure) -> UInt64 {
    guard let value: Int64 = self[key]?.integer(), value >= 0 else {
      throw Failure(.malformed, "\"\(key)\" is missing or is not a size")
    }
    return UInt64(value)
  }

  /// A string, or nil if it is null or absent.
  fileprivate func text(_ key: String) throws(Failure) -> String? {
    guard let value = self[key], !value.isNull else { return nil }
    guard let text = value.text else { throw Failure(.malformed, "\"\(key)\" is not a string") }
    return text
  }

  /// An array, or an empty one if it is null or absent.
  fileprivate func list(_ key: String) throws(Failure) -> [JSON] {
    guard let value = self[key], !value.isNull else { return [] }
    guard let elements = value.elements else {
      throw Failure(.malformed, "\"\(key)\" is not an array")
    }
    return elements
  }

  /// The parts of an object of `size` bytes, if it has any.
  fileprivate func parts(of size: UInt64) throws(Failure) -> [LedgerEntry.Part] {
    let list = try list("parts")
    guard list.count <= LedgerEntry.maximumParts else {
      throw Failure(.malformed, "it has \(list.count) parts")
    }
    var parts: [LedgerEntry.Part] = []
    var total: UInt64 = 0
    for part in list {
      let object = LedgerEntry.Object(
        name: try part.name("name"), sha256: try part.digest("sha256"), size: try part.size("size"))
      guard let place = part["place"]?.text, ObjectName(place) != nil else {
        throw Failure(.malformed, "\"place\" of a part is missing or is not a word")
      }
      total = try total.adding(object.size, "\"size\" of the parts")
      parts.append(LedgerEntry.Part(object: object, place: place))
    }
    if !parts.isEmpty, total != size {
      throw Failure(.malformed, "its parts hold \(total) bytes, not \(size)")
    }
    return parts
  }
}
