import CSystem
import Glibc

/// A child process whose standard output is read through a pipe.
///
/// Its standard input is `/dev/null` or, with `isSpokenTo`, a pipe; it shares our standard error. If we stop reading,
/// its next write ends it with SIGPIPE.
package final class ChildProcess {
  private let process: pid_t
  private var reaped = false
  /// The command's standard output.
  package let output: Descriptor
  /// The write end of its standard input; nil if that is `/dev/null`.
  package private(set) var input: Descriptor?

  /// - Parameters:
  ///   - arguments: the command, looked up in PATH if it has no slash, and its arguments; no expansion.
  ///   - environment: the whole environment, as `NAME=VALUE`.
  ///   - isSpokenTo: whether its standard input is a pipe from us.
  package init(
    _ arguments: [[UInt8]], environment: [[UInt8]] = processEnvironment(), isSpokenTo: Bool = false
  ) throws(Failure) {
    guard let command = arguments.first, !command.isEmpty else {
      throw Failure(.usage, "no command is given")
    }
    if arguments.contains(where: { $0.contains(0) }) {
      throw Failure(.usage, "a command holds a NUL byte")
    }
    var ends: [Int32] = [0, 0]
    let theirInput: Descriptor
    if isSpokenTo {
      guard unsafe tbk_pipe(&ends) == 0 else { throw .system("cannot create a pipe") }
      theirInput = Descriptor(owning: ends[0])
      input = Descriptor(owning: ends[1])
    } else {
      theirInput = try Descriptor.workingDirectory.open(RawPath("/dev/null"), O_RDONLY)
    }
    guard unsafe tbk_pipe(&ends) == 0 else { throw .system("cannot create a pipe") }
    output = Descriptor(owning: ends[0])
    let writing = Descriptor(owning: ends[1])

    process = try spawnProcess(
      arguments, environment: environment, descriptors: [(theirInput, as: 0), (writing, as: 1)],
      defaults: [SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGALRM], failing: "cannot run \(RawPath(command).display)")
  }

  deinit {
    if reaped { return }
    kill(process, SIGTERM)
    for _ in 0..<100 {
      var status: Int32 = 0
      if unsafe waitpid(process, &status, WNOHANG) != 0 { return }
      usleep(10_000)
    }
    // It ignored SIGTERM.
    kill(process, SIGKILL)
    var status: Int32 = 0
    while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
  }

  /// Closes its standard input and waits for it to exit. Returns its exit status as a shell reports it; nil if it is
  /// still running after `milliseconds`.
  package func end(milliseconds: Int) -> Int32? {
    input = nil
    for _ in 0...max(0, milliseconds / 5) where !reaped {
      var status: Int32 = 0
      if unsafe waitpid(process, &status, WNOHANG) == process {
        reaped = true
        return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
      }
      usleep(5000)
    }
    return nil
  }

  /// Waits for it to exit. Returns how the command failed; nil if it succeeded.
  package func wait() throws(Failure) -> String? {
    var status: Int32 = 0
    while unsafe waitpid(process, &status, 0) < 0 {
      if errno != EINTR { throw .system("cannot wait for a command") }
      try Interruption.check()
    }
    reaped = true
    if status & 0x7f == 0 {
      let code = status >> 8 & 0xff
      return code == 0 ? nil : "exit status \(code)"
    }
    return "signal \(status & 0x7f)"
  }
}

/// A null-terminated array of C strings. The caller frees each string.
package func argumentVector(_ texts: [[UInt8]]) -> [UnsafeMutablePointer<CChar>?] {
  var vector: [UnsafeMutablePointer<CChar>?] = unsafe texts.map { text in
    let terminated = text.map { CChar(bitPattern: $0) } + [0]
    return unsafe strdup(terminated)
  }
  unsafe vector.append(nil)
  return unsafe vector
}

/// Splits a command into words as a POSIX shell does: quotes and backslashes work, nothing is expanded.
package func splitShellWords(_ text: [UInt8]) throws(Failure) -> [[UInt8]] {
  var words: [[UInt8]] = []
  var word: [UInt8]?
  var quote: UInt8?
  var index = 0
  while index < text.count {
    let byte = text[index]
    index += 1
    switch (quote, byte) {
    case (UInt8(ascii: "'"), _):
      if byte == UInt8(ascii: "'") { quote = nil } else { word?.append(byte) }
    case (_, UInt8(ascii: "\\")):
      guard index < text.count else {
        throw Failure(.usage, "a command ends with a backslash")
      }
      let next = text[index]
      index += 1
      if next == UInt8(ascii: "\n") { continue }  // The line continues.
      if quote != nil,
        ![UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "$"), UInt8(ascii: "`")]
          .contains(next)
      {
        word = (word ?? []) + [byte, next]
      } else {
        word = (word ?? []) + [next]
      }
    case (UInt8(ascii: "\""), UInt8(ascii: "\"")): quote = nil
    case (nil, UInt8(ascii: "'")), (nil, UInt8(ascii: "\"")):
      quote = byte
      word = word ?? []
    case (nil, 0x20), (nil, 0x09), (nil, 0x0a):
      if let complete = word { words.append(complete) }
      word = nil
    default: word = (word ?? []) + [byte]
    }
  }
  if quote != nil { throw Failure(.usage, "a command has an unclosed quote") }
  if let complete = word { words.append(complete) }
  return words
}
