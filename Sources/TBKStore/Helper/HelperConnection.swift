import Glibc
import TBKCore
import TBKFormat

/// A running helper and the protocol spoken with it (tbk-store-helpers(7)).
///
/// Each request waits for the response to the previous one. After any failure the connection cannot be used.
final class HelperConnection {
  /// The longest line that is read, in bytes without its end.
  static let lineLimit = 4096
  /// How often a helper may send `wait` for one response.
  private static let waitLimit = 100_000
  /// Seconds after which a response is too late, even if the helper keeps sending `wait`.
  private static let answerLimit: Int64 = 86_400
  /// How much of its standard error is passed on.
  private static let remarkLimit = 1000

  private let process: PipedProcess
  private let address: HelperAddress
  private let remark: (String) -> Void
  /// Seconds without any activity after which the helper counts as hung.
  private let patience: Int
  private var chunk = [UInt8](repeating: 0, count: 64 << 10)
  private var incoming: [UInt8] = []
  private var start = 0
  private var outputEnded = false
  private var errorsEnded = false
  private var errorLine: [UInt8] = []
  private var remarks = 0
  /// How often it has sent `wait` for the current response.
  private var waits = 0
  /// The deadline for the current response; monotonic nanoseconds.
  private var latest: Int64 = 0
  /// The last request.
  private var request = ""
  /// The transfer rate of the current response, or of the body that follows the request.
  private var pace = Pace.least
  /// The same for bytes that cannot be used until all have arrived; else nil.
  private var wholePace: Pace?
  /// Bytes of a response's body that have not been read yet.
  private(set) var left: UInt64 = 0
  /// Whether another request may follow.
  private(set) var isUsable = true

  /// Starts the helper. Throws `.unavailable` if it does not exist.
  ///
  /// - Parameters:
  ///   - patience: in seconds; a helper that is silent for longer is ended.
  ///   - remark: called with each line of its standard error.
  init(_ address: HelperAddress, patience: Int, remark: @escaping (String) -> Void) throws(Failure) {
    self.address = address
    self.patience = patience
    self.remark = remark
    process = try PipedProcess(
      try address.find(), [Array(address.program.utf8), address.bytes],
      environment: SecretVariables.environmentWithout())
  }

  deinit { finish() }

  /// Ends the helper, and passes on its last messages.
  func finish() {
    isUsable = false
    process.closeInput()
    // After a broken exchange, do not wait for it long.
    _ = process.wait(milliseconds: left == 0 && !outputEnded ? 2000 : 200)
    process.end(patience: 300)
    drainErrors()
  }

  // MARK: Failures

  private func nonsense(_ problem: String) -> Failure {
    isUsable = false
    return Failure(
      .malformed, "\(address.program), asked to '\(request)', \(problem)",
      hint: "the program does not follow the protocol, tbk-store-helpers(7)")
  }

  private func silent() -> Failure {
    isUsable = false
    process.end(patience: 300)
    drainErrors()
    return Failure(
      .tryAgain, "\(address.program), asked to '\(request)', did nothing for \(patience) s",
      hint: "try again when the store can be reached, or give more time with --max-wait")
  }

  private func tooSlow() -> Failure {
    isUsable = false
    process.end(patience: 300)
    drainErrors()
    return Failure(
      .tryAgain, "\(address.program), asked to '\(request)', is too slow",
      hint: "try again when the store can be reached, or give more time with --max-wait")
  }

  /// Waits for the helper, and counts the time for `pace`.
  private func wait(
    input: Bool, output: Bool, until deadline: Int64
  ) throws(Failure) -> PipedProcess.Readiness {
    let start = monotonicNanoseconds()
    let ready = try process.wait(
      input: input, output: output, errors: !errorsEnded, milliseconds: try pause(until: deadline))
    let time = monotonicNanoseconds() - start
    pace.waited(time)
    wholePace?.waited(time)
    return ready
  }

  private func moved(_ count: Int) throws(Failure) {
    pace.moved(count)
    wholePace?.moved(count)
    if pace.isBehind(seconds: patience) || wholePace?.isBehind(seconds: patience) ?? false {
      throw tooSlow()
    }
  }

  /// The failure for a helper that exited instead of responding.
  private func gone() -> Failure {
    isUsable = false
    let status = process.wait(milliseconds: 2000)
    process.end(patience: 300)
    drainErrors()
    let code: Failure.Code =
      switch status {
      case 65: .malformed
      case 74: .io
      case 77: .denied
      case 78: .configuration
      case 69: .unavailable
      case 75: .tryAgain
      case 126, 127: .unavailable
      default: request == HelperConnection.greeting ? .unavailable : .tryAgain
      }
    let how =
      switch status {
      case .some(129...): "was ended by signal \((status ?? 128) - 128)"
      case .some(let status): "ended with status \(status)"
      case nil: "closed its output"
      }
    return Failure(
      code, "\(address.program), asked to '\(request)', \(how)",
      hint: remarks > 0 ? "see its message above" : nil)
  }

  // MARK: Standard error

  private func relayErrors() throws(Failure) {
    guard let count = try process.receive(into: &chunk, errors: true) else {
      errorsEnded = true
      if !errorLine.isEmpty { relay() }
      return
    }
    for byte in chunk[..<count] {
      if byte == 0x0a {
        relay()
      } else if errorLine.count < HelperConnection.lineLimit {
        errorLine.append(byte)
      }
    }
  }

  private func relay() {
    defer { errorLine.removeAll(keepingCapacity: true) }
    remarks += 1
    if remarks > HelperConnection.remarkLimit { return }
    remark("\(address.program): \(HelperConnection.readable(errorLine))")
    if remarks == HelperConnection.remarkLimit { remark("\(address.program) reports more than that") }
  }

  private func drainErrors() {
    for _ in 0..<64 where !errorsEnded {
      guard
        let ready = try? process.wait(input: false, output: false, errors: true, milliseconds: 100),
        ready.errors, (try? relayErrors()) != nil
      else { break }
    }
    if !errorLine.isEmpty { relay() }
  }

  /// Text made safe for a terminal: nothing in it moves the cursor.
  static func readable(_ bytes: [UInt8]) -> String {
    var text = ""
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate:
        text += scalar == "\t" ? " " : "?"
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text
  }

  // MARK: Receiving

  private func deadline() -> Int64 { monotonicNanoseconds() + Int64(patience) * 1_000_000_000 }

  private func pause(until deadline: Int64) throws(Failure) -> Int {
    let rest = deadline - monotonicNanoseconds()
    guard rest > 0 else { throw silent() }
    return Int(min(rest / 1_000_000 + 1, 1000))
  }

  private var buffered: Int { incoming.count - start }

  /// Waits for more of its output, and reads it. False at the end.
  private func receive(until deadline: Int64) throws(Failure) -> Bool {
    while !outputEnded {
      let ready = try wait(input: false, output: true, until: deadline)
      if ready.errors { try relayErrors() }
      if ready.output, try takeOutput() { return true }
    }
    return false
  }

  /// Reads the output that is there. Returns whether there was any.
  private func takeOutput() throws(Failure) -> Bool {
    guard let count = try process.receive(into: &chunk) else {
      outputEnded = true
      return false
    }
    if start > 0 {
      incoming.removeFirst(start)
      start = 0
    }
    incoming += chunk[..<count]
    try moved(count)
    return count > 0
  }

  /// The next line without its end. The whole line must arrive within `patience`.
  private func line() throws(Failure) -> [UInt8] {
    let deadline = deadline()
    var searched = start
    while true {
      if let end = incoming[searched...].firstIndex(of: 0x0a) {
        let line = Array(incoming[start..<end])
        start = end + 1
        if line.count > HelperConnection.lineLimit { break }
        return line
      }
      if buffered > HelperConnection.lineLimit { break }
      let known = buffered
      guard try receive(until: deadline) else {
        if known > 0 { throw nonsense("ended in the middle of a line") }
        throw gone()
      }
      searched = start + known
    }
    throw nonsense("sent a line of more than \(HelperConnection.lineLimit) bytes")
  }

  /// Reads from the body of a response; returns 0 at its end.
  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    if left == 0 { return 0 }
    guard isUsable else { throw Failure(.tryAgain, "\(address.program) has ended") }
    if buffered == 0 {
      guard try receive(until: deadline()) else {
        isUsable = false
        throw Failure(
          .truncated, "\(address.program), asked to '\(request)', ended \(left) bytes early")
      }
    }
    let count = min(buffer.count, buffered, Int(clamping: left))
    let bytes = incoming[start..<start + count]
    buffer.replaceSubrange(0..<count, with: bytes)
    start += count
    left -= UInt64(count)
    return count
  }

  // MARK: Asking

  static let greeting = "hello 1"

  /// Sends a request, and returns the words of the first response line that is not `wait`.
  ///
  /// - Parameters:
  ///   - body: follows the request; `size` bytes.
  ///   - progress: called with the number of body bytes as they are sent.
  func ask(
    _ request: String, body: (any ByteSource)? = nil, size: UInt64 = 0,
    progress: (Int) -> Void = { _ in }
  ) throws(Failure) -> HelperAnswer {
    guard isUsable, left == 0 else { throw Failure(.library, "\(address.program) is not listening") }
    if buffered > 0 { throw nonsense("had said something already") }
    self.request = request
    waits = 0
    pace = .least
    wholePace = nil
    // If anything below throws, a response may still be on its way.
    isUsable = false
    var isWhole = try send(Array("\(request)\n".utf8))
    if let body {
      var buffer = [UInt8](repeating: 0, count: chunkSize)
      var rest = size
      while isWhole, rest > 0 {
        let count = try body.read(into: &buffer)
        guard count > 0, UInt64(count) <= rest else {
          throw Failure(.truncated, "other than the \(size) bytes that were announced")
        }
        isWhole = try send(Array(buffer[..<count]))
        progress(count)
        rest -= UInt64(count)
      }
    }
    let answer = try answer()
    // If it responded before the whole body was sent, the rest of it in the pipe would be read as a request.
    isUsable = isWhole
    return answer
  }

  /// False if it has already responded, or has exited.
  private func send(_ bytes: [UInt8]) throws(Failure) -> Bool {
    var done = 0
    var deadline = deadline()
    var sentWaits = waits
    while done < bytes.count {
      if hasBegunToAnswer() { return false }
      if waits > sentWaits {
        sentWaits = waits
        deadline = self.deadline()
        pace = .least
      }
      let ready = try wait(input: true, output: !outputEnded, until: deadline)
      if ready.errors { try relayErrors() }
      if ready.output { _ = try takeOutput() }
      guard ready.input else { continue }
      guard let count = try process.send(bytes.span.extracting(done..<bytes.count)) else {
        return false
      }
      done += count
      try moved(count)
      if count > 0 { deadline = self.deadline() }
    }
    return true
  }

  /// Whether it has sent anything but `wait` before the whole request was sent.
  private func hasBegunToAnswer() -> Bool {
    let wait = Array("wait\n".utf8)
    while buffered >= wait.count, incoming[start...].starts(with: wait) {
      start += wait.count
      waits += 1
      if waits > HelperConnection.waitLimit { return true }
    }
    return !wait.starts(with: incoming[start...])
  }

  private func answer() throws(Failure) -> HelperAnswer {
    latest = monotonicNanoseconds() + HelperConnection.answerLimit * 1_000_000_000
    while waits <= HelperConnection.waitLimit {
      let line = try line()
      guard let answer = HelperAnswer(line) else {
        throw nonsense("answered \(RawPath(Array(line.prefix(80))).display)")
      }
      if answer.words != ["wait"] { return answer }
      waits += 1
      pace = .least
      if monotonicNanoseconds() > latest { throw silent() }
    }
    throw nonsense("reports only that it is working")
  }

  /// Treats what follows a response line as the bytes of an object.
  ///
  /// - Parameter isWhole: whether the bytes cannot be used until all have arrived.
  func expect(_ size: UInt64, isWhole: Bool = false) {
    left = size
    pace = .least
    wholePace = isWhole ? .whole : nil
  }

  /// The next line of a response of several lines.
  func next() throws(Failure) -> HelperAnswer {
    if monotonicNanoseconds() > latest { throw silent() }
    let line = try line()
    guard let answer = HelperAnswer(line) else {
      throw nonsense("answered \(RawPath(Array(line.prefix(80))).display)")
    }
    return answer
  }

  /// The failure for a response that does not fit the request.
  func unexpected(_ answer: HelperAnswer) -> Failure {
    nonsense("answered '\(answer.words.joined(separator: " ").prefix(80))'")
  }

  /// Reads and discards the rest of a response body; false if it is longer than `limit`.
  func skip(upTo limit: UInt64) throws(Failure) -> Bool {
    guard isUsable, left <= limit else { return false }
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while left > 0 { _ = try read(into: &buffer) }
    return true
  }
}

/// A line from a helper: words of visible ASCII separated by single blanks, or an error with a message.
struct HelperAnswer: Equatable {
  let words: [String]
  /// The message of an `error`.
  let text: String

  /// Nil for an invalid line.
  init?(_ line: [UInt8]) {
    if line == Array("error".utf8) { return nil }
    if line.starts(with: "error ".utf8) {
      let pieces = line.split(
        separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
      guard pieces.count == 3, !pieces[1].isEmpty,
        pieces[1].allSatisfy({ (0x61...0x7a).contains($0) })
      else { return nil }
      words = ["error", String(decoding: pieces[1], as: UTF8.self)]
      text = HelperConnection.readable(Array(pieces[2]))
      return
    }
    let pieces = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
    guard line.allSatisfy({ (0x20...0x7e).contains($0) }), pieces.allSatisfy({ !$0.isEmpty }) else {
      return nil
    }
    words = pieces.map { String(decoding: $0, as: UTF8.self) }
    text = ""
  }
}
