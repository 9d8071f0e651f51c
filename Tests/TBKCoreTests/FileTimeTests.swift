import Glibc
import TBKCore
import Testing

@Suite struct FileTimeTests {
  /// Seconds, nanoseconds, and both as one integer.
  private static let times: [(seconds: Int64, nanoseconds: UInt32, decimal: String)] = [
    (0, 0, "0"), (0, 1, "1"), (-1, 999_999_999, "-1"), (-1, 0, "-1000000000"), (-2, 999_999_999, "-1000000001"),
    (1, 0, "1000000000"), (1_700_000_000, 5, "1700000000000000005"),
    (9_223_372_036, 854_775_807, "9223372036854775807"), (9_223_372_036, 854_775_808, "9223372036854775808"),
    (-9_223_372_037, 145_224_192, "-9223372036854775808"), (-9_223_372_037, 145_224_191, "-9223372036854775809"),
    (10_413_792_000, 0, "10413792000000000000"), (.max, 999_999_999, "9223372036854775807999999999"),
    (.min, 0, "-9223372036854775808000000000"), (.min, 1, "-9223372036854775807999999999"),
  ]

  @Test(arguments: times)
  func oneIntegerSaysIt(seconds: Int64, nanoseconds: UInt32, decimal: String) {
    let time = FileTime(seconds: seconds, nanoseconds: nanoseconds)
    #expect(time.description == decimal)
    #expect(FileTime(decimal: Array(decimal.utf8)[...]) == time)
    #expect(time.inNanoseconds == Int64(decimal))
    if let small = Int64(decimal) { #expect(FileTime(nanoseconds: small) == time) }
    let (isNegative, whole, rest) = time.magnitude
    #expect(FileTime(isNegative: isNegative, seconds: whole, nanoseconds: rest) == time)
    #expect(FileTime(time.ofKernel) == time)
  }

  @Test(arguments: [
    "", "-", "-0", "00", "01", "-01", "1.5", "1e3", " 1", "1 ", "+1", "9223372036854775808000000000",
    "-9223372036854775808000000001", "18446744073709551616000000000", "99999999999999999999999999999999",
  ])
  func whatIsNoTimeIsRefused(text: String) {
    #expect(FileTime(decimal: Array(text.utf8)[...]) == nil)
  }

  @Test(
    arguments: [
      (0, 0, 0), (0.5, 0, 500_000_000), (-0.5, -1, 500_000_000), (-1e-10, 0, 0), (1e18, 1_000_000_000_000_000_000, 0),
      (0.9999999999, 1, 0), (-9_223_372_036_854_775_808, .min, 0),
    ] as [(Double, Int64, UInt32)])
  func secondsOfADouble(value: Double, seconds: Int64, nanoseconds: UInt32) {
    #expect(FileTime(seconds: value) == FileTime(seconds: seconds, nanoseconds: nanoseconds))
  }

  @Test(arguments: [.infinity, -.infinity, .nan, 1e300, 9_223_372_036_854_775_808, -1e19] as [Double])
  func aDoubleOutOfRangeIsNone(value: Double) { #expect(FileTime(seconds: value) == nil) }

  @Test func theOrderIsThatOfTime() {
    let sorted = [FileTime.min, FileTime(seconds: -1), FileTime(nanoseconds: -1), FileTime(seconds: 0), .max]
    #expect(sorted.shuffled().sorted() == sorted)
  }

  @Test func howFarApartTwoAre() {
    let time = FileTime(seconds: 100, nanoseconds: 5)
    for (other, isNear) in [
      (time, true), (FileTime(seconds: 102, nanoseconds: 5), true), (FileTime(seconds: 102, nanoseconds: 6), false),
      (FileTime(seconds: 98, nanoseconds: 5), true), (FileTime(seconds: 98, nanoseconds: 4), false), (.min, false),
      (.max, false),
    ] {
      #expect(time.isWithin(seconds: 2, of: other) == isNear)
      #expect(other.isWithin(seconds: 2, of: time) == isNear)
    }
    #expect(FileTime.max.isWithin(seconds: 2, of: .max) && FileTime.min.isWithin(seconds: 2, of: .min))
  }

  @Test func peopleReadADateOrSeconds() {
    #expect(FileTime(seconds: 10_413_792_000, nanoseconds: 5).display == "2300-01-01T00:00:00+00:00")
    #expect(FileTime(seconds: -11_676_096_000).display == "1600-01-01T00:00:00+00:00")
    #expect(FileTime(seconds: -62_167_219_200).display == "0000-01-01T00:00:00+00:00")
    #expect(FileTime(seconds: 253_402_300_799).display == "9999-12-31T23:59:59+00:00")
    #expect(FileTime(seconds: 253_402_300_800).display == "@253402300800")
    #expect(FileTime.min.display == "@-9223372036854775808")
  }

  @Test func theKernelIsBelievedNoNonsense() {
    #expect(FileTime(timespec(tv_sec: 1, tv_nsec: 2_000_000_000)) == FileTime(seconds: 1, nanoseconds: 999_999_999))
    #expect(FileTime(timespec(tv_sec: 1, tv_nsec: -1)) == FileTime(seconds: 1))
  }

  @Test func anInstantEndsWhereItsNanosecondsDo() {
    #expect(Timestamp(clamping: FileTime(seconds: 10_413_792_000)).nanoseconds == .max)
    #expect(Timestamp(clamping: FileTime(seconds: -11_676_096_000)).nanoseconds == .min)
    #expect(Timestamp(clamping: FileTime(nanoseconds: -7)).nanoseconds == -7)
  }
}
