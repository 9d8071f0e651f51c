import CSystem
import Glibc

/// A program that is spoken to: its three standard streams are pipes of ours, which never block us.
///
/// It is in a process group of its own, which ends with this object; if this process is killed, it
/// gets SIGTERM. No other descriptor of ours is open in it.
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
  ///   - arguments: the name it is called by first.
  ///   - environment: all of it, as `NAME=VALUE`.
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

  /// Both ends, which no program that is started inherits.
  package static func pipe() throws(Failure) -> (reading: Descriptor, writing: Descriptor) {
    var ends: [Int32] = [0, 0]
    guard unsafe tbk_pipe(&ends) == 0 else { throw .system("cannot create a pipe") }
    return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
  }

  // MARK: Streams

  /// Waits for one of the streams that are asked for; returns early when a signal arrives.
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

  /// Sends as much as there is room for. Nil if nobody reads any more.
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

  /// Takes what is there: at most `buffer.count` bytes. Nil at the end, 0 if there is nothing yet.
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

  /// Ends its standard input, by which it knows that nothing more comes.
  package func closeInput() { input = nil }

  /// Waits for it to end of its own accord. Returns how it did, as a shell would have it; nil if it
  /// has not.
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

  /// Kills it, and with it what it has started, before its standard input ends: what it was given in part is not
  /// taken for all there is.
  package func abandon() {
    if wait(milliseconds: 0) == nil { kill(-process, SIGKILL) }
    end(patience: 1000)
  }

  /// Ends it, and with it what it has started and left behind.
  ///
  /// - Parameter patience: milliseconds to wait for each: its own accord, then SIGTERM.
  package func end(patience: Int = 2000) {
    closeInput()
    if wait(milliseconds: patience) == nil {
      kill(-process, SIGTERM)
      _ = wait(milliseconds: patience)
    }
    // The group outlives its leader as long as anything is in it.
    kill(-process, SIGKILL)
    while wait(milliseconds: 1000) == nil {}
  }
}
