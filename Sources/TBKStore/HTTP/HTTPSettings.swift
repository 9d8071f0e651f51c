import TBKCore

/// Settings for all requests of a client.
package struct HTTPSettings: Sendable {
  package var userAgent: String
  /// Trusted certificates, instead of the system's.
  package var certificateFile: String?
  package var certificateDirectory: String?
  /// Seconds that may be lost to waiting and failed attempts, in all.
  package var maximumWait: Int
  /// How many requests may run at once, 1 to 8.
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
    // With a rate limit, requests run one at a time, each at the full rate.
    if rates != StoreRates() { width = 1 }
  }

  /// Lower limit for `wholePatience`, in seconds.
  package var leastWholePatience = 15
  var wholePatience: Int { max(leastWholePatience, maximumWait) }

  /// The slowest transfer rates that are accepted: no more than the configured limits allow.
  var leastPace: Pace { slowestRate.map { Pace(rate: Int64(min(1024, $0 / 4))) } ?? .least }
  var wholePace: Pace {
    slowestRate.map { Pace(rate: Int64(min(16 << 10, $0 / 4)), least: .min / 2) } ?? .whole
  }
  private var slowestRate: Int? { [rates.upload, rates.download].compactMap { $0 }.min() }

  /// Seconds without a byte after which an attempt is restarted: a third of the wait, so that there is time for
  /// another, and 30 at most.
  package var stall: Int { min(30, max(1, maximumWait / 3)) }
}

/// A bearer token (RFC 6750), and the origins that it may be sent to.
package final class Credential {
  package let secret: Secret
  private var origins: [HTTPURL]

  /// - Parameter origins: the servers that it may be sent to.
  package init(_ secret: consuming Secret, for origins: [HTTPURL]) {
    self.secret = secret
    self.origins = origins
  }

  /// Allows it to be sent to another origin.
  package func admit(_ url: HTTPURL) {
    if !mayGo(to: url) { origins.append(url) }
  }

  package func mayGo(to url: HTTPURL) -> Bool {
    url.isConfidential && origins.contains { $0.hasSameOrigin(as: url) }
  }
}

/// The time that may still be lost. Time lost by several requests at once counts once.
package struct Patience {
  /// Nanoseconds.
  private let maximum: Int64
  private var lost: Int64 = 0
  private var countedUntil: Int64 = 0

  /// - Parameter seconds: the total.
  package init(seconds: Int) { maximum = Int64(seconds) * 1_000_000_000 }

  /// Counts the time from `start` to `end`, in nanoseconds of one clock. Returns false, without counting it, if that
  /// exceeds the total.
  package mutating func spend(from start: Int64, to end: Int64) -> Bool {
    let from = max(start, countedUntil)
    guard end > from else { return true }
    guard lost + (end - from) <= maximum else { return false }
    lost += end - from
    countedUntil = end
    return true
  }
}

/// Limits how many actions each period may have, whether at once or spread out: for GitHub's limits on creating
/// content.
package struct TokenBucket {
  private let capacity: Double
  /// Nanoseconds per token.
  private let interval: Double
  private var tokens: Double
  private var updated: Int64

  /// - Parameters:
  ///   - count: the actions allowed in `seconds`.
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
