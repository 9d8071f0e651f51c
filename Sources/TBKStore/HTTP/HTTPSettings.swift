import TBKCore

/// What every request of a client has in common.
package struct HTTPSettings: Sendable {
  package var userAgent: String
  /// Of trusted certificates, instead of the system's.
  package var certificateFile: String?
  package var certificateDirectory: String?
  /// Seconds that may be lost to waiting and to attempts that came to nothing, in all.
  package var maximumWait: Int
  /// How many requests may be under way at once, 1 to 8.
  package var width = 4
  package var rates: StoreRates

  /// Takes certificates from `CURL_CA_BUNDLE`, else `SSL_CERT_FILE` and `SSL_CERT_DIR`, and the width
  /// from `TERMBACKUP_CONNECTIONS`; libcurl itself finds the proxy.
  package init(userAgent: String, maximumWait: Int, rates: StoreRates = StoreRates()) {
    self.rates = rates
    self.userAgent = userAgent
    self.maximumWait = maximumWait
    func text(_ name: String) -> String? {
      environment(name).map { String(decoding: $0, as: UTF8.self) }
    }
    certificateFile = text("CURL_CA_BUNDLE")
    if certificateFile == nil {
      certificateFile = text("SSL_CERT_FILE")
      certificateDirectory = text("SSL_CERT_DIR")
    }
    if let count = text("TERMBACKUP_CONNECTIONS").flatMap({ Int($0) }) {
      width = min(max(1, count), 8)
    }
    // One after the other has all of the rate.
    if rates != StoreRates() { width = 1 }
  }

  /// Seconds by which an answer that is wanted whole may be late, at least.
  package var leastWholePatience = 15
  var wholePatience: Int { max(leastWholePatience, maximumWait) }

  /// The least rates that are asked of the other side: not more than it may have.
  var leastPace: Pace { slowestRate.map { Pace(rate: Int64(min(1024, $0 / 4))) } ?? .least }
  var wholePace: Pace {
    slowestRate.map { Pace(rate: Int64(min(16 << 10, $0 / 4)), least: .min / 2) } ?? .whole
  }
  private var slowestRate: Int? { [rates.upload, rates.download].compactMap { $0 }.min() }

  /// Seconds without a byte after which an attempt is begun again: a third of the wait, so that
  /// there is time for another, and 30 at most.
  package var stall: Int { min(30, max(1, maximumWait / 3)) }
}

/// A bearer token (RFC 6750), and who may see it.
package final class Credential {
  package let secret: Secret
  private var origins: [HTTPURL]

  /// - Parameter origins: whose servers may have it.
  package init(_ secret: consuming Secret, for origins: [HTTPURL]) {
    self.secret = secret
    self.origins = origins
  }

  /// Lets it go to another origin.
  package func admit(_ url: HTTPURL) {
    if !mayGo(to: url) { origins.append(url) }
  }

  package func mayGo(to url: HTTPURL) -> Bool {
    url.isConfidential && origins.contains { $0.hasSameOrigin(as: url) }
  }
}

/// How much time may still be lost. What is lost by several at the same time counts once.
package struct Patience {
  /// Nanoseconds.
  private let maximum: Int64
  private var lost: Int64 = 0
  private var countedUntil: Int64 = 0

  /// - Parameter seconds: in all.
  package init(seconds: Int) { maximum = Int64(seconds) * 1_000_000_000 }

  /// Counts the time from `start` to `end`, in nanoseconds of one clock; false if that is too much,
  /// and then it is not counted.
  package mutating func spend(from start: Int64, to end: Int64) -> Bool {
    let from = max(start, countedUntil)
    guard end > from else { return true }
    guard lost + (end - from) <= maximum else { return false }
    lost += end - from
    countedUntil = end
    return true
  }
}

/// Lets a number of things happen in each period, at once or spread: GitHub's limits on what
/// creates content.
package struct TokenBucket {
  private let capacity: Double
  /// A token's worth in nanoseconds.
  private let interval: Double
  private var tokens: Double
  private var updated: Int64

  /// - Parameters:
  ///   - count: how many are allowed in `seconds`.
  ///   - now: nanoseconds.
  package init(_ count: Int, perSeconds seconds: Int, now: Int64) {
    capacity = Double(count)
    interval = Double(seconds) * 1e9 / Double(count)
    tokens = capacity
    updated = now
  }

  /// Takes a token; returns the nanoseconds to wait until it is available.
  package mutating func take(now: Int64) -> Int64 {
    tokens = min(capacity, tokens + Double(max(0, now - updated)) / interval)
    updated = now
    tokens -= 1
    return tokens >= 0 ? 0 : Int64(-tokens * interval)
  }
}
