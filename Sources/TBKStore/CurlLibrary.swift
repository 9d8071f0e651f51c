import CCurl

/// The libcurl that was loaded, as `--version` names it.
package enum CurlLibrary {
  /// As in "8.5.0".
  package static var version: String {
    guard let info = unsafe curl_version_info(CURLVERSION_FIRST),
      let text = unsafe info.pointee.version
    else { return "unknown" }
    return unsafe String(cString: text)
  }

  /// The library behind its TLS, as in "OpenSSL/3.0.13"; nil without one.
  package static var tls: String? {
    guard let info = unsafe curl_version_info(CURLVERSION_FIRST),
      let text = unsafe info.pointee.ssl_version
    else { return nil }
    return unsafe String(cString: text)
  }

  /// Whether it speaks HTTP/2 (RFC 9113).
  package static var hasHTTP2: Bool {
    guard let info = unsafe curl_version_info(CURLVERSION_FIRST) else { return false }
    return unsafe info.pointee.features & CURL_VERSION_HTTP2 != 0
  }

  /// Whether a slow name server delays only the request that needs it.
  package static var hasAsynchronousDNS: Bool {
    guard let info = unsafe curl_version_info(CURLVERSION_FIRST) else { return false }
    return unsafe info.pointee.features & CURL_VERSION_ASYNCHDNS != 0
  }

  /// One line for `--version`.
  package static var summary: String {
    let features = [
      tls, hasHTTP2 ? "HTTP/2" : nil, hasAsynchronousDNS ? "async DNS" : nil,
    ].compactMap { $0 }
    return features.isEmpty
      ? "libcurl \(version)" : "libcurl \(version) (\(features.joined(separator: ", ")))"
  }
}
