import CCurl
import Glibc
import TBKCore

/// An HTTP client over libcurl that runs many requests at once on one thread. Owns a multi handle, which keeps
/// connections for reuse.
///
/// Requests with possibly transient failures are repeated, after growing pauses, until too much time is lost.
@safe package final class HTTPClient {
  private let multi: UnsafeMutableRawPointer
  private let settings: HTTPSettings
  private let credential: Credential?
  private var patience: Patience
  /// By the address of the easy handle.
  private var running: [UInt: (transfer: HTTPTransfer, exchange: HTTPExchange)] = [:]
  private var waiting: [HTTPExchange] = []
  /// No request starts before this time; nanoseconds.
  private var pausedUntil: Int64 = 0
  /// Origins that have responded at least once.
  private var known: Set<String> = []

  /// Attempts at a host that has never responded.
  static let attemptsAtUnknown = 3
  static let maximumRedirects = 5

  package init(_ settings: HTTPSettings, credential: Credential? = nil) throws(Failure) {
    guard HTTPClient.isLibraryReady, let multi = unsafe curl_multi_init() else {
      throw Failure(.library, "libcurl cannot be used")
    }
    unsafe self.multi = multi
    self.settings = settings
    self.credential = credential
    patience = Patience(seconds: settings.maximumWait)
    unsafe _ = tbk_curl_multi_set_long(
      multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, max(8, settings.width * 2))
  }

  /// Runs once per process, before any other thread starts.
  private static let isLibraryReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

  deinit {
    cancel()
    unsafe curl_multi_cleanup(multi)
  }

  package var width: Int { settings.width }

  // MARK: Asking

  /// Sends one request and returns its response.
  package func send(_ exchange: HTTPExchange) throws(Failure) -> HTTPResponse {
    start(exchange)
    try drive { exchange.isOver }
    return try exchange.get()
  }

  /// Queues a request; `drive` runs it.
  package func start(_ exchange: HTTPExchange) { waiting.append(exchange) }

  /// Cancels the requests that have not ended.
  package func cancel() {
    for (transfer, _) in running.values {
      unsafe _ = curl_multi_remove_handle(multi, transfer.handle)
    }
    running = [:]
    waiting = []
  }

  /// Runs the started requests until `isDone`.
  package func drive(until isDone: () -> Bool) throws(Failure) {
    // Time that the caller spent elsewhere must not count against the server.
    let start = now
    for (transfer, _) in running.values { transfer.resume(at: start) }
    do throws(Failure) {
      while !isDone() {
        try Interruption.check()
        try startWhatIsDue()
        var count: Int32 = 0
        try check(unsafe curl_multi_perform(multi, &count))
        try collect()
        giveUpWhatIsSlow()
        if isDone() { return }
        if running.isEmpty, waiting.isEmpty {
          throw Failure(.library, "nothing is under way that could be waited for")
        }
        try check(unsafe curl_multi_poll(multi, nil, 0, Int32(untilNextStart), nil))
      }
    } catch {
      cancel()
      throw error
    }
  }

  /// Starts no further request for this long.
  package func pause(nanoseconds: Int64) {
    pausedUntil = max(pausedUntil, now + nanoseconds)
  }

  // MARK: Driving

  private var now: Int64 { monotonicNanoseconds() }

  private func check(_ result: CURLMcode) throws(Failure) {
    guard result == CURLM_OK else {
      if result == CURLM_OUT_OF_MEMORY { throw .exhaustedProcess }
      throw Failure(.library, "libcurl: \(unsafe String(cString: curl_multi_strerror(result)))")
    }
  }

  private func startWhatIsDue() throws(Failure) {
    let time = now
    var rest: [HTTPExchange] = []
    for exchange in waiting {
      if running.count < settings.width, max(exchange.notBefore, pausedUntil) <= time {
        try begin(exchange)
      } else {
        rest.append(exchange)
      }
    }
    waiting = rest
  }

  /// Milliseconds until another exchange may start, at most 250. Exchanges that wait for a free slot need no timer: the
  /// end of another one wakes the poll.
  private var untilNextStart: Int64 {
    guard running.count < settings.width,
      let due = waiting.map({ max($0.notBefore, pausedUntil) }).min()
    else { return 250 }
    return max(0, min(250, (due - now + 999_999) / 1_000_000))
  }

  private func begin(_ exchange: HTTPExchange) throws(Failure) {
    if exchange.pace == nil, exchange.request.isWhole { exchange.pace = settings.wholePace }
    let request = exchange.nextRequest()
    guard request.url.isConfidential else {
      exchange.result = .failure(
        Failure(
          .configuration, "\(request.url.authority) would be contacted without encryption",
          hint: "http:// is for this machine alone; use https://"))
      return
    }
    var carried: Credential?
    if request.isAuthorized, let credential, credential.mayGo(to: request.url) {
      carried = credential
    }
    let transfer: HTTPTransfer
    do throws(Failure) {
      transfer = try HTTPTransfer(
        request, credential: carried, settings: settings, stall: settings.stall,
        progress: { [weak exchange] in exchange?.didMove($0) })
    } catch {
      exchange.result = .failure(error)
      return
    }
    try check(unsafe curl_multi_add_handle(multi, transfer.handle))
    unsafe running[UInt(bitPattern: transfer.handle)] = (transfer, exchange)
  }

  private func collect() throws(Failure) {
    var result = CURLE_OK
    while let handle = unsafe tbk_curl_next_ended(multi, &result) {
      unsafe _ = curl_multi_remove_handle(multi, handle)
      guard
        let (transfer, exchange) = running.removeValue(forKey: UInt(bitPattern: handle))
      else { continue }
      if result == CURLE_OK || transfer.isCutOff {
        try answered(exchange, try transfer.response(), transfer)
      } else {
        let (failure, isTransient) = transfer.problem(result)
        if failure.isOfProcess { throw failure }
        let part = transfer.partialResponse
        exchange.keep(part)
        if part.isSuccess, !part.body.isEmpty { known.insert(exchange.url.authority) }
        if isTransient {
          again(exchange, failure, since: transfer.lastProgress)
        } else {
          exchange.result = .failure(failure)
        }
      }
    }
  }

  /// Ends transfers that are too slow.
  private func giveUpWhatIsSlow() {
    let time = now
    for (address, (transfer, exchange)) in running {
      transfer.count(until: time, for: &exchange.pace)
      let isLate = exchange.pace?.isBehind(seconds: settings.wholePatience) ?? false
      // libcurl itself ends stalled transfers, and reports why.
      guard isLate || transfer.pace.isBehind(seconds: settings.stall + 2) else { continue }
      unsafe _ = curl_multi_remove_handle(multi, transfer.handle)
      running[address] = nil
      let part = transfer.partialResponse
      exchange.keep(part)
      if part.isSuccess, !part.body.isEmpty { known.insert(exchange.url.authority) }
      let failure = Failure(.unavailable, "\(exchange.url.authority) is too slow")
      if isLate {
        exchange.result = .failure(tooLong(failure, needed: nil))
      } else {
        again(exchange, failure, since: time - transfer.pace.behind)
      }
    }
  }

  private func answered(
    _ exchange: HTTPExchange, _ response: HTTPResponse, _ transfer: HTTPTransfer
  ) throws(Failure) {
    known.insert(exchange.url.authority)
    if exchange.request.followsRedirects, let location = response.headers["location"],
      [301, 302, 303, 307, 308].contains(response.status)
    {
      follow(exchange, response, to: location)
      return
    }
    let (answer, verdict) = exchange.take(response)
    switch verdict {
    case .accept: exchange.result = .success(answer)
    case .fail(let failure): exchange.result = .failure(failure)
    case .again(let failure): again(exchange, failure, since: transfer.lastProgress)
    case .pause(let seconds, let failure):
      let time = now
      let length = Int64(seconds) * 1_000_000_000
      guard patience.spend(from: time, to: time + length) else {
        exchange.result = .failure(tooLong(failure, needed: seconds))
        return
      }
      pause(nanoseconds: length)
      if exchange.isRepeated {
        waiting.append(exchange)
      } else {
        exchange.result = .failure(failure)
      }
    }
  }

  /// Follows a redirect if that cannot change the request (RFC 9110, 15.4); for requests that write, only within the
  /// same server.
  private func follow(_ exchange: HTTPExchange, _ response: HTTPResponse, to location: String) {
    let isRead = ["GET", "HEAD"].contains(exchange.request.method)
    let keepsMethod = [307, 308].contains(response.status)
    guard isRead || keepsMethod, exchange.redirects < HTTPClient.maximumRedirects,
      let target = exchange.url.resolving(location), exchange.url.mayRedirect(to: target),
      isRead || target.hasSameOrigin(as: exchange.url)
    else {
      exchange.result = .failure(
        Failure(
          .unavailable, "\(exchange.url.authority) redirects where it must not be followed",
          httpStatus: response.status))
      return
    }
    exchange.redirects += 1
    exchange.url = target
    waiting.append(exchange)
  }

  /// Schedules another attempt, or gives up.
  ///
  /// - Parameter since: when the last byte moved; time after that counts as lost.
  private func again(_ exchange: HTTPExchange, _ failure: Failure, since: Int64) {
    guard exchange.isRepeated else {
      exchange.result = .failure(failure)
      return
    }
    exchange.failures += 1
    let isKnown = known.contains(exchange.url.authority)
    if !isKnown, exchange.failures >= HTTPClient.attemptsAtUnknown {
      exchange.result = .failure(failure)
      return
    }
    let until = now + HTTPClient.delay(afterAttempt: exchange.failures)
    guard patience.spend(from: since, to: until) else {
      exchange.result = .failure(tooLong(failure, needed: nil))
      return
    }
    exchange.notBefore = until
    // The next attempt starts from the original URL: a redirect target may be gone.
    exchange.url = exchange.request.url
    exchange.redirects = 0
    waiting.append(exchange)
  }

  /// In nanoseconds. Half a second, doubled with every attempt up to a minute; random between half and all of it, so
  /// that clients that failed together do not retry together.
  package static func delay(afterAttempt attempt: Int) -> Int64 {
    let most: Int64 = min(60_000_000_000, 500_000_000 << Int64(min(max(attempt, 1) - 1, 10)))
    return Int64.random(in: most / 2...most)
  }

  private func tooLong(_ failure: Failure, needed: Int?) -> Failure {
    let hint =
      needed.map { "try again in \($0) s, or give --max-wait \($0 + settings.maximumWait)" }
      ?? "try again later; --max-wait sets how long to keep trying (\(settings.maximumWait) s)"
    return Failure(.tryAgain, failure.message, hint: hint, httpStatus: failure.httpStatus)
  }
}
