import TBKCore
import TBKFormat

/// Interprets responses of GitHub's API: rate limits, refusals and temporary failures.
struct GitHubJudge {
  /// Seconds to wait after a secondary limit without a stated delay; GitHub asks for at least a minute.
  static let secondaryPause = 60
  /// The longest wait that a server can impose, in seconds.
  static let longestPause = 7200

  func verdict(_ response: HTTPResponse) -> HTTPVerdict {
    switch response.status {
    case 200..<300:
      // The API never returns HTML: something in between, such as a proxy, has answered.
      if response.isHTML {
        return .again(
          Failure(
            .unavailable, "\(response.url.authority) answers with an HTML page",
            hint: "something between here and GitHub answers in its place: a proxy, a login page?",
            httpStatus: response.status))
      }
      return .accept
    case 401:
      return .fail(
        Failure(
          .token, "GitHub refuses the token\(GitHubJudge.quoted(response))",
          hint: "it is wrong, expired or revoked: 'termbackup update-token' sets another",
          httpStatus: 401))
    case 403, 429:
      if let pause = pause(response) { return pause }
      return .fail(GitHubJudge.denied(response))
    case 408, 500...599:
      return HTTPExchange.later(
        response,
        Failure(
          .unavailable,
          "\(response.url.authority) answers with status \(response.status)"
            + GitHubJudge.quoted(response),
          httpStatus: response.status))
    default: return .accept
    }
  }

  /// The wait that a rate limit asks for; nil if the response is not a rate limit.
  private func pause(_ response: HTTPResponse) -> HTTPVerdict? {
    let message = GitHubJudge.message(response)?.lowercased() ?? ""
    let isSecondary = message.contains("secondary rate limit") || message.contains("abuse")
    let what = isSecondary ? "GitHub's secondary rate limit" : "GitHub's rate limit"
    func wait(_ seconds: Int) -> HTTPVerdict {
      let seconds = min(max(1, seconds), GitHubJudge.longestPause)
      return .pause(
        seconds: seconds,
        Failure(
          .tryAgain, "\(what) reached; it resets in \(seconds) s",
          httpStatus: response.status))
    }
    if response.headers["retry-after"] != nil {
      return wait(response.retryAfter ?? GitHubJudge.secondaryPause)
    }
    if response.headers["x-ratelimit-remaining"] == "0",
      let reset = response.headers["x-ratelimit-reset"].flatMap({ Int64($0) }), reset >= 0
    {
      let now = Timestamp.now().nanoseconds / 1_000_000_000
      return wait(Int(clamping: reset &- now) + 1)
    }
    if isSecondary || response.status == 429 || message.contains("rate limit") {
      return wait(GitHubJudge.secondaryPause)
    }
    return nil
  }

  /// The failure for a refusal that waiting cannot fix.
  static func denied(_ response: HTTPResponse) -> Failure {
    let needed =
      response.headers["x-github-sso"] == nil
      ? "a classic token needs the scope 'repo', a fine-grained one 'Contents: read and write' "
        + "for the repository"
      : "the organisation requires a token that is authorised for its single sign-on"
    return Failure(
      .token, "GitHub does not allow it\(quoted(response))", hint: needed,
      httpStatus: response.status)
  }

  /// GitHub's own message, safe for a terminal.
  static func message(_ response: HTTPResponse) -> String? {
    guard !response.isHTML, response.body.count <= 64 << 10,
      let json = try? JSON.parse(response.body, what: "answer"),
      let text = json["message"]?.text
    else { return nil }
    let details = (json["errors"]?.elements ?? []).prefix(3)
      .compactMap { $0["message"]?.text ?? $0["code"]?.text }
    let whole = ([text] + details).joined(separator: "; ")
    let shown = whole.unicodeScalars.filter { $0.value >= 0x20 && $0.value < 0x7f }
    return String(String.UnicodeScalarView(shown.prefix(200)))
  }

  /// The same, quoted, after a colon; empty if there is no message.
  static func quoted(_ response: HTTPResponse) -> String {
    message(response).map { ": '\($0)'" } ?? ""
  }
}
