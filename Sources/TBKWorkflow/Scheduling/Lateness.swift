import TBKCore
import TBKFormat

/// Whether backups come as they were to, and when the next one is due.
struct Lateness {
  /// How long a backup may be missing before that is reported: a run takes its time, and a machine that
  /// sleeps catches up. Seconds.
  private static func grace(between former: Int64?, _ due: Int64) -> Int64 {
    guard let former else { return 12 * 3600 }
    return min(max((due - former) / 4, 600), 12 * 3600)
  }

  /// In seconds since 1970; nil if none is scheduled.
  let next: Int64?
  /// Why it is late, in words; nil if it is not.
  let reason: String?

  /// - Parameters:
  ///   - timetables: all there are of a profile.
  ///   - since: when they were made, in seconds since 1970; nil if that is not known: with nothing `seen`
  ///     either, nothing is late by them.
  ///   - maxAge: how old the last backup may be, in seconds; nil for any age.
  ///   - seen: when it was seen that a backup is up to date, in seconds since 1970. What is in the future,
  ///     as after a clock that was wrong, is no evidence of a recent one.
  init(_ timetables: [Timetable], since: Int64?, maxAge: Int64?, seen: [Int64], now: Int64) {
    next = timetables.compactMap { $0.next(after: now) }.min()
    let last = seen.filter { $0 <= now + 600 }.max()
    let held =
      switch last {
      case let last?: "the last one is \(Lateness.words(now - last)) old"
      case nil: seen.isEmpty ? "none is known here" : "the last one is dated in the future"
      }
    if let maxAge, last == nil || now - last! > maxAge {
      reason = "\(held), and \(Lateness.words(maxAge)) are allowed"
      return
    }
    guard last != nil || since != nil || !seen.isEmpty else {
      reason = nil
      return
    }
    let begin = max(last ?? Int64.min, since ?? Int64.min)
    let missed = timetables.compactMap { timetable -> Int64? in
      guard var due = timetable.last(upTo: now) else { return nil }
      var former = timetable.last(upTo: due - 1)
      // The last time may be too short ago to judge; the one before is not.
      while now - due < Lateness.grace(between: former, due) {
        guard let before = former else { return nil }
        due = before
        former = timetable.last(upTo: due - 1)
      }
      return due > begin ? due : nil
    }
    reason = missed.max().map { "a backup was due \(Lateness.words(now - $0)) ago, and \(held)" }
  }

  /// `3 days`, `5 h`: a length of time that is about right.
  static func words(_ seconds: Int64) -> String {
    switch seconds {
    case ..<7200: "\(max(seconds, 0) / 60) min"
    case ..<172_800: "\(seconds / 3600) h"
    default: "\(seconds / 86_400) days"
    }
  }
}

extension Lateness {
  /// When the next backup is due, in ISO 8601.
  var nextAt: String? {
    next.map { Timestamp(clamping: FileTime(seconds: $0)).iso8601(microseconds: false) }
  }
}
