import TBKCore
import TBKFormat

/// A report built in one step, for verbs that are used rarely.
struct MadeReport: VerbReport {
  let text: String
  let json: JSON
  var notes: [String] = []

  private static func row(_ name: String, _ value: String) -> String {
    "  " + name + String(repeating: " ", count: max(1, 9 - name.utf8.count)) + value + "\n"
  }

  private static func text(_ facts: Facts, _ key: String) -> JSON { facts.text(key).map { .string($0) } ?? .null }
  private static func path(_ facts: Facts, _ key: String) -> JSON { facts[key].map { .string($0) } ?? .null }
  private static func number(_ facts: Facts, _ key: String) throws(Failure) -> JSON {
    try facts.number(key).map { .number($0) } ?? .null
  }

  /// The JSON in the file that a fact names.
  private static func file(_ facts: Facts, _ key: String) throws(Failure) -> JSON {
    guard let path = facts[key] else { return .null }
    return try JSON.parse(try readFile(RawPath(path), limit: Ledger.byteLimit), what: "the \(key)")
  }

  static func package(_ facts: Facts) throws(Failure) -> MadeReport {
    let (name, output) = (facts.shown("name"), facts.shown("file"))
    if facts.text("status") == "would-package" {
      let count = try facts.number("count") ?? 0
      return MadeReport(
        text: "Would package \(name) as \(output): \(count) \(count == 1 ? "entry" : "entries")\n",
        json: .object([
          "name": path(facts, "name"), "status": text(facts, "status"), "file": path(facts, "file"),
          "entry_count": .number(count),
        ]))
    }
    let seconds = try facts.elapsed(since: "started")
    let size = try facts.number("size")
    return MadeReport(
      text: size.map { size in
        "Packaged \(name)\n" + row("file", output) + row("size", humanSize(size)) + row("time", humanDuration(seconds))
      } ?? "",
      json: .object([
        "name": path(facts, "name"), "status": text(facts, "status"), "file": path(facts, "file"),
        "size": try number(facts, "size"), "receipt": try file(facts, "receipt"), "seconds": .number(seconds),
      ]))
  }

  static func unpack(_ facts: Facts) throws(Failure) -> MadeReport {
    let seconds = try facts.elapsed(since: "started")
    return MadeReport(
      text: "Unpacked to \(facts.shown("to"))\n" + row("time", humanDuration(seconds)),
      json: .object([
        "status": text(facts, "status"), "file": path(facts, "file"), "to": path(facts, "to"),
        "summary": try file(facts, "summary"), "seconds": .number(seconds),
      ]))
  }

  /// The result for one mbu package; programs get only the total.
  static func mbuPackage(_ facts: Facts) -> MadeReport {
    let (old, new) = (facts.shown("old"), facts.shown("new"))
    let line =
      switch facts.text("status") {
      case "sealed": "sealed  \(old) as \(new)\n"
      case "removed": "removed \(old)\n"
      case "kept": "packages of mbu open with its \(old): keep it, or reseal them with --reseal\n"
      case "left": "left    \(old): \(new) is there\n"
      // A warning has reported it.
      default: ""
      }
    return MadeReport(text: line, json: .object([]))
  }

  static func mbuImport(_ facts: Facts) throws(Failure) -> MadeReport {
    MadeReport(
      text: "",
      json: .object([
        "status": text(facts, "status"), "setting_count": try number(facts, "settings"),
        "other_count": try number(facts, "others"), "resealed_count": try number(facts, "resealed"),
        "skipped_count": try number(facts, "skipped"), "failed_count": try number(facts, "failed"),
        "removed_count": try number(facts, "removed"),
      ]))
  }

  /// The archives that were converted to the current format.
  static func migration(_ facts: Facts) throws(Failure) -> MadeReport {
    let (profile, count, size) = (
      facts.text("profile") ?? "-", try facts.number("migrated") ?? 0, try facts.number("size") ?? 0
    )
    return MadeReport(
      text: count == 0
        ? "No archive of \(profile) is in the TBK1 format\n"
        : "Migrated \(count) of \(try facts.number("total") ?? 0) archives of \(profile), \(humanSize(size))\n",
      json: .object([
        "profile": .string(profile), "status": .string("migrated"), "migrated_count": .number(count),
        "size": .number(size), "seconds": .number(try facts.elapsed(since: "started")),
      ]))
  }

  /// The result of moving a token out of config.json.
  static func movedToken(_ facts: Facts) -> MadeReport {
    MadeReport(
      text: facts.text("status") == "migrated"
        ? "The token is in the keyring, and no longer in config.json\n"
        : "There is no token in config.json: nothing to move\n",
      json: .object(["status": text(facts, "status")]))
  }

  /// The report of 'tbk-token', and where the token comes from.
  static func token(_ facts: Facts) throws(Failure) -> MadeReport {
    if facts["json"] != nil {
      let report = try file(facts, "report").members ?? []
      return MadeReport(text: "", json: .object([JSON.Member("source", text(facts, "source"))] + report))
    }
    var lines = ""
    func line(_ name: String, _ value: String) -> String {
      name + String(repeating: " ", count: max(1, 18 - name.utf8.count)) + value + "\n"
    }
    for row in try facts.rows(in: "report") where row.count > 1 {
      lines += line(row[0].replacing("_", with: " "), row[1])
      if row[0] == "token" { lines += line("source", facts.text("source") ?? "-") }
    }
    return MadeReport(text: lines, json: .null)
  }

  /// What 'termbackup init' has created. `made` is the output of 'tbk-config init', with `json` its JSON output;
  /// `report` is a file with the output of 'tbk-token', if there is a token.
  static func initialised(_ facts: Facts) throws(Failure) -> MadeReport {
    let made = facts["json"] == nil ? JSON.null : try JSON.parse(facts["made"] ?? [], what: "what was made")
    let isKept = facts["kept"] != nil
    let isCreated = facts["created"] != nil
    let report = try facts.rows(in: "report").filter { $0.count > 1 }
    func field(_ name: String) -> String { report.first { $0[0] == name }?[1] ?? "-" }
    let paths = (facts.text("made") ?? "").split(separator: "\n")
    var lines =
      paths.isEmpty
      ? "Nothing to create: \(facts.shown("home")) already exists.\n" : "Made\n" + paths.map { "  \($0)\n" }.joined()
    let token = "\(field("token")), \(field("user"))"
    if isKept {
      lines += "Token (\(token)) kept in the keyring\n"
    } else if !report.isEmpty {
      lines += "Token (\(token)) comes from \(facts.text("source") ?? "-")\n"
    }
    if isCreated { lines += "Created the private repository \(facts.text("repository") ?? "-")\n" }
    lines += "New profiles back up to \(facts.shown("store"))\n"
    lines += "Next: termbackup profile create NAME --source DIR\n"
    let object: JSON =
      report.isEmpty
      ? .null
      : .object([
        "status": .string(isKept ? "kept" : "given"), "token": .string(field("token")), "user": .string(field("user")),
        "source": text(facts, "source"),
      ])
    return MadeReport(
      text: lines,
      json: .object(
        (made.members ?? []) + [JSON.Member("token", object), JSON.Member("created_repository", .bool(isCreated))]))
  }

  static func keptToken(_ facts: Facts) throws(Failure) -> MadeReport {
    let report = try facts.rows(in: "report").filter { $0.count > 1 }
    func field(_ name: String) -> String { report.first { $0[0] == name }?[1] ?? "-" }
    return MadeReport(
      text: "The keyring keeps the token \(field("token")) of \(field("user"))\n" + row("kind", field("kind"))
        + row("expires", field("expires")),
      json: .object([
        "status": .string("kept"), "token": .string(field("token")), "user": .string(field("user")),
        "kind": .string(field("kind")), "expires_at": field("expires") == "never" ? .null : .string(field("expires")),
        "source": text(facts, "source"),
      ]))
  }

  /// Which backups are under which password: `list` has lines of a word and an id.
  static func rotationPreview(_ facts: Facts) throws(Failure) -> MadeReport {
    let rows = try facts.rows(in: "list").filter { $0.count > 1 }
    return MadeReport(
      text: rows.map { $0[0] + String(repeating: " ", count: max(2, 16 - $0[0].utf8.count)) + $0[1].prefix(12) + "\n" }
        .joined(),
      json: .object([
        "profile": text(facts, "profile"), "status": .string("would-rotate"),
        "backup_count": .number(UInt64(rows.count)),
        "would_rotate_count": .number(UInt64(rows.count { $0[0].hasPrefix("would") })),
      ]))
  }

  static func rotation(_ facts: Facts) throws(Failure) -> MadeReport {
    let profile = facts.text("profile") ?? "-"
    let (rotated, already) = (try facts.number("rotated") ?? 0, try facts.number("already") ?? 0)
    let (size, seconds) = (try facts.number("size") ?? 0, try facts.elapsed(since: "started"))
    var notes: [String] = []
    if facts["only"] != nil {
      notes.append("the profile's password is still the old one: 'termbackup rotate-key \(profile)' changes the others")
    } else if facts["in_keyring"] != nil {
      notes.append("the keyring has the new password; change a file or a command that gives the old one")
    } else {
      notes.append("give the new password from now on: change the file or the command that gives the old one")
    }
    if facts["same_key"] != nil, facts["identity"] == nil {
      notes.append(
        "the signing key keeps the old password: give it as that of the key, or make another with 'termbackup generate-key'"
      )
    }
    if facts.isOnGitHub {
      notes.append("git keeps what was ever committed: the old password still opens the archives in the history")
      notes.append("archives in releases are gone ('--placement release' puts them there)")
    }
    let sum = "\(humanSize(size)), \(humanDuration(seconds))"
    let backups = "\(rotated) \(rotated == 1 ? "backup" : "backups")"
    var text = "Put \(backups) of \(profile) under the new password: \(sum)\n"
    if facts["identity"] != nil {
      text = "Made a new identity for \(profile)"
      if rotated > 0 || facts["full"] != nil { text += ", and sealed \(backups) again: \(sum)" }
      text += "\n"
      if facts["full"] == nil {
        notes.append(
          "what was sealed to the old identity stays so; 'termbackup rotate-key --full \(profile)' seals it again")
      }
    }
    return MadeReport(
      text: text + (already == 0 ? "" : "\(already) already had it\n"),
      json: .object([
        "profile": .string(profile), "status": .string("rotated"), "rotated_count": .number(rotated),
        "already_count": .number(already), "size": .number(size), "whole": .bool(facts["only"] == nil),
        "seconds": .number(seconds),
      ]), notes: notes)
  }

  /// A scheduled run would have what it needs; reported only as JSON.
  static func check(_ facts: Facts) -> MadeReport {
    MadeReport(text: "", json: .object(["profile": text(facts, "profile"), "status": .string("would-run")]))
  }

  /// How a run ended, as passed to tbk-notify and the profile's commands: always JSON. `failed` is the status of a
  /// failure, `reason` its cause.
  static func notice(_ facts: Facts) throws(Failure) -> MadeReport {
    var members = [
      JSON.Member("status", text(facts, "status")), JSON.Member("profile", text(facts, "profile")),
      JSON.Member("seconds", .number(try facts.elapsed(since: "started"))),
    ]
    if let failed = try facts.number("failed") {
      let status = Int32(truncatingIfNeeded: failed)
      members.append(
        JSON.Member(
          "error",
          .object([
            "type": .string(failureType(status, facts.text("type"))), "message": text(facts, "reason"),
            "status": .number(failed),
          ])))
    } else {
      members += [
        JSON.Member("mode", text(facts, "mode")), JSON.Member("file_count", try number(facts, "count")),
        JSON.Member("size", try number(facts, "size")), JSON.Member("id", text(facts, "id")),
      ]
    }
    if facts["warning"] != nil { members.append(JSON.Member("warning", text(facts, "warning"))) }
    return MadeReport(text: "", json: .object(members))
  }
}
