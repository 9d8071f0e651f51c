import TBKCore
import TBKFormat
import TBKSettings

/// The profiles, each with its columns.
struct ProfilesReport {
  let rows: [[String]]

  var text: String {
    var table = TextTable([
      .init("NAME"), .init("SOURCE"), .init("STORE", drops: 2), .init("MODE", drops: 1),
    ])
    table.rows = rows.map { Array($0.prefix(4)) }
    return table.text()
  }
}

/// Which backups contain a file, as `tbk-open --find` prints it.
struct VersionsReport {
  let rows: [[String]]

  var text: String {
    if rows.isEmpty { return "" }
    var table = TextTable([
      .init("LAST IN"), .init("BACKUPS", number: true, drops: 2), .init("SIZE", number: true, drops: 1),
      .init("MODIFIED", drops: 3), .init("PATH"),
    ])
    table.rows = rows.map { row in
      [
        String(row[0].prefix(12)), row[1], row[2] == "file" ? humanSize(UInt64(row[3]) ?? 0) : "-",
        localMinute(Int64(row[4]) ?? 0), row[5],
      ]
    }
    return table.text()
  }
}

/// Which backups are kept or removed and why, as `tbk-prune --needed-by` prints it.
struct VerdictsReport {
  let rows: [[String]]
  /// The profile of the backups.
  let profile: String

  /// The backups kept only because others need them, and what would release them; empty if there are none.
  private var burden: String {
    let needed = rows.filter { $0.count > 5 && $0[4] == "needed" && $0[5] != "-" }
    if needed.isEmpty { return "" }
    let size = needed.reduce(UInt64(0)) { sum, row in
      let (total, overflow) = sum.addingReportingOverflow(UInt64(row[3]) ?? 0)
      return overflow ? .max : total
    }
    let needers = Set(needed.flatMap { $0[5].split(separator: ",").map(String.init) })
    let ids = rows.map { $0[1] }.filter { needers.contains($0) }.map { String($0.prefix(12)) }
    let (count, noun, verb) = needed.count == 1 ? ("1", "backup", "stays") : ("\(needed.count)", "backups", "stay")
    let shown = ids.count > 3 ? "\(ids[0]) and \(ids.count - 1) more" : ids.joined(separator: ", ")
    let pronoun = needed.count == 1 ? "it" : "them"
    let last = ids.last ?? "ID"
    return """
      \(count) \(noun), \(humanSize(size)), \(verb) only because others need \(pronoun): \(shown)
      \(needed.count == 1 ? "It is" : "They are") removed together with those; \
      'termbackup consolidate \(profile) \(last)' makes \(ids.count == 1 ? "that" : "such a") backup independent at once

      """
  }

  var text: String {
    var table = TextTable([
      .init("WHAT"), .init("ID"), .init("TIME"), .init("SIZE", number: true, drops: 1),
      .init("WHY", drops: 2),
    ])
    table.rows = rows.map { row in
      [
        row[0], String(row[1].prefix(12)), Timestamp(iso8601: row[2])?.localMinute ?? "-",
        humanSize(UInt64(row[3]) ?? 0), row[4],
      ]
    }
    return table.text() + burden
  }
}

/// Scheduled profiles: the scheduler, the schedule, how the last run ended, and what is due.
struct SchedulesReport {
  let rows: [(scheduled: ScheduledProfile, times: ProfileTimes)]

  /// - Parameters:
  ///   - all: all scheduled profiles.
  ///   - profile: the only one to report; nil for all.
  init(_ all: [ScheduledProfile], of profile: String?, in home: Home) throws(Failure) {
    var found: [(ScheduledProfile, ProfileTimes)] = []
    for scheduled in all where profile == nil || scheduled.profile == profile {
      let timetables = all.filter { $0.profile == scheduled.profile }.map(\.timetable)
      found.append((scheduled, try ProfileTimes(of: scheduled.profile, in: home, timetables: timetables)))
    }
    self.rows = found
  }

  /// Whether a backup of any of them is late.
  var isLate: Bool { rows.contains { $0.times.lateness.reason != nil } }

  var text: String {
    guard !rows.isEmpty else { return "" }
    var table = TextTable([
      .init("PROFILE"), .init("BY", drops: 1), .init("SCHEDULE"), .init("LAST RUN", drops: 2),
      .init("STATUS"), .init("NEXT RUN", drops: 3),
    ])
    func minute(_ time: String?) -> String {
      Timestamp(iso8601: time ?? "")?.localMinute ?? time ?? "-"
    }
    table.rows = rows.map { scheduled, times in
      [
        scheduled.profile, scheduled.keeper, scheduled.timetable, minute(times.lastRun?.endedAt),
        times.lastRun.map { "\($0.status)" } ?? "-", minute(times.lateness.nextAt),
      ]
    }
    var said: [String] = []
    for (scheduled, times) in rows {
      guard let reason = times.lateness.reason else { continue }
      let line = "OVERDUE: \(scheduled.profile): \(reason)\n"
      if !said.contains(line) { said.append(line) }
    }
    return table.text() + said.joined()
  }

  var json: [UInt8] {
    rows.flatMap { scheduled, times in
      JSON.object([
        "profile": .string(scheduled.profile), "backend": .string(scheduled.keeper),
        "schedule": .string(scheduled.timetable), "log": .string(times.log.bytes),
        "last_status": times.lastRun.map { .number($0.status) } ?? .null,
        "last_run_at": times.lastRun.map { .string($0.endedAt) } ?? .null,
        "next_run_at": times.lateness.nextAt.map { .string($0) } ?? .null,
        "overdue": times.lateness.reason.map { .string($0) } ?? .null,
      ]).line() + [UInt8(ascii: "\n")]
    }
  }
}

/// The tab-separated cells of a list's lines. Throws `.malformed` if a line has fewer than `count`.
func cells(_ list: [UInt8], atLeast count: Int) throws(Failure) -> [[String]] {
  var rows: [[String]] = []
  for line in String(decoding: list, as: UTF8.self).split(separator: "\n") {
    let row = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    guard row.count >= count else { throw Failure(.malformed, "a line of the list is truncated") }
    rows.append(row)
  }
  return rows
}
