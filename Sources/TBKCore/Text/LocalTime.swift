import Glibc

/// A time for people, in the local time zone: `2026-11-21 02:45`; the seconds after "@" if the C library's calendar
/// does not have that year.
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

extension Timestamp {
  /// The last instant of a day, minute or second in the local time zone: `2026-11-01`, `2026-11-01 10:30` or
  /// `2026-11-01T10:30:05`. Nil for anything else, including a time with a zone.
  package init?(lastOfLocal text: String) {
    let text = Array(text.utf8)
    let dividers: [Int: [UInt8]] = [
      4: Array("-".utf8), 7: Array("-".utf8), 10: Array("T ".utf8), 13: Array(":".utf8), 16: Array(":".utf8),
    ]
    guard text.count == 10 || text.count == 16 || text.count == 19,
      text.indices.allSatisfy({ dividers[$0]?.contains(text[$0]) ?? (48...57).contains(text[$0]) })
    else { return nil }
    func number(_ range: Range<Int>) -> Int32? {
      range.upperBound > text.count ? nil : range.reduce(0) { $0 * 10 + Int32(text[$1] - 48) }
    }
    // Computed from the instant that follows. Second 60 is rejected, and a day may be longer or shorter than 24 hours.
    let hour = number(11..<13)
    let second = number(17..<19)
    guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
      (1...12).contains(month), (1...31).contains(day), (0...23).contains(hour ?? 0),
      (0...59).contains(number(14..<16) ?? 0), (0...59).contains(second ?? 0)
    else { return nil }
    var parts = unsafe tm()
    unsafe parts.tm_year = year - 1900
    unsafe parts.tm_mon = month - 1
    unsafe parts.tm_mday = day
    unsafe parts.tm_isdst = -1
    // mktime moves a day that does not exist into the next month.
    guard unsafe mktime(&parts) != -1 || parts.tm_year == 69, unsafe parts.tm_mday == day else { return nil }
    unsafe parts = tm()
    unsafe parts.tm_year = year - 1900
    unsafe parts.tm_mon = month - 1
    unsafe parts.tm_mday = hour == nil ? day + 1 : day
    unsafe parts.tm_hour = hour ?? 0
    unsafe parts.tm_min = (number(14..<16) ?? 0) + (hour != nil && second == nil ? 1 : 0)
    unsafe parts.tm_sec = second.map { $0 + 1 } ?? 0
    unsafe parts.tm_isdst = -1
    let next = unsafe Int64(mktime(&parts))
    let (scaled, overflow) = next.multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return nil }
    self.init(nanoseconds: scaled - 1)
  }
}
