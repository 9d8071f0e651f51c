import Glibc

/// The time of a file as the kernel stores it: 64-bit seconds, and nanoseconds.
///
/// A `Timestamp` ends in the year 2262; file systems can store times far outside that range.
package struct FileTime: Hashable, Comparable, Sendable {
  /// Since 1970-01-01T00:00:00Z, rounded down.
  package let seconds: Int64
  /// 0...999,999,999, added to `seconds`.
  package let nanoseconds: UInt32

  package static let min = FileTime(seconds: .min)
  package static let max = FileTime(seconds: .max, nanoseconds: FileTime.perSecond - 1)

  static let perSecond: UInt32 = 1_000_000_000

  /// - Parameter nanoseconds: clamped to 999,999,999.
  package init(seconds: Int64, nanoseconds: UInt32 = 0) {
    self.seconds = seconds
    self.nanoseconds = Swift.min(nanoseconds, FileTime.perSecond - 1)
  }

  /// From nanoseconds since 1970.
  package init(nanoseconds: Int64) {
    let (quotient, rest) = nanoseconds.quotientAndRemainder(dividingBy: Int64(FileTime.perSecond))
    self.init(
      seconds: rest < 0 ? quotient - 1 : quotient,
      nanoseconds: UInt32(rest < 0 ? rest + Int64(FileTime.perSecond) : rest))
  }

  package init(_ time: timespec) {
    self.init(seconds: Int64(time.tv_sec), nanoseconds: UInt32(clamping: time.tv_nsec))
  }

  /// From a sign and a magnitude; nil if out of range.
  ///
  /// - Parameter nanoseconds: 0...999,999,999.
  package init?(isNegative: Bool, seconds: UInt64, nanoseconds: UInt32) {
    guard isNegative else {
      guard let seconds = Int64(exactly: seconds) else { return nil }
      self.init(seconds: seconds, nanoseconds: nanoseconds)
      return
    }
    let borrowed: UInt64 = nanoseconds == 0 ? 0 : 1
    guard seconds <= Int64.min.magnitude - borrowed else { return nil }
    self.init(
      seconds: -1 - Int64(bitPattern: seconds &+ borrowed &- 1),
      nanoseconds: nanoseconds == 0 ? 0 : FileTime.perSecond - nanoseconds)
  }

  /// From seconds since 1970; nil if they are out of range.
  package init?(seconds: Double) {
    // Split off the whole seconds: together they have more digits than a double holds.
    let whole = seconds.rounded(.down)
    guard let count = Int64(exactly: whole) else { return nil }
    let rest = UInt32(((seconds - whole) * Double(FileTime.perSecond)).rounded())
    guard rest == FileTime.perSecond else {
      self.init(seconds: count, nanoseconds: rest)
      return
    }
    if count == .max { return nil }
    self.init(seconds: count + 1)
  }

  /// From a decimal integer as `description` writes it: nanoseconds since 1970, of any size that fits. Nil for anything
  /// else, including "-0" and leading zeros.
  package init?(decimal text: ArraySlice<UInt8>) {
    let isNegative = text.first == UInt8(ascii: "-")
    let digits = isNegative ? text.dropFirst() : text
    guard let first = digits.first, first != UInt8(ascii: "0") || text.count == 1 else { return nil }
    let border = Swift.max(digits.startIndex, digits.endIndex - 9)
    var seconds: UInt64 = 0
    var nanoseconds: UInt32 = 0
    for index in digits.indices {
      let digit = digits[index] &- UInt8(ascii: "0")
      if digit > 9 { return nil }
      if index >= border {
        nanoseconds = nanoseconds * 10 + UInt32(digit)
        continue
      }
      let (scaled, high) = seconds.multipliedReportingOverflow(by: 10)
      let (sum, low) = scaled.addingReportingOverflow(UInt64(digit))
      if high || low { return nil }
      seconds = sum
    }
    self.init(isNegative: isNegative, seconds: seconds, nanoseconds: nanoseconds)
  }

  /// Nanoseconds since 1970, if they fit 64 bits: the years 1677 to 2262.
  package var inNanoseconds: Int64? {
    // Before 1970, counted from the next second, so that the first representable instant fits too.
    let isBefore = seconds < 0 && nanoseconds > 0
    let (scaled, high) = (isBefore ? seconds + 1 : seconds)
      .multipliedReportingOverflow(by: Int64(FileTime.perSecond))
    let rest = Int64(nanoseconds) - (isBefore ? Int64(FileTime.perSecond) : 0)
    let (sum, low) = scaled.addingReportingOverflow(rest)
    return high || low ? nil : sum
  }

  /// The sign and the magnitude.
  package var magnitude: (isNegative: Bool, seconds: UInt64, nanoseconds: UInt32) {
    if seconds >= 0 || nanoseconds == 0 { return (seconds < 0, seconds.magnitude, nanoseconds) }
    return (true, seconds.magnitude - 1, FileTime.perSecond - nanoseconds)
  }

  /// Seconds since 1970, as Python's `st_mtime`: the nearest double.
  package var inSeconds: Double {
    if let inNanoseconds { return Double(inNanoseconds) / Double(FileTime.perSecond) }
    return Double(seconds) + Double(nanoseconds) / Double(FileTime.perSecond)
  }

  /// For the kernel.
  package var ofKernel: timespec { timespec(tv_sec: Int(seconds), tv_nsec: Int(nanoseconds)) }

  package static func < (one: FileTime, other: FileTime) -> Bool {
    (one.seconds, one.nanoseconds) < (other.seconds, other.nanoseconds)
  }

  /// Whether two times are at most this many seconds apart.
  package func isWithin(seconds limit: UInt32, of other: FileTime) -> Bool {
    let (first, last) = self < other ? (self, other) : (other, self)
    let (end, overflow) = first.seconds.addingReportingOverflow(Int64(limit))
    return overflow || last <= FileTime(seconds: end, nanoseconds: first.nanoseconds)
  }

  /// For people: RFC 3339 in UTC if the year has four digits, else seconds since 1970 after "@".
  package var display: String {
    let range = FileTime.fourDigitYears
    guard range.contains(seconds) else { return "@\(seconds)" }
    return Timestamp.iso8601(seconds: seconds)
  }

  /// The years 0000 to 9999.
  private static let fourDigitYears: Range<Int64> = -62_167_219_200..<253_402_300_800
}

extension FileTime: CustomStringConvertible {
  /// Nanoseconds since 1970, as one integer.
  package var description: String {
    let (isNegative, seconds, nanoseconds) = magnitude
    let sign = isNegative ? "-" : ""
    if seconds == 0 { return "\(sign)\(nanoseconds)" }
    let rest = String(nanoseconds)
    return "\(sign)\(seconds)\(String(repeating: "0", count: 9 - rest.count))\(rest)"
  }
}

extension Timestamp {
  /// The instant, clamped to the range of `Timestamp`.
  package init(clamping time: FileTime) {
    self.init(nanoseconds: time.inNanoseconds ?? (time.seconds < 0 ? .min : .max))
  }
}
