import TBKCore
import TBKFormat

/// GitHub's REST API, version 2022-11-28: addresses, headers and limits. What the calls mean is up to the callers.
package final class GitHubAPI {
  package let root: HTTPURL
  package let client: HTTPClient
  private let credential: Credential?
  private let notice: (String) -> Void
  private var hasNoticedMove = false

  // Limits for requests that create content: 80 a minute and 500 an hour.
  private var minute: TokenBucket
  private var hour: TokenBucket
  /// The least time between writes, in nanoseconds: a second once a secondary limit was reached.
  private var writeInterval: Int64 = 0
  private var nextWrite: Int64 = 0

  /// The default root.
  package static let standardRoot = "https://api.github.com"

  /// The root from `TERMBACKUP_GITHUB_API`, else GitHub's own. Throws `.configuration` if it is not a valid root.
  package static func configuredRoot() throws(Failure) -> HTTPURL {
    let text = environment("TERMBACKUP_GITHUB_API").map { String(decoding: $0, as: UTF8.self) }
    guard let root = HTTPURL(text ?? standardRoot) else {
      throw Failure(
        .configuration, "TERMBACKUP_GITHUB_API is not the address of an API",
        hint: "as in https://github.example.org/api/v3")
    }
    guard root.isConfidential else {
      throw Failure(
        .configuration, "TERMBACKUP_GITHUB_API names \(root.authority) without encryption",
        hint: "http:// is for this machine alone; use https://")
    }
    return root
  }

  /// - Parameters:
  ///   - token: nil for requests without authentication.
  ///   - notice: called with messages for the user that need no action.
  package init(
    root: HTTPURL, token: consuming Secret?, settings: HTTPSettings,
    notice: @escaping (String) -> Void
  ) throws(Failure) {
    self.root = root
    self.notice = notice
    var credential: Credential?
    if let token { credential = Credential(token, for: [root]) }
    self.credential = credential
    client = try HTTPClient(settings, credential: credential)
    let now = monotonicNanoseconds()
    minute = TokenBucket(80, perSeconds: 60, now: now)
    hour = TokenBucket(500, perSeconds: 3600, now: now)
  }

  // MARK: Requests

  /// A request's optional settings.
  package struct Options {
    package var body: (any HTTPBody)?
    package var accept = "application/vnd.github+json"
    /// The media type of the body.
    package var contentType = "application/json"
    package var ifNoneMatch: String?
    package var limit = HTTPRequest.documentLimit
    package var isRepeated = true
    package var isResumed = false
    package var range: String?
    /// False for the bytes of archives, whose transfer may take long.
    package var isWhole = true
    package var progress: (Int) -> Void = { _ in }

    package init() {}

    package init(json: JSON) { body = BytesBody(json.line()) }

    /// For the raw bytes of a file.
    package static func raw(limit: Int) -> Options {
      var options = Options()
      options.accept = "application/vnd.github.raw+json"
      options.limit = limit
      return options
    }
  }

  /// A request to a path below the root.
  package func exchange(
    _ method: String, _ path: String, _ options: Options = Options()
  ) throws(Failure) -> HTTPExchange {
    guard let url = root.appending(path) else {
      throw Failure(.library, "cannot make a URL from '\(path)'")
    }
    return exchange(method, url, options)
  }

  package func exchange(_ method: String, _ url: HTTPURL, _ options: Options) -> HTTPExchange {
    var request = HTTPRequest(method, url)
    request.headers = [
      ("Accept", options.accept), ("X-GitHub-Api-Version", "2022-11-28"),
    ]
    request.body = options.body
    request.limit = options.limit
    request.isWhole = options.isWhole
    if let tag = options.ifNoneMatch { request.headers.append(("If-None-Match", tag)) }
    if let range = options.range { request.headers.append(("Range", range)) }
    // A range counts encoded bytes, so it rules out compression.
    request.acceptsCompression = options.range == nil && !options.isResumed && method == "GET"
    if options.body != nil {
      request.headers.append(("Content-Type", options.contentType))
    }
    let exchange = HTTPExchange(
      request, isRepeated: options.isRepeated, isResumed: options.isResumed,
      judge: { [weak self] in self?.judge($0) ?? .accept }, progress: options.progress)
    if !["GET", "HEAD"].contains(method) { throttle(exchange) }
    return exchange
  }

  /// Sends a request to a path below the root and returns the response.
  package func send(
    _ method: String, _ path: String, _ options: Options = Options()
  ) throws(Failure) -> HTTPResponse {
    let exchange = try exchange(method, path, options)
    let response = try client.send(exchange)
    noticeMove(exchange)
    return response
  }

  /// Whether a response came from the API itself, not from a redirect target.
  private func isOurs(_ response: HTTPResponse) -> Bool {
    response.url.hasSameOrigin(as: root) || (credential?.mayGo(to: response.url) ?? false)
  }

  private func judge(_ response: HTTPResponse) -> HTTPVerdict {
    guard isOurs(response) else { return HTTPExchange.standardJudge(response) }
    let verdict = GitHubJudge().verdict(response)
    if case .pause = verdict { writeInterval = 1_000_000_000 }
    return verdict
  }

  private func throttle(_ exchange: HTTPExchange) {
    let now = monotonicNanoseconds()
    let due = max(now + max(minute.take(now: now), hour.take(now: now)), nextWrite)
    exchange.notBefore = due
    nextWrite = due + writeInterval
  }

  private func noticeMove(_ exchange: HTTPExchange) {
    guard exchange.redirects > 0, exchange.url.hasSameOrigin(as: root), !hasNoticedMove else {
      return
    }
    hasNoticedMove = true
    notice("the repository has been renamed: give its new name, which saves a redirect each time")
  }

  // MARK: The host for uploads

  /// Allows the token to be sent to a release's upload host, if that belongs to the same GitHub: the API's own host, or
  /// `uploads.` where the API is `api.`.
  package func admitUploads(to url: HTTPURL) throws(Failure) {
    let sibling =
      root.host.hasPrefix("api.") ? "uploads." + root.host.dropFirst("api.".count) : root.host
    let isNear = root.isLoopback && url.host == root.host
    let isSibling =
      url.scheme == root.scheme && url.port == root.port
      && (url.host == sibling || url.host == root.host)
    guard isNear || isSibling else {
      throw Failure(
        .integrity,
        "\(root.authority) wants uploads to go to \(url.authority), which is not GitHub's")
    }
    credential?.admit(url)
  }

  // MARK: Failures

  /// The failure for a response that the caller does not expect.
  package func unexpected(_ response: HTTPResponse, _ what: String) -> Failure {
    Failure(
      .unavailable,
      "\(what): GitHub answers with status \(response.status)\(GitHubJudge.quoted(response))",
      httpStatus: response.status)
  }
}
