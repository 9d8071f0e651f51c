import TBKCore
import TBKFormat

/// An HTTP request. Its body can be sent again from the start.
package struct HTTPRequest {
  package var method: String
  package var url: HTTPURL
  /// Name and value; neither contains a line break.
  package var headers: [(name: String, value: String)]
  package var body: (any HTTPBody)?
  /// Whether the client's credential is sent, to the origins that may have it.
  package var isAuthorized = true
  /// Whether a redirect is followed, if that cannot change the request; else the redirect is the response.
  package var followsRedirects = true
  /// The largest accepted response, in bytes.
  package var limit = HTTPRequest.documentLimit
  /// Whether it is a small request and response, or a ledger, rather than a transfer that may be long: it gets less
  /// time in all.
  package var isWhole = false
  /// Whether the server may compress its response.
  package var acceptsCompression = false

  /// The limit for a JSON document, in bytes: parsed, it takes many times as much memory.
  package static let documentLimit = 8 << 20

  package init(
    _ method: String, _ url: HTTPURL, headers: [(name: String, value: String)] = [],
    body: (any HTTPBody)? = nil
  ) {
    self.method = method
    self.url = url
    self.headers = headers
    self.body = body
  }
}

/// The body of a request.
package protocol HTTPBody: AnyObject {
  /// In bytes.
  var length: UInt64 { get }
  /// The body from its start; called for every attempt.
  func restart() throws(Failure) -> any ByteSource
}

/// A body in memory.
package final class BytesBody: HTTPBody {
  private let bytes: [UInt8]

  package init(_ bytes: [UInt8]) { self.bytes = bytes }

  package var length: UInt64 { UInt64(bytes.count) }
  package func restart() -> any ByteSource { MemorySource(bytes) }
}

/// A complete response.
package struct HTTPResponse: Sendable {
  package var status: Int
  /// By lower-case name; if a name is repeated, the last one.
  package var headers: [String: String] = [:]
  package var body: [UInt8] = []
  /// The final URL, after redirects.
  package var url: HTTPURL

  package var isSuccess: Bool { (200..<300).contains(status) }

  package var isHTML: Bool { headers["content-type"]?.lowercased().hasPrefix("text/html") ?? false }

  /// The server's time minus this many seconds; nil if it does not report it.
  func date(earlierBy seconds: Int64) -> Timestamp? {
    headers["date"].flatMap { httpDate($0) }?.earlier(seconds: UInt64(clamping: seconds))
  }

  /// The longest pause accepted from a server, in seconds.
  private static let longestPause = 86_400

  /// Seconds that the server asks to wait: `Retry-After` (RFC 9110, 10.2.3), in seconds or as a date; nil if it is
  /// absent or invalid.
  package var retryAfter: Int? {
    guard let text = headers["retry-after"] else { return nil }
    if let seconds = Double(text) { return HTTPResponse.pause(seconds) }
    return httpDate(text).map { HTTPResponse.pause(Double($0.seconds(since: .now())) + 1) ?? 1 }
  }

  /// The pause that a server asks for, in whole seconds from 1; nil if invalid.
  static func pause(_ seconds: Double) -> Int? {
    guard seconds.isFinite, seconds >= 0 else { return nil }
    return max(1, Int(min(seconds, Double(longestPause)).rounded(.up)))
  }

  /// The body as JSON. Throws `.malformed`, naming the request.
  package func json(_ what: String) throws(Failure) -> JSON {
    try JSON.parse(body, what: "the answer to \(what)")
  }
}

/// Parses an HTTP date in the form that servers send (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
package func httpDate(_ text: String) -> Timestamp? {
  let months = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]
  let words = text.split(separator: " ")
  guard words.count == 6, words[5] == "GMT", words[1].utf8.count == 2,
    let month = months.firstIndex(where: { $0 == words[2] })
  else { return nil }
  let number = month < 9 ? "0\(month + 1)" : "\(month + 1)"
  return Timestamp(iso8601: "\(words[3])-\(number)-\(words[1])T\(words[4])Z")
}
