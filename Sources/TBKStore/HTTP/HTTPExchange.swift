import TBKCore

/// What a client makes of an answer.
package enum HTTPVerdict {
  /// It is the answer, whatever its status.
  case accept
  /// Asking again may help.
  case again(Failure)
  /// No request may be sent before this many seconds have passed.
  case pause(seconds: Int, Failure)
  case fail(Failure)
}

/// A request and its fate, over as many attempts as it takes.
package final class HTTPExchange {
  package let request: HTTPRequest
  /// Whether a failed attempt is followed by another.
  package let isRepeated: Bool
  /// Whether an interrupted response is resumed, by a `Range`.
  let isResumed: Bool
  private let judge: (HTTPResponse) -> HTTPVerdict
  private let progress: (Int) -> Void

  /// How fast it is over all attempts, if nothing can be done before the whole response has arrived.
  var pace: Pace?

  package internal(set) var result: Result<HTTPResponse, Failure>?
  /// Attempts that came to nothing.
  var failures = 0
  /// Nanoseconds before which it is not to be started.
  var notBefore: Int64 = 0
  /// Where redirects have led.
  var url: HTTPURL
  var redirects = 0
  /// What has come of the body in attempts that were interrupted.
  var received: [UInt8] = []

  /// - Parameters:
  ///   - isRepeated: false where somebody has to look before it is asked again.
  ///   - isResumed: for a body that does not change while it is read; only of a GET.
  ///   - judge: what an answer means; by default only 408, 429 and 5xx are asked again, when the server
  ///   says so if it does.
  ///   - progress: given the number of bytes as they are sent, or received if none are; negative where they have
  ///     to be again.
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

  /// That it be asked again: when the answer says so, if it does.
  package static func later(_ response: HTTPResponse, _ failure: Failure) -> HTTPVerdict {
    response.retryAfter.map { .pause(seconds: $0, failure) } ?? .again(failure)
  }

  package static func unexpected(_ response: HTTPResponse) -> Failure {
    Failure(
      .unavailable, "\(response.url.authority) answers with status \(response.status)",
      httpStatus: response.status)
  }

  /// The answer; the failure it ended with.
  package func get() throws(Failure) -> HTTPResponse {
    guard let result else { throw Failure(.library, "the request has not ended") }
    return try result.get()
  }

  package var isOver: Bool { result != nil }

  package var hasFailed: Bool {
    if case .failure? = result { return true }
    return false
  }

  /// Bytes of this attempt that it was told of.
  private var moved = 0

  func didMove(_ count: Int) {
    moved += count
    progress(count)
  }

  /// Takes back bytes that were reported and then lost.
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
      received = []  // All of it came, and still it was interrupted.
    }
    if !received.isEmpty {
      let first = range?.first ?? 0
      let last = range.map { String($0.last) } ?? ""
      next.headers.removeAll { $0.name == "Range" }
      next.headers.append(("Range", "bytes=\(first + UInt64(received.count))-\(last)"))
    }
    return next
  }

  /// The bytes that the request asks for, if not for all.
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

  /// Puts what came before in front of an answer, and says what it means.
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
      received = []  // More than there can be.
    }
  }

  /// Whether an answer begins where it was asked to.
  private func isContinuation(_ response: HTTPResponse) -> Bool {
    if response.status == 200 { return received.isEmpty && range == nil }
    let first = (range?.first ?? 0) + UInt64(received.count)
    return response.status == 206
      && response.headers["content-range"]?.hasPrefix("bytes \(first)-") ?? false
  }
}
