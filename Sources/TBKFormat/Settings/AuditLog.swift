import TBKCore

/// One entry of the audit log: a line of JSON about an operation, never about the content of files.
package struct AuditEntry: Equatable, Sendable {
  package let timestamp: Timestamp
  package let operation: String
  package let profile: String?
  package let status: String
  package let details: [JSON.Member]

  /// Throws `.usage` for values that are not allowed in an entry.
  package init(
    timestamp: Timestamp, operation: String, profile: String?, status: String,
    details: [JSON.Member]
  ) throws(Failure) {
    guard AuditEntry.isWord(operation) else {
      throw Failure(
        .usage, "an operation consists of lower-case letters, digits and '-', as in rotate-key")
    }
    guard AuditEntry.statuses.contains(status) else {
      throw Failure(.usage, "a status is one of \(AuditEntry.statuses.joined(separator: ", "))")
    }
    if let profile { _ = try Profile.checkedName(Array(profile.utf8)) }
    for (index, detail) in details.enumerated() {
      guard let shape = AuditDetail(key: detail.key) else {
        throw Failure(
          .usage, "the audit log has no detail \(RawPath(detail.key).display)",
          hint: "known are \(AuditDetail.names.joined(separator: ", ")) and NAME_count")
      }
      if let complaint = shape.complaint(about: detail.value) {
        throw Failure(.usage, "the detail \(detail.key) \(complaint)")
      }
      if details[..<index].contains(where: { $0.key == detail.key }) {
        throw Failure(.usage, "the detail \(detail.key) appears twice")
      }
    }
    self.timestamp = timestamp
    self.operation = operation
    self.profile = profile
    self.status = status
    self.details = details
  }

  package static let statuses = ["success", "failure", "partial"]

  /// `^[a-z][a-z0-9-]{0,31}$`
  private static func isWord(_ text: String) -> Bool {
    guard (1...32).contains(text.utf8.count), let first = text.utf8.first,
      (0x61...0x7a).contains(first)
    else { return false }
    return text.utf8.allSatisfy {
      (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-")
    }
  }

  /// The line without its line feed, with the spacing of Python's `json.dumps`.
  ///
  /// - Parameter previous: the hash of the previous line, or 32 zero bytes.
  package func line(previous: Digest) -> [UInt8] {
    var object = JSON.object([
      "timestamp": .string(timestamp.iso8601(microseconds: false)),
      "operation": .string(operation),
      "profile": profile.map { .string($0) } ?? .null,
      "status": .string(status),
      "details": .object(details),
    ])
    object["previous"] = .string(previous.hex)
    return AuditEntry.spaced(object)
  }

  private static func spaced(_ value: JSON) -> [UInt8] {
    guard let members = value.members else { return value.line() }
    var output: [UInt8] = [UInt8(ascii: "{")]
    for (index, member) in members.enumerated() {
      if index > 0 { output += ", ".utf8 }
      output.appendJSONString(Array(member.key.utf8).span)
      output += ": ".utf8
      output += spaced(member.value)
    }
    output.append(UInt8(ascii: "}"))
    return output
  }
}

/// The allowed details. Only these are written, so no password, token, path or content can get into the log.
package struct AuditDetail: Equatable, Sendable {
  private enum Shape: Equatable { case id, number, boolean, word, profile, sentence }

  private static let shapes: KeyValuePairs<String, Shape> = [
    "backup_id": .id, "other_id": .id, "bytes": .number, "seconds": .number,
    "exit_status": .number, "max_backups": .number, "retention_days": .number,
    "key_epoch": .number, "complete": .boolean, "dry_run": .boolean, "unchanged": .boolean,
    "mode": .word, "schedule": .word, "renamed_from": .profile, "error": .sentence,
    "warning": .sentence,
  ]

  package static let names = shapes.map(\.key)

  private let shape: Shape

  /// Nil for an unknown key.
  package init?(key: String) {
    if let known = AuditDetail.shapes.first(where: { $0.key == key }) {
      shape = known.value
    } else if key.utf8.count <= 32, key.hasSuffix("_count"),
      key.utf8.allSatisfy({ (0x61...0x7a).contains($0) || $0 == UInt8(ascii: "_") })
    {
      shape = .number
    } else {
      return nil
    }
  }

  /// What is wrong with `value`, as words that follow the key; nil if nothing is.
  package func complaint(about value: JSON) -> String? {
    switch shape {
    case .id:
      guard let text = value.text, (8...64).contains(text.utf8.count),
        text.utf8.allSatisfy({ hexValue($0) != nil && !(0x41...0x46).contains($0) })
      else { return "must be 8 to 64 lower-case hexadecimal digits" }
      return nil
    case .number: return value.integer(UInt64.self) == nil ? "must be a whole number" : nil
    case .boolean: return value.boolean == nil ? "must be true or false" : nil
    case .word:
      guard let text = value.text, (1...32).contains(text.utf8.count),
        text.utf8.allSatisfy({ (0x61...0x7a).contains($0) || $0 == UInt8(ascii: "-") })
      else { return "must be one lower-case word" }
      return nil
    case .profile:
      return value.bytes.map(Profile.isName) == true ? nil : "must be the name of a profile"
    case .sentence:
      // Without slash, quote, underscore or sign it can be neither a path nor a token.
      guard let text = value.text, (1...120).contains(text.utf8.count),
        text.utf8.allSatisfy(AuditDetail.isOfSentence),
        text.split(separator: " ").allSatisfy({ $0.utf8.count <= 24 })
      else { return "must be a short sentence of plain words" }
      return nil
    }
  }

  private static func isOfSentence(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
    case UInt8(ascii: " "), UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "("),
      UInt8(ascii: ")"), UInt8(ascii: "-"), UInt8(ascii: "."):
      true
    default: false
    }
  }

  /// The value for a text from the command line.
  package func value(from text: String) -> JSON {
    switch shape {
    // In JSON notation: "007" is not a JSON number.
    case .number: .number(UInt64(text).map(String.init) ?? text)
    case .boolean: text == "true" ? .bool(true) : text == "false" ? .bool(false) : .string(text)
    default: .string(text)
    }
  }
}

/// A parsed line of the log: ours, or one of TermBackup 6, without `previous`.
package struct AuditLine: Equatable, Sendable {
  package let object: JSON
  /// The unchanged line, without its line feed.
  package let bytes: [UInt8]

  /// Throws `.malformed` if it is not an entry.
  package init(_ bytes: [UInt8], place: String) throws(Failure) {
    object = try JSON.parse(bytes, what: place)
    self.bytes = bytes
    guard object["operation"]?.text != nil, object["timestamp"]?.text != nil,
      object["status"]?.text != nil
    else { throw Failure(.malformed, "\(place): not an entry of the audit log") }
  }

  package var operation: String { object["operation"]?.text ?? "" }
  package var profile: String? { object["profile"]?.text }
  /// The profile's former name, if this entry records its renaming.
  package var renamedFrom: String? { object["details"]?["renamed_from"]?.text }
  package var status: String { object["status"]?.text ?? "" }
  /// Nil if it is not ISO 8601.
  package var timestamp: Timestamp? {
    (object["timestamp"]?.text).flatMap { Timestamp(iso8601: $0) }
  }
  /// The hash of the previous line; nil in lines of TermBackup 6.
  package var previous: Digest? { (object["previous"]?.text).flatMap { Digest(hex: $0) } }

  /// For people: time, operation, profile, status and details, in columns. Always one line without control characters.
  package var summary: String {
    func plain(_ text: String) -> String { RawPath(text).quoted }
    var time = object["timestamp"]?.text ?? ""
    if let timestamp {
      time = timestamp.iso8601(microseconds: false)
      time = time.replacing(first: "T", with: " ").prefix(19) + "Z"
    }
    var details: [String] = []
    for member in object["details"]?.members ?? [] {
      let value =
        member.value.bytes.map { RawPath.quote($0.span) }
        ?? String(decoding: member.value.line(), as: UTF8.self)
      details.append("\(plain(member.key))=\(value)")
    }
    func padded(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(0, width - text.count))
    }
    let columns =
      "\(plain(time))  \(padded(plain(operation), 10))  \(padded(plain(profile ?? "-"), 16))  "
      + padded(plain(status), 7) + "  " + details.joined(separator: " ")
    var end = columns.utf8.endIndex
    while end > columns.utf8.startIndex,
      columns.utf8[columns.utf8.index(before: end)] == UInt8(ascii: " ")
    {
      end = columns.utf8.index(before: end)
    }
    return String(columns[..<end])
  }
}

extension String {
  fileprivate func replacing(first character: Character, with other: Character) -> String {
    guard let index = firstIndex(of: character) else { return self }
    return self[..<index] + String(other) + self[self.index(after: index)...]
  }
}

/// The state stored beside the log, so that a truncated log is detected: the number of lines and bytes, and the hash of
/// the last line.
package struct AuditState: Equatable, Sendable {
  package var count: UInt64
  package var size: UInt64
  package var last: Digest

  package init(count: UInt64 = 0, size: UInt64 = 0, last: Digest = AuditState.beforeFirst) {
    self.count = count
    self.size = size
    self.last = last
  }

  /// More lines or bytes than any log has, and small enough to add to without overflow.
  private static let most = UInt64(1) << 60

  /// The `previous` of the first line: 64 zeros.
  package static let beforeFirst = Digest([UInt8](repeating: 0, count: 32).span)!

  /// Throws `.malformed` if it is not a valid state.
  package init(_ bytes: [UInt8], place: String) throws(Failure) {
    let object = try JSON.parse(bytes, what: place)
    guard let count = object["count"]?.integer(UInt64.self),
      let size = object["size"]?.integer(UInt64.self),
      count <= AuditState.most, size <= AuditState.most,
      let last = (object["last"]?.text).flatMap({ Digest(hex: $0) })
    else { throw Failure(.malformed, "\(place): not the state of an audit log") }
    self.init(count: count, size: size, last: last)
  }

  package var bytes: [UInt8] {
    JSON.object([
      "count": .number(count), "size": .number(size), "last": .string(last.hex),
    ]).line() + [0x0a]
  }
}

/// Selects entries of the log.
package struct AuditFilter: Sendable {
  /// The maximum number of entries; 0 for all.
  package var limit: Int
  package var operation: String?
  package var profile: String?
  package var since: Timestamp?

  package init(
    limit: Int = 0, operation: String? = nil, profile: String? = nil, since: Timestamp? = nil
  ) {
    self.limit = limit
    self.operation = operation
    self.profile = profile
    self.since = since
  }

  package func takes(_ line: AuditLine) -> Bool {
    if let operation, line.operation != operation { return false }
    if let profile, line.profile != profile { return false }
    guard let since else { return true }
    guard let timestamp = line.timestamp else { return false }
    return timestamp >= since
  }

  /// Appends `line`; from time to time drops lines beyond the limit, so that memory stays small.
  package func keep(_ line: AuditLine, in lines: inout [AuditLine]) {
    lines.append(line)
    if limit > 0, lines.count / 2 > limit, lines.count > 1000 {
      lines.removeFirst(lines.count - limit)
    }
  }

  /// Parses a time: ISO 8601, or an age such as `90m`, `36h`, `30d` or `4w`.
  ///
  /// Throws `.usage` for anything else.
  package static func time(_ text: String, now: Timestamp) throws(Failure) -> Timestamp {
    if let time = Timestamp(iso8601: text) { return time }
    let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800]
    if let unit = text.last.flatMap({ units[$0] }), let count = Int64(text.dropLast()),
      (0...1_000_000).contains(count)
    {
      let (age, overflow) = (count * unit).multipliedReportingOverflow(by: 1_000_000_000)
      if !overflow, now.nanoseconds - age > 0 {
        return Timestamp(nanoseconds: now.nanoseconds - age)
      }
    }
    throw Failure(
      .usage, "'\(text)' is not a time",
      hint: "write 2026-02-18, 2026-02-18T10:00:00Z, or an age as 36h or 30d")
  }
}
