import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

/// Parts that need no network: addresses, retries, the meaning of responses.
struct HTTPTests {
  // MARK: Addresses

  @Test func anAddressHasOneSpelling() throws {
    let url = try #require(HTTPURL("HTTPS://API.GitHub.com/repos/o/r?x=1"))
    #expect(url.host == "api.github.com" && url.port == "443" && url.scheme == "https")
    #expect(url.authority == "api.github.com")
    #expect(try #require(HTTPURL("http://127.0.0.1:8080")).authority == "127.0.0.1:8080")
    #expect(url.hasSameOrigin(as: try #require(HTTPURL("https://api.github.com:443/"))))
  }

  @Test(arguments: [
    "", "api.github.com", "ftp://host/", "file:///etc/passwd", "https://",
    "https://user:secret@host/", "https://ho st/", "https://host/\u{7f}", "https://host/ä",
    "https://host:99999/",
  ])
  func whatIsNoAddressOfOursIsNone(_ text: String) {
    #expect(HTTPURL(text) == nil)
  }

  @Test(arguments: [
    ("https://a.example/", "https://a.example/x", true),
    ("https://a.example/", "http://a.example/", false),
    ("https://a.example/", "https://a.example:444/", false),
    ("https://a.example/", "https://b.example/", false),
    ("https://a.example/", "https://a.example.evil.example/", false),
  ])
  func aCredentialStaysWithItsOrigin(_ one: String, _ other: String, _ same: Bool) throws {
    let secret = try Secret(copying: Array("ghp_x".utf8).span)
    let credential = Credential(secret, for: [try #require(HTTPURL(one))])
    #expect(credential.mayGo(to: try #require(HTTPURL(other))) == same)
  }

  @Test(arguments: [
    ("http://127.0.0.1/", true), ("http://127.9.8.7:1/", true), ("http://[::1]:2/", true),
    ("http://localhost:3/", true), ("http://localhost.example/", false),
    ("http://127.0.0.1.example/", false), ("http://128.0.0.1/", false),
    ("http://10.0.0.1/", false), ("http://127.1/", true),
  ])
  func onlyThisMachineIsLoopback(_ text: String, _ loopback: Bool) throws {
    #expect(try #require(HTTPURL(text)).isLoopback == loopback)
  }

  @Test func redirectsAreResolved() throws {
    let base = try #require(HTTPURL("https://api.github.com/repos/a/b?x"))
    #expect(base.resolving("/repositories/7/c")?.description == "https://api.github.com/repositories/7/c")
    #expect(base.resolving("https://other.example/")?.host == "other.example")
    #expect(base.resolving("//other.example/y")?.scheme == "https")
    #expect(base.resolving("javascript:alert(1)") == nil)
  }

  @Test func whatIsNotUnreservedIsEscaped() {
    #expect("a~b-c_d.e".percentEncoded() == "a~b-c_d.e")
    #expect("a/b c%ä?#".percentEncoded(keepingSlashes: true) == "a/b%20c%25%C3%A4%3F%23")
    #expect("a/b".percentEncoded() == "a%2Fb")
  }

  // MARK: Retries

  @Test func timeThatIsLostTwiceCountsOnce() {
    var patience = Patience(seconds: 10)
    let second: Int64 = 1_000_000_000
    func spend(_ from: Int64, _ to: Int64) -> Bool {
      patience.spend(from: from * second, to: to * second)
    }
    let all = [
      spend(0, 4), spend(1, 4), spend(2, 6), spend(100, 104), spend(200, 201), spend(0, 1),
    ]
    #expect(all == [true, true, true, true, false, true])
  }

  @Test func pausesGrowToAMinute() {
    for attempt in 1...40 {
      let most = min(60.0, 0.5 * Double(1 << min(attempt - 1, 20)))
      let pause = Double(HTTPClient.delay(afterAttempt: attempt)) / 1e9
      #expect(pause >= most / 2 - 1e-6 && pause <= most + 1e-6)
    }
  }

  @Test func aBucketLetsThroughWhatAPeriodAllows() {
    var bucket = TokenBucket(80, perSeconds: 60, now: 0)
    let first = (0..<80).map { _ in bucket.take(now: 0) }
    let wait = bucket.take(now: 0)
    #expect(first.allSatisfy { $0 == 0 } && wait > 740_000_000 && wait < 760_000_000)
    // After a minute the full amount is available again, and no more.
    var later = TokenBucket(80, perSeconds: 60, now: 0)
    for _ in 0..<80 { _ = later.take(now: 0) }
    let again = (0..<81).map { _ in later.take(now: 3_600_000_000_000) }
    #expect(again.dropLast().allSatisfy { $0 == 0 } && again[80] > 0)
  }

  @Test(arguments: [(900, 30), (60, 20), (9, 3), (2, 1), (0, 1)])
  func aStallIsAThirdOfTheWait(_ wait: Int, _ stall: Int) {
    #expect(HTTPSettings(userAgent: "x", maximumWait: wait).stall == stall)
  }

  // MARK: GitHub's responses

  private func answer(
    _ status: Int, _ headers: [String: String] = [:], body: String = "{}"
  ) -> HTTPResponse {
    HTTPResponse(
      status: status, headers: headers, body: Array(body.utf8),
      url: HTTPURL("https://api.github.com/")!)
  }

  private func seconds(_ verdict: HTTPVerdict) -> Int? {
    if case .pause(let seconds, _) = verdict { return seconds }
    return nil
  }

  @Test func rateLimitsAreObeyed() {
    let judge = GitHubJudge()
    let now = Timestamp.now().nanoseconds / 1_000_000_000
    #expect(seconds(judge.verdict(answer(403, ["retry-after": "17"]))) == 17)
    let reset = answer(
      403, ["x-ratelimit-remaining": "0", "x-ratelimit-reset": String(now + 100)])
    #expect((99...102).contains(seconds(judge.verdict(reset)) ?? 0))
    let secondary = answer(
      403, ["x-ratelimit-remaining": "4000"],
      body: "{\"message\": \"You have exceeded a secondary rate limit.\"}")
    #expect(seconds(judge.verdict(secondary)) == 60)
    #expect(seconds(judge.verdict(answer(429))) == 60)
  }

  @Test(arguments: ["-5", "99999999999999999999", "soon", "9223372036854775807"])
  func aHostileRateLimitIsBounded(_ value: String) {
    let judge = GitHubJudge()
    for headers in [
      ["retry-after": value], ["x-ratelimit-remaining": "0", "x-ratelimit-reset": value],
    ] {
      #expect((1...7200).contains(seconds(judge.verdict(answer(429, headers))) ?? 0))
    }
  }

  /// From GitHub, and from the host that it redirects to.
  @Test(arguments: [429, 503], ["17", "16.2", "date"])
  func whoAsksToBeLeftAloneForAWhileIs(_ status: Int, _ text: String) throws {
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    var text = text
    if text == "date" {
      let soon = Timestamp(nanoseconds: Timestamp.now().nanoseconds + 16_000_000_000)
      let parts = soon.iso8601(microseconds: false).split { "-T+Z".contains($0) }
      let month = try #require(Int(parts[1]))
      text = "Mon, \(parts[2]) \(names[month - 1]) \(parts[0]) \(parts[3]) GMT"
    }
    let busy = answer(status, ["retry-after": text])
    #expect((15...18).contains(seconds(GitHubJudge().verdict(busy)) ?? 0))
    #expect((15...18).contains(seconds(HTTPExchange.standardJudge(busy)) ?? 0))
    #expect(seconds(HTTPExchange.standardJudge(answer(status))) == nil)
  }

  @Test func refusalsAreToldFromBadDays() {
    let judge = GitHubJudge()
    func failure(_ response: HTTPResponse) -> Failure? {
      if case .fail(let failure) = judge.verdict(response) { return failure }
      return nil
    }
    func isAgain(_ response: HTTPResponse) -> Bool {
      if case .again = judge.verdict(response) { return true }
      return false
    }
    #expect(failure(answer(401))?.exitStatus == 77)
    #expect(failure(answer(403, body: "{\"message\":\"Resource not accessible\"}"))?.exitStatus == 77)
    for status in [408, 500, 502, 503, 504] { #expect(isAgain(answer(status))) }
    #expect(isAgain(answer(200, ["content-type": "text/html; charset=utf-8"])))
    for status in [200, 201, 304, 404, 409, 422] {
      guard case .accept = judge.verdict(answer(status)) else {
        Issue.record("status \(status) is the caller's")
        continue
      }
    }
  }

  @Test func gitHubsWordsAreMadeFitForATerminal() {
    let response = answer(
      422, body: "{\"message\":\"a\\u001b[31mb\\nc\",\"errors\":[{\"code\":\"already_exists\"}]}")
    #expect(GitHubJudge.message(response) == "a[31mbc; already_exists")
    #expect(GitHubJudge.message(answer(500, body: "<html>")) == nil)
    let long = answer(500, body: "{\"message\":\"\(String(repeating: "x", count: 5000))\"}")
    #expect(GitHubJudge.message(long)?.count == 200)
  }

  // MARK: Repositories and parts

  @Test func aRepositoryIsOwnerAndName() throws {
    let repository = try #require(GitHubRepository("Me/back-ups.1"))
    #expect(repository.owner == "Me" && repository.name == "back-ups.1")
    #expect(repository.branch == nil && repository.path == "repos/Me/back-ups.1")
    for text in ["", "me", "me/", "/x", "me/x/y", "me/..", "-me/x", "m e/x", "me/x?y", "me/x%2f"] {
      #expect(GitHubRepository(text) == nil, "\(text)")
    }
  }

  @Test func theSameRepositoryIsTheSameStoreHoweverSpelled() throws {
    let one = try StoreAddress(RawPath("github:Me/Backups"))
    let other = try StoreAddress(RawPath("github:me/backups"))
    #expect(one.canonical == other.canonical)
  }

  @Test(arguments: [0, 1, 99, 100, 101, 200, 250])
  func aSpoolIsCutIntoParts(_ size: Int) throws {
    let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let spool = try GitHubSpool(bytes, partSize: 100)
    #expect(spool.parts.count == max(1, (size + 99) / 100))
    #expect(try spool.sha256 == SHA256.hash(bytes))
    var joined: [UInt8] = []
    for part in spool.parts {
      let piece = try spool.open(part).readAll(limit: 1000, what: "part")
      #expect(try UInt64(piece.count) == part.size && SHA256.hash(piece) == part.sha256)
      joined += piece
    }
    #expect(joined == bytes)
  }

  /// Other processes may write to the file while it is stored.
  @Test(arguments: [0, 99, 100, 249])
  func aPartThatChangesInItsFileIsNotHandedOnWhole(_ place: Int) throws {
    let bytes = (0..<250).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let file = try TemporaryFile.anonymous()
    try file.write(bytes.span, at: 0)
    let start = try #require(FileStart(file))
    let spool = try GitHubSpool(DescriptorSource(file), in: start, size: 250, partSize: 100)
    #expect(try spool.sha256 == SHA256.hash(bytes))
    let changed = [bytes[place] ^ 1]
    try file.write(changed.span, at: UInt64(place))
    for (number, part) in spool.parts.enumerated() {
      // Each time it is sent.
      for _ in 0..<2 {
        let code = failure { _ = try spool.open(part).readAll(limit: 1000, what: "part") }?.code
        #expect(code == (number == place / 100 ? .io : nil))
      }
    }
  }

  /// As printed by `printf 'hello\n' | git hash-object --stdin`, and for empty input.
  @Test func gitNamesBlobsSo() throws {
    var hash = try GitBlobHash(size: 6)
    try hash.update(Array("hello\n".utf8).span)
    #expect(try hash.finalize() == "ce013625030ba8dba906f756967f9e9ca394464a")
    #expect(
      try GitBlobHash(size: 0).finalize() == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
  }

  @Test(arguments: [0, 1, 2, 3, 196_607, 196_608, 196_609, 400_000])
  func aBlobGoesOutAsBase64(_ size: Int) throws {
    let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }
    let body = BlobBody(bytes)
    for _ in 0..<2 {
      let sent = try body.restart().readAll(limit: 1 << 20, what: "body")
      #expect(UInt64(sent.count) == body.length)
      let json = try JSON.parse(sent, what: "body")
      #expect(json["encoding"]?.text == "base64")
      #expect(json["content"]?.bytes.flatMap { [UInt8](base64: $0) } == bytes)
    }
  }

  @Test(arguments: [
    ("2021-10-07 19:07:53 UTC", "2021-10-07T19:07:53+00:00"),
    ("2026-03-01 00:00:00 +0200", "2026-02-28T22:00:00+00:00"),
    ("2026-03-01 00:00:00 -0530", "2026-03-01T05:30:00+00:00"),
  ])
  func tokensExpireWhenGitHubSays(_ text: String, _ expected: String) {
    #expect(GitHubTokenReport.expiry(text)?.iso8601(microseconds: false) == expected)
  }

  @Test(arguments: [
    "", "never", "2021-10-07", "2021-10-07 19:07:53 CEST", "x y +0000", "2021-10-07 19:07:53 日é",
    "2021-10-07 19:07:53 日é0",
  ])
  func whatIsNoTimeIsNoExpiry(_ text: String) {
    #expect(GitHubTokenReport.expiry(text) == nil)
  }

  @Test func aTokenMayHaveEndedLongAgo() throws {
    let end = try #require(GitHubTokenReport.expiry("1678-01-01 00:00:00 UTC"))
    #expect(GitHubTokenReport.days(from: .now(), to: end) < 0)
    let now = try #require(Timestamp(iso8601: "2026-01-01T00:00:00Z"))
    let later = try #require(Timestamp(iso8601: "2026-01-08T23:00:00Z"))
    #expect(GitHubTokenReport.days(from: now, to: later) == 7)
  }

  @Test(arguments: [
    ("termbackup-1", true), ("termbackup-999999", true), ("termbackup-", false),
    ("termbackup-1x", false), ("v1", false), ("termbackup-1234567", false), ("git", false),
  ])
  func onlyOurReleasesAreRead(_ tag: String, _ ours: Bool) {
    #expect(GitHubReleases.isTag(tag) == ours)
  }
}
