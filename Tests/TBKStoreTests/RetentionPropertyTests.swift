import TBKCore
import TBKFormat
import Testing

@testable import TBKStore

/// Reproducible random numbers (SplitMix64): a failure reports its seed.
private struct Dice: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }

  mutating func roll(_ sides: Int) -> Int { Int.random(in: 0..<sides, using: &self) }
}

private let now = Timestamp(iso8601: "2026-07-01T12:00:00Z")!

/// Properties of every ledger and every rule.
struct RetentionPropertyTests {
  private static let ids: [String] = (try? (0..<64).map { try digest($0).hex }) ?? []

  /// Times in and out of order, equal, in the future; dependencies backwards, forwards, in cycles and on missing
  /// backups; several groups; some backups of TermBackup 6.
  private func ledger(_ dice: inout Dice) throws -> [LedgerEntry] {
    let count = dice.roll(24)
    let isTidy = dice.roll(2) == 0
    let spread: Int64 = [2, 60, 900, 5000][dice.roll(4)]
    var entries: [LedgerEntry] = []
    for number in 0..<count {
      var days =
        isTidy
        ? spread * Int64(count - number) / Int64(count) : Int64(dice.roll(Int(spread)))
      if !isTidy, dice.roll(12) == 0 { days = -Int64(dice.roll(1000)) }
      let seconds = days * 86_400 + (isTidy ? 0 : Int64(dice.roll(3)) * 3600)
      let time = Timestamp(nanoseconds: now.nanoseconds - seconds * 1_000_000_000)
      let isOld = dice.roll(8) == 0
      var needs: Set<String> = []
      if !isOld, dice.roll(2) == 0 {
        for _ in 0...dice.roll(3) {
          let other = isTidy && number > 0 ? dice.roll(number) : dice.roll(count + 1)
          if other != number { needs.insert(Self.ids[other]) }
        }
      }
      var json = JSON.object([
        "id": .string(Self.ids[number]), "filename": .string("b\(number)"),
        "sha256": .string(Self.ids[number]), "size": .number(number),
        "created_at": .string(time.iso8601()),
        "depends_on": .array(needs.sorted().map { .string($0) }),
      ])
      if !isOld {
        json["mode"] = .string(needs.isEmpty ? "full" : "incremental")
        if dice.roll(3) > 0 { json["group"] = .string(["a", "b"][dice.roll(2)]) }
      }
      entries.append(try LedgerEntry(json))
    }
    return entries
  }

  private func keepRules(_ dice: inout Dice) -> RetentionRules {
    var rules = RetentionRules()
    while !rules.keepsAny {
      if dice.roll(3) == 0 { rules.last = 1 + dice.roll(6) }
      if dice.roll(3) == 0 {
        rules.within = TimeSpan("\(1 + dice.roll(40))\(["h", "d", "w", "m", "y"][dice.roll(5)])")
      }
      if dice.roll(3) == 0 { rules.daily = 1 + dice.roll(6) }
      if dice.roll(3) == 0 { rules.weekly = 1 + dice.roll(6) }
      if dice.roll(3) == 0 { rules.monthly = 1 + dice.roll(6) }
      if dice.roll(3) == 0 { rules.yearly = 1 + dice.roll(6) }
    }
    return rules
  }

  private func limits(_ dice: inout Dice) -> RetentionRules {
    var rules = RetentionRules()
    while !rules.hasLimits {
      if dice.roll(2) == 0 { rules.maxBackups = 1 + dice.roll(8) }
      if dice.roll(2) == 0 { rules.retentionDays = 1 + dice.roll(1000) }
    }
    return rules
  }

  private func kept(
    _ entries: [LedgerEntry], _ rules: RetentionRules, _ scope: BackupScope = .all
  ) -> [LedgerEntry] {
    let gone = Set(Retention(rules, now: now).decide(entries, scope).gone.map(\.id))
    return entries.filter { !gone.contains($0.id) }
  }

  /// Runs `body` on many ledgers and rules of either kind.
  private func forAll(
    _ body: ([LedgerEntry], RetentionRules, inout Dice) throws -> Void
  ) throws {
    var removals = 0
    for seed in 0..<600 as Range<UInt64> {
      var dice = Dice(seed)
      let entries = try ledger(&dice)
      let rules = dice.roll(2) == 0 ? keepRules(&dice) : limits(&dice)
      removals += Retention(rules, now: now).decide(entries, .all).gone.count
      try body(entries, rules, &dice)
    }
    #expect(removals > 600, "the ledgers leave nothing to remove")
  }

  @Test func whatStaysHasAllThatItNeeds() throws {
    try forAll { entries, rules, _ in
      for scope in [BackupScope.all, .group(nil), .group(GroupID("a"))] {
        let stay = kept(entries, rules, scope)
        let ids = Set(stay.map(\.id))
        let known = Set(entries.map(\.id))
        for entry in stay {
          #expect(ids.isSuperset(of: known.intersection(entry.dependsOn)))
          guard entry.mode == nil, let place = entries.firstIndex(of: entry) else { continue }
          let older = entries[..<place].filter { $0.mode == nil && $0.group == entry.group }
          #expect(ids.isSuperset(of: older.map(\.id)))
        }
      }
    }
  }

  @Test func pruningAgainRemovesNothing() throws {
    try forAll { entries, rules, _ in
      let once = kept(entries, rules)
      #expect(kept(once, rules) == once)
    }
  }

  @Test func greaterNumbersKeepMore() throws {
    try forAll { entries, rules, dice in
      var more = rules
      switch dice.roll(6) {
      case 0: more.last = rules.last.map { $0 + 1 }
      case 1: more.daily = rules.daily.map { $0 + 1 }
      case 2: more.weekly = rules.weekly.map { $0 + 1 }
      case 3: more.monthly = rules.monthly.map { $0 + 1 }
      case 4: more.maxBackups = rules.maxBackups.map { $0 + 1 }
      default: more.retentionDays = rules.retentionDays.map { $0 + 1 }
      }
      #expect(Set(kept(entries, more).map(\.id)).isSuperset(of: kept(entries, rules).map(\.id)))
    }
  }

  @Test func oneRuleMoreKeepsMoreAndOneLimitMoreKeepsLess() throws {
    try forAll { entries, rules, dice in
      var other = rules
      let before = Set(kept(entries, rules).map(\.id))
      if rules.keepsAny {
        other.yearly = max(rules.yearly ?? 0, 1 + dice.roll(5))
        #expect(before.isSubset(of: kept(entries, other).map(\.id)))
      } else {
        other.retentionDays = min(rules.retentionDays ?? .max, 1 + dice.roll(300))
        #expect(before.isSuperset(of: kept(entries, other).map(\.id)))
      }
    }
  }

  @Test func aGroupIsJudgedAsIfItWereAlone() throws {
    try forAll { entries, rules, _ in
      let scope = BackupScope.group(GroupID("a"))
      let judged = Retention(rules, now: now).decide(entries, scope)
      #expect(judged.verdicts.map(\.entry) == entries.filter { $0.group == GroupID("a") })
      // Other groups can only need some of its backups.
      let alone = Retention(rules, now: now).decide(judged.verdicts.map(\.entry), .all)
      #expect(Set(judged.gone.map(\.id)).isSubset(of: alone.gone.map(\.id)))
      for (one, two) in zip(judged.verdicts, alone.verdicts) where two.isKept {
        #expect(one.isKept && one.reasons == two.reasons)
      }
      // And judging all groups removes at least the same.
      let all = Retention(rules, now: now).decide(entries, .all)
      #expect(Set(judged.gone.map(\.id)).isSubset(of: all.gone.map(\.id)))
    }
  }

  /// The newest backup stays, whatever its time.
  @Test func whatWasStoredLastStaysUnlessItIsTooOld() throws {
    try forAll { entries, rules, _ in
      guard rules.last != nil || rules.maxBackups != nil, rules.retentionDays == nil else { return }
      for group in Set(entries.map(\.group)) {
        let members = entries.filter { $0.group == group }
        let usable = members.filter {
          guard let time = Timestamp(iso8601: $0.createdAt) else { return false }
          return time.nanoseconds <= now.nanoseconds + 86_400 * 1_000_000_000
        }
        if let last = usable.last { #expect(kept(entries, rules).contains(last)) }
      }
    }
  }
}
