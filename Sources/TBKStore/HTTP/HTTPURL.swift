import CCurl
import TBKCore

/// An absolute `http` or `https` URL (RFC 3986), as libcurl reads it.
package struct HTTPURL: Hashable, Sendable, CustomStringConvertible {
  /// The whole URL, normalised, without user name or password.
  package let description: String
  package let scheme: String
  /// In lower case; an IPv6 address in brackets.
  package let host: String
  package let port: String
  package let path: String

  /// Nil if it is not such a URL, or has a user name.
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

  /// Resolves a `Location` header of a response from this URL (RFC 3986, 5.2).
  package func resolving(_ location: String) -> HTTPURL? { HTTPURL(location, base: self) }

  /// `path` below this URL, which may have a path itself: `https://host/api/v3` and `repos/x`.
  package func appending(_ path: String) -> HTTPURL? {
    HTTPURL(description.hasSuffix("/") ? description + path : "\(description)/\(path)")
  }

  /// Whether a credential for this URL may be sent to `other`: same scheme, host and port.
  package func hasSameOrigin(as other: HTTPURL) -> Bool {
    scheme == other.scheme && host == other.host && port == other.port
  }

  /// Whether traffic stays on this machine, where no one can intercept it.
  package var isLoopback: Bool {
    if host == "localhost" || host == "[::1]" { return true }
    let numbers = host.split(separator: ".", omittingEmptySubsequences: false)
    return numbers.count == 4 && numbers[0] == "127" && numbers.allSatisfy { UInt8($0) != nil }
  }

  /// Whether traffic is encrypted or stays on this machine.
  package var isConfidential: Bool { scheme == "https" || isLoopback }

  /// Whether a redirect from here may lead to `other`: never from an encrypted connection to an unencrypted one.
  package func mayRedirect(to other: HTTPURL) -> Bool {
    other.scheme == "https" || scheme == "http" && isLoopback && other.isLoopback
  }

  /// Host, and port unless it is the default: the server's name in messages.
  package var authority: String {
    port == (scheme == "https" ? "443" : "80") ? host : "\(host):\(port)"
  }
}

extension String {
  /// Encodes every byte except letters, digits, `-`, `.`, `_` and `~` as `%XX` (RFC 3986, 2.3); `/` too unless
  /// `keepingSlashes`.
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
