import TBKCore
import TBKFormat
import Testing

@testable import TBKStore

/// The current time in these tests.
private let now = Timestamp(iso8601: "2026-03-31T12:00:00Z")!
private let day: Int64 = 86_400 * 1_000_000_000

/// Backup number `seed`, with this time.
private func backup(
  _ seed: Int, _ time: String, needs: [Int] = [], group: String? = "g", mode: String? = "full", files: Int = 0
) throws -> LedgerEntry {
  var json = JSON.object([
    "id": .string(try digest(seed).hex), "filename": .string("backup_\(seed).tbk"),
    "sha256": .string(try digest(seed).hex), "size": .number(seed), "created_at": .string(time),
    "depends_on": .array(try needs.map { .string(try digest($0).hex) }), "file_count": .number(files),
  ])
  if let group { json["group"] = .string(group) }
  if let mode { json["mode"] = .string(mode) }
  return try LedgerEntry(json)
}

private func rules(_ body: (inout RetentionRules) -> Void) -> RetentionRules {
  var rules = RetentionRules()
  body(&rules)
  return rules
}

private func judge(
  _ entries: [LedgerEntry], _ scope: BackupScope = .all, at time: Timestamp = now,
  _ body: (inout RetentionRules) -> Void
) -> Retention.Judgement {
  Retention(rules(body), now: time).decide(entries, scope)
}

extension Retention.Judgement {
  /// The numbers of the backups that stay.
  fileprivate var kept: [Int] { verdicts.filter(\.isKept).map { Int($0.entry.size) } }

  fileprivate func reasons(_ seed: Int) -> [Retention.Reason]? {
    verdicts.first { Int($0.entry.size) == seed }?.reasons
  }
}

struct RetentionTests {
  /// One per day at noon; number n is n days old.
  private func daily(_ count: Int) throws -> [LedgerEntry] {
    try (0..<count).reversed().map {
      try backup($0, now.earlier(seconds: UInt64($0) * 86_400).iso8601())
    }
  }

  @Test func theLastStay() throws {
    let found = judge(try daily(10)) { $0.last = 3 }
    #expect(found.kept == [2, 1, 0])
    #expect(found.reasons(2) == [.last] && found.reasons(3) == [])
    #expect(judge(try daily(2)) { $0.last = 3 }.kept == [1, 0])
  }

  @Test func theLastOneWithFilesOutlastsThoseWithoutAny() throws {
    func day(_ number: Int, files: Int) throws -> LedgerEntry {
      try backup(number, now.earlier(seconds: UInt64(number) * 86_400).iso8601(), files: files)
    }
    let entries = [
      try day(5, files: 7), try day(4, files: 7), try day(3, files: 0), try day(2, files: 0), try day(1, files: 0),
    ]
    for body: (inout RetentionRules) -> Void in [
      { $0.maxBackups = 2 }, { $0.retentionDays = 2 }, { $0.last = 2 },
    ] {
      let found = judge(entries, .all, body)
      #expect(found.kept == [4, 2, 1] && found.reasons(4) == [.files])
    }
    // Not if a rule keeps it anyway, nor if a newer one with files stays.
    #expect(judge(entries) { $0.last = 5 }.reasons(4) == [.last])
    let both = judge(entries + [try day(0, files: 1)]) { $0.last = 2 }
    #expect(both.kept == [1, 0])
    // If no other backup stays, the one with files does not stay either.
    #expect(judge(entries) { $0.retentionDays = 1 }.kept == [1, 4].sorted(by: >))
    #expect(judge(Array(entries.prefix(2))) { $0.retentionDays = 1 }.kept == [])
  }

  @Test func whatGoesAllAtOnceIsSudden() throws {
    func isSudden(_ ages: [Int], limit: Int?, count: Int? = nil) throws -> Bool {
      let entries = try ages.enumerated().map {
        try backup($0.offset, now.earlier(seconds: UInt64($0.element) * 86_400).iso8601())
      }
      let retention = Retention(
        rules {
          $0.retentionDays = limit
          $0.maxBackups = count
        }, now: now)
      return retention.isSudden(retention.decide(entries, .all))
    }
    // A clock two years ahead, with many backups or one.
    #expect(try isSudden([750, 740, 731, 0], limit: 30) && isSudden([730, 0], limit: 30))
    #expect(try isSudden([732, 731, 730, 1, 0], limit: 30))
    // Real time that has passed: a little too old, or a few of many.
    #expect(try !isSudden([32, 31, 0], limit: 30) && !isSudden([2, 0], limit: 1))
    #expect(try !isSudden([31, 0], limit: 7) && !isSudden([400, 3, 2, 1, 0], limit: 30))
    // Limits by number do not depend on the clock.
    #expect(try !isSudden([750, 740, 731, 0], limit: nil, count: 1))
  }

  @Test func whatIsYoungEnoughStays() throws {
    let found = judge(try daily(10)) { $0.within = TimeSpan("3d") }
    // To the second: exactly three days old is within three days.
    #expect(found.kept == [3, 2, 1, 0] && found.reasons(3) == [.within])
  }

  @Test func theLastOfEachDayStays() throws {
    let entries = [
      try backup(1, "2026-03-28T23:59:59Z"), try backup(2, "2026-03-29T00:00:00Z"),
      try backup(3, "2026-03-29T23:59:59.999999Z"), try backup(4, "2026-03-31T01:00:00+02:00"),
      try backup(5, "2026-03-31T01:00:00Z"),
    ]
    #expect(judge(entries) { $0.daily = 2 }.kept == [4, 5])
    #expect(judge(entries) { $0.daily = 3 }.kept == [3, 4, 5])
    #expect(judge(entries) { $0.daily = 9 }.kept == [1, 3, 4, 5])
  }

  /// 2026-03-30 and 2024-12-30 are Mondays; the latter is in the first week of 2025.
  @Test func weeksBeginOnMonday() throws {
    let entries = [
      try backup(1, "2024-12-29T12:00:00Z"), try backup(2, "2024-12-30T00:00:00Z"),
      try backup(3, "2025-01-05T23:59:59Z"), try backup(4, "2026-03-29T23:59:59Z"),
      try backup(5, "2026-03-30T00:00:00Z"),
    ]
    #expect(judge(entries) { $0.weekly = 9 }.kept == [1, 3, 4, 5])
    #expect(judge(entries) { $0.weekly = 2 }.kept == [4, 5])
  }

  @Test func monthsAndYearsAreThoseOfTheCalendar() throws {
    let entries = [
      try backup(1, "1969-12-31T23:59:59Z"), try backup(2, "1970-01-01T00:00:00Z"),
      try backup(3, "2024-02-29T12:00:00Z"), try backup(4, "2024-03-01T00:00:00Z"),
      try backup(5, "2025-12-31T23:59:59Z"), try backup(6, "2026-01-01T00:00:00Z"),
    ]
    #expect(judge(entries) { $0.monthly = 4 }.kept == [3, 4, 5, 6])
    #expect(judge(entries) { $0.yearly = 9 }.kept == [1, 2, 4, 5, 6])
    #expect(judge(entries) { $0.yearly = 1 }.kept == [6])
  }

  @Test func rulesAddUp() throws {
    let found = judge(try daily(40)) {
      $0.last = 2
      $0.monthly = 2
    }
    #expect(found.kept == [31, 1, 0])
    #expect(found.reasons(0) == [.last, .monthly] && found.reasons(31) == [.monthly])
  }

  @Test func whatFallsToEitherLimitGoes() throws {
    let found = judge(try daily(10)) {
      $0.maxBackups = 5
      $0.retentionDays = 2
    }
    #expect(found.kept == [2, 1, 0])
    #expect(found.reasons(2) == [.count, .age] && found.reasons(3) == [.overAge])
    #expect(found.reasons(9) == [.overCount, .overAge])
    #expect(judge(try daily(10)) { $0.maxBackups = 4 }.kept == [3, 2, 1, 0])
  }

  // MARK: Dependencies

  @Test func whatIsNeededStays() throws {
    let entries = [
      try backup(1, "2026-01-01"), try backup(2, "2026-01-02", needs: [1]),
      try backup(3, "2026-01-03", needs: [2]), try backup(4, "2026-01-04"),
      try backup(5, "2026-01-05", needs: [3]),
    ]
    let found = judge(entries) { $0.last = 1 }
    #expect(found.kept == [1, 2, 3, 5])
    #expect(found.reasons(1) == [.needed] && found.reasons(5) == [.last])
    #expect(judge(entries) { $0.maxBackups = 1 }.reasons(2) == [.needed])
  }

  /// A ledger may contain anything: cycles, unknown ids, times in the future.
  @Test func dependenciesMayBeAnything() throws {
    let entries = [
      try backup(1, "2026-01-01", needs: [2]), try backup(2, "2026-01-02", needs: [1]),
      try backup(3, "2026-01-03", needs: [99]), try backup(4, "2026-01-04", needs: [5, 5, 98]),
      try backup(5, "2026-01-05", needs: [1]),
    ]
    #expect(judge(entries) { $0.last = 1 }.kept == [1, 2, 5])
    #expect(judge(Array(entries.prefix(4))) { $0.last = 1 }.kept == [4])
  }

  @Test func groupsAreJudgedEachForItself() throws {
    let entries = [
      try backup(1, "2026-01-01", group: "a"), try backup(2, "2026-01-02", group: "b"),
      try backup(3, "2026-01-03", group: "a"), try backup(4, "2026-01-04", group: nil),
      try backup(5, "2026-01-05", group: "b"), try backup(6, "2026-01-06", group: nil),
    ]
    #expect(judge(entries) { $0.last = 1 }.kept == [3, 5, 6])
    let one = judge(entries, .group(GroupID("b"))) { $0.last = 1 }
    #expect(one.kept == [5] && one.verdicts.count == 2)
    #expect(judge(entries, .group(nil)) { $0.last = 1 }.gone.map(\.size) == [4])
    #expect(judge(entries, .group(GroupID("c"))) { $0.last = 1 }.verdicts.isEmpty)
  }

  @Test func whatAnotherGroupNeedsStays() throws {
    let entries = [
      try backup(1, "2026-01-01", group: "a"), try backup(2, "2026-01-02", group: "a"),
      try backup(3, "2026-01-03", needs: [1], group: "b"),
    ]
    #expect(judge(entries, .group(GroupID("a"))) { $0.last = 1 }.kept == [1, 2])
    #expect(judge(entries) { $0.last = 1 }.kept == [1, 2, 3])
  }

  @Test func groupsOfWhichNothingWouldBeLeftAreNamed() throws {
    let entries = [
      try backup(1, "2026-01-01", group: "a"), try backup(2, "2026-03-30", group: "b"),
      try backup(3, "2025-01-01", group: nil),
    ]
    let found = judge(entries) { $0.retentionDays = 30 }
    #expect(found.emptied == [GroupID("a"), nil] && found.kept == [2])
    #expect(judge(entries, .group(GroupID("b"))) { $0.retentionDays = 30 }.emptied.isEmpty)
    #expect(judge([]) { $0.last = 1 }.emptied.isEmpty)
  }

  // MARK: TermBackup 6

  @Test func whatTermBackup6MayNeedStays() throws {
    let old = try (1...4).map { try backup($0, "2026-01-0\($0)", group: nil, mode: nil) }
    let found = judge(old) { $0.last = 1 }
    #expect(found.kept == [1, 2, 3, 4])
    #expect(found.reasons(1) == [.termbackup6] && found.reasons(4) == [.last])
    #expect(judge(old) { $0.maxBackups = 2 }.kept == [1, 2, 3, 4])
    // If none of them is kept, none is needed.
    let new = try (5...7).map { try backup($0, "2026-02-0\($0)", group: nil) }
    #expect(judge(old + new) { $0.last = 3 }.kept == [5, 6, 7])
    #expect(judge(old + new) { $0.last = 4 }.kept == [1, 2, 3, 4, 5, 6, 7])
    // Backups later than the last one that stays are not needed.
    let days = [
      try backup(1, "2025-12-30", group: nil, mode: nil),
      try backup(2, "2025-12-31", group: nil, mode: nil),
      try backup(3, "2026-01-01", group: nil, mode: nil), try backup(4, "2026-01-02", group: nil),
    ]
    #expect(judge(days) { $0.yearly = 2 }.kept == [1, 2, 4])
  }

  @Test func whatIsOldByEitherOrderMayBeNeeded() throws {
    let entries = [
      try backup(1, "2026-01-05", group: nil, mode: nil),
      try backup(2, "2026-01-02", group: nil, mode: nil),
      try backup(3, "2026-01-01", group: nil, mode: nil),
      try backup(4, "2026-02-01", group: nil, mode: nil),
    ]
    #expect(judge(Array(entries[..<3])) { $0.within = TimeSpan("2m") }.kept == [])
    // Number 2 stays because 5 needs it, and 1 and 3 because 2 may need them.
    let other = try backup(5, "2026-03-30", needs: [2], group: "other")
    let found = judge(Array(entries[..<3]) + [other]) { $0.within = TimeSpan("1m") }
    #expect(found.kept == [1, 2, 3, 5])
  }

  // MARK: Times

  @Test func timesOutOfOrderRemoveNothingNew() throws {
    // The clock was set back before numbers 3 and 4 were made.
    let entries = [
      try backup(1, "2026-03-01"), try backup(2, "2026-03-02"), try backup(3, "2020-01-01"),
      try backup(4, "2020-01-02"),
    ]
    let found = judge(entries) { $0.maxBackups = 1 }
    #expect(found.kept == [2, 4])
    #expect(judge(entries) { $0.last = 2 }.kept == [1, 2, 3, 4])
  }

  @Test func ofEqualTimesTheLaterStoredIsNewer() throws {
    let entries = try (1...4).map { try backup($0, "2026-03-01T00:00:00Z") }
    #expect(judge(entries) { $0.last = 2 }.kept == [3, 4])
    #expect(judge(entries) { $0.daily = 3 }.kept == [4])
  }

  @Test func theFutureIsKeptAndCountsForNothing() throws {
    let entries = [
      try backup(1, "2026-03-29"), try backup(2, "2026-03-30"), try backup(3, "2262-04-11"),
      try backup(4, "2026-04-01T12:00:01Z"), try backup(5, "2026-04-01T12:00:00Z"),
    ]
    let found = judge(entries) { $0.last = 1 }
    #expect(found.kept == [3, 4, 5])
    #expect(found.reasons(3) == [.future] && found.reasons(5) == [.last])
    #expect(judge(entries) { $0.retentionDays = 1 }.kept == [3, 4, 5])
    // With a clock that is far in the past, nothing is removed.
    #expect(judge(entries, at: Timestamp(nanoseconds: 0)) { $0.last = 1 }.gone.isEmpty)
  }

  @Test func extremesDoNotOverflow() throws {
    let entries = [
      try backup(1, "1677-09-22"), try backup(2, "1970-01-01"),
      try backup(3, "2262-04-11T23:47:16Z"),
    ]
    for text in ["100000h", "100000d", "100000w", "100000m", "100000y"] {
      for time in [Int64.min, 0, Int64.max] {
        let found = judge(entries, at: Timestamp(nanoseconds: time)) {
          $0.within = TimeSpan(text)
          $0.weekly = Int(Int32.max)
        }
        #expect(found.verdicts.count == 3)
        _ = judge(entries, at: Timestamp(nanoseconds: time)) { $0.retentionDays = Int(Int32.max) }
      }
    }
  }

  @Test(arguments: [
    ("12h", "2026-03-31T00:00:00+00:00"), ("30d", "2026-03-01T12:00:00+00:00"),
    ("2w", "2026-03-17T12:00:00+00:00"), ("1m", "2026-02-28T12:00:00+00:00"),
    ("3m", "2025-12-31T12:00:00+00:00"), ("15m", "2024-12-31T12:00:00+00:00"),
    ("1y", "2025-03-31T12:00:00+00:00"), ("26y", "2000-03-31T12:00:00+00:00"),
    ("25m", "2024-02-29T12:00:00+00:00"),
  ]) func spansGoBack(text: String, wanted: String) throws {
    let span = try #require(TimeSpan(text))
    #expect(span.start(before: now).iso8601(microseconds: false) == wanted)
  }

  @Test(arguments: [
    "", "d", "0d", "-1d", "+1d", "1", "1D", "1.5d", " 1d", "1d ", "100001d", "1d2h", "é",
  ])
  func whatIsNoSpan(text: String) { #expect(TimeSpan(text) == nil) }

  // MARK: The mode of the next backup

  private func wantsFull(_ entries: [LedgerEntry], _ body: (inout RetentionRules) -> Void) -> Bool {
    Retention(rules(body), now: now).wantsFull(after: entries, in: .group(GroupID("g")))
  }

  @Test func aBaseThatFallsWantsAFullBackup() throws {
    var entries = [try backup(0, "2026-03-01")]
    for number in 1..<5 { entries.append(try backup(number, "2026-03-0\(number + 1)", needs: [0])) }
    #expect(!wantsFull(entries) { $0.maxBackups = 6 })
    #expect(wantsFull(entries) { $0.maxBackups = 5 })
    #expect(!wantsFull(entries) { $0.retentionDays = 31 })
    #expect(wantsFull(entries) { $0.retentionDays = 29 })
    // A base that only earlier backups need does not require a full one.
    entries.append(try backup(9, "2026-03-20"))
    #expect(!wantsFull(entries) { $0.maxBackups = 2 })
    #expect(wantsFull(entries) { $0.maxBackups = 1 })
    #expect(!wantsFull(entries) { $0.retentionDays = 20 })
    #expect(wantsFull(entries) { $0.retentionDays = 10 })
  }

  @Test func whatCannotBeBuiltOnWantsAFullBackup() throws {
    #expect(wantsFull([]) { $0.maxBackups = 9 })
    #expect(wantsFull([try backup(1, "2026-03-30", group: "other")]) { $0.maxBackups = 9 })
    #expect(wantsFull([try backup(1, "2026-03-30", needs: [7])]) { $0.maxBackups = 9 })
    #expect(wantsFull([try backup(1, "2026-03-30", mode: nil)]) { $0.maxBackups = 9 })
    #expect(!wantsFull([try backup(1, "2026-03-30")]) { $0.maxBackups = 9 })
  }
}

struct FullEveryTests {
  private func entries(_ modes: String) throws -> [LedgerEntry] {
    try modes.enumerated().map { index, letter in
      let time = now.earlier(seconds: UInt64(modes.count - index) * 86_400).iso8601()
      return try backup(index, time, mode: letter == "f" ? "full" : letter == "i" ? "incremental" : nil)
    }
  }

  @Test(arguments: [
    ("3", "f", false), ("3", "fi", false), ("3", "fii", true), ("3", "fiif", false), ("1", "f", true),
    ("3", "ii", true), ("3", "tt", true), ("90", "f", false), ("2d", "f", false), ("2d", "fii", true),
    ("2d", "fiifi", false), ("4d", "fii", false), ("2d", "ii", true),
  ]) func aFullBackupIsDue(every: String, modes: String, isDue: Bool) throws {
    let every = try #require(FullEvery(every))
    let found: Bool = every.isDue(after: try entries(modes), now: now)
    #expect(found == isDue)
  }

  @Test(arguments: ["", "0", "-1", "x", "1.5", "3y", "0d"]) func itIsANumberOrAnAge(text: String) {
    #expect(FullEvery(text) == nil)
  }

  @Test func whatStaysForOthersSaysForWhich() throws {
    let entries = [
      try backup(0, "2026-01-01T00:00:00Z"), try backup(1, "2026-01-02T00:00:00Z", needs: [0]),
      try backup(2, "2026-01-03T00:00:00Z", needs: [1]), try backup(3, "2026-01-04T00:00:00Z", needs: [0]),
      try backup(4, "2026-01-05T00:00:00Z"),
    ]
    let found = judge(entries) { $0.last = 3 }
    let (second, third) = (try digest(2), try digest(3))
    let expected: [[Digest]] = [[second, third], [second], [], [], []]
    let needed: [[Digest]] = found.verdicts.map(\.neededBy)
    #expect(needed == expected)
  }
}
