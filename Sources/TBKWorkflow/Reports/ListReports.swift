import TBKCore
import TBKFormat

/// The profiles, as `tbk-config profile list` prints them.
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

/// What becomes of backups and why, as `tbk-prune` prints it.
struct VerdictsReport {
  let rows: [[String]]

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
    return table.text()
  }
}

/// Profiles that are backed up at set times: the name, by what, when, the log, and of the last run the
/// time and the status, each "-" if there was none.
struct SchedulesReport {
  let rows: [[String]]

  var text: String {
    guard !rows.isEmpty else { return "" }
    var table = TextTable([
      .init("PROFILE"), .init("BY", drops: 1), .init("SCHEDULE"), .init("LAST RUN", drops: 2),
      .init("STATUS"),
    ])
    table.rows = rows.map { row in
      [row[0], row[1], row[2], Timestamp(iso8601: row[4])?.localMinute ?? row[4], row[5]]
    }
    return table.text()
  }

  var json: [UInt8] {
    var lines: [UInt8] = []
    for row in rows {
      let status: JSON = if let status = Int64(row[5]) { .number(status) } else { .null }
      let object = JSON.object([
        "profile": .string(row[0]), "backend": .string(row[1]), "schedule": .string(row[2]),
        "log": .string(row[3]), "last_status": status,
        "last_run_at": row[4] == "-" ? .null : .string(row[4]),
      ])
      lines += object.line() + [UInt8(ascii: "\n")]
    }
    return lines
  }
}

/// The lines of a list and what stands between tabs in them. Throws `.malformed` if a line has less than
/// `count` of them.
func cells(_ list: [UInt8], atLeast count: Int) throws(Failure) -> [[String]] {
  var rows: [[String]] = []
  for line in String(decoding: list, as: UTF8.self).split(separator: "\n") {
    let row = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    guard row.count >= count else { throw Failure(.malformed, "a line of the list is cut") }
    rows.append(row)
  }
  return rows
}
