import TBKCore
import Testing

@Suite struct TimestampTests {
  @Test(arguments: [
    (0, "1970-01-01T00:00:00.000000+00:00"), (-1, "1969-12-31T23:59:59.999999+00:00"),
    (951_782_400_000_000_000, "2000-02-29T00:00:00.000000+00:00"),
    (4_107_542_399_123_456_789, "2100-02-28T23:59:59.123456+00:00"),
    (Int64.max, "2262-04-11T23:47:16.854775+00:00"),
    (Int64.min, "1677-09-21T00:12:43.145224+00:00"),
  ])
  func instantsAreWrittenAsPythonDoes(nanoseconds: Int64, text: String) {
    #expect(Timestamp(nanoseconds: nanoseconds).iso8601() == text)
  }

  @Test func everyDayOfFourCenturiesSurvives() {
    for day in stride(from: -100_000, to: 100_000, by: 1) {
      let time = Timestamp(nanoseconds: Int64(day) * 86_400_000_000_000 + 1000)
      #expect(Timestamp(iso8601: time.iso8601()) == time)
    }
  }

  @Test(arguments: [
    ("2020-01-02", 1_577_923_200), ("2020-01-02T03:04", 1_577_934_240),
    ("2020-01-02 03:04:05Z", 1_577_934_245), ("2020-01-02T03:04:05+01:30", 1_577_928_845),
    ("2020-01-02T03:04:05-0130", 1_577_939_645), ("2020-01-02t03:04:05z", 1_577_934_245),
    ("2020-01-02T03:04:05+01", 1_577_930_645), ("1969-12-31T23:59:59", -1),
  ])
  func neighbouringSpellingsAreRead(text: String, seconds: Int64) {
    #expect(Timestamp(iso8601: text)?.nanoseconds == seconds * 1_000_000_000)
  }

  @Test func decimalsAreReadToTheNanosecond() {
    #expect(Timestamp(iso8601: "1970-01-01T00:00:00.123456789Z")?.nanoseconds == 123_456_789)
    #expect(Timestamp(iso8601: "1970-01-01T00:00:00,5")?.nanoseconds == 500_000_000)
    #expect(Timestamp(iso8601: "1970-01-01T00:00:00.1234567890Z") == nil)
  }

  @Test(arguments: [
    "", "2020", "2020-1-02", "2020-13-01", "2020-00-01", "2020-01-32", "2020-01-00", "2020-02-30",
    "2021-02-29", "2100-02-29", "2020-04-31", "2020-01-01T", "2020-01-01T24:00:00",
    "2020-01-01T00:60:00", "2020-01-01T00:00:61", "2020-01-01T00:00:00.",
    "2020-01-01T00:00:00+24:00",
    "2020-01-01T00:00:00+00:60", "2020-01-01T00:00:00Zx", "2020-01-01x", "9999-01-01",
    "0001-01-01", "+020-01-01", "2020-01-01T00:00:00+", "２０２０-01-01",
  ])
  func whatIsNoInstantIsRefused(text: String) {
    #expect(Timestamp(iso8601: text) == nil)
  }

  @Test(arguments: [
    (Int64.max, Int64.min, Int64(18_446_744_072)), (.min, .max, -18_446_744_072), (0, .min, 9_223_372_036),
    (5_999_999_999, 1_000_000_000, 4), (1_000_000_000, 5_999_999_999, -4),
  ])
  func noTwoInstantsAreTooFarApart(one: Int64, other: Int64, seconds: Int64) {
    #expect(Timestamp(nanoseconds: one).seconds(since: Timestamp(nanoseconds: other)) == seconds)
  }
}
