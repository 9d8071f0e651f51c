import TBKCore
import Testing

@testable import TBKStore

/// Time that passes only when something waits.
private final class Clockwork {
  var time: Int64 = 1_000_000_000
  var waits: [Int64] = []

  var clock: Throttle.Clock {
    Throttle.Clock(
      now: { [self] in time },
      sleep: { [self] (nanoseconds) throws(Failure) in
        waits.append(nanoseconds)
        time += nanoseconds
      })
  }
}

struct ThrottleTests {
  private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) } }

  @Test(arguments: [1, 511, 512, 4096, 100_000]) func bytesArriveWholeAndNoFaster(count: Int) throws {
    let clockwork = Clockwork()
    let began = clockwork.time
    let throttle = Throttle(rate: 4096, clock: clockwork.clock)
    let sink = MemorySink()
    try ThrottledSource(MemorySource(bytes(count)), throttle).copy(to: sink)
    #expect(sink.bytes == bytes(count))
    // The end of the input is read after the last bytes have taken their time.
    let needed: Int64 = Int64(count) * 1_000_000_000 / 4096
    // The wait for each piece is rounded down.
    #expect(abs(clockwork.time - began - needed) <= Int64(count / 512 + 1))
    // Pieces last an eighth of a second.
    #expect(clockwork.waits.count == (count + 511) / 512)
  }

  @Test func whatComesSlowlyAnywayWaitsForNothing() throws {
    final class Slow: ByteSource {
      let clockwork: Clockwork
      var left = 100

      init(_ clockwork: Clockwork) { self.clockwork = clockwork }

      func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
        clockwork.time += 1_000_000_000
        left -= 1
        return left < 0 ? 0 : min(buffer.count, 100)
      }
    }
    let clockwork = Clockwork()
    let source = ThrottledSource(Slow(clockwork), Throttle(rate: 1024, clock: clockwork.clock))
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    var total = 0
    while case let count = try source.read(into: &buffer), count > 0 { total += count }
    #expect(total == 10_000)
    // Time that passed before the bytes arrived does not count for them.
    var waited: Int64 = 0
    for wait in clockwork.waits { waited += wait }
    let each: Int64 = 100 * 1_000_000_000 / 1024
    #expect(waited == 100 * each)
  }

  @Test func objectsShareARate() throws {
    let clockwork = Clockwork()
    let throttle = Throttle(rate: 1 << 20, clock: clockwork.clock)
    let began = clockwork.time
    for _ in 0..<8 { try ThrottledSource(MemorySource(bytes(1 << 18)), throttle).copy(to: MemorySink()) }
    let taken: Int64 = clockwork.time - began
    #expect(taken == 2_000_000_000)
  }

  @Test func largePiecesKeepTheirOrder() throws {
    let clockwork = Clockwork()
    let throttle = Throttle(rate: 1 << 30, clock: clockwork.clock)
    let sink = MemorySink()
    try ThrottledSource(MemorySource(bytes(1_000_000)), throttle).copy(to: sink)
    #expect(sink.bytes == bytes(1_000_000) && clockwork.waits.count == 4)
  }
}
