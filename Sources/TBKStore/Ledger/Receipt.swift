import TBKCore
import TBKFormat

/// What tbk-seal records about an archive, unencrypted (tbk-seal(1), "--receipt").
package struct Receipt: Equatable, Sendable {
  package static let byteLimit = 64 << 20

  package let id: Digest
  package let createdAt: String
  package let fileCount: UInt64
  /// "full" or "incremental".
  package let mode: String
  package let dependsOn: [Digest]
  /// The group that the manifest names; nil if it names none.
  package let group: GroupID?
  /// False if part of the source could not be read.
  package let complete: Bool
  /// Bytes of the archive; nil if the receipt was written before the archive.
  package let size: UInt64?
  /// The SHA-256 of the archive; nil in the same case.
  package let sha256: Digest?

  /// Throws `.malformed`, naming the invalid member.
  package init(parsing bytes: [UInt8]) throws(Failure) {
    let json = try JSON.parse(bytes, what: "receipt")
    func wrong(_ key: String) -> Failure {
      Failure(.malformed, "receipt: \"\(key)\" is missing or wrong")
    }
    guard json["receipt"]?.integer() == 1 else {
      throw Failure(
        .malformed, "receipt: it is not one, or of a kind that is not known",
        hint: "give the file that tbk-seal --receipt wrote")
    }
    guard let id = json["id"]?.text.flatMap({ Digest(hex: $0) }) else { throw wrong("id") }
    self.id = id
    guard let created = json["created_at"]?.text, Timestamp(iso8601: created) != nil else {
      throw wrong("created_at")
    }
    createdAt = created
    guard let count: Int64 = json["file_count"]?.integer(), count >= 0 else {
      throw wrong("file_count")
    }
    fileCount = UInt64(count)
    guard let mode = json["mode"]?.text, mode == "full" || mode == "incremental" else {
      throw wrong("mode")
    }
    self.mode = mode
    guard let list = json["depends_on"]?.elements else { throw wrong("depends_on") }
    var dependsOn: [Digest] = []
    for element in list {
      guard let digest = element.text.flatMap({ Digest(hex: $0) }), digest != id else {
        throw wrong("depends_on")
      }
      dependsOn.append(digest)
    }
    self.dependsOn = dependsOn
    if let name = json["group"], !name.isNull {
      guard let known = name.text.flatMap({ GroupID($0) }) else { throw wrong("group") }
      group = known
    } else {
      group = nil
    }
    guard let complete = json["complete"]?.boolean else { throw wrong("complete") }
    self.complete = complete
    size = try json["size"].map { (json) throws(Failure) in
      guard let size: UInt64 = json.integer() else { throw wrong("size") }
      return size
    }
    sha256 = try json["sha256"].map { (json) throws(Failure) in
      guard let digest = json.text.flatMap({ Digest(hex: $0) }) else { throw wrong("sha256") }
      return digest
    }
  }
}
