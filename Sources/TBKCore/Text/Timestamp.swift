import Glibc

/// An instant, in nanoseconds since 1970-01-01T00:00:00Z (leap seconds not counted).
package struct Timestamp: Hashable, Comparable, Sendable {
  package let nanoseconds: Int64

  package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  package static func < (one: Timestamp, other: Timestamp) -> Bool {
    one.nanoseconds < other.nanoseconds
  }

  /// The wall clock.
  package static func now() -> Timestamp {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(clamping: FileTime(time))
  }

  /// RFC 3339 with an offset of `+00:00`, as Python's `datetime.isoformat()` writes UTC.
  ///
  /// - Parameter microseconds: whether to write six decimals. Python omits them when they are
  ///   zero; we never do.
  package func iso8601(microseconds: Bool = true) -> String {
    let (seconds, rest) = floorDivide(nanoseconds, 1_000_000_000)
    return Timestamp.iso8601(
      seconds: seconds, decimals: microseconds ? ".\(padded(rest / 1000, 6))" : "")
  }

  /// - Parameter seconds: since 1970, in the years 0 to 9999.
  static func iso8601(seconds: Int64, decimals: String = "") -> String {
    let (days, second) = floorDivide(seconds, 86_400)
    let (year, month, day) = civil(fromDays: days)
    return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))"
      + "T\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))"
      + decimals + "+00:00"
  }

  /// Parses RFC 3339 and similar ISO 8601 forms: `T` or a space, up to nine decimals, `Z`, a
  /// numeric offset, or none (taken as UTC), or only a date.
  package init?(iso8601 text: some StringProtocol) {
    var scanner = Scanner(bytes: Array(text.utf8))
    guard let year = scanner.digits(4), scanner.skip("-"), let month = scanner.digits(2),
      scanner.skip("-"), let day = scanner.digits(2), (1...12).contains(month),
      (1...31).contains(day)
    else { return nil }
    let days = Timestamp.days(year: year, month: month, day: day)
    // A day that does not exist falls into the next month.
    guard civil(fromDays: days).day == day else { return nil }
    var seconds = days * 86_400
    var fraction: Int64 = 0
    if !scanner.atEnd {
      guard scanner.skip("T") || scanner.skip("t") || scanner.skip(" "),
        let hour = scanner.digits(2), scanner.skip(":"), let minute = scanner.digits(2),
        hour < 24, minute < 60
      else { return nil }
      seconds += hour * 3600 + minute * 60
      if scanner.skip(":") {
        guard let second = scanner.digits(2), second < 61 else { return nil }
        seconds += second
        if scanner.skip(".") || scanner.skip(",") {
          guard let decimals = scanner.fraction() else { return nil }
          fraction = decimals
        }
      }
      if !(scanner.skip("Z") || scanner.skip("z")), !scanner.atEnd {
        let negative = scanner.skip("-")
        guard negative || scanner.skip("+"), let hours = scanner.digits(2) else { return nil }
        _ = scanner.skip(":")
        let minutes = scanner.atEnd ? 0 : scanner.digits(2) ?? 99
        guard hours < 24, minutes < 60 else { return nil }
        seconds -= (negative ? -1 : 1) * (hours * 3600 + minutes * 60)
      }
    }
    guard scanner.atEnd else { return nil }
    let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return nil }
    let (sum, carried) = scaled.addingReportingOverflow(fraction)
    if carried { return nil }
    nanoseconds = sum
  }

  /// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
  private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
    // Counted in eras of 400 years that begin on 1 March, so that the leap day comes last.
    let shifted = month <= 2 ? year - 1 : year
    let (era, yearOfEra) = floorDivide(shifted, 400)
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  // MARK: The calendar, in UTC

  /// Days from 1970-01-01 to the date.
  package var dayNumber: Int64 {
    floorDivide(floorDivide(nanoseconds, 1_000_000_000).0, 86_400).0
  }

  /// ISO 8601 weeks, which begin on Monday, since the one that contains 1970-01-01.
  package var weekNumber: Int64 { floorDivide(dayNumber + 3, 7).0 }

  /// Months from January of the year 0.
  package var monthNumber: Int64 {
    let date = civil(fromDays: dayNumber)
    return date.year * 12 + date.month - 1
  }

  package var yearNumber: Int64 { civil(fromDays: dayNumber).year }

  /// The instant `seconds` earlier, clamped to the first representable one.
  package func earlier(seconds: UInt64) -> Timestamp {
    let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow, let span = Int64(exactly: scaled) else {
      return Timestamp(nanoseconds: .min)
    }
    let (result, carried) = nanoseconds.subtractingReportingOverflow(span)
    return Timestamp(nanoseconds: carried ? .min : result)
  }

  /// Whole seconds from another instant to this one; negative if that one is later. Cannot overflow.
  package func seconds(since other: Timestamp) -> Int64 {
    let (difference, overflow) = nanoseconds.subtractingReportingOverflow(other.nanoseconds)
    if overflow { return nanoseconds / 1_000_000_000 - other.nanoseconds / 1_000_000_000 }
    return difference / 1_000_000_000
  }

  /// The same time of day this many months earlier, or the last day if that month is shorter; clamped to the first
  /// representable instant.
  package func earlier(months: UInt32) -> Timestamp {
    let (year, zeroBasedMonth) = floorDivide(monthNumber - Int64(months), 12)
    let date = civil(fromDays: dayNumber)
    let first = Timestamp.days(year: year, month: zeroBasedMonth + 1, day: 1)
    let length =
      zeroBasedMonth == 11
      ? 31 : Timestamp.days(year: year, month: zeroBasedMonth + 2, day: 1) - first
    let days = dayNumber - (first + min(date.day, length) - 1)
    return earlier(seconds: UInt64(max(0, days)) * 86_400)
  }

  private struct Scanner {
    let bytes: [UInt8]
    var position = 0

    var atEnd: Bool { position == bytes.count }

    mutating func skip(_ character: Character) -> Bool {
      guard position < bytes.count, bytes[position] == character.asciiValue else { return false }
      position += 1
      return true
    }

    mutating func digits(_ count: Int) -> Int64? {
      guard bytes.count - position >= count else { return nil }
      var value: Int64 = 0
      for byte in bytes[position..<position + count] {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
        value = value * 10 + Int64(byte - UInt8(ascii: "0"))
      }
      position += count
      return value
    }

    /// Decimals as nanoseconds.
    mutating func fraction() -> Int64? {
      var scale: Int64 = 100_000_000
      var value: Int64 = 0
      var count = 0
      while let digit = digits(1) {
        value += digit * scale
        scale /= 10
        count += 1
      }
      return (1...9).contains(count) ? value : nil
    }
  }
}

/// Nanoseconds of a clock that is never set and stops while the machine sleeps: for timeouts.
package func monotonicNanoseconds() -> Int64 {
  var time = timespec()
  unsafe clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// Quotient and remainder with the remainder never negative.
func floorDivide(_ value: Int64, _ divisor: Int64) -> (Int64, Int64) {
  let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
  return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
}

/// The date that is `days` after 1970-01-01.
private func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
  let (era, dayOfEra) = floorDivide(days + 719_468, 146_097)
  let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
  let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
  let shiftedMonth = (5 * dayOfYear + 2) / 153
  let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
  let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
  return (era * 400 + yearOfEra + (month <= 2 ? 1 : 0), month, day)
}

/// `value` in at least `width` digits.
private func padded(_ value: Int64, _ width: Int) -> String {
  let text = String(value)
  return String(repeating: "0", count: max(0, width - text.count)) + text
}
