import TBKCore

/// `config.json`: an object whose known keys are checked and whose unknown ones are kept.
package struct Configuration: Equatable, Sendable {
  /// The object, in its original order.
  package private(set) var object: JSON

  package static let keys: [ConfigurationKey] = [
    ConfigurationKey("github_token", .line, secret: true),
    ConfigurationKey("default_repo", .store),
    ConfigurationKey("encryption_version", .integer(2...2), standard: .number(2)),
    ConfigurationKey("cipher_suite", .oneOf([1, 3]), standard: .number(1)),
    ConfigurationKey("recipients", .recipients, standard: .array([])),
    ConfigurationKey("signing_enabled", .boolean, standard: .bool(false)),
    ConfigurationKey("audit_log_enabled", .boolean, standard: .bool(true)),
    ConfigurationKey("package_dir", .directory),
    ConfigurationKey("restore_dir", .directory),
  ]

  package static func key(_ name: String) -> ConfigurationKey? { keys.first { $0.name == name } }

  /// The defaults.
  package init() {
    object = .object(Configuration.keys.map { JSON.Member($0.name, $0.standard) })
  }

  /// Parses the file.
  ///
  /// - Parameters:
  ///   - place: the name of the file in failures.
  ///   - checking: whether to throw for wrong values; false to fix them one by one.
  package init(_ bytes: [UInt8], place: String, checking: Bool = true) throws(Failure) {
    object = try parseObject(bytes, place: place, code: .configuration)
    // TermBackup 6 treated an empty string as unset.
    for key in ["github_token", "default_repo"] where object[key]?.bytes == [] {
      object[key] = .null
    }
    if checking { try check(place: place) }
  }

  /// Throws `.configuration` for the first value that is wrong.
  package func check(place: String) throws(Failure) {
    for key in Configuration.keys {
      if let complaint = key.complaint(in: object) {
        throw Failure(
          .configuration, "\(place): \(complaint)",
          hint: "fix it with 'tbk-config set \(key.name) VALUE'")
      }
    }
  }

  /// The value of a known key, or its default; the plain value of any other key, or nil.
  package subscript(name: String) -> JSON? {
    let value = object[name]
    guard let key = Configuration.key(name) else { return value }
    return value == nil || value == .null ? key.standard : value
  }

  package mutating func set(_ name: String, _ value: JSON) { object[name] = value }

  /// Resets a key to its default.
  package mutating func unset(_ name: String) {
    object[name] = Configuration.key(name).map(\.standard)
  }

  package var isAuditLogEnabled: Bool { self["audit_log_enabled"]?.boolean ?? true }

  /// The content of the file.
  package var bytes: [UInt8] { object.pretty() }
}

/// Parses a JSON object from a file. Failures have the given code and name the file.
func parseObject(_ bytes: [UInt8], place: String, code: Failure.Code) throws(Failure) -> JSON {
  let value: JSON
  do throws(Failure) {
    value = try JSON.parse(bytes, what: place)
  } catch {
    throw Failure(code, error.message, hint: "the file must hold one JSON object")
  }
  guard value.members != nil else {
    throw Failure(code, "\(place): not a JSON object")
  }
  return value
}
