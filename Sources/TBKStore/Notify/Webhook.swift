import TBKCore
import TBKFormat

/// A URL that is notified of backups. Anyone who knows it can post to it: messages name only its host.
package struct Webhook {
  package let url: HTTPURL

  /// What is sent to a service that reports missing pings (https://healthchecks.io/docs/http_api/).
  package enum Ping: String, CaseIterable, Sendable {
    case start
    case success
    case failure
  }

  /// The largest response that is read, in bytes.
  private static let answerLimit = 64 << 10
  /// Throws `.usage`, without showing the address.
  package init(_ address: borrowing Secret) throws(Failure) {
    let text = address.withBytes { bytes in
      var copy: [UInt8] = []
      for index in bytes.indices { copy.append(bytes[index]) }
      return String(decoding: copy, as: UTF8.self)
    }
    // libcurl would take "host/path" for http://host/path, and the path of "https:///path" for a host.
    let schemes = ["https://", "http://"]
    let lower = text.lowercased()
    guard let scheme = schemes.first(where: { lower.hasPrefix($0) }),
      !lower.hasPrefix("\(scheme)/"), !text.contains("#"), let url = HTTPURL(text)
    else {
      throw Failure(
        .usage, "the webhook URL cannot be used",
        hint: "it begins with https://, holds no blank, and has neither a user name nor a '#'")
    }
    guard url.isConfidential else {
      throw Failure(
        .usage, "the webhook at http://\(url.host) would be sent the message without encryption",
        hint: "http:// is for this machine alone; use https://")
    }
    self.url = url
  }

  /// The format that the host expects.
  package var format: WebhookFormat {
    switch url.host {
    case "hooks.slack.com", "hooks.slack-gov.com": return .slack
    case "discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com":
      let parts = url.path.split(separator: "/")
      let isVersioned = parts.count > 2 && parts[1].hasPrefix("v") && parts[2] == "webhooks"
      if parts.first == "api", parts.count > 1, parts[1] == "webhooks" || isVersioned {
        return .discord
      }
      return .generic
    default: return .generic
    }
  }

  /// The URL for a ping: `/start` or `/fail` is appended to the path, before a query.
  package func target(_ ping: Ping) -> HTTPURL? {
    let suffix =
      switch ping {
      case .start: "start"
      case .success: ""
      case .failure: "fail"
      }
    if suffix.isEmpty { return url }
    let text = url.description
    let end = text.firstIndex(of: "?") ?? text.endIndex
    let path = text[..<end]
    return HTTPURL("\(path)\(path.hasSuffix("/") ? "" : "/")\(suffix)\(text[end...])")
  }

  /// Posts a body, and retries where that may help. Throws `.webhook`.
  ///
  /// - Parameters:
  ///   - target: this URL, or one for a ping.
  ///   - maximumWait: in seconds, for everything.
  /// - Returns: the status of the response, which is a success.
  package static func post(
    _ body: [UInt8], type: String, to target: HTTPURL, userAgent: String, maximumWait: Int
  ) throws(Failure) -> Int {
    let client = try HTTPClient(HTTPSettings(userAgent: userAgent, maximumWait: maximumWait))
    var request = HTTPRequest(
      "POST", target, headers: [("Content-Type", type)], body: BytesBody(body))
    request.isAuthorized = false
    request.followsRedirects = false
    request.limit = answerLimit
    let exchange = HTTPExchange(request, judge: Webhook.judge)
    client.start(exchange)
    // A response that trickles in does not use up the client's waiting time.
    let end = monotonicNanoseconds() + Int64(maximumWait + 1) * 1_000_000_000
    try client.drive { exchange.isOver || monotonicNanoseconds() >= end }
    client.cancel()
    guard exchange.isOver else {
      throw Failure(
        .webhook, "\(target.authority) has not answered in \(maximumWait) s",
        hint: "--max-wait sets how long to keep trying")
    }
    do throws(Failure) {
      return try exchange.get().status
    } catch {
      switch error.code {
      case .unavailable, .tryAgain, .malformed:
        throw Failure(.webhook, error.message, hint: error.hint, httpStatus: error.httpStatus)
      default: throw error
      }
    }
  }

  static func judge(_ response: HTTPResponse) -> HTTPVerdict {
    let place = response.url.authority
    func failure(_ text: String, hint: String?) -> Failure {
      Failure(.webhook, "\(place) \(text)", hint: hint, httpStatus: response.status)
    }
    switch response.status {
    case 200..<300:
      // A ping service reports unknown URLs like this.
      if response.body.starts(with: "OK (not found)".utf8) {
        return .fail(failure("does not know this ping URL", hint: "copy it again from the service"))
      }
      return .accept
    case 300..<400:
      return .fail(
        failure(
          "redirects (status \(response.status)), which is not followed",
          hint: "use the URL that the service itself gives"))
    case 408, 500...599:
      let again = failure("answers with status \(response.status)", hint: nil)
      guard let seconds = pause(response) else { return .again(again) }
      return .pause(seconds: seconds, again)
    case 429:
      let seconds = pause(response)
      let asked = seconds.map { ", and asks to wait \($0) s" } ?? ""
      let busy = failure("accepts no more messages for now\(asked)", hint: nil)
      return seconds.map { .pause(seconds: $0, busy) } ?? .again(busy)
    case 401, 403, 404, 410:
      return .fail(
        failure(
          "refuses the webhook (status \(response.status))",
          hint: "the URL is wrong, or the webhook was removed: make another"))
    default:
      return .fail(failure("refuses the message (status \(response.status))", hint: nil))
    }
  }

  /// Seconds that the response asks to wait: `Retry-After`, in seconds or as a date, or Discord's `retry_after` in the
  /// body.
  private static func pause(_ response: HTTPResponse) -> Int? {
    if response.headers["retry-after"] != nil { return response.retryAfter }
    guard let json = try? JSON.parse(response.body, what: "answer"),
      case .number(let token)? = json["retry_after"], let seconds = Double(token)
    else { return nil }
    return HTTPResponse.pause(seconds)
  }
}
