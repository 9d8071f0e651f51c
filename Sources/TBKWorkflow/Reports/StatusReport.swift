import TBKCore
import TBKFormat

/// The state of a profile's backups for people, from an element of `profiles` in `termbackup status --json`.
struct StatusReport {
  private let profile: JSON

  init(_ profile: JSON) { self.profile = profile }

  var text: String {
    var rows = [
      ("source", shown(profile["source_dir"])), ("store", shown(profile["store"])),
    ]
    let summary = profile["summary"] ?? .null
    let number = summary["sequence"]?.integer(UInt64.self).map { "number \($0)" }
    if profile["reached"]?.boolean == true {
      rows += backups(summary)
      rows += troubles(summary)
      rows.append(("ledger", [signature(summary), number].compactMap { $0 }.joined(separator: ", ")))
    } else {
      let isAltered = profile["error"]?["status"]?.integer() == 65
      rows.append((isAltered ? "ALTERED" : "offline", profile["error"]?["message"]?.text ?? "it cannot be reached"))
      if let number { rows.append(("ledger", "last seen here: \(number)")) }
    }
    let recipients = UInt64((profile["recipients"]?.elements ?? []).count)
    if recipients > 0 {
      rows.append(
        ("sealed", "to \(counted(recipients, "recipient")): run, list and 'verify --stored' need no password"))
      rows.append(("", "restore, cat, diff and verify ask for it, or take an identity with -i"))
    }
    if let run = profile["last_run"], !run.isNull { rows.append(("last run", lastRun(run))) }
    let schedules = (profile["schedules"]?.elements ?? []).map { schedule in
      "\(schedule["schedule"]?.text ?? "-"), by \(schedule["backend"]?.text ?? "-")"
    }
    if !schedules.isEmpty { rows.append(("schedule", schedules.joined(separator: ", "))) }
    if let next = profile["next_run_at"]?.text {
      rows.append(("next run", Timestamp(iso8601: next)?.localMinute ?? next))
    }
    if let reason = profile["overdue"]?.text { rows.append(("OVERDUE", reason)) }
    let lines = rows.map { name, value in
      "  " + name + String(repeating: " ", count: max(1, 10 - name.utf8.count)) + value + "\n"
    }
    return (profile["profile"]?.text ?? "-") + "\n" + lines.joined()
  }

  private func backups(_ summary: JSON) -> [(String, String)] {
    guard let id = summary["last_id"]?.text else {
      let others = profile["others"]?.text ?? ""
      return [("last", "there is no backup yet")] + (others.isEmpty ? [] : [("others", others)])
    }
    let all = summary["backup_count"]?.integer(UInt64.self) ?? 0
    let verified = summary["verified_count"]?.integer(UInt64.self) ?? 0
    let last = [
      String(id.prefix(12)), Self.age(summary["last_age"]?.integer() ?? 0),
      counted(summary["last_file_count"]?.integer() ?? 0, "file"),
      humanSize(summary["last_size"]?.integer() ?? 0),
    ]
    return [
      ("last", last.joined(separator: ", ")),
      ("backups", "\(all), \(humanSize(summary["size"]?.integer() ?? 0)) in the store, with manifests"),
      ("verified", Self.verified(verified, of: all, last: summary["last_verified"]?.boolean == true)),
    ]
  }

  /// Problems in the store that need attention.
  private func troubles(_ summary: JSON) -> [(String, String)] {
    var rows: [(String, String)] = []
    let missing = (summary["missing"]?.elements ?? []).map { shown($0) }
    if !missing.isEmpty {
      let lost = summary["lost_count"]?.integer(UInt64.self) ?? 0
      let all = summary["backup_count"]?.integer(UInt64.self) ?? 0
      rows.append(
        ("MISSING", "\(missing.joined(separator: ", ")): \(lost) of \(all) backups cannot be restored"))
    }
    if summary["identity"]?.text == "missing" {
      rows.append(
        ("MISSING", "the sealed identity: the password no longer opens the backups, only a printed identity does"))
      rows.append(("", "'termbackup generate-identity \(shown(profile["profile"])) -i FILE' puts the printed one back"))
    }
    let clear = summary["clear_manifest_count"]?.integer(UInt64.self) ?? 0
    if clear > 0 {
      let words = counted(clear, "manifest") + " of TermBackup 6"
      rows.append(
        ("unencrypted", "\(words), with the names of files: see 'termbackup clean --store'"))
    }
    return rows
  }

  private static func verified(_ count: UInt64, of all: UInt64, last: Bool) -> String {
    if count == 0 { return "none of \(all)" }
    if count == all { return all == 1 ? "the only one" : "all \(all)" }
    return last ? "the last one, and \(count) of \(all)" : "\(count) of \(all), not the last one"
  }

  private func signature(_ summary: JSON) -> String {
    let key = (summary["key"]?.text ?? "").prefix(12)
    return switch summary["signature"]?.text {
    case "verified"?: "signed by the trusted key \(key)"
    case "unchecked"?: "signed by the key \(key), which is not trusted here"
    default: "not signed"
    }
  }

  /// An entry of the audit log: when, how it ended, and the recorded details.
  private func lastRun(_ entry: JSON) -> String {
    let time = Timestamp(iso8601: entry["timestamp"]?.text ?? "")?.localMinute ?? "-"
    let details = (entry["details"]?.members ?? []).map { member in
      let value = shown(member.value)
      return "\(member.key)=" + (value.contains(" ") && !value.hasPrefix("\"") ? "'\(value)'" : value)
    }
    return "\(time), \(entry["status"]?.text ?? "-")"
      + (details.isEmpty ? "" : ": " + details.joined(separator: " "))
  }

  /// Text is shown as the commands show names, anything else as JSON.
  private func shown(_ value: JSON?) -> String { plain(value ?? .null) }

  /// - Parameter seconds: negative if in the future.
  private static func age(_ seconds: Int64) -> String {
    switch seconds {
    case ..<0: "in the future"
    case 172_800...: "\(seconds / 86_400) days ago"
    default: humanDuration(UInt64(seconds)) + " ago"
    }
  }

  /// The GitHub token, from the `token` member of that report.
  static func token(_ token: JSON) -> String {
    guard let kind = token["kind"]?.text else { return token["error"]?.text ?? "unavailable" }
    let end = token["expires_at"]?.text.map { Timestamp(iso8601: $0)?.localMinute ?? $0 } ?? "never"
    return "\(kind) of \(token["user"]?.text ?? "-"), from \(token["source"]?.text ?? "-"), ends: \(end)"
  }
}

/// `1 entry`, `2 entries` and so on, for words whose plural adds an s.
func counted(_ count: UInt64, _ word: String) -> String {
  count == 1 ? "1 \(word)" : "\(count) \(word)s"
}
