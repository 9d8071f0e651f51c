import TBKCore

/// How a client handles a response.
package enum HTTPVerdict {
  /// The response is final, whatever its status.
  case accept
  /// Repeating the request may help.
  case again(Failure)
  /// No request may be sent before this many seconds have passed.
  case pause(seconds: Int, Failure)
  case fail(Failure)
}

/// A request and its outcome, over as many attempts as needed.
package final class HTTPExchange {
  package let request: HTTPRequest
  /// Whether a failed attempt is followed by another.
  package let isRepeated: Bool
  /// Whether an interrupted response is resumed, by a `Range`.
  let isResumed: Bool
  private let judge: (HTTPResponse) -> HTTPVerdict
  private let progress: (Int) -> Void

  /// The rate over all attempts, if nothing can be done before the whole response has arrived.
  var pace: Pace?

  package internal(set) var result: Result<HTTPResponse, Failure>?
  /// Failed attempts.
  var failures = 0
  /// The earliest start of the next attempt; nanoseconds.
  var notBefore: Int64 = 0
  /// The current URL, after redirects.
  var url: HTTPURL
  var redirects = 0
  /// Body bytes received in interrupted attempts.
  var received: [UInt8] = []

  /// - Parameters:
  ///   - isRepeated: false if the caller must check before the request is sent again.
  ///   - isResumed: for a GET whose body does not change while it is read.
  ///   - judge: interprets a response; by default only 408, 429 and 5xx are retried, after the delay that the response
  ///     asks for, if any.
  ///   - progress: called with the number of bytes sent, or received if none are sent; negative if bytes must be
  ///     transferred again.
  package init(
    _ request: HTTPRequest, isRepeated: Bool = true, isResumed: Bool = false,
    judge: @escaping (HTTPResponse) -> HTTPVerdict = HTTPExchange.standardJudge,
    progress: @escaping (Int) -> Void = { _ in }
  ) {
    self.request = request
    self.isRepeated = isRepeated
    self.isResumed = isResumed
    self.judge = judge
    self.progress = progress
    url = request.url
  }

  package static func standardJudge(_ response: HTTPResponse) -> HTTPVerdict {
    switch response.status {
    case 408, 429, 500...599: later(response, unexpected(response))
    default: .accept
    }
  }

  /// Retry, after the delay that the response asks for, if any.
  package static func later(_ response: HTTPResponse, _ failure: Failure) -> HTTPVerdict {
    response.retryAfter.map { .pause(seconds: $0, failure) } ?? .again(failure)
  }

  package static func unexpected(_ response: HTTPResponse) -> Failure {
    Failure(
      .unavailable, "\(response.url.authority) answers with status \(response.status)",
      httpStatus: response.status)
  }

  /// The response. Throws the failure that ended the request.
  package func get() throws(Failure) -> HTTPResponse {
    guard let result else { throw Failure(.library, "the request has not ended") }
    return try result.get()
  }

  package var isOver: Bool { result != nil }

  package var hasFailed: Bool {
    if case .failure? = result { return true }
    return false
  }

  /// Bytes of this attempt reported to `progress`.
  private var moved = 0

  func didMove(_ count: Int) {
    moved += count
    progress(count)
  }

  /// Reports as lost the bytes of this attempt that were reported before.
  package func retract() {
    if moved > 0 { progress(-moved) }
    moved = 0
  }

  /// The request of the next attempt.
  func nextRequest() -> HTTPRequest {
    retract()
    var next = request
    next.url = url
    if let range, UInt64(received.count) > range.last - range.first {
      received = []  // All of it had arrived, and still it was interrupted.
    }
    if !received.isEmpty {
      let first = range?.first ?? 0
      let last = range.map { String($0.last) } ?? ""
      next.headers.removeAll { $0.name == "Range" }
      next.headers.append(("Range", "bytes=\(first + UInt64(received.count))-\(last)"))
    }
    return next
  }

  /// The byte range that the request asks for; nil for everything.
  private var range: (first: UInt64, last: UInt64)? {
    guard let text = request.headers.first(where: { $0.name == "Range" })?.value,
      text.hasPrefix("bytes=")
    else { return nil }
    let ends = text.dropFirst(6).split(separator: "-")
    guard ends.count == 2, let first = UInt64(ends[0]), let last = UInt64(ends[1]) else {
      return nil
    }
    return (first, last)
  }

  /// Prepends earlier received bytes to a response, and judges it.
  func take(_ response: HTTPResponse) -> (HTTPResponse, HTTPVerdict) {
    var whole = response
    if !received.isEmpty, response.status == 206 {
      guard isContinuation(response) else {
        received = []
        return (whole, .again(HTTPExchange.unexpected(response)))
      }
      whole.body = received + response.body
      if range == nil { whole.status = 200 }
    }
    received = []
    return (whole, judge(whole))
  }

  /// Keeps what was received of an interrupted response, to resume it.
  func keep(_ part: HTTPResponse) {
    guard isResumed, !part.body.isEmpty, isContinuation(part) else { return }
    if part.body.count <= request.limit - received.count {
      received += part.body
      moved = 0
    } else {
      received = []  // More than the limit.
    }
  }

  /// Whether a response begins at the requested offset.
  private func isContinuation(_ response: HTTPResponse) -> Bool {
    if response.status == 200 { return received.isEmpty && range == nil }
    let first = (range?.first ?? 0) + UInt64(received.count)
    return response.status == 206
      && response.headers["content-range"]?.hasPrefix("bytes \(first)-") ?? false
  }
}
