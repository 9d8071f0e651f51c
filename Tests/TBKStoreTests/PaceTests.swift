import Testing

@testable import TBKStore

struct PaceTests {
  private static let second: Int64 = 1_000_000_000

  @Test func silenceIsLostTime() {
    var pace = Pace.least
    for _ in 0..<5 { pace.waited(Self.second) }
    #expect(!pace.isBehind(seconds: 5) && pace.isBehind(seconds: 4))
  }

  @Test func bytesNowAndThenAreNoProgress() {
    var pace = Pace.least
    for _ in 0..<100 {
      pace.waited(Self.second)
      pace.moved(2)
    }
    #expect(pace.isBehind(seconds: 99))
  }

  @Test func theLeastRateIsEnoughForEver() {
    var pace = Pace.least
    for _ in 0..<10_000 {
      pace.waited(Self.second)
      pace.moved(1100)
      #expect(pace.behind == 0)
    }
  }

  /// Ten fast seconds do not allow an hour of silence, unless the response is awaited as a whole.
  @Test func whatWasFastBeforeDoesNotCount() {
    var (least, whole) = (Pace.least, Pace.whole)
    least.moved(1 << 30)
    whole.moved(1 << 30)
    for _ in 0..<60 {
      least.waited(Self.second)
      whole.waited(Self.second)
    }
    #expect(least.isBehind(seconds: 59) && !whole.isBehind(seconds: 0))
  }

  @Test func aWholeHasATimeByItsSize() {
    var pace = Pace.whole
    var seconds = 0
    // 4 KiB per second instead of 16: each second falls three quarters of a second behind.
    while !pace.isBehind(seconds: 30), seconds < 1000 {
      pace.waited(Self.second)
      pace.moved(4096)
      seconds += 1
    }
    #expect((35...45).contains(seconds))
  }

  @Test func aProcessThatWasStoppedDidNotWait() {
    var pace = Pace.least
    pace.waited(3600 * Self.second)
    #expect(!pace.isBehind(seconds: 2))
  }

  @Test(arguments: [Pace.least, Pace.whole, Pace(rate: 0), Pace(rate: .max)])
  func noNumberIsTooLarge(_ start: Pace) {
    var pace = start
    for number in [Int64.max, .min, -1, 0, 1] {
      pace.waited(number)
      pace.moved(Int(number))
      pace.waited(number)
    }
    pace.moved(.max)
    pace.moved(.max)
    pace.moved(.max)
    #expect(!pace.isBehind(seconds: 0))
  }
}
