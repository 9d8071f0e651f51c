import TBKCore

/// Reads a manifest from a stream, one entry at a time, so that its text is never held whole.
///
/// Everything about single entries is checked here; `Manifest.validate()` checks what holds
/// between them. Failures are `.malformed`, or `.truncated` if the object does not end.
package final class ManifestParser: ByteSink {
  /// Bytes of all members of the top object but the files.
  private static let memberLimit = 64 << 20
  /// More entries than a file system holds inodes for, at 600 bytes each still below 40 GB.
  private static let entryLimit = 1 << 26

  private enum Place { case start, members, files, end }

  private let allowsDeferred: Bool
  /// Bytes of one entry.
  private let entryLength: Int
  private var place = Place.start
  /// How many brackets are open around the next byte.
  private var depth = 0
  private var inString = false
  private var escaped = false
  /// Whether a comma came and something must follow.
  private var expectsMore = false
  /// Whether a value of this container has been read, so that only a comma or its end may follow.
  private var unitDone = false
  private var unit: [UInt8] = []
  private var offset: UInt64 = 0
  private var seen: Set<String> = []
  private var files = EntryTable()
  private var top: [ManifestEntry.Extra] = []
  private var topLength = 0

  /// - Parameters:
  ///   - allowsDeferred: whether files may have a null hash, as in what
  ///     tbk-manifest --defer-hash prints.
  ///   - entryLength: the most bytes of one entry.
  package init(allowsDeferred: Bool = false, entryLength: Int = 8 << 20) {
    self.allowsDeferred = allowsDeferred
    self.entryLength = entryLength
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    for index in bytes.indices {
      try consume(bytes[index])
      offset += 1
    }
  }

  package func finish() throws(Failure) {
    guard place == .end else {
      throw Failure(
        .truncated, offset == 0 ? "the manifest is empty" : "the manifest ends early",
        hint: "the command that writes it failed; see its message above")
    }
  }

  private func malformed(_ message: String) -> Failure {
    Failure(.malformed, "manifest: \(message) at offset \(offset)")
  }

  private func consume(_ byte: UInt8) throws(Failure) {
    if inString {
      unit.append(byte)
      if escaped {
        escaped = false
      } else if byte == UInt8(ascii: "\\") {
        escaped = true
      } else if byte == UInt8(ascii: "\"") {
        inString = false
      }
      if unit.count > limit { throw malformed("a value is too long") }
      return
    }
    switch byte {
    case 0x20, 0x0a, 0x0d, 0x09:
      // One stands for many: it only keeps tokens apart.
      if let last = unit.last, last != 0x20 { unit.append(0x20) }
      return
    case _ where place == .start:
      guard byte == UInt8(ascii: "{") else { throw malformed("it is not a JSON object") }
      place = .members
      depth = 1
      return
    case _ where place == .end: throw malformed("something follows it")
    default: break
    }
    let base = place == .files ? 2 : 1
    switch byte {
    case UInt8(ascii: "\""): inString = true
    case UInt8(ascii: "["), UInt8(ascii: "{"):
      if place == .members, depth == 1, byte == UInt8(ascii: "["), opensFiles() {
        place = .files
        depth = 2
        unit.removeAll(keepingCapacity: true)
        expectsMore = false
        return
      }
      depth += 1
    case UInt8(ascii: ",") where depth == base:
      try endUnit(required: true)
      expectsMore = true
      return
    case UInt8(ascii: "]") where depth == base && place == .files:
      try endUnit(required: expectsMore)
      place = .members
      depth = 1
      unitDone = true
      expectsMore = false
      return
    case UInt8(ascii: "}") where depth == base && place == .members:
      try endUnit(required: expectsMore)
      place = .end
      return
    case UInt8(ascii: "]"), UInt8(ascii: "}"):
      guard depth > base else { throw malformed("unexpected bracket") }
      depth -= 1
    default: break
    }
    if unitDone { throw malformed("a comma is expected") }
    unit.append(byte)
    if unit.count > limit { throw malformed("a value is too long") }
  }

  private var limit: Int {
    place == .files ? entryLength : ManifestParser.memberLimit - topLength
  }

  /// Whether the member that has begun is `"files":`.
  private func opensFiles() -> Bool {
    let (key, colon) = (Array("\"files\"".utf8), UInt8(ascii: ":"))
    guard unit.starts(with: key) else { return false }
    return unit[key.count...].filter { $0 != 0x20 } == [colon]
  }

  private func endUnit(required: Bool) throws(Failure) {
    defer {
      unit.removeAll(keepingCapacity: true)
      unitDone = false
      expectsMore = false
    }
    if unitDone {
      guard seen.insert("files").inserted else { throw malformed("\"files\" stands twice") }
      return
    }
    if unit.isEmpty {
      if required { throw malformed("a value is missing") }
      return
    }
    do throws(Failure) {
      if place == .files {
        guard files.count < ManifestParser.entryLimit else { throw malformed("too many entries") }
        files.append(try ManifestEntry(parsing: unit, allowsDeferred: allowsDeferred))
      } else {
        let member = try JSONReader.rawMember(of: unit)
        if member.key == "files" { throw malformed("\"files\" is not an array, or is spelt oddly") }
        topLength += unit.count
        guard seen.insert(member.key).inserted else {
          throw malformed("\"\(member.key)\" stands twice")
        }
        top.append(member)
      }
    } catch {
      throw error.within("manifest, before offset \(offset)")
    }
  }

  /// The manifest, after `finish()`.
  package func manifest() throws(Failure) -> Manifest {
    guard place == .end else { throw Failure(.truncated, "the manifest ends early") }
    do throws(Failure) {
      var manifest = try Manifest(members: top, hasFiles: seen.contains("files"))
      swap(&manifest.files, &files)
      if !manifest.isTermBackup6 {
        for index in manifest.files.indices where !manifest.files.hasType(index) {
          throw Failure(
            .malformed, "entry \(RawPath(manifest.files.path(index)).display) has no type")
        }
      }
      return manifest
    } catch {
      throw error.within("manifest")
    }
  }
}

extension Manifest {
  fileprivate init(members: [ManifestEntry.Extra], hasFiles: Bool) throws(Failure) {
    guard hasFiles else { throw Failure(.malformed, "\"files\" is missing") }
    var known: [String: [UInt8]] = [:]
    for member in members { known[member.key] = member.value }

    func value(_ key: String) throws(Failure) -> JSON? {
      guard let text = known.removeValue(forKey: key) else { return nil }
      return try JSON.parse(text, what: "\"\(key)\"")
    }
    func text(_ key: String) throws(Failure) -> String {
      guard let text = try value(key)?.text else {
        throw Failure(.malformed, "\"\(key)\" is missing or is not a string")
      }
      return text
    }
    func textOrNull(_ key: String) throws(Failure) -> String? {
      guard let value = try value(key) else {
        throw Failure(.malformed, "\"\(key)\" is missing")
      }
      if value.isNull { return nil }
      guard let text = value.text else {
        throw Failure(.malformed, "\"\(key)\" is not a string")
      }
      return text
    }

    let version = try text("version")
    guard version == "1.0" || version == Manifest.currentVersion else {
      throw Failure(
        .malformed, "version \"\(version)\" is not known",
        hint: "a newer TermBackup may be able to read it")
    }
    self.init(
      version: version, osName: try text("os_name"), architecture: try text("architecture"),
      createdAt: try text("created_at"), mode: try text("backup_mode"))
    guard mode == "full" || mode == "incremental" else {
      throw Failure(.malformed, "\"backup_mode\" is \"\(mode)\"")
    }
    parentBackupID = try textOrNull("parent_backup_id")
    backupID = try textOrNull("backup_id")
    for id in [parentBackupID, backupID] {
      if let id, Digest(hex: id) == nil {
        throw Failure(.malformed, "a backup id is not 64 hexadecimal digits")
      }
    }
    if isTermBackup6 {
      extras = members.filter { known[$0.key] != nil }
      return
    }
    if known["nonce"] != nil { nonce = try text("nonce") }
    if let source = try value("source_dir") {
      guard let bytes = source.bytes, bytes.first == UInt8(ascii: "/"), !bytes.contains(0) else {
        throw Failure(.malformed, "\"source_dir\" is not an absolute path")
      }
      sourceDirectory = bytes
    }
    if let text = known.removeValue(forKey: "root") {
      root = try ManifestEntry(parsing: text, allowsDeferred: false, isRoot: true)
    }
    if let list = try value("unreadable") {
      guard let elements = list.elements else {
        throw Failure(.malformed, "\"unreadable\" is not an array")
      }
      unreadable = []
      for element in elements {
        guard let path = element["relative_path"]?.bytes, let reason = element["reason"]?.text,
          element.members?.count == 2
        else { throw Failure(.malformed, "\"unreadable\" holds something else") }
        unreadable?.append(UnreadableEntry(path: path, reason: reason))
      }
    }
    extras = members.filter { known[$0.key] != nil }
  }
}
