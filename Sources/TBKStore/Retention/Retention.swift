import TBKCore
import TBKFormat

/// A length of time: `12h`, `30d`, `2w`, `3m` (months), `1y`.
package struct TimeSpan: Equatable, Sendable {
  package enum Unit: Character, CaseIterable, Sendable {
    case hours = "h"
    case days = "d"
    case weeks = "w"
    case months = "m"
    case years = "y"
  }

  package static let maximumCount: UInt32 = 100_000

  package let count: UInt32
  package let unit: Unit

  /// Nil unless it is a number from 1 and a unit.
  package init?(_ text: String) {
    guard let unit = text.last.flatMap({ Unit(rawValue: $0) }),
      let count = wholeNumber(text.dropLast()), count <= TimeSpan.maximumCount
    else { return nil }
    self.count = UInt32(count)
    self.unit = unit
  }

  /// The start of the span that ends at `end`. Months and years are calendar ones.
  package func start(before end: Timestamp) -> Timestamp {
    switch unit {
    case .hours: end.earlier(seconds: UInt64(count) * 3600)
    case .days: end.earlier(seconds: UInt64(count) * 86_400)
    case .weeks: end.earlier(seconds: UInt64(count) * 604_800)
    case .months: end.earlier(months: count)
    case .years: end.earlier(months: count * 12)
    }
  }
}

/// Parses a number from 1 to 2^31 - 1, decimal digits only.
package func wholeNumber(_ text: some StringProtocol) -> Int? {
  guard (1...10).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
    let number = Int(text), (1...Int(Int32.max)).contains(number)
  else { return nil }
  return number
}

/// Which backups to keep: those that any of the first six rules keeps, or those that neither of the last two removes.
package struct RetentionRules: Equatable, Sendable {
  /// Each from 1.
  package var last: Int?
  package var within: TimeSpan?
  package var daily: Int?
  package var weekly: Int?
  package var monthly: Int?
  package var yearly: Int?

  package var maxBackups: Int?
  package var retentionDays: Int?

  package init() {}

  package var keepsAny: Bool {
    last != nil || within != nil || daily != nil || weekly != nil || monthly != nil || yearly != nil
  }

  package var hasLimits: Bool { maxBackups != nil || retentionDays != nil }
}

/// Decides which backups of a ledger to keep. Times in the ledger are not trusted: each writer dates its own entry.
///
/// - The newest backup has the latest time; of equal times, the one stored later. If times and storage order disagree,
///   a backup that is among the newest by either counts as such.
/// - A backup dated more than a day ahead is kept, and not counted by any rule: neither a clock that ran ahead nor one
///   that fell behind removes anything.
/// - A backup without files does not displace the last one with files, which is kept.
/// - The dependencies of a kept backup are kept, in any group.
/// - TermBackup 6 did not record dependencies. Its backups that are not younger than a kept one are kept.
package struct Retention: Sendable {
  package enum Reason: String, Sendable {
    case last, within, daily, weekly, monthly, yearly
    /// Within the limit of the same name.
    case count, age
    /// Beyond the limit; only for removed backups.
    case overCount = "over-count"
    case overAge = "over-age"
    case needed, termbackup6, future
    /// The last one with files, followed only by backups without.
    case files
  }

  package struct Verdict: Sendable {
    package let entry: LedgerEntry
    package var isKept: Bool
    package var reasons: [Reason]
    /// For a backup kept only because others need it: those of them that are kept for reasons of their own.
    package fileprivate(set) var neededBy: [Digest] = []
  }

  package struct Judgement: Sendable {
    /// One for each backup, in the ledger's order.
    package let verdicts: [Verdict]
    /// The groups that would be left empty, in the order of their first backups.
    package let emptied: [GroupID?]

    package var gone: [LedgerEntry] { verdicts.filter { !$0.isKept }.map(\.entry) }
  }

  /// Seconds by which a backup may be dated ahead: other machines' clocks may be a little ahead.
  package static let tolerance: UInt64 = 86_400

  private let rules: RetentionRules
  private let now: Timestamp
  private let horizon: Timestamp

  package init(_ rules: RetentionRules, now: Timestamp) {
    self.rules = rules
    self.now = now
    let (sum, overflow) = now.nanoseconds.addingReportingOverflow(
      Int64(Retention.tolerance) * 1_000_000_000)
    horizon = Timestamp(nanoseconds: overflow ? .max : sum)
  }

  package func decide(_ entries: [LedgerEntry], _ scope: BackupScope) -> Judgement {
    let times = entries.map { time(of: $0) }
    var found = entries.map { Verdict(entry: $0, isKept: !scope.holds($0), reasons: []) }
    let groups = Retention.groups(of: entries, scope)
    for members in groups {
      for index in members where times[index] > horizon { found[index].reasons = [.future] }
      apply(Ranking(members.filter { times[$0] <= horizon }, times), times, to: &found)
      for index in members where !found[index].reasons.isEmpty {
        found[index].isKept = !found[index].reasons.contains { $0 == .overCount || $0 == .overAge }
      }
      keepFiles(Ranking(members.filter { times[$0] <= horizon }, times).byTime, &found)
    }
    keepWhatIsNeeded(&found, times)
    let emptied = groups.filter { $0.allSatisfy { !found[$0].isKept } }
    return Judgement(
      verdicts: found.indices.filter { scope.holds(entries[$0]) }.map { found[$0] },
      emptied: emptied.compactMap(\.first).map { entries[$0].group })
  }

  /// Whether the next backup of a group must be full, so that its would-be dependencies can be removed: with one more
  /// backup, the last one of the group or one that it needs is beyond a limit.
  package func wantsFull(after entries: [LedgerEntry], in scope: BackupScope) -> Bool {
    let members = entries.indices.filter { scope.holds(entries[$0]) }
    guard let last = members.last, entries[last].mode != nil else { return true }
    let times = entries.map { time(of: $0) }
    let dated = Ranking(members.filter { times[$0] <= horizon }, times)
    let staying = rules.maxBackups.map { dated.newest($0 - 1) }
    let limit = oldestTime
    let places = Retention.places(of: entries)
    var seen: Set<Int> = [last]
    var open = [last]
    while let index = open.popLast() {
      if scope.holds(entries[index]), times[index] <= horizon {
        if let staying, !staying.contains(index) { return true }
        if let limit, times[index] < limit { return true }
      }
      for id in entries[index].dependsOn {
        guard let place = places[id.hex] else { return true }
        if seen.insert(place).inserted { open.append(place) }
      }
    }
    return false
  }

  // MARK: Rules

  /// Backups before this time are too old.
  private var oldestTime: Timestamp? {
    rules.retentionDays.map { now.earlier(seconds: UInt64(clamping: $0) * 86_400) }
  }

  /// Adds to each backup of the ranking the reasons to keep or remove it.
  private func apply(_ ranking: Ranking, _ times: [Timestamp], to found: inout [Verdict]) {
    func mark(_ index: Int, _ reason: Reason) { found[index].reasons.append(reason) }
    if let last = rules.last {
      for index in ranking.newest(last) { mark(index, .last) }
    }
    if let start = rules.within?.start(before: now) {
      for index in ranking.byTime where times[index] >= start { mark(index, .within) }
    }
    for (count, reason, period) in [
      (rules.daily, Reason.daily, \Timestamp.dayNumber), (rules.weekly, .weekly, \.weekNumber),
      (rules.monthly, .monthly, \.monthNumber), (rules.yearly, .yearly, \.yearNumber),
    ] {
      guard var left = count else { continue }
      var latest: Int64?
      for index in ranking.byTime {
        let current = times[index][keyPath: period]
        if current == latest { continue }
        if left == 0 { break }
        left -= 1
        latest = current
        mark(index, reason)
      }
    }
    if let count = rules.maxBackups {
      let newest = ranking.newest(count)
      for index in ranking.byTime { mark(index, newest.contains(index) ? .count : .overCount) }
    }
    if let limit = oldestTime {
      for index in ranking.byTime { mark(index, times[index] >= limit ? .age : .overAge) }
    }
    // A removed backup lists only the reasons for its removal.
    for index in ranking.byTime {
      let over = found[index].reasons.filter { $0 == .overCount || $0 == .overAge }
      if !over.isEmpty { found[index].reasons = over }
    }
  }

  /// Keeps the newest backup with files if only newer ones without files would be kept: perhaps their source was not
  /// mounted.
  ///
  /// - Parameter members: newest first.
  private func keepFiles(_ members: [Int], _ found: inout [Verdict]) {
    guard let place = members.firstIndex(where: { found[$0].entry.fileCount > 0 }),
      case let last = members[place], !found[last].isKept,
      members[..<place].contains(where: { found[$0].isKept })
    else { return }
    found[last].isKept = true
    found[last].reasons = [.files]
  }

  /// Whether the limit in days removes so much at once that a wrong clock is the likelier cause: half of the backups or
  /// more, and even the youngest of them exceeds the limit by half of it and by a week; if there is only one backup, by
  /// ten times the limit and by half a year.
  package func isSudden(_ judgement: Judgement) -> Bool {
    guard let days = rules.retentionDays else { return false }
    let gone = judgement.verdicts.filter { !$0.isKept && $0.reasons.contains(.overAge) }
    guard !gone.isEmpty, gone.count >= judgement.verdicts.count - gone.count else { return false }
    let beyond = gone.count > 1 ? max(days / 2, 7) : max(days * 10, 180)
    let bound = now.earlier(seconds: UInt64(clamping: days + beyond) * 86_400)
    return gone.allSatisfy { time(of: $0.entry) < bound }
  }

  /// Keeps what kept backups need, directly or indirectly.
  private func keepWhatIsNeeded(_ found: inout [Verdict], _ times: [Timestamp]) {
    let places = Retention.places(of: found.map(\.entry))
    var older: [GroupID?: OlderBackups] = [:]
    for index in found.indices where found[index].entry.mode == nil {
      older[found[index].entry.group, default: OlderBackups()].add(index)
    }
    for group in older.keys { older[group]?.sort(times) }
    var open = found.indices.filter { found[$0].isKept }
    func keep(_ index: Int, _ reason: Reason) {
      if found[index].isKept { return }
      found[index].isKept = true
      found[index].reasons = [reason]
      open.append(index)
    }
    while let index = open.popLast() {
      let entry = found[index].entry
      for id in entry.dependsOn {
        if let place = places[id.hex] { keep(place, .needed) }
      }
      guard entry.mode == nil else { continue }
      for place in older[entry.group]?.take(before: index, times) ?? [] {
        keep(place, .termbackup6)
      }
    }
    let isAncillary = found.map { $0.reasons == [.needed] || $0.reasons == [.termbackup6] }
    for index in found.indices where found[index].isKept && !isAncillary[index] {
      // All backups that it takes bytes from, directly or indirectly.
      var seen: Set<Int> = []
      var next = [index]
      while let place = next.popLast() {
        for id in found[place].entry.dependsOn {
          guard let base = places[id.hex], seen.insert(base).inserted else { continue }
          next.append(base)
          if isAncillary[base] { found[base].neededBy.append(found[index].entry.id) }
        }
      }
    }
    // A recorded dependency replaces a guessed one.
    for verdict in found where verdict.isKept {
      for id in verdict.entry.dependsOn {
        if let place = places[id.hex], found[place].reasons == [.termbackup6] {
          found[place].reasons = [.needed]
        }
      }
    }
  }

  // MARK: Entries

  /// Ids as text, because its hash is seeded and a hostile ledger cannot force collisions.
  private static func places(of entries: [LedgerEntry]) -> [String: Int] {
    var places: [String: Int] = [:]
    places.reserveCapacity(entries.count)
    for (index, entry) in entries.enumerated() { places[entry.id.hex] = index }
    return places
  }

  /// The backups of each series in scope, in the ledger's order.
  private static func groups(of entries: [LedgerEntry], _ scope: BackupScope) -> [[Int]] {
    if case .groups = scope {
      let members = entries.indices.filter { scope.holds(entries[$0]) }
      return members.isEmpty ? [] : [members]
    }
    var groups: [[Int]] = []
    var numbers: [GroupID?: Int] = [:]
    for (index, entry) in entries.enumerated() {
      if let number = numbers[entry.group] {
        groups[number].append(index)
      } else {
        numbers[entry.group] = groups.count
        groups.append([index])
      }
    }
    return groups
  }

  /// Every entry should have a time; one without is kept.
  private func time(of entry: LedgerEntry) -> Timestamp {
    Timestamp(iso8601: entry.createdAt) ?? Timestamp(nanoseconds: .max)
  }
}

/// The backups of a group in both orders.
private struct Ranking {
  /// Newest first.
  let byTime: [Int]
  /// In the order of storing, oldest first.
  let byPlace: [Int]

  init(_ members: [Int], _ times: [Timestamp]) {
    byPlace = members
    byTime = members.sorted { one, other in
      times[one] == times[other] ? one > other : times[one] > times[other]
    }
  }

  /// The backups among the newest `count` by either order.
  func newest(_ count: Int) -> Set<Int> {
    Set(byTime.prefix(count)).union(byPlace.suffix(count))
  }
}

/// Backups that may depend on any earlier backup.
private struct OlderBackups {
  private var byPlace: [Int] = []
  private var byTime: [Int] = []
  private var placesTaken = 0
  private var timesTaken = 0

  mutating func add(_ index: Int) { byPlace.append(index) }

  mutating func sort(_ times: [Timestamp]) {
    byTime = byPlace.sorted { times[$0] < times[$1] }
  }

  /// The backups that were stored before this one, or are not dated later; each is returned once.
  mutating func take(before index: Int, _ times: [Timestamp]) -> [Int] {
    var taken: [Int] = []
    while placesTaken < byPlace.count, byPlace[placesTaken] < index {
      taken.append(byPlace[placesTaken])
      placesTaken += 1
    }
    while timesTaken < byTime.count, times[byTime[timesTaken]] <= times[index] {
      taken.append(byTime[timesTaken])
      timesTaken += 1
    }
    return taken
  }
}
