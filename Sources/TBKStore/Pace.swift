/// How far a transfer is behind a least rate. It is told how long bytes were waited for, and how many moved.
///
/// A server or a program that moves a byte now and then is not silent, and would be waited for without end.
/// One that is behind by more time than there is patience for is given up.
package struct Pace: Equatable, Sendable {
  /// What every connection manages that backups are made over, in bytes per second. What was faster before does not
  /// make up for it.
  package static let least = Pace(rate: 1024)
  /// For what must be complete before anything is done with it: a ledger, an answer of an API.
  /// With a patience of `p` seconds, `n` bytes take no longer than `p` + `n` / 16384 seconds.
  package static let whole = Pace(rate: 16 << 10, least: .min / 2)

  private let nanosecondsPerByte: Int64
  /// The most that it can be ahead, as a number that is not positive.
  private let floor: Int64
  /// Nanoseconds; negative if it is ahead.
  package private(set) var behind: Int64 = 0

  /// - Parameters:
  ///   - rate: in bytes per second, from 1.
  ///   - least: how far ahead it can get, in nanoseconds, as a number that is not positive.
  package init(rate: Int64, least: Int64 = 0) {
    nanosecondsPerByte = max(1, 1_000_000_000 / max(1, rate))
    floor = least
  }

  /// The longest that is counted at once: a process that was stopped did not wait.
  private static let longestWait: Int64 = 2_000_000_000

  /// - Parameter nanoseconds: in which the other side could have moved bytes.
  package mutating func waited(_ nanoseconds: Int64) {
    let time = min(max(0, nanoseconds), Pace.longestWait)
    let (sum, overflow) = behind.addingReportingOverflow(time)
    behind = overflow ? .max : sum
  }

  package mutating func moved(_ bytes: Int) {
    let (time, isLong) = Int64(max(0, bytes)).multipliedReportingOverflow(by: nanosecondsPerByte)
    let (rest, overflow) = behind.subtractingReportingOverflow(isLong ? .max : time)
    behind = overflow ? floor : max(floor, rest)
  }

  package func isBehind(seconds: Int) -> Bool { behind > Int64(seconds) * 1_000_000_000 }
}
