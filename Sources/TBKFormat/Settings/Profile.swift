import TBKCore

/// `profiles/NAME.json`: what to back up, how, and where to. Known fields are checked, unknown ones kept.
package struct Profile: Equatable, Sendable {
  /// The object, in file order; TermBackup 6's `excludes` is renamed to `exclude_patterns`.
  package private(set) var object: JSON

  /// The placeholder for `source_dir` in a profile that TermBackup 6 exported, which is still to be set.
  package static let placeholder = "<SET_SOURCE_DIR>"

  private static let count = ConfigurationShape.integer(1...Int(Int32.max))

  package static let fields: [ConfigurationKey] = [
    ConfigurationKey("name", .name, optional: false),
    ConfigurationKey("source_dir", .source, optional: false),
    ConfigurationKey("repo", .store, optional: false),
    ConfigurationKey("backup_mode", .choice(["full", "incremental"]), standard: .string("full")),
    ConfigurationKey("max_backups", count),
    ConfigurationKey("retention_days", count),
    ConfigurationKey("exclude_patterns", .patterns, standard: .array([])),
    ConfigurationKey("webhook_url", .url, secret: true),
    ConfigurationKey("ping_url", .url, secret: true),
    ConfigurationKey(
      "placement", .choice(["auto", "git", "release"]), standard: .string("auto")),
    ConfigurationKey("cipher_suite", .oneOf([1, 3])),
    ConfigurationKey("recipients", .recipients),
    ConfigurationKey("compression_level", .integer(0...19)),
    ConfigurationKey("group", .group),
    ConfigurationKey("ungrouped", .boolean),
    ConfigurationKey("restore_dir", .directory),
    ConfigurationKey("max_age", .age),
    ConfigurationKey("exclude_rules", .choice(["git", "pathspec"]), standard: .string("git")),
    ConfigurationKey("exclude_defaults", .boolean, standard: .bool(false)),
    ConfigurationKey("exclude_caches", .boolean, standard: .bool(false)),
    ConfigurationKey("one_file_system", .boolean, standard: .bool(false)),
    ConfigurationKey("exclude_larger_than", .size),
    ConfigurationKey("exclude_from", .directory),
    ConfigurationKey("full_every", .countOrAge),
    ConfigurationKey("max_chain", count, standard: .number(30)),
    ConfigurationKey("before_command", .command),
    ConfigurationKey("after_command", .command),
    ConfigurationKey("notify_command", .command),
    ConfigurationKey("limit_upload", count),
    ConfigurationKey("limit_download", count),
  ]

  package static func field(_ name: String) -> ConfigurationKey? {
    fields.first { $0.name == name }
  }

  /// Whether it matches `^[A-Za-z0-9_-]+$`, and is short enough for a file name.
  package static func isName(_ bytes: [UInt8]) -> Bool {
    (1...128).contains(bytes.count)
      && bytes.allSatisfy {
        switch $0 {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "_"), UInt8(ascii: "-"): true
        default: false
        }
      }
  }

  /// The name as text. Throws `.usage` if it is not a valid name.
  ///
  /// - Parameter new: whether it is for a new profile, and so must not look like an option.
  package static func checkedName(_ bytes: [UInt8], new: Bool = false) throws(Failure) -> String {
    guard isName(bytes) else {
      throw Failure(
        .usage, "\(RawPath(bytes).display) cannot be the name of a profile",
        hint: "a name consists of at most 128 letters, digits, '_' and '-'")
    }
    if new, bytes.first == UInt8(ascii: "-") {
      throw Failure(.usage, "the name of a new profile must not begin with '-'")
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A new profile with every field, set to its default or null unless given. It is incremental, although a profile
  /// without that field, which TermBackup 6 may have written, is not.
  ///
  /// - Parameter group: 16 random bytes, in hexadecimal.
  package init(name: String, source: RawPath, store: [UInt8], group: String) {
    object = .object(Profile.fields.map { JSON.Member($0.name, $0.standard) })
    object["name"] = .string(name)
    object["source_dir"] = .string(source.bytes)
    object["repo"] = .string(store)
    object["group"] = .string(group)
    object["backup_mode"] = "incremental"
  }

  /// Parses the file.
  ///
  /// - Parameters:
  ///   - place: the name of the file in failures.
  ///   - name: the name that the profile must have, if known.
  package init(_ bytes: [UInt8], place: String, name: String? = nil) throws(Failure) {
    object = try parseObject(bytes, place: place, code: .profile)
    if object["excludes"] != nil {
      guard object["exclude_patterns"] == nil, let members = object.members else {
        throw Failure(.profile, "\(place): \"excludes\" and \"exclude_patterns\" are both present")
      }
      object = .object(
        members.map { $0.key == "excludes" ? JSON.Member("exclude_patterns", $0.value) : $0 })
      // Keep TermBackup 6's pattern semantics and its default excludes.
      if object["exclude_rules"] == nil { object["exclude_rules"] = "pathspec" }
      if object["exclude_defaults"] == nil { object["exclude_defaults"] = .bool(true) }
      // TermBackup 6 skipped blank patterns.
      if let patterns = object["exclude_patterns"]?.elements {
        object["exclude_patterns"] = .array(patterns.filter { !$0.isBlank })
      }
    }
    readValuesForNone()
    if let name, self["name"]?.text != name {
      throw Failure(
        .profile, "\(place): \"name\" is not '\(name)'",
        hint: "the file of a profile is called NAME.json")
    }
    try check(place: place)
  }

  /// Replaces with null what TermBackup 6 treated as unset: a limit that is not positive, an empty URL.
  private mutating func readValuesForNone() {
    for field in ["max_backups", "retention_days"] {
      if object[field]?.isNotPositive == true { object[field] = .null }
    }
    for field in Profile.fields where field.shape == .url && object[field.name]?.bytes == [] {
      object[field.name] = .null
    }
  }

  /// Throws `.profile` for the first field that is wrong.
  package func check(place: String) throws(Failure) {
    for field in Profile.fields {
      if let complaint = field.complaint(in: object) {
        throw Failure(.profile, "\(place): \(complaint)")
      }
    }
    if let complaint = sealingComplaint { throw Failure(.profile, "\(place): \(complaint)") }
  }

  /// The value of a known field, or its default; the plain value of any other field, or nil.
  package subscript(name: String) -> JSON? {
    let value = object[name]
    guard let field = Profile.field(name) else { return value }
    return value == nil || value == .null ? field.standard : value
  }

  package mutating func set(_ name: String, _ value: JSON) { object[name] = value }

  /// Resets a field to its default. Throws `.usage` for a required one.
  package mutating func unset(_ name: String) throws(Failure) {
    if let field = Profile.field(name) {
      if !field.optional { throw Failure(.usage, "\(name) cannot be unset: a profile needs it") }
      if name == "group" {
        throw Failure(
          .usage, "group cannot be unset: the profile would no longer find its backups")
      }
      object[name] = field.standard
    } else {
      object[name] = nil
    }
  }

  package var name: String { self["name"]?.text ?? "" }
  /// Empty while it is not set.
  package var source: RawPath {
    let bytes = self["source_dir"]?.bytes ?? []
    return RawPath(bytes.elementsEqual(Profile.placeholder.utf8) ? [] : bytes)
  }
  /// The profile's group in its store; nil in profiles of TermBackup 6.
  package var group: String? { self["group"]?.text }
  /// Whether the ungrouped backups of the store, which TermBackup 6 made, belong to this profile. While it has no
  /// group, all of its backups are ungrouped.
  package var hasUngrouped: Bool { group == nil || self["ungrouped"] == .bool(true) }
  package var excludePatterns: [[UInt8]] {
    self["exclude_patterns"]?.elements?.compactMap(\.bytes) ?? []
  }

  /// The file with more patterns; nil if none is set.
  package var excludeFrom: RawPath? { self["exclude_from"]?.bytes.map { RawPath($0) } }

  /// Patterns that would re-include something below an excluded directory, which has no effect with git semantics.
  /// Checks only directories that a pattern names.
  package var ineffectivePatterns: [[UInt8]] {
    var rules = IgnoreRules(self["exclude_rules"] == "pathspec" ? .pathspec : .git)
    for pattern in excludePatterns { rules.add(pattern: pattern) }
    var found: [[UInt8]] = []
    for pattern in excludePatterns where pattern.first == UInt8(ascii: "!") {
      let parts = pattern.dropFirst().split(separator: UInt8(ascii: "/"))
      for count in 1..<max(1, parts.count) {
        let directory = Array(parts.prefix(count).joined(separator: [UInt8(ascii: "/")]))
        if let lost = rules.ineffective(below: directory.span, but: Set(found)) { found.append(lost) }
      }
    }
    return found
  }

  /// The options of tbk-manifest for this profile, except patterns and the maximum size. None contains a space.
  package var walkOptions: [String] {
    var options: [String] = []
    if self["exclude_caches"] == .bool(true) { options.append("--exclude-caches") }
    if self["exclude_rules"] == "pathspec" { options.append("--exclude-rules=pathspec") }
    if self["exclude_defaults"] == .bool(true) { options.append("--exclude-defaults") }
    if self["one_file_system"] == .bool(true) { options.append("--one-file-system") }
    return options
  }

  package func store() throws(Failure) -> StoreReference {
    try StoreReference(self["repo"]?.bytes ?? [])
  }

  /// The content of the file.
  package var bytes: [UInt8] { object.pretty() }

  /// The object with its secrets masked.
  package var masked: JSON {
    guard let members = object.members else { return object }
    return .object(
      members.map { JSON.Member($0.key, Profile.field($0.key)?.masked($0.value) ?? $0.value) })
  }

  /// The profile for others: everything but the secrets.
  package var exported: JSON {
    var copy = object
    for field in Profile.fields where field.secret { copy[field.name] = nil }
    return copy
  }

  /// Why an imported profile must not be accepted without review; each reason names the field.
  package var suspicions: [String] {
    var found: [String] = []
    for member in object.members ?? [] where member.key.hasSuffix("_command") {
      if !member.value.isNull { found.append("\"\(member.key)\" names a command to be run") }
    }
    if case .helper(let name, _)? = try? store() {
      found.append("\"repo\" runs the program tbk-store-\(name)")
    }
    return found
  }
}
