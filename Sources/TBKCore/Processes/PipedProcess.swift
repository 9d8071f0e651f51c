import CSystem
import Glibc

/// A child process whose three standard streams are non-blocking pipes to us.
///
/// It runs in its own process group, which is killed when this object is deinitialised; if this process is killed, the
/// child gets SIGTERM. It inherits no other descriptor.
package final class PipedProcess {
  /// Which streams can be used without waiting, or have ended.
  package struct Readiness {
    package var input = false
    package var output = false
    package var errors = false
  }

  private let process: pid_t
  private var ended: Int32?
  private var input: Descriptor?
  private let output: Descriptor
  private let errors: Descriptor

  /// - Parameters:
  ///   - arguments: starts with `argv[0]`.
  ///   - environment: the whole environment, as `NAME=VALUE`.
  package init(
    _ program: RawPath, _ arguments: [[UInt8]], environment: [[UInt8]]
  ) throws(Failure) {
    if (arguments + environment + [program.bytes]).contains(where: { $0.contains(0) }) {
      throw Failure(.usage, "a command holds a NUL byte")
    }
    let (theirInput, ourInput) = try PipedProcess.pipe()
    let (ourOutput, theirOutput) = try PipedProcess.pipe()
    let (ourErrors, theirErrors) = try PipedProcess.pipe()
    for end in [ourInput, ourOutput, ourErrors] {
      if fcntl(end.number, F_SETFL, O_NONBLOCK) != 0 { throw .system("cannot set up a pipe") }
    }
    let vector = unsafe argumentVector(arguments)
    let variables = unsafe argumentVector(environment)
    defer {
      unsafe (vector + variables).forEach { unsafe free($0) }
    }
    var child: pid_t = 0
    let result = try unsafe program.withCString { (path) throws(Failure) in
      unsafe tbk_spawn(
        path, vector, variables, theirInput.number, theirOutput.number, theirErrors.number, &child)
    }
    guard result == 0 else {
      throw .starting("cannot run \(program.display)", errno: result, missing: .unavailable)
    }
    process = child
    input = ourInput
    output = ourOutput
    errors = ourErrors
  }

  deinit { end() }

  /// Creates a pipe; both ends are close-on-exec.
  package static func pipe() throws(Failure) -> (reading: Descriptor, writing: Descriptor) {
    var ends: [Int32] = [0, 0]
    guard unsafe tbk_pipe(&ends) == 0 else { throw .system("cannot create a pipe") }
    return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
  }

  // MARK: Streams

  /// Waits until one of the selected streams is ready; returns early when a signal arrives.
  package func wait(
    input: Bool, output: Bool, errors: Bool, milliseconds: Int
  ) throws(Failure) -> Readiness {
    try Interruption.check()
    var entries = [
      pollfd(fd: input ? self.input?.number ?? -1 : -1, events: Int16(POLLOUT), revents: 0),
      pollfd(fd: output ? self.output.number : -1, events: Int16(POLLIN), revents: 0),
      pollfd(fd: errors ? self.errors.number : -1, events: Int16(POLLIN), revents: 0),
    ]
    let count = unsafe poll(&entries, 3, Int32(clamping: milliseconds))
    if count < 0, errno != EINTR { throw .system("cannot wait for a program") }
    try Interruption.check()
    if count <= 0 { return Readiness() }
    return Readiness(
      input: entries[0].revents != 0, output: entries[1].revents != 0,
      errors: entries[2].revents != 0)
  }

  /// Sends as much as the pipe has room for. Nil if the other end is closed.
  package func send(_ bytes: Span<UInt8>) throws(Failure) -> Int? {
    guard let input else { return nil }
    let count = unsafe bytes.withUnsafeBytes { raw in
      unsafe Glibc.write(input.number, raw.baseAddress, raw.count)
    }
    if count >= 0 { return count }
    switch errno {
    case EAGAIN, EINTR: return 0
    case EPIPE: return nil
    default: throw .system("cannot write to a program")
    }
  }

  /// Reads what is available, at most `buffer.count` bytes. Nil at the end, 0 if there is nothing yet.
  package func receive(
    into buffer: inout [UInt8], errors wantsErrors: Bool = false
  ) throws(Failure) -> Int? {
    let number = (wantsErrors ? errors : output).number
    let count = unsafe buffer.withUnsafeMutableBytes { raw in
      unsafe Glibc.read(number, raw.baseAddress, raw.count)
    }
    if count > 0 { return count }
    if count == 0 { return nil }
    guard errno == EAGAIN || errno == EINTR else { throw .system("cannot read from a program") }
    return 0
  }

  // MARK: The end

  /// Closes its standard input, to signal the end of the input.
  package func closeInput() { input = nil }

  /// Waits for it to exit by itself. Returns its exit status as a shell reports it; nil if it is still running.
  package func wait(milliseconds: Int) -> Int32? {
    var left = milliseconds
    while ended == nil {
      var status: Int32 = 0
      let result = unsafe waitpid(process, &status, WNOHANG)
      if result == process {
        ended = status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
      } else if result < 0, errno != EINTR {
        ended = 0
      } else if left <= 0 {
        return nil
      } else {
        usleep(5000)
        left -= 5
      }
    }
    return ended
  }

  /// Kills it and everything it has started before its standard input closes, so that it cannot mistake partial input
  /// for all of it.
  package func abandon() {
    if wait(milliseconds: 0) == nil { kill(-process, SIGKILL) }
    end(patience: 1000)
  }

  /// Ends it, and everything it has started.
  ///
  /// - Parameter patience: milliseconds to wait after closing its input, and again after SIGTERM.
  package func end(patience: Int = 2000) {
    closeInput()
    if wait(milliseconds: patience) == nil {
      kill(-process, SIGTERM)
      _ = wait(milliseconds: patience)
    }
    // The group lasts as long as any member, even after its leader has exited.
    kill(-process, SIGKILL)
    while wait(milliseconds: 1000) == nil {}
  }
}
