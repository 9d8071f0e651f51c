import TBKCore

/// The result of one backup run: the object that `termbackup run --json` prints, or the `{"error":…}` that a command
/// reports with `--json`.
package struct BackupReport: Equatable, Sendable {
  package enum Status: String, CaseIterable, Sendable {
    case success
    /// Stored, but part of the source could not be read.
    case partial
    /// Nothing has changed, so nothing was stored.
    case unchanged
    case failure
  }

  package var status: Status
  package var profile: String?
  /// Lower-case hexadecimal.
  package var id: String?
  /// `full` or `incremental`.
  package var mode: String?
  package var fileCount: UInt64?
  /// The size of the archive in bytes.
  package var size: UInt64?
  /// The duration of the run.
  package var seconds: UInt64?
  /// When it ended.
  package var time: Timestamp
  /// A problem that did not affect the backup itself.
  package var warning: String?
  package var errorType: String?
  package var errorMessage: String?

  package init(status: Status, time: Timestamp) {
    self.status = status
    self.time = time
  }

  /// Parses an object; ignores unknown members. Throws `.malformed`.
  ///
  /// - Parameters:
  ///   - place: its name in messages.
  ///   - now: the time to use if it has none.
  package init(_ bytes: [UInt8], place: String, now: Timestamp) throws(Failure) {
    let object = try JSON.parse(bytes, what: place)
    guard object.members != nil else { throw Failure(.malformed, "\(place): not a JSON object") }
    func value(_ key: String) -> JSON? {
      guard let value = object[key], !value.isNull else { return nil }
      return value
    }
    func text(_ key: String) throws(Failure) -> String? {
      guard let value = value(key) else { return nil }
      guard let text = value.text else {
        throw Failure(.malformed, "\(place): \"\(key)\" is not a string")
      }
      return text
    }
    func number(_ key: String) throws(Failure) -> UInt64? {
      guard let value = value(key) else { return nil }
      guard let number = value.integer(UInt64.self) else {
        throw Failure(.malformed, "\(place): \"\(key)\" is not a whole number of at least 0")
      }
      return number
    }
    let error = value("error")
    if let error, error.members == nil {
      throw Failure(.malformed, "\(place): \"error\" is not an object")
    }
    guard let word = try text("status") ?? (error == nil ? nil : "failure"),
      let status = Status(rawValue: word)
    else {
      let words = Status.allCases.map(\.rawValue).joined(separator: ", ")
      throw Failure(
        .malformed, "\(place): \"status\" is not one of \(words)",
        hint: "a report is what 'termbackup run --json' prints")
    }
    self.init(status: status, time: now)
    profile = try text("profile")
    id = try text("id")
    mode = try text("mode")
    fileCount = try number("file_count")
    size = try number("size")
    seconds = try number("seconds")
    warning = try text("warning")
    errorType = error?["type"]?.text
    errorMessage = error?["message"]?.text
    if let text = try text("time") {
      guard let time = Timestamp(iso8601: text) else {
        throw Failure(.malformed, "\(place): \"time\" is not an ISO 8601 time")
      }
      self.time = time
    }
  }

  /// A one-line summary.
  package var headline: String {
    let what = profile.map { "Backup of \($0)" } ?? "Backup"
    switch status {
    case .success: return warning == nil ? "\(what) succeeded" : "\(what) succeeded, with a warning"
    case .partial: return "\(what) is incomplete"
    case .unchanged: return "\(what): nothing has changed"
    case .failure: return "\(what) failed"
    }
  }

  /// What went wrong, in one or more sentences; nil if nothing did.
  package var trouble: String? {
    var sentences: [String] = []
    if status == .partial { sentences.append("Part of the source could not be read.") }
    if let errorMessage {
      sentences.append(errorType.map { "\($0): \(errorMessage)" } ?? errorMessage)
    } else if let errorType {
      sentences.append(errorType)
    }
    if let warning { sentences.append("Warning: \(warning)") }
    return sentences.isEmpty ? nil : sentences.joined(separator: "\n")
  }

  /// Names and values, for people.
  package var facts: [(name: String, value: String)] {
    var facts: [(name: String, value: String)] = []
    if let profile { facts.append(("Profile", profile)) }
    facts.append(("Status", status.rawValue))
    if let id { facts.append(("Backup", String(id.prefix(12)))) }
    if let mode { facts.append(("Mode", mode)) }
    if let fileCount { facts.append(("Files", groupedDigits(fileCount))) }
    if let size {
      let bytes = size < 1024 ? "" : " (\(groupedDigits(size)) bytes)"
      facts.append(("Size", humanSize(size) + bytes))
    }
    if let seconds { facts.append(("Duration", humanDuration(seconds))) }
    facts.append(("Time", time.iso8601(microseconds: false)))
    return facts
  }
}
