import Glibc

/// A time that a person reads, in the time zone of the machine: `2026-11-21 02:45`; the seconds after "@"
/// where the calendar of the C library has no such year.
///
/// - Parameter seconds: since 1970-01-01T00:00:00Z.
package func localMinute(_ seconds: Int64) -> String {
  var time = time_t(seconds)
  var parts = unsafe tm()
  guard unsafe localtime_r(&time, &parts) != nil else { return "@\(seconds)" }
  func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
  return unsafe "\(Int(parts.tm_year) + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
    + "\(two(parts.tm_hour)):\(two(parts.tm_min))"
}

extension Timestamp {
  /// Likewise.
  package var localMinute: String {
    let (seconds, _) = floorDivide(nanoseconds, 1_000_000_000)
    return TBKCore.localMinute(seconds)
  }
}
