/// How far a transfer is behind a minimum rate, from the time spent waiting and the bytes moved.
///
/// A peer that moves a byte now and then is not silent, and would otherwise be waited for without end. A transfer that
/// is behind by more than the allowed time is ended.
package struct Pace: Equatable, Sendable {
  /// The rate that any connection used for backups reaches, in bytes per second. Earlier faster transfer does not make
  /// up for later delays.
  package static let least = Pace(rate: 1024)
  /// For data that must be complete before it is used: a ledger or an API response. With a patience of `p` seconds, `n`
  /// bytes take no longer than `p` + `n` / 16384 seconds.
  package static let whole = Pace(rate: 16 << 10, least: .min / 2)

  private let nanosecondsPerByte: Int64
  /// The most that it can be ahead, as a number not above zero.
  private let floor: Int64
  /// In nanoseconds; negative if ahead.
  package private(set) var behind: Int64 = 0

  /// - Parameters:
  ///   - rate: in bytes per second, from 1.
  ///   - least: the most that it can be ahead, in nanoseconds, as a number not above zero.
  package init(rate: Int64, least: Int64 = 0) {
    nanosecondsPerByte = max(1, 1_000_000_000 / max(1, rate))
    floor = least
  }

  /// The longest time counted at once, in nanoseconds: a suspended process was not waiting.
  private static let longestWait: Int64 = 2_000_000_000

  /// - Parameter nanoseconds: time in which the peer could have moved bytes.
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
