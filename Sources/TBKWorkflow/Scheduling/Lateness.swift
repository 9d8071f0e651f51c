import TBKCore
import TBKFormat

/// Whether backups are made on time, and when the next one is due.
struct Lateness {
  /// Seconds that a backup may be overdue before it is reported: a run takes time, and a machine that was asleep
  /// catches up.
  private static func grace(between former: Int64?, _ due: Int64) -> Int64 {
    guard let former else { return 12 * 3600 }
    return min(max((due - former) / 4, 600), 12 * 3600)
  }

  /// In seconds since 1970; nil if none is scheduled.
  let next: Int64?
  /// Why it is late, as text; nil if it is not.
  let reason: String?

  /// - Parameters:
  ///   - timetables: all timetables of a profile.
  ///   - since: when they were created, in seconds since 1970; nil if unknown: if `seen` is empty too, nothing is late
  ///     by them.
  ///   - maxAge: the greatest age of the last backup, in seconds; nil for no limit.
  ///   - seen: the times when a backup was found to be up to date, in seconds since 1970. Times in the future, as after
  ///     a wrong clock, are ignored.
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
      // The last due time may be too recent to judge, but not the one before.
      while now - due < Lateness.grace(between: former, due) {
        guard let before = former else { return nil }
        due = before
        former = timetable.last(upTo: due - 1)
      }
      return due > begin ? due : nil
    }
    reason = missed.max().map { "a backup was due \(Lateness.words(now - $0)) ago, and \(held)" }
  }

  /// A rounded length of time: `3 days`, `5 h`.
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
