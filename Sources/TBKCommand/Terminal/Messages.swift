import CSystem
import Glibc
import Synchronization
import TBKCore

/// A command's messages to the user, on standard error.
package enum Messages {
  private struct Settings {
    var program = "tbk"
    var json = false
    var quiet = false
  }

  private static let settings = Mutex(Settings())

  /// The name before every message.
  package static var program: String {
    get { settings.withLock { $0.program } }
    set { settings.withLock { $0.program = newValue } }
  }

  /// Whether failures are reported as JSON.
  package static var json: Bool {
    get { settings.withLock { $0.json } }
    set { settings.withLock { $0.json = newValue } }
  }

  /// Whether to suppress notices. Warnings and errors are always shown.
  package static var quiet: Bool {
    get { settings.withLock { $0.quiet } }
    set { settings.withLock { $0.quiet = newValue } }
  }

  /// Something missing from the result, or that will fail later.
  package static func warning(_ text: String) {
    put("\(program): \(coloured("warning: ", yellow))\(text)\n")
  }

  /// Something worth knowing, which `--quiet` suppresses.
  package static func notice(_ text: String) {
    if !quiet { put("\(program): \(text)\n") }
  }

  /// A message of another program, which `--quiet` does not suppress.
  package static func relay(_ text: String) { put("\(program): \(text)\n") }

  /// Reports a failure. If this process is a stage, the report is also recorded as JSON after its status, for its
  /// caller to print if JSON is asked for.
  package static func report(_ failure: Failure) {
    let note = Array((jsonReport(failure) + "\n").utf8)
    let isNoted = unsafe note.withUnsafeBufferPointer { bytes in
      unsafe bytes.withMemoryRebound(to: CChar.self) { unsafe tbk_note_stage($0.baseAddress!, $0.count) }
    }
    // The caller of a stage with empty input knows whether another stage failed.
    if isNoted != 0, json || failure == .emptyArchive { return }
    put(text(of: failure))
  }

  /// An error found by a script.
  package static func error(_ message: String, hint: String?) { put(text(message, hint)) }

  /// The complete report, with the final newline.
  static func text(of failure: Failure) -> String {
    json ? jsonReport(failure) + "\n" : text(failure.message, failure.hint)
  }

  private static func text(_ message: String, _ hint: String?) -> String {
    let text = "\(program): \(coloured("error: ", red))\(message)\n"
    return hint.map { "\(text)\(program): hint: \($0)\n" } ?? text
  }

  private static let red = 31
  private static let yellow = 33

  /// Whether output to this descriptor may be coloured.
  package static func isColoured(_ output: Descriptor) -> Bool {
    let forbidden = environment("NO_COLOR") ?? []
    let terminal = environment("TERM") ?? []
    return !json && forbidden.isEmpty && !terminal.isEmpty && terminal != Array("dumb".utf8)
      && output.isTerminal
  }

  /// The text in a colour, if the terminal supports it and NO_COLOR is not set.
  private static func coloured(_ text: String, _ colour: Int) -> String {
    guard isColoured(.standardError) else { return text }
    return "\u{1b}[\(colour)m\(text)\u{1b}[0m"
  }

  private static func jsonReport(_ failure: Failure) -> String {
    jsonReport(failure.typeName, failure.message, failure.hint, failure.exitStatus, failure.httpStatus)
  }

  /// An error as JSON, without a newline.
  package static func jsonReport(
    _ type: String, _ message: String, _ hint: String?, _ status: Int32, _ httpStatus: Int? = nil
  ) -> String {
    var members = [
      "\"type\":\(quote(type))", "\"message\":\(quote(message))",
      "\"hint\":\(hint.map(quote) ?? "null")", "\"status\":\(status)",
    ]
    if let httpStatus { members.append("\"http_status\":\(httpStatus)") }
    return "{\"error\":{\(members.joined(separator: ","))}}"
  }

  private static func quote(_ text: String) -> String {
    var output = "\""
    for unit in text.utf16 {
      switch unit {
      case 0x22: output += "\\\""
      case 0x5c: output += "\\\\"
      case 0x20..<0x7f: output.unicodeScalars.append(Unicode.Scalar(UInt8(unit)))
      default:
        let hex = String(unit, radix: 16)
        output += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      }
    }
    return output + "\""
  }

  /// If standard error cannot be written, messages are lost without an error.
  private static func put(_ text: String) {
    ProgressMeter.eraseCurrent()
    Descriptor.standardError.writeMessage(Array(text.utf8).span)
  }
}

/// Standard output of commands that print text: buffered, and checked when flushed.
package enum StandardOutput {
  private static let buffer = Mutex<[UInt8]>([])

  package static func write(_ text: String) throws(Failure) { try write(Array(text.utf8)) }

  package static func write(_ bytes: [UInt8]) throws(Failure) {
    let full = buffer.withLock { buffer in
      buffer += bytes
      return buffer.count >= chunkSize
    }
    if full { try flush() }
  }

  /// Writes everything out; a failure is a failure of the command.
  package static func flush() throws(Failure) {
    let pending = buffer.withLock { buffer in
      let pending = buffer
      buffer.removeAll(keepingCapacity: true)
      return pending
    }
    if pending.isEmpty { return }
    do throws(Failure) {
      try Descriptor.standardOutput.write(pending.span)
    } catch {
      throw error.within("standard output")
    }
  }

  /// Refuses to send binary data to a terminal.
  package static func refuseTerminal(_ what: String, hint: String) throws(Failure) {
    if Descriptor.standardOutput.isTerminal {
      throw Failure(.usage, "refusing to write \(what) to a terminal", hint: hint)
    }
  }
}
