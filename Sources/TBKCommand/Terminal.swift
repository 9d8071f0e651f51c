import Glibc
import TBKCore

/// The controlling terminal, whatever standard input and output are.
package final class Terminal {
  private let descriptor: Descriptor

  /// Fails where there is no terminal.
  package init() throws(Failure) {
    descriptor = try Descriptor.workingDirectory.open(RawPath("/dev/tty"), O_RDWR)
  }

  /// Asks for a line without showing it; the line may be empty.
  ///
  /// - Parameter limit: the most bytes; a longer line is a `.usage` failure.
  package func secret(_ prompt: String, limit: Int) throws(Failure) -> Secret {
    var shown = termios()
    guard unsafe tcgetattr(descriptor.number, &shown) == 0 else {
      throw .system("cannot set up the terminal")
    }
    var hidden = shown
    hidden.c_lflag &= ~tcflag_t(ECHO)
    unsafe tcsetattr(descriptor.number, TCSAFLUSH, &hidden)
    defer {
      unsafe tcsetattr(descriptor.number, TCSAFLUSH, &shown)
      _ = try? descriptor.write(Array("\n".utf8).span)
    }
    try descriptor.write(Array(prompt.utf8).span)
    var line = [UInt8](repeating: 0, count: limit + 1)
    defer { wipe(&line) }
    var one: [UInt8] = [0]
    defer { wipe(&one) }
    var count = 0
    while try descriptor.read(into: &one) == 1, one[0] != UInt8(ascii: "\n") {
      guard count < limit else {
        throw Failure(.usage, "what was entered is longer than \(limit) bytes")
      }
      line[count] = one[0]
      count += 1
    }
    return try Secret(copying: line.span.extracting(0..<count))
  }
}
