import TBKCore

/// A system program that is run to completion, such as crontab or secret-tool. Its environment has no secrets, and its
/// messages are in English.
struct StockTool {
  /// How a program ended.
  struct Outcome {
    /// The exit status as in a shell; nil if it timed out and was ended.
    let status: Int32?
    /// Its output, up to the limit.
    var output: [UInt8]
    let errors: String

    /// The first line of its error messages, without its name; empty if there are none.
    var complaint: String { StockTool.complaint(in: errors) }
  }

  private let name: String
  private let path: RawPath

  /// Nil if it is not in PATH.
  init?(_ name: String) throws(Failure) {
    guard let path = try findProgram(name) else { return nil }
    self.name = name
    self.path = path
  }

  /// - Parameters:
  ///   - input: its standard input.
  ///   - limit: the most bytes of output; beyond that, throws `.malformed`. The buffer is never reallocated, so that a
  ///     secret in it can be wiped.
  ///   - seconds: the time limit; nil for none.
  func run(
    _ arguments: [[UInt8]], input: Span<UInt8>, limit: Int = 4096, seconds: Int? = nil
  ) throws(Failure) -> Outcome {
    let environment = SecretVariables.environmentWithout().filter { !$0.starts(with: "LC_ALL=".utf8) }
    let process = try PipedProcess(
      path, [Array(name.utf8)] + arguments, environment: environment + [Array("LC_ALL=C".utf8)])
    do throws(Failure) {
      return try Self.attend(process, name, input, limit, seconds)
    } catch {
      process.abandon()
      throw error
    }
  }

  func run(
    _ arguments: [String], input: [UInt8] = [], limit: Int = 4096, seconds: Int? = nil
  ) throws(Failure) -> Outcome {
    try run(arguments.map { Array($0.utf8) }, input: input.span, limit: limit, seconds: seconds)
  }

  private static func attend(
    _ process: PipedProcess, _ name: String, _ input: Span<UInt8>, _ limit: Int, _ seconds: Int?
  ) throws(Failure) -> Outcome {
    let clock = ContinuousClock()
    let deadline = seconds.map { clock.now + .seconds($0) }
    var sent = 0
    var sending = true
    var output = [UInt8](repeating: 0, count: limit)
    var length = 0
    var errors: [UInt8] = []
    var (hasOutput, hasErrors) = (true, true)
    var buffer = [UInt8](repeating: 0, count: 4096)
    defer { wipe(&buffer) }
    while hasOutput || hasErrors {
      if sending, sent == input.count {
        process.closeInput()
        sending = false
      }
      let ready = try process.wait(input: sending, output: hasOutput, errors: hasErrors, milliseconds: 100)
      if ready.input {
        if let more = try process.send(input.extracting(sent...)) { sent += more } else { sent = input.count }
      }
      if ready.output {
        if let more = try process.receive(into: &buffer) {
          guard length + more <= limit else {
            wipe(&output)
            throw Failure(.malformed, "\(name) prints more than \(limit) bytes")
          }
          for index in 0..<more { output[length + index] = buffer[index] }
          length += more
        } else {
          hasOutput = false
        }
      }
      if ready.errors {
        if let more = try process.receive(into: &buffer, errors: true) {
          if errors.count < 4096 { errors += buffer[..<more] }
        } else {
          hasErrors = false
        }
      }
      if ready.input || ready.output || ready.errors { continue }
      // A process that it left running may keep the pipes open.
      if !sending, process.wait(milliseconds: 0) != nil { break }
      if let deadline, clock.now >= deadline {
        process.abandon()
        wipe(&output)
        return Outcome(status: nil, output: [], errors: "")
      }
    }
    process.closeInput()
    var status = process.wait(milliseconds: 100)
    while status == nil {
      try Interruption.check()
      status = process.wait(milliseconds: 100)
      if status == nil, let deadline, clock.now >= deadline { break }
    }
    output.removeLast(output.count - length)
    return Outcome(status: status, output: output, errors: String(decoding: errors, as: UTF8.self))
  }

  static func complaint(in errors: String) -> String {
    for line in errors.split(whereSeparator: \.isNewline) {
      var text = String(line.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7f })
      if text.isEmpty { continue }
      if let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")), colon > text.startIndex,
        text[..<colon].utf8.allSatisfy({ (97...122).contains($0) || $0 == UInt8(ascii: "-") }),
        text[colon...].hasPrefix(": ")
      {
        text = String(text[colon...].dropFirst(2))
      }
      return text
    }
    return ""
  }
}
