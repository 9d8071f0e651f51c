import CCurl
import TBKCore

/// An absolute `http` or `https` URL (RFC 3986), as libcurl reads it.
package struct HTTPURL: Hashable, Sendable, CustomStringConvertible {
  /// The whole, normalised, without user name or password.
  package let description: String
  package let scheme: String
  /// In lower case; an IPv6 address in brackets.
  package let host: String
  package let port: String
  package let path: String

  /// Nil for what is no such URL, or one with a user name in it.
  package init?(_ text: String) { self.init(text, base: nil) }

  private init?(_ text: String, base: HTTPURL?) {
    guard text.utf8.count <= 8192, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
      let handle = unsafe curl_url()
    else { return nil }
    defer { unsafe curl_url_cleanup(handle) }
    func set(_ text: String) -> Bool {
      unsafe curl_url_set(handle, CURLUPART_URL, text, UInt32(CURLU_DISALLOW_USER)) == CURLUE_OK
    }
    func get(_ part: CURLUPart, _ flags: Int32 = 0) -> String? {
      var text: UnsafeMutablePointer<CChar>?
      guard unsafe curl_url_get(handle, part, &text, UInt32(flags)) == CURLUE_OK,
        let found = unsafe text
      else { return nil }
      defer { unsafe curl_free(found) }
      return unsafe String(cString: found)
    }
    if let base, !set(base.description) { return nil }
    guard set(text), let scheme = get(CURLUPART_SCHEME)?.lowercased(),
      scheme == "https" || scheme == "http", let host = get(CURLUPART_HOST)?.lowercased(),
      !host.isEmpty, let port = get(CURLUPART_PORT, CURLU_DEFAULT_PORT),
      let whole = get(CURLUPART_URL)
    else { return nil }
    self.scheme = scheme
    self.host = host
    self.port = port
    path = get(CURLUPART_PATH) ?? "/"
    description = whole
  }

  /// What a `Location` header of an answer from here means (RFC 3986, 5.2).
  package func resolving(_ location: String) -> HTTPURL? { HTTPURL(location, base: self) }

  /// `path` below this URL, which may have one of its own: `https://host/api/v3` and `repos/x`.
  package func appending(_ path: String) -> HTTPURL? {
    HTTPURL(description.hasSuffix("/") ? description + path : "\(description)/\(path)")
  }

  /// Whether a credential for this URL may go to `other`: same scheme, host and port.
  package func hasSameOrigin(as other: HTTPURL) -> Bool {
    scheme == other.scheme && host == other.host && port == other.port
  }

  /// Whether it stays on this machine, where nobody can listen in.
  package var isLoopback: Bool {
    if host == "localhost" || host == "[::1]" { return true }
    let numbers = host.split(separator: ".", omittingEmptySubsequences: false)
    return numbers.count == 4 && numbers[0] == "127" && numbers.allSatisfy { UInt8($0) != nil }
  }

  /// Whether what is sent there cannot be read on the way.
  package var isConfidential: Bool { scheme == "https" || isLoopback }

  /// Whether a redirect from here may lead to `other`: never out of an encrypted connection into
  /// one that is not, which could only be to a server on this machine.
  package func mayRedirect(to other: HTTPURL) -> Bool {
    other.scheme == "https" || scheme == "http" && isLoopback && other.isLoopback
  }

  /// Host and, where it is not the usual one, port: what messages call the server.
  package var authority: String {
    port == (scheme == "https" ? "443" : "80") ? host : "\(host):\(port)"
  }
}

extension String {
  /// Every byte but letters, digits, `-`, `.`, `_` and `~` as `%XX` (RFC 3986, 2.3), and `/` too
  /// unless it is kept.
  package func percentEncoded(keepingSlashes: Bool = false) -> String {
    var output: [UInt8] = []
    for byte in utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"), UInt8(ascii: "~"):
        output.append(byte)
      case UInt8(ascii: "/") where keepingSlashes: output.append(byte)
      default: output += Array("%\([byte].hex.uppercased())".utf8)
      }
    }
    return String(decoding: output, as: UTF8.self)
  }
}
