import TBKCore
import Testing

@testable import TBKWorkflow

@Suite struct TimetableTests {
  private static func refusal(_ text: String) -> String? {
    do throws(Failure) {
      _ = try Timetable(text)
      return nil
    } catch { return error.message }
  }

  @Test(arguments: [
    ("0 2 * * *", "0 2 * * *", ["*-*-* 02:00:00"]),
    ("@daily", "0 0 * * *", ["*-*-* 00:00:00"]), ("Weekly", "0 0 * * 0", ["Sun *-*-* 00:00:00"]),
    ("30 2 * * mon-fri", "30 2 * * 1-5", ["Mon,Tue,Wed,Thu,Fri *-*-* 02:30:00"]),
    ("0 0 1-31 * 1", "0 0 1-31 * 1", ["*-*-* 00:00:00"]), ("0 0 1 * 0-7", "0 0 1 * 0-7", ["*-*-* 00:00:00"]),
    ("0 0 1 jan 7", "0 0 1 1 7", ["Sun *-01-* 00:00:00", "*-01-01 00:00:00"]),
    ("5 */12 */2 * 1", "5 */12 */2 * 1", ["Mon *-*-01,03,05,07,09,11,13,15,17,19,21,23,25,27,29,31 00,12:05:00"]),
  ])
  func whatCronTakesIsACalendarToo(_ text: String, _ fields: String, _ calendars: [String]) throws {
    let timetable = try Timetable(text)
    #expect(timetable.text == fields)
    #expect(timetable.calendars == calendars)
  }

  @Test(arguments: [
    "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "@reboot",
    "0 0 30 2 *", "1,,2 * * * *", "1- * * * *", "5-1 * * * *", "3/2 * * * *", "*/0 * * * *", "0 2 * * *\n* * * * *",
    "+1 * * * *", "/ * * * *", "- * * * *", ", * * * *", "1-2-3 * * * *", "*/1/2 * * * *",
  ])
  func whatCronDoesNotTakeIsRefused(_ text: String) {
    #expect(Self.refusal(text) != nil)
  }

  /// About noon on a Wednesday in January, when no time zone changes its clocks.
  private static let noon: Int64 = 1_768_392_000

  @Test func timesAreFoundInBothDirections() throws {
    let daily = try Timetable("0 2 * * *")
    let next = try #require(daily.next(after: Self.noon))
    let last = try #require(daily.last(upTo: Self.noon))
    #expect(next - last == 86_400 && last <= Self.noon && next > Self.noon)
    #expect(daily.next(after: last) == next)
    #expect(daily.last(upTo: next) == next)
    #expect(daily.last(upTo: next - 1) == last)
    let often = try Timetable("*/15 * * * *")
    #expect(often.next(after: Self.noon) == Self.noon + 900)
    #expect(often.last(upTo: Self.noon) == Self.noon)
  }

  @Test func eitherKindOfDayIsEnoughUnlessAStarStandsForOne() throws {
    func count(_ text: String) throws -> Int {
      let timetable = try Timetable(text)
      var time = Self.noon
      for found in 0... {
        guard let next = timetable.next(after: time), next < Self.noon + 14 * 86_400 else { return found }
        time = next
      }
      return 0
    }
    #expect(try count("0 0 * * 1") == 2)
    #expect(try count("0 0 1-31 * 1") == 14)
    #expect(try count("0 0 20 * 1") == 3)
    #expect(try count("0 0 * * *") == 14)
  }

  @Test func theTwentyNinthOfFebruaryComes() throws {
    let rare = try Timetable("0 0 29 2 *")
    let next = try #require(rare.next(after: Self.noon))
    #expect(next > Self.noon + 700 * 86_400 && next < Self.noon + 800 * 86_400)
    #expect(try #require(rare.last(upTo: Self.noon)) < Self.noon)
  }
}

@Suite struct LatenessTests {
  private static let now: Int64 = 1_768_392_000
  private static let hour: Int64 = 3600

  private static func judge(
    _ schedules: [String], since: Int64? = nil, maxAge: Int64? = nil, last: Int64?
  ) throws -> Lateness {
    Lateness(try schedules.map(Timetable.init), since: since, maxAge: maxAge, seen: last.map { [$0] } ?? [], now: now)
  }

  @Test func anAgeIsTheLimit() throws {
    #expect(try Self.judge([], maxAge: 48 * Self.hour, last: Self.now - 48 * Self.hour).reason == nil)
    let late = try Self.judge([], maxAge: 48 * Self.hour, last: Self.now - 72 * Self.hour)
    #expect(late.reason == "the last one is 3 days old, and 2 days are allowed")
    #expect(late.next == nil)
    #expect(try Self.judge([], maxAge: Self.hour, last: nil).reason != nil)
    #expect(try Self.judge([], last: Self.now - 1000 * Self.hour).reason == nil)
  }

  @Test func aScheduledTimeThatWentByIsLateAfterAWhile() throws {
    let hourly = ["0 * * * *"]
    #expect(try Self.judge(hourly, last: Self.now - Self.hour).reason == nil)
    #expect(try Self.judge(hourly, last: Self.now - 4 * Self.hour).reason != nil)
    // Forty days ago.
    let late = try Self.judge(["0 2 * * *"], last: Self.now - 40 * 24 * Self.hour)
    #expect(try #require(late.reason).hasSuffix("the last one is 40 days old"))
    #expect(try #require(late.next) > Self.now)
    // It is enough that one of two timetables is late.
    #expect(try Self.judge(["0 0 1 1 *", "0 * * * *"], last: Self.now - 4 * Self.hour).reason != nil)
  }

  @Test func aBackupOfAClockThatWasWrongIsNoBackupOfNow() throws {
    let future = Self.now + 700 * 24 * Self.hour
    #expect(
      try Self.judge(["0 * * * *"], last: future).reason?.hasSuffix("the last one is dated in the future") == true)
    #expect(try Self.judge([], maxAge: 48 * Self.hour, last: future).reason != nil)
    // Clocks may differ by a minute.
    #expect(try Self.judge([], maxAge: Self.hour, last: Self.now + 60).reason == nil)
  }

  @Test func nothingWasDueBeforeItWasScheduled() throws {
    #expect(try Self.judge(["0 * * * *"], since: Self.now - 60, last: nil).reason == nil)
    #expect(try Self.judge(["0 * * * *"], since: Self.now - 60, last: Self.now - 99 * Self.hour).reason == nil)
    #expect(try Self.judge(["0 * * * *"], since: Self.now - 4 * Self.hour, last: nil).reason != nil)
    #expect(try Self.judge(["0 * * * *"], last: nil).reason == nil)
  }
}
