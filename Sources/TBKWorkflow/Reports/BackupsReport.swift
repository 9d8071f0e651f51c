import TBKCore
import TBKFormat
import TBKSettings

/// Backups as `tbk-pull --list` lists them, oldest first.
struct BackupsReport {
  fileprivate struct Backup {
    let id: String
    let created: String
    /// Nil if the time cannot be parsed.
    let time: Timestamp?
    let files: String
    let size: UInt64
    let mode: String
    /// "-" if it is ungrouped.
    let group: String
    let isVerified: Bool

    init(_ cells: [String]) {
      id = String(cells[0].prefix(12))
      time = Timestamp(iso8601: cells[1])
      created = time?.localMinute ?? "-"
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

  /// Selects the backups to show.
  struct Choice {
    var last = Int.max
    var since: Timestamp?

    private func holds(_ time: Timestamp?) -> Bool {
      guard let since else { return true }
      return time.map { $0 >= since } ?? true
    }

    /// The indexes of the selected backups.
    fileprivate func places(in backups: [Backup]) -> [Int] {
      backups.indices.filter { holds(backups[$0].time) }.suffix(last)
    }

    /// The selected lines, each a JSON object of a backup.
    func lines(of list: [UInt8]) throws(Failure) -> [UInt8] {
      var chosen: [ArraySlice<UInt8>] = []
      for line in list.split(separator: 0x0a) {
        let backup = try JSON.parse(Array(line), what: "a line of the list")
        if holds(backup["created_at"]?.text.flatMap { Timestamp(iso8601: $0) }) { chosen.append(line) }
      }
      return chosen.suffix(last).flatMap { $0 + [0x0a] }
    }
  }

  /// A line for each selected backup, and a summary line.
  func text(of choice: Choice) -> String {
    var table = TextTable([
      .init("ID"), .init("TIME"), .init("FILES", number: true, drops: 3),
      .init("CHANGE", number: true, drops: 1), .init("SIZE", number: true, drops: 5),
      .init("MODE", drops: 2), .init("VERIFIED", drops: 4),
    ])
    let places = choice.places(in: backups)
    if places.isEmpty { return "No backups since then\n" }
    table.rows = places.map { place in
      let backup = backups[place]
      return [
        backup.id, backup.created, backup.files, change(at: place), humanSize(backup.size), backup.mode,
        backup.isVerified ? "yes" : "no",
      ]
    }
    let size = Self.size(of: places.map { backups[$0] })
    let others = places.count < backups.count ? " of \(backups.count)" : ""
    let noun = backups.count == 1 ? "backup" : "backups"
    return table.text() + "\(places.count)\(others) \(noun), \(humanSize(size))\n"
  }

  /// How many more or fewer files a backup has than the one before it in its group.
  private func change(at place: Int) -> String {
    let backup = backups[place]
    guard let before = backups[..<place].last(where: { $0.group == backup.group }),
      let old = Int64(before.files), let new = Int64(backup.files)
    else { return "-" }
    let (change, overflow) = new.subtractingReportingOverflow(old)
    if overflow { return "-" }
    return change > 0 ? "+\(change)" : String(change)
  }

  private static func size(of backups: [Backup]) -> UInt64 {
    backups.reduce(UInt64(0)) { sum, backup in
      let (total, overflow) = sum.addingReportingOverflow(backup.size)
      return overflow ? .max : total
    }
  }

  /// A line for each group.
  ///
  /// - Parameter profiles: the local profile of each group.
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
      return [
        group, String(all.count), humanSize(Self.size(of: all)), all.last?.id ?? "-", all.last?.created ?? "-",
        all.last?.files ?? "-", profiles[group] ?? "-",
      ]
    }
    return table.text()
  }

  /// The local profiles by group. A profile that cannot be read is skipped.
  static func profilesHere() -> [String: String] {
    guard let home = try? Home.ofProcess(), let names = try? home.profileNames() else { return [:] }
    var profiles: [String: String] = [:]
    for name in names {
      if let group = try? home.profile(name).group { profiles[group] = name }
    }
    return profiles
  }
}
