import TBKCore
import TBKSettings

/// Backups as `tbk-pull --list` lists them, the oldest first.
struct BackupsReport {
  private struct Backup {
    let id: String
    let created: String
    let files: String
    let size: UInt64
    let mode: String
    /// "-" of none.
    let group: String
    let isVerified: Bool

    init(_ cells: [String]) {
      id = String(cells[0].prefix(12))
      created = Timestamp(iso8601: cells[1])?.localMinute ?? "-"
      size = UInt64(cells[2]) ?? 0
      files = cells[3]
      mode = cells[4]
      group = cells[5]
      isVerified = cells[6] == "yes"
    }
  }

  private let backups: [Backup]

  /// - Parameter rows: the cells of each line, at least seven.
  init(rows: [[String]]) { backups = rows.map { Backup($0) } }

  var text: String {
    var table = TextTable([
      .init("ID"), .init("TIME"), .init("FILES", number: true, drops: 2),
      .init("SIZE", number: true, drops: 4), .init("MODE", drops: 1), .init("VERIFIED", drops: 3),
    ])
    table.rows = backups.map { backup in
      [
        backup.id, backup.created, backup.files, humanSize(backup.size), backup.mode,
        backup.isVerified ? "yes" : "no",
      ]
    }
    return table.text()
  }

  /// A line for each group.
  ///
  /// - Parameter profiles: which profile here owns a group.
  func groups(profiles: [String: String]) -> String {
    var order: [String] = []
    var members: [String: [Backup]] = [:]
    for backup in backups {
      if members[backup.group] == nil { order.append(backup.group) }
      members[backup.group, default: []].append(backup)
    }
    var table = TextTable([
      .init("GROUP"), .init("BACKUPS", number: true, drops: 4),
      .init("SIZE", number: true, drops: 2), .init("LAST", drops: 3), .init("TIME"),
      .init("FILES", number: true, drops: 1), .init("PROFILE", drops: 5),
    ])
    table.rows = order.map { group in
      let all = members[group] ?? []
      let size = all.reduce(UInt64(0)) { sum, backup in
        let (total, overflow) = sum.addingReportingOverflow(backup.size)
        return overflow ? .max : total
      }
      return [
        group, String(all.count), humanSize(size), all.last?.id ?? "-", all.last?.created ?? "-",
        all.last?.files ?? "-", profiles[group] ?? "-",
      ]
    }
    return table.text()
  }

  /// By their groups. A profile that cannot be read is passed over.
  static func profilesHere() -> [String: String] {
    guard let home = try? Home.ofProcess(), let names = try? home.profileNames() else { return [:] }
    var profiles: [String: String] = [:]
    for name in names {
      if let group = try? home.profile(name).group { profiles[group] = name }
    }
    return profiles
  }
}
