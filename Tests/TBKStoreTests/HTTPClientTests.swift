import Glibc
import TBKCore
import TBKFormat
import Testing

@testable import TBKStore

/// A server that plays a script (`Tests/github/scripted.py`), for a single test.
final class ScriptedServer {
  private let child: ChildProcess
  private var unread: [UInt8] = []
  private(set) var root: HTTPURL

  /// - Parameter steps: raw responses, one per request; the last one repeats.
  convenience init(_ steps: String...) throws {
    try self.init(steps: steps.map { .object(["send": .string($0)]) })
  }

  init(steps: [JSON]) throws {
    let script = RawPath(#filePath).parent.parent.appending("github/scripted.py")
    child = try ChildProcess(
      [Array("python3".utf8), script.bytes, JSON.array(steps).line()])
    root = HTTPURL("http://127.0.0.1:1/")!
    let port = String(decoding: try #require(try line(within: 300)), as: UTF8.self)
    root = try #require(HTTPURL("http://127.0.0.1:\(port)/"))
  }

  /// A line of the server's output, without its end; nil if none arrives in time.
  private func line(within seconds: Int) throws -> [UInt8]? {
    while true {
      if let end = unread.firstIndex(of: 0x0a) {
        defer { unread.removeFirst(end + 1) }
        return Array(unread[..<end])
      }
      var poll = pollfd(fd: child.output.number, events: Int16(POLLIN), revents: 0)
      guard unsafe Glibc.poll(&poll, 1, Int32(seconds * 1000)) > 0 else { return nil }
      var buffer = [UInt8](repeating: 0, count: 4096)
      let count = try child.output.read(into: &buffer)
      if count == 0 { return nil }
      unread += buffer[..<count]
    }
  }

  /// The requests since the last call.
  func requests() throws -> [JSON] {
    var found: [JSON] = []
    while let line = try line(within: 0) { found.append(try JSON.parse(line, what: "request")) }
    return found
  }

  func client(
    wait: Int = 30, width: Int = 4, credential: Credential? = nil
  ) throws -> HTTPClient {
    var settings = HTTPSettings(userAgent: "tests", maximumWait: wait)
    settings.width = width
    return try HTTPClient(settings, credential: credential)
  }

  func get(_ path: String = "x") -> HTTPRequest { HTTPRequest("GET", root.appending(path)!) }

  /// The result of a GET.
  func answer(
    wait: Int = 6, _ change: (inout HTTPRequest) -> Void = { _ in }
  ) throws -> HTTPResponse {
    var request = get()
    change(&request)
    return try client(wait: wait).send(HTTPExchange(request))
  }
}

/// The client with servers that fail in typical ways.
@Suite(.enabled(if: GitHubServer.canRun)) struct HTTPClientTests {
  private static func ok(_ body: String, _ headers: String = "") -> String {
    "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)"
  }

  private func step(
    _ send: String, cut: Bool = false, wait: Int = 0, flood: String = "", times: Int? = nil,
    zeros: Int? = nil, every: String = "0", sip: Bool = false
  ) -> JSON {
    var json = JSON.object([
      "send": .string(send), "cut": .bool(cut), "wait": .number(wait), "flood": .string(flood),
    ])
    if let times { json["times"] = .number(times) }
    if let zeros { json["zeros"] = .number(zeros) }
    json["every"] = .number(every)
    json["sip"] = .bool(sip)
    return json
  }

  private func text(_ response: HTTPResponse) -> String {
    String(decoding: response.body, as: UTF8.self)
  }

  private func resumed(_ server: ScriptedServer, _ range: String? = nil) throws -> HTTPResponse {
    var request = server.get()
    if let range { request.headers.append(("Range", range)) }
    request.limit = 100
    return try server.client().send(HTTPExchange(request, isResumed: true))
  }

  // MARK: Responses

  @Test func anAnswerIsRead() throws {
    let server = try ScriptedServer(Self.ok("hello", "X-A: 1\r\nx-a:  2 \r\n"))
    let response = try server.answer()
    #expect(response.status == 200 && text(response) == "hello")
    #expect(response.headers["x-a"] == "2")
    let request = try #require(try server.requests().first)
    #expect(request["line"]?.text == "GET /x HTTP/1.1")
    #expect(request["headers"]?["user-agent"]?.text == "tests")
    #expect(request["headers"]?["authorization"] == nil)
  }

  @Test func whatComesBeforeAnAnswerIsNoPartOfIt() throws {
    let early = "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n"
    let server = try ScriptedServer(
      early + "HTTP/1.1 100 Continue\r\n\r\n" + Self.ok("hello"))
    let response = try server.answer()
    #expect(response.status == 200 && text(response) == "hello")
    #expect(response.headers["x-early"] == nil)
  }

  @Test func chunksAndTrailersAreRead() throws {
    let server = try ScriptedServer(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n")
    #expect(try text(server.answer()) == "hello")
  }

  @Test func anAnswerToHEADHasNoBody() throws {
    let server = try ScriptedServer(Self.ok("hello"), Self.ok("second"))
    let client = try server.client()
    let head = try client.send(HTTPExchange(HTTPRequest("HEAD", server.root)))
    #expect(head.status == 200 && head.body.isEmpty)
    #expect(try text(client.send(HTTPExchange(server.get()))) == "second")
  }

  @Test func anAnswerIsNoLargerThanAskedFor() throws {
    let announced = try ScriptedServer(Self.ok("hello"))
    #expect(failure { _ = try announced.answer { $0.limit = 4 } }?.code == .malformed)
    #expect(try announced.answer { $0.limit = 5 }.body.count == 5)
    let endless = try ScriptedServer(steps: [step("HTTP/1.1 200 OK\r\n\r\n", flood: "hello")])
    #expect(failure { _ = try endless.answer { $0.limit = 1 << 20 } }?.code == .malformed)
  }

  @Test func whatIsCompressedIsMeasuredUnpacked() throws {
    let header = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    let server = try ScriptedServer(steps: [step(header, cut: true, zeros: 1 << 26)])
    let broken = failure {
      _ = try server.answer {
        $0.acceptsCompression = true
        $0.limit = 1 << 20
      }
    }
    #expect(broken?.code == .malformed)
    let small = try ScriptedServer(steps: [step(header, cut: true, zeros: 1 << 10)])
    #expect(try small.answer { $0.acceptsCompression = true }.body.count == 1 << 10)
  }

  @Test(arguments: ["500 Bad", "404 Not Found", "302 Found\r\nLocation: /x"])
  func aComplaintWithoutEndIsCutOff(_ status: String) throws {
    let server = try ScriptedServer(
      steps: [
        step("HTTP/1.1 \(status)\r\n\r\n", flood: String(repeating: "x", count: 1 << 16)),
        step(Self.ok("hello")),
      ])
    let response = try server.answer()
    #expect(status.hasPrefix("404") ? response.status == 404 : text(response) == "hello")
    #expect(response.body.count <= 64 << 10)
  }

  @Test(arguments: ["HTTP/1.1 100 Continue\r\n\r\n", "X-More: 1\r\n"])
  func headersWithoutEndAreCutOff(_ flood: String) throws {
    let start = flood.hasPrefix("X") ? "HTTP/1.1 200 OK\r\n" : ""
    let server = try ScriptedServer(
      steps: [step(start, flood: String(repeating: flood, count: 1000))])
    #expect(failure { _ = try server.answer() }?.code == .unavailable)
  }

  @Test(arguments: [
    "SSH-2.0-OpenSSH_9.2\r\n", "hello\r\n\r\n", "HTTP/1.1 -1 x\r\n\r\n", "HTTP/1.1 000 x\r\n\r\n",
    "HTTP/1.1\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "\u{0}\u{1}\u{2}\r\n\r\n",
  ])
  func whatIsNoHTTPIsNoFaultOfOurs(_ garbage: String) throws {
    let server = try ScriptedServer(steps: [step(garbage, cut: true)])
    #expect(failure { _ = try server.answer(wait: 3) }?.code == .unavailable)
  }

  @Test(arguments: ["-5", "99999999999999999999", "5x", "5\r\nContent-Length: 7"])
  func aLengthThatIsNoneTakesNoMemory(_ length: String) throws {
    let server = try ScriptedServer(
      steps: [step("HTTP/1.1 200 OK\r\nContent-Length: \(length)\r\n\r\nhello", cut: true)])
    do {
      let response = try server.answer(wait: 2) { $0.limit = 100 }
      #expect("hello".hasPrefix(text(response)))
    } catch {
      #expect([69, 75].contains((error as? Failure)?.exitStatus))
    }
  }

  // MARK: Attempts

  @Test func whatFailsForAWhileIsAskedAgain() throws {
    let bad = "HTTP/1.1 503 Bad\r\nContent-Length: 0\r\n\r\n"
    let server = try ScriptedServer(bad, bad, Self.ok("hello"))
    #expect(try text(server.answer()) == "hello")
    #expect(try server.requests().count == 3)
  }

  @Test func whatIsToBeLookedAfterIsAskedOnce() throws {
    let server = try ScriptedServer("HTTP/1.1 503 Bad\r\nContent-Length: 0\r\n\r\n", Self.ok(""))
    let exchange = HTTPExchange(server.get(), isRepeated: false)
    #expect(failure { _ = try server.client().send(exchange) }?.httpStatus == 503)
    #expect(try server.requests().count == 1)
  }

  @Test func patienceEnds() throws {
    let server = try ScriptedServer("HTTP/1.1 503 Bad\r\nContent-Length: 0\r\n\r\n")
    let exchange = HTTPExchange(server.get())
    #expect(failure { _ = try server.client(wait: 2).send(exchange) }?.exitStatus == 75)
  }

  @Test func aServerThatSaysNothingIsLeft() throws {
    let server = try ScriptedServer(steps: [step(Self.ok("late"), wait: 120)])
    let exchange = HTTPExchange(server.get())
    let broken = failure { _ = try server.client(wait: 3).send(exchange) }
    #expect([69, 75].contains(broken?.exitStatus))
  }

  /// Fast enough for curl, which only looks at the last five seconds, but far too slow to finish.
  @Test(arguments: [
    "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 503 Bad\r\nContent-Length: 60000\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
  ])
  func aServerThatDripsIsLeft(_ start: String) throws {
    let flood = start.contains("Length") ? "0123456789" : start.contains("chunked") ? "1\r\n0\r\n" : "X-A: 1\r\n"
    let server = try ScriptedServer(steps: [step(start, flood: flood, every: "0.05")])
    let broken = failure { _ = try server.answer(wait: 3) { $0.limit = 1_000_000_000 } }
    #expect([69, 75].contains(broken?.exitStatus), "\(broken?.message ?? "none")")
  }

  @Test func aServerThatTakesABodyADropAtATimeIsLeft() throws {
    let server = try ScriptedServer(steps: [step(Self.ok(""), sip: true)])
    var request = HTTPRequest("POST", server.root)
    // More than all buffers on the way can hold.
    request.body = BytesBody([UInt8](repeating: 7, count: 64 << 20))
    let broken = failure { _ = try server.client(wait: 3).send(HTTPExchange(request)) }
    #expect([69, 75].contains(broken?.exitStatus))
  }

  /// Fast enough for an archive of any size, but not for a response that is awaited as a whole.
  @Test func anAnswerThatIsWantedWholeHasATime() throws {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    let flood = String(repeating: "0123456789", count: 30)
    let server = try ScriptedServer(steps: [step(start, flood: flood, every: "0.1")])
    var settings = HTTPSettings(userAgent: "tests", maximumWait: 3)
    settings.leastWholePatience = 1
    var request = server.get()
    request.limit = 1_000_000_000
    request.isWhole = true
    let broken = failure { _ = try HTTPClient(settings).send(HTTPExchange(request)) }
    #expect(broken?.exitStatus == 75)
    #expect(broken?.message.contains("too slow") == true)
  }

  @Test func whatIsSlowIsWaitedFor() throws {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n"
    let flood = String(repeating: "x", count: 400)
    let server = try ScriptedServer(steps: [step(start, flood: flood, times: 50, every: "0.1")])
    // Four seconds in total, but at most half a second for each byte.
    #expect(try server.answer(wait: 1).body.count == 20_000)
  }

  @Test func whoReadsSlowlyIsNotHeldAgainstTheServer() throws {
    let server = try ScriptedServer(Self.ok("hello"))
    let client = try server.client(wait: 3)
    let exchange = HTTPExchange(server.get())
    client.start(exchange)
    var rounds = 0
    try client.drive {
      rounds += 1
      return rounds > 1
    }
    // The reader is busy meanwhile.
    usleep(5_000_000)
    try client.drive { exchange.isOver }
    #expect(try text(exchange.get()) == "hello")
    #expect(try server.requests().count == 1)
  }

  @Test func aBodyIsSentAgainFromItsStart() throws {
    let server = try ScriptedServer(
      steps: [step("", cut: true), step("HTTP/1.1 503 Bad\r\nContent-Length: 0\r\n\r\n"), step(Self.ok("done"))])
    var sent = 0
    var request = HTTPRequest("POST", server.root)
    request.body = BytesBody([UInt8](repeating: 1, count: 100_000))
    let exchange = HTTPExchange(request, progress: { sent += $0 })
    #expect(try text(server.client().send(exchange)) == "done")
    #expect(try server.requests().map { $0["length"]?.integer(Int.self) } == [100_000, 100_000, 100_000])
    #expect(sent == 100_000)
  }

  @Test func manyAreUnderWayAtOnce() throws {
    let server = try ScriptedServer(Self.ok("hello"))
    let client = try server.client()
    let exchanges = (0..<50).map { HTTPExchange(server.get("\($0)")) }
    for exchange in exchanges { client.start(exchange) }
    try client.drive { exchanges.allSatisfy(\.isOver) }
    for exchange in exchanges { #expect(try text(exchange.get()) == "hello") }
    let lines = try server.requests().compactMap { $0["line"]?.text }
    #expect(Set(lines) == Set((0..<50).map { "GET /\($0) HTTP/1.1" }))
  }

  @Test func whatIsGivenUpIsOver() throws {
    let server = try ScriptedServer(
      steps: [step(Self.ok("late"), wait: 60), step(Self.ok("hello"))])
    let client = try server.client()
    let exchange = HTTPExchange(server.get())
    client.start(exchange)
    var turns = 0
    try client.drive {
      turns += 1
      return turns > 3
    }
    client.cancel()
    #expect(!exchange.isOver)
    #expect(try text(client.send(HTTPExchange(server.get()))) == "hello")
  }

  // MARK: Redirects

  @Test func redirectsThatLeadInACircleEnd() throws {
    let server = try ScriptedServer(
      "HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n")
    #expect(failure { _ = try server.answer() }?.httpStatus == 302)
    #expect(try server.requests().count == 1 + HTTPClient.maximumRedirects)
  }

  @Test func aTokenStaysWhereItBelongs() throws {
    let other = try ScriptedServer(Self.ok("elsewhere"))
    let server = try ScriptedServer(
      "HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 302 Found\r\nLocation: \(other.root)z\r\nContent-Length: 0\r\n\r\n")
    let secret = try Secret(copying: Array("ghp_secret".utf8).span)
    let client = try server.client(credential: Credential(secret, for: [server.root]))
    #expect(try text(client.send(HTTPExchange(server.get()))) == "elsewhere")
    for request in try server.requests() {
      #expect(request["headers"]?["authorization"]?.text == "Bearer ghp_secret")
    }
    let request = try #require(try other.requests().first)
    #expect(request["headers"]?["authorization"] == nil)
  }

  @Test(arguments: [
    ("302 Found", "/y", false), ("303 See Other", "/y", false), ("307 Temporary", "/y", true),
    ("308 Permanent", "/y", true), ("307 Temporary", "http://127.0.0.1:1/y", false),
  ])
  func aWriteIsRedirectedAsItIsOrNotAtAll(
    _ status: String, _ location: String, _ followed: Bool
  ) throws {
    let server = try ScriptedServer(
      "HTTP/1.1 \(status)\r\nLocation: \(location)\r\nContent-Length: 0\r\n\r\n", Self.ok("done"))
    var request = HTTPRequest("POST", server.root)
    request.body = BytesBody([1, 2, 3])
    let broken = failure { _ = try server.client().send(HTTPExchange(request)) }
    #expect((broken == nil) == followed)
    let requests = try server.requests()
    #expect(requests.count == (followed ? 2 : 1))
    #expect(requests.allSatisfy { $0["length"]?.integer(Int.self) == 3 })
  }

  @Test(arguments: [
    ("https://a.example/", "https://b.example/", true),
    ("https://a.example/", "http://127.0.0.1:80/", false),
    ("https://a.example/", "http://a.example/", false),
    ("https://127.0.0.1/", "http://127.0.0.1/", false),
    ("http://127.0.0.1/", "http://127.0.0.1:1/", true),
    ("http://127.0.0.1/", "https://a.example/", true),
    ("http://127.0.0.1/", "http://a.example/", false),
  ])
  func aRedirectDoesNotLeaveEncryption(_ one: String, _ other: String, _ may: Bool) throws {
    #expect(try #require(HTTPURL(one)).mayRedirect(to: try #require(HTTPURL(other))) == may)
  }

  // MARK: Resuming

  private func part(_ range: String, _ body: String, of length: Int? = nil) -> String {
    "HTTP/1.1 206 Partial\r\nContent-Range: bytes \(range)/10\r\n"
      + "Content-Length: \(length ?? body.utf8.count)\r\n\r\n\(body)"
  }

  @Test func whatBrokeOffIsGoneOnWith() throws {
    let server = try ScriptedServer(
      steps: [
        step("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123", cut: true),
        step(part("4-9", "45", of: 6), cut: true), step(part("6-9", "6789")),
      ])
    let response = try resumed(server)
    #expect(response.status == 200 && text(response) == "0123456789")
    let ranges = try server.requests().map { $0["headers"]?["range"]?.text }
    #expect(ranges == [nil, "bytes=4-", "bytes=6-"])
  }

  @Test func aRangeThatBrokeOffIsGoneOnWith() throws {
    let server = try ScriptedServer(
      steps: [step(part("2-7", "234", of: 6), cut: true), step(part("5-7", "567"))])
    #expect(try text(resumed(server, "bytes=2-7")) == "234567")
    #expect(try server.requests().last?["headers"]?["range"]?.text == "bytes=5-7")
  }

  /// A proxy that ignores ranges, and a server that sends another range.
  @Test(arguments: [
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01",
    "HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-9/10\r\nContent-Length: 10\r\n\r\n01",
    "HTTP/1.1 206 Partial\r\nContent-Length: 10\r\n\r\n01",
  ])
  func onlyWhatFollowsIsPutBehindIt(_ broken: String) throws {
    let server = try ScriptedServer(
      steps: [
        step(part("2-7", "23", of: 6), cut: true), step(broken, cut: true),
        step(part("4-7", "4567")),
      ])
    let response = try resumed(server, "bytes=2-7")
    #expect(text(response) == "234567")
    let first = try ScriptedServer(steps: [step(broken, cut: true), step(part("2-7", "234567"))])
    #expect(try text(resumed(first, "bytes=2-7")) == "234567")
  }

  @Test func whatIsThereInFullIsNotAskedOn() throws {
    let server = try ScriptedServer(
      steps: [
        step(
          "HTTP/1.1 206 Partial\r\nContent-Range: bytes 2-4/10\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n234\r\n",
          cut: true),
        step(part("2-4", "234")),
      ])
    #expect(try text(resumed(server, "bytes=2-4")) == "234")
    let ranges = try server.requests().map { $0["headers"]?["range"]?.text }
    #expect(ranges == ["bytes=2-4", "bytes=2-4"])
  }

  @Test func whatIsKeptOfBrokenAnswersIsBounded() throws {
    let body = String(repeating: "x", count: 80)
    let server = try ScriptedServer(
      steps: [
        step("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n\(body)", cut: true),
        step("HTTP/1.1 206 P\r\nContent-Range: bytes 80-199/200\r\nContent-Length: 120\r\n\r\n\(body)", cut: true),
        step(Self.ok("hello")),
      ])
    #expect(try text(resumed(server)) == "hello")
    #expect(try server.requests().map { $0["headers"]?["range"]?.text } == [nil, "bytes=80-", nil])
  }

  // MARK: The network

  @Test func aHeaderThatCannotBeSentIsRefused() throws {
    let server = try ScriptedServer(Self.ok(""))
    let broken = failure {
      _ = try server.answer { $0.headers.append(("If-None-Match", "\"\r\nX: 1\"")) }
    }
    #expect(broken?.code == .library)
    #expect(try server.requests().isEmpty)
  }

  @Test func nothingIsAskedInTheClear() throws {
    let client = try HTTPClient(HTTPSettings(userAgent: "tests", maximumWait: 1))
    let url = try #require(HTTPURL("http://192.0.2.1/"))
    #expect(failure { _ = try client.send(HTTPExchange(HTTPRequest("GET", url))) }?.exitStatus == 78)
  }
}
