import TBKCore
import TBKFormat

/// A stretch of time as people write it: `12h`, `30d`, `2w`, `3m` (months), `1y`.
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

  /// When it began, if it ends at `end`. Months and years are those of the calendar.
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

/// A number from 1 to 2^31 - 1, only in decimal digits.
package func wholeNumber(_ text: some StringProtocol) -> Int? {
  guard (1...10).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
    let number = Int(text), (1...Int(Int32.max)).contains(number)
  else { return nil }
  return number
}

/// Which backups stay: what one of the first six keeps, or what neither of the last two takes.
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

/// Decides which backups of a ledger stay. It believes no time in it: an entry is dated by whoever
/// wrote it.
///
/// - Newest is what has the latest time, or, of equal times, was stored later. Where the times and
///   the order of storing contradict each other, what is among the newest by either is so.
/// - What is dated more than a day from now is kept, and counted by no rule: neither a clock that
///   ran ahead nor one that has fallen behind removes anything.
/// - A backup without files does not take the place of the last one with some, which stays.
/// - What a kept backup depends on is kept, whatever group it is in.
/// - TermBackup 6 did not say what its backups depend on. Those that are not younger than one that
///   is kept are kept.
package struct Retention: Sendable {
  package enum Reason: String, Sendable {
    case last, within, daily, weekly, monthly, yearly
    /// Within the limit of the same name.
    case count, age
    /// Beyond the limit; of what goes.
    case overCount = "over-count"
    case overAge = "over-age"
    case needed, termbackup6, future
    /// The last one with files, where those after it have none.
    case files
  }

  package struct Verdict: Sendable {
    package let entry: LedgerEntry
    package var isKept: Bool
    package var reasons: [Reason]
    /// Of one that stays only because others need it: those of them that stay for reasons of their own.
    package fileprivate(set) var neededBy: [Digest] = []
  }

  package struct Judgement: Sendable {
    /// Of the backups that were judged, in the ledger's order.
    package let verdicts: [Verdict]
    /// The groups that would be left empty, in the order of their first backups.
    package let emptied: [GroupID?]

    package var gone: [LedgerEntry] { verdicts.filter { !$0.isKept }.map(\.entry) }
  }

  /// What is dated later than this after now is dated wrongly; other machines' clocks may be a
  /// little ahead.
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

  /// Whether the next backup of a group has to be full, for the retention to get rid of what it
  /// would otherwise depend on: with one backup more, the last one of the group or something that
  /// it needs is beyond a limit.
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

  /// The time before which a backup is too old.
  private var oldestTime: Timestamp? {
    rules.retentionDays.map { now.earlier(seconds: UInt64(clamping: $0) * 86_400) }
  }

  /// Gives each backup of the ranking the reasons why it stays or goes.
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
    // What goes says why it goes.
    for index in ranking.byTime {
      let over = found[index].reasons.filter { $0 == .overCount || $0 == .overAge }
      if !over.isEmpty { found[index].reasons = over }
    }
  }

  /// Keeps the newest backup with files where one without any would be kept, and is newer: its source was
  /// perhaps not mounted.
  ///
  /// - Parameter members: the newest first.
  private func keepFiles(_ members: [Int], _ found: inout [Verdict]) {
    guard let place = members.firstIndex(where: { found[$0].entry.fileCount > 0 }),
      case let last = members[place], !found[last].isKept,
      members[..<place].contains(where: { found[$0].isKept })
    else { return }
    found[last].isKept = true
    found[last].reasons = [.files]
  }

  /// Whether the limit in days takes so much at once that a clock that is wrong is the likelier reason than
  /// time that has passed: half of the backups or more, and even the youngest of them is older than the limit
  /// by half of it and by a week; of a single one, by ten times the limit and by half a year.
  package func isSudden(_ judgement: Judgement) -> Bool {
    guard let days = rules.retentionDays else { return false }
    let gone = judgement.verdicts.filter { !$0.isKept && $0.reasons.contains(.overAge) }
    guard !gone.isEmpty, gone.count >= judgement.verdicts.count - gone.count else { return false }
    let beyond = gone.count > 1 ? max(days / 2, 7) : max(days * 10, 180)
    let bound = now.earlier(seconds: UInt64(clamping: days + beyond) * 86_400)
    return gone.allSatisfy { time(of: $0.entry) < bound }
  }

  /// Keeps what kept backups need, and what that needs.
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
      // All that it takes bytes from, near or far.
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
    // What is known says more than what is guessed.
    for verdict in found where verdict.isKept {
      for id in verdict.entry.dependsOn {
        if let place = places[id.hex], found[place].reasons == [.termbackup6] {
          found[place].reasons = [.needed]
        }
      }
    }
  }

  // MARK: Entries

  /// Ids as text, whose hash a hostile ledger cannot aim at.
  private static func places(of entries: [LedgerEntry]) -> [String: Int] {
    var places: [String: Int] = [:]
    places.reserveCapacity(entries.count)
    for (index, entry) in entries.enumerated() { places[entry.id.hex] = index }
    return places
  }

  /// The backups of each series that is judged, in the ledger's order.
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

  /// An entry without a time is not one; should there be any, it is kept.
  private func time(of entry: LedgerEntry) -> Timestamp {
    Timestamp(iso8601: entry.createdAt) ?? Timestamp(nanoseconds: .max)
  }
}

/// The backups of a group in both orders.
private struct Ranking {
  /// Newest first.
  let byTime: [Int]
  /// As they were stored, first to last.
  let byPlace: [Int]

  init(_ members: [Int], _ times: [Timestamp]) {
    byPlace = members
    byTime = members.sorted { one, other in
      times[one] == times[other] ? one > other : times[one] > times[other]
    }
  }

  /// Those that are among the first `count` by either order.
  func newest(_ count: Int) -> Set<Int> {
    Set(byTime.prefix(count)).union(byPlace.suffix(count))
  }
}

/// Backups that may depend on any that was there before them.
private struct OlderBackups {
  private var byPlace: [Int] = []
  private var byTime: [Int] = []
  private var placesTaken = 0
  private var timesTaken = 0

  mutating func add(_ index: Int) { byPlace.append(index) }

  mutating func sort(_ times: [Timestamp]) {
    byTime = byPlace.sorted { times[$0] < times[$1] }
  }

  /// Those that were stored before one, or have no later time; each is given once.
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
