import CCurl
import Glibc
import TBKCore

/// One attempt at a request. Owns a libcurl easy handle and the data received.
///
/// libcurl stores its address while it runs: the caller must keep it alive.
@safe final class HTTPTransfer {
  /// The libcurl easy handle.
  let handle: UnsafeMutableRawPointer
  private var headerList: UnsafeMutablePointer<curl_slist>?
  private let url: HTTPURL
  private let source: (any ByteSource)?
  private let limit: Int
  private let progress: (Int) -> Void
  private var buffer: [UInt8] = []

  private var status = 0
  private var headers: [String: String] = [:]
  private var body: [UInt8] = []
  private var headerBytes = 0
  /// Whether an error response exceeded the limit: its beginning is used as the response.
  private(set) var isCutOff = false
  /// The failure, if this side ended the transfer.
  private(set) var failure: Failure?
  let started: Int64
  /// When a byte was last sent or received; nanoseconds.
  private(set) var lastProgress: Int64
  /// The transfer rate while it is driven.
  private(set) var pace: Pace
  /// When time was last counted; nanoseconds.
  private var counted: Int64
  /// Bytes of the response, including headers.
  private var received = 0
  /// Bytes in both directions that have been counted.
  private var moved = 0

  /// - Parameters:
  ///   - credential: sent as `Authorization: Bearer`; nil to send none.
  ///   - stall: seconds without a byte after which the attempt ends.
  ///   - progress: called with the number of body bytes sent, or received if there are none to send.
  init(
    _ request: HTTPRequest, credential: Credential?, settings: HTTPSettings, stall: Int,
    progress: @escaping (Int) -> Void
  ) throws(Failure) {
    guard let handle = unsafe curl_easy_init() else {
      throw Failure(.library, "curl_easy_init failed")
    }
    unsafe self.handle = handle
    url = request.url
    limit = request.limit
    self.progress = progress
    pace = settings.leastPace
    started = monotonicNanoseconds()
    lastProgress = started
    counted = started
    do throws(Failure) {
      source = try request.body?.restart()
    } catch {
      unsafe curl_easy_cleanup(handle)
      throw error
    }
    unsafe headerList = nil
    // From here on deinit frees the handle, even if this throws.
    try configure(request, settings, stall: stall)
    if let credential { try authorize(credential.secret) }
  }

  deinit {
    unsafe curl_easy_cleanup(handle)
    unsafe curl_slist_free_all(headerList)
  }

  // MARK: Setting up

  private func check(_ result: CURLcode, _ what: String) throws(Failure) {
    guard result == CURLE_OK else { throw Failure(.library, "libcurl refuses \(what)") }
  }

  private func set(_ option: CURLoption, _ value: Int) throws(Failure) {
    try check(unsafe tbk_curl_set_long(handle, option, value), "option \(option.rawValue)")
  }

  /// - Parameter value: nil to unset the option, whatever libcurl's default is.
  private func set(_ option: CURLoption, _ value: String?) throws(Failure) {
    let result =
      if let value {
        unsafe tbk_curl_set_text(handle, option, value)
      } else {
        unsafe tbk_curl_set_text(handle, option, nil)
      }
    try check(result, "option \(option.rawValue)")
  }

  private func configure(
    _ request: HTTPRequest, _ settings: HTTPSettings, stall: Int
  ) throws(Failure) {
    try set(CURLOPT_URL, request.url.description)
    try set(CURLoption(rawValue: 181), 3)  // CURLOPT_PROTOCOLS: http and https
    // Unencrypted traffic stays on this machine: no proxy may see it.
    if request.url.scheme == "http" { try set(CURLOPT_PROXY, "") }
    try set(CURLOPT_NOSIGNAL, 1)
    try set(CURLOPT_FOLLOWLOCATION, 0)  // The client decides whether to follow a redirect.
    try set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2TLS))
    try set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
    try set(CURLOPT_SSL_VERIFYPEER, 1)
    try set(CURLOPT_SSL_VERIFYHOST, 2)
    if settings.certificateFile != nil || settings.certificateDirectory != nil {
      // libcurl may have both set by default, and accepts certificates from either.
      try set(CURLOPT_CAINFO, settings.certificateFile)
      try set(CURLOPT_CAPATH, settings.certificateDirectory)
    }
    try set(CURLOPT_USERAGENT, settings.userAgent)
    try set(CURLOPT_CONNECTTIMEOUT, stall)
    try set(CURLOPT_LOW_SPEED_LIMIT, 64)
    try set(CURLOPT_LOW_SPEED_TIME, stall)
    try set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
    // Not more at once than a second's worth of the rate limit.
    try set(CURLOPT_BUFFERSIZE, min(256 << 10, max(1024, settings.rates.download ?? .max)))
    for (option, rate) in [
      (CURLOPT_MAX_SEND_SPEED_LARGE, settings.rates.upload),
      (CURLOPT_MAX_RECV_SPEED_LARGE, settings.rates.download),
    ] {
      guard let rate else { continue }
      try check(unsafe tbk_curl_set_size(handle, option, curl_off_t(rate)), "a rate")
    }
    if request.acceptsCompression { try set(CURLOPT_ACCEPT_ENCODING, "gzip") }

    try append(header: "Expect:")  // Do not lose a second waiting for "100 Continue".
    for (name, value) in request.headers { try append(header: "\(name): \(value)") }
    if let length = request.body?.length {
      try set(CURLOPT_UPLOAD, 1)
      try set(
        CURLOPT_UPLOAD_BUFFERSIZE, min(512 << 10, max(16 << 10, settings.rates.upload ?? .max)))
      try check(
        unsafe tbk_curl_set_size(handle, CURLOPT_INFILESIZE_LARGE, curl_off_t(length)), "a length")
      try set(CURLOPT_CUSTOMREQUEST, request.method)
      try check(
        unsafe tbk_curl_set_callback(handle, CURLOPT_READFUNCTION, readCallback), "a callback")
    } else if request.method == "HEAD" {
      try set(CURLOPT_NOBODY, 1)
    } else if request.method != "GET" {
      try set(CURLOPT_CUSTOMREQUEST, request.method)
    }
    try check(
      unsafe tbk_curl_set_list(handle, CURLOPT_HTTPHEADER, headerList), "the header")
    let context = unsafe Unmanaged.passUnretained(self).toOpaque()
    for option in [CURLOPT_READDATA, CURLOPT_WRITEDATA, CURLOPT_HEADERDATA] {
      try check(unsafe tbk_curl_set_pointer(handle, option, context), "a context")
    }
    try check(
      unsafe tbk_curl_set_callback(handle, CURLOPT_WRITEFUNCTION, writeCallback), "a callback")
    try check(
      unsafe tbk_curl_set_callback(handle, CURLOPT_HEADERFUNCTION, headerCallback), "a callback")
  }

  private func append(header: String) throws(Failure) {
    guard header.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }),
      let longer = unsafe curl_slist_append(headerList, header)
    else { throw Failure(.library, "a header that cannot be sent") }
    unsafe headerList = longer
  }

  /// libcurl adds the header itself, so that our header list has no copy of the token.
  private func authorize(_ credential: borrowing Secret) throws(Failure) {
    try set(CURLOPT_HTTPAUTH, 1 << 6)  // CURLAUTH_BEARER
    var text = [CChar](repeating: 0, count: credential.count + 1)
    credential.withBytes { bytes in
      for index in bytes.indices { text[index] = CChar(bitPattern: bytes[index]) }
    }
    let result = unsafe tbk_curl_set_text(handle, CURLOPT_XOAUTH2_BEARER, text)
    for index in text.indices { text[index] = 0 }
    try check(result, "the token")
  }

  // MARK: Running

  fileprivate func read(_ target: UnsafeMutableRawBufferPointer) -> Int {
    guard let source, failure == nil else { return abort }
    do throws(Failure) {
      if buffer.count != target.count { buffer = [UInt8](repeating: 0, count: target.count) }
      let count = try source.read(into: &buffer)
      unsafe buffer.withUnsafeBytes { bytes in
        unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
      }
      lastProgress = monotonicNanoseconds()
      progress(count)
      return count
    } catch {
      failure = error
      return abort
    }
  }

  private var abort: Int { 0x1000_0000 }  // CURL_READFUNC_ABORT

  /// Most bytes to keep of a response that is not a success.
  private static let complaintLimit = 64 << 10
  /// Most bytes of headers, those of interim responses included.
  private static let headerLimit = 512 << 10

  fileprivate func write(_ bytes: UnsafeRawBufferPointer) -> Int {
    lastProgress = monotonicNanoseconds()
    received += bytes.count
    if !(200..<300).contains(status) {
      let room = HTTPTransfer.complaintLimit - body.count
      unsafe body.append(contentsOf: bytes.prefix(room))
      isCutOff = bytes.count > room
      return isCutOff ? 0 : bytes.count
    }
    guard bytes.count <= limit - body.count else {
      failure = Failure(
        .malformed, "\(url.authority) sends more than the \(limit) bytes that were asked for")
      return 0
    }
    if body.isEmpty, let length = headers["content-length"].flatMap({ Int($0) }), length <= limit {
      body.reserveCapacity(length)
    }
    unsafe body.append(contentsOf: bytes)
    if source == nil { progress(bytes.count) }
    return bytes.count
  }

  fileprivate func receive(headerLine line: UnsafeRawBufferPointer) -> Int {
    headerBytes += line.count
    received += line.count
    guard headerBytes <= HTTPTransfer.headerLimit else {
      failure = Failure(.unavailable, "\(url.authority) sends headers without end")
      return 0
    }
    let text = unsafe String(decoding: line, as: UTF8.self)
    lastProgress = monotonicNanoseconds()
    if text.hasPrefix("HTTP/") {
      headers = [:]
      let words = text.split(separator: " ", maxSplits: 2)
      status = words.count > 1 ? Int(words[1].prefix(3)) ?? 0 : 0
    } else if let colon = text.firstIndex(of: ":"), headers.count < 256 {
      let value = text[text.index(after: colon)...]
      headers[text[..<colon].lowercased()] = value.trimmed
    }
    return line.count
  }

  /// Restarts the clock after the transfer was not driven.
  func resume(at time: Int64) { counted = time }

  /// Counts the time since the last call, and the bytes moved.
  ///
  /// - Parameter whole: updated with the same numbers.
  func count(until time: Int64, for whole: inout Pace?) {
    let all = received + Int(clamping: unsafe tbk_curl_sent(handle))
    pace.waited(time - counted)
    pace.moved(all - moved)
    whole?.waited(time - counted)
    whole?.moved(all - moved)
    counted = time
    moved = all
  }

  /// The response, once libcurl reports success.
  func response() throws(Failure) -> HTTPResponse {
    guard status > 0 else { throw Failure(.unavailable, "\(url.authority) does not speak HTTP") }
    return HTTPResponse(status: status, headers: headers, body: body, url: url)
  }

  /// What was received before it was interrupted.
  var partialResponse: HTTPResponse {
    HTTPResponse(status: status, headers: headers, body: body, url: url)
  }

  /// The failure that ended the attempt, and whether a retry may help.
  func problem(_ result: CURLcode) -> (failure: Failure, isTransient: Bool) {
    if let failure { return (failure, false) }
    // libcurl reports exhaustion only for memory: without a thread or a descriptor it reports a host not found, a
    // failed connection or an untrusted certificate.
    if result == CURLE_OUT_OF_MEMORY { return (.exhaustedProcess, false) }
    if let failure = Failure.ofExhaustion { return (failure, false) }
    let place = url.authority
    switch result {
    case CURLE_COULDNT_RESOLVE_HOST:
      return (
        Failure(
          .unavailable, "cannot find the host \(place)",
          hint: "is the network up, and the name right?"), true
      )
    case CURLE_COULDNT_RESOLVE_PROXY:
      return (
        Failure(
          .unavailable, "cannot find the proxy on the way to \(place)",
          hint: "it is taken from https_proxy, http_proxy or all_proxy"), true
      )
    case CURLE_COULDNT_CONNECT:
      return (
        Failure(
          .unavailable, "cannot connect to \(place)",
          hint: "is the network up? a proxy is taken from https_proxy"), true
      )
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR:
      return (
        Failure(
          .unavailable, "the certificate of \(place) is not trusted",
          hint: "if it is signed by an authority of your own, name its file in CURL_CA_BUNDLE"),
        false
      )
    case CURLE_OPERATION_TIMEDOUT:
      return (Failure(.unavailable, "\(place) does not answer"), true)
    case CURLE_UNSUPPORTED_PROTOCOL:
      // This is about the response: the URL is an HTTP one.
      return (Failure(.unavailable, "\(place) does not speak HTTP"), true)
    case CURLE_URL_MALFORMAT:
      return (Failure(.library, "\(place): not a usable URL"), false)
    default:
      let text = unsafe String(cString: curl_easy_strerror(result)).lowercased()
      return (Failure(.unavailable, "the connection to \(place) broke: \(text)"), true)
    }
  }
}

extension Substring {
  fileprivate var trimmed: String {
    var bytes = Array(utf8)[...]
    while let last = bytes.last, last <= 0x20 { bytes = bytes.dropLast() }
    while let first = bytes.first, first <= 0x20 { bytes = bytes.dropFirst() }
    return String(decoding: bytes, as: UTF8.self)
  }
}

private func transfer(_ context: UnsafeMutableRawPointer?) -> HTTPTransfer {
  unsafe Unmanaged<HTTPTransfer>.fromOpaque(context!).takeUnretainedValue()
}

private let readCallback: tbk_curl_callback = { bytes, size, count, context in
  unsafe transfer(context).read(UnsafeMutableRawBufferPointer(start: bytes, count: size * count))
}

private let writeCallback: tbk_curl_callback = { bytes, size, count, context in
  unsafe transfer(context).write(UnsafeRawBufferPointer(start: bytes, count: size * count))
}

private let headerCallback: tbk_curl_callback = { bytes, size, count, context in
  unsafe transfer(context)
    .receive(headerLine: UnsafeRawBufferPointer(start: bytes, count: size * count))
}
