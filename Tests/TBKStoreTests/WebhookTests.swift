import TBKCore
import TBKFormat
import Testing

@testable import TBKStore

@Suite struct WebhookTests {
  private func webhook(_ text: String) throws -> Webhook {
    try Webhook(try Secret(copying: Array(text.utf8).span))
  }

  @Test(arguments: [
    ("https://hooks.slack.com/services/T/B/x", WebhookFormat.slack),
    ("https://hooks.slack.com:444/services/T/B/x", .slack),
    ("https://slack.com/services/T/B/x", .generic),
    ("https://discord.com/api/webhooks/1/x?wait=true", .discord),
    ("https://discord.com/api/v10/webhooks/1/x", .discord),
    ("https://canary.discord.com/api/webhooks/1/x", .discord),
    ("https://discord.com/x/api/webhooks/1", .generic),
    ("https://discord.com/api/users/webhooks", .generic),
    ("https://discord.com/", .generic),
  ])
  func theAddressChoosesTheFormat(text: String, format: WebhookFormat) throws {
    #expect(try webhook(text).format == format)
  }

  @Test(arguments: [
    ("https://hc-ping.com/uuid", "https://hc-ping.com/uuid/start", "https://hc-ping.com/uuid/fail"),
    ("https://a.example/x/", "https://a.example/x/start", "https://a.example/x/fail"),
    (
      "https://a.example/x?msg=a/b", "https://a.example/x/start?msg=a/b",
      "https://a.example/x/fail?msg=a/b"
    ),
  ])
  func pingsGoToTheEndOfThePath(text: String, start: String, fail: String) throws {
    let webhook = try webhook(text)
    #expect(webhook.target(.start)?.description == start)
    #expect(webhook.target(.success)?.description == text)
    #expect(webhook.target(.failure)?.description == fail)
  }

  @Test(arguments: [
    ("Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"),
    ("Thu, 31 Dec 2026 23:59:59 GMT", "2026-12-31T23:59:59Z"),
  ])
  func datesOfHTTPAreRead(text: String, same: String) {
    #expect(httpDate(text) == Timestamp(iso8601: same))
  }

  /// The distance between two times of 64 bits can exceed 64 bits.
  @Test(arguments: [
    ("Sun, 06 Nov 1700 08:49:37 GMT", 1), ("Sun, 06 Nov 2261 08:49:37 GMT", 86_400),
  ])
  func aDateFarAwayIsNoFault(date: String, seconds: Int) throws {
    let url = try #require(HTTPURL("https://a.example/x"))
    let answer = HTTPResponse(
      status: 503, headers: ["retry-after": date], body: [], url: url)
    guard case .pause(let pause, _) = Webhook.judge(answer) else {
      Issue.record("no pause")
      return
    }
    #expect(pause == seconds)
  }

  @Test(arguments: ["", "now", "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37", "06 Nov 1994"])
  func whatIsNoDateIsNone(text: String) {
    #expect(httpDate(text) == nil)
  }
}
