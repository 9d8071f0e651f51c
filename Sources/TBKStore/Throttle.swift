import Glibc
import TBKCore

/// Limits the average rate at which bytes pass: after some have moved, the next wait lasts until their time at that
/// rate has passed.
package final class Throttle {
  /// The clock of a throttle; tests supply their own.
  package struct Clock {
    /// Nanoseconds.
    package var now: () -> Int64
    /// Waits this many nanoseconds.
    package var sleep: (Int64) throws(Failure) -> Void

    package init(now: @escaping () -> Int64, sleep: @escaping (Int64) throws(Failure) -> Void) {
      self.now = now
      self.sleep = sleep
    }

    package static var system: Clock {
      Clock(
        now: { monotonicNanoseconds() },
        sleep: { (nanoseconds) throws(Failure) in
          var left = nanoseconds
          while left > 0 {
            try Interruption.check()
            let part = min(left, 100_000_000)
            usleep(useconds_t(part / 1000))
            left -= part
          }
        })
    }
  }

  /// Most bytes that pass at once: an eighth of a second's worth.
  let piece: Int
  private let rate: Int64
  private let clock: Clock
  /// When the bytes passed so far have used up their time.
  private var due: Int64 = .min

  /// - Parameter rate: bytes per second, from 1.
  package init(rate: Int, clock: Clock = .system) {
    self.rate = Int64(max(1, rate))
    self.clock = clock
    piece = min(chunkSize, max(512, rate / 8))
  }

  /// Waits until the next bytes may pass.
  func wait() throws(Failure) {
    let left = due.subtractingReportingOverflow(clock.now())
    if !left.overflow, left.partialValue > 0 { try clock.sleep(left.partialValue) }
  }

  /// Counts bytes that have passed. Idle time is not credited to later ones.
  func passed(_ count: Int) {
    let time = Int64(count).multipliedReportingOverflow(by: 1_000_000_000)
    due = max(due, clock.now()) + (time.overflow ? .max / 4 : time.partialValue / rate)
  }
}

/// A source that reads no faster than a throttle allows.
package final class ThrottledSource: ByteSource {
  private let source: any ByteSource
  private let throttle: Throttle

  package init(_ source: any ByteSource, _ throttle: Throttle) {
    self.source = source
    self.throttle = throttle
  }

  package func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    try throttle.wait()
    var count: Int
    if buffer.count <= throttle.piece {
      count = try source.read(into: &buffer)
    } else {
      var part = [UInt8](repeating: 0, count: throttle.piece)
      count = try source.read(into: &part)
      buffer.replaceSubrange(0..<count, with: part[..<count])
    }
    throttle.passed(count)
    return count
  }
}

/// Limits for the rates of transfers to and from a store.
package struct StoreRates: Sendable, Equatable {
  /// Bytes per second; nil for as fast as possible.
  package var upload: Int?
  package var download: Int?

  package init(upload: Int? = nil, download: Int? = nil) {
    self.upload = upload
    self.download = download
  }
}

/// The throttles of an open store, shared by all its transfers.
struct StoreThrottles {
  let upload: Throttle?
  let download: Throttle?

  init(_ rates: StoreRates) {
    upload = rates.upload.map { Throttle(rate: $0) }
    download = rates.download.map { Throttle(rate: $0) }
  }

  /// Throttles what is sent to the store.
  func sending(_ source: any ByteSource) -> any ByteSource {
    if let upload { ThrottledSource(source, upload) } else { source }
  }

  /// Throttles what is received from it.
  func receiving(_ source: any ByteSource) -> any ByteSource {
    if let download { ThrottledSource(source, download) } else { source }
  }
}
