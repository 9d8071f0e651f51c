import CSystem
import Glibc
import TBKCore

/// Whose turn it is on a terminal that several commands of a pipe share: flock(2) on the terminal's own
/// file. A prompt has it to itself, and no progress is drawn meanwhile.
///
/// Where the terminal cannot be found or opened, everybody has a turn.
final class TerminalTurn {
  private let file: Descriptor

  private init(_ file: Descriptor) { self.file = file }

  deinit { flock(file.number, LOCK_UN) }

  /// Waits until no other command prompts, or draws progress.
  static func take() throws(Failure) -> TerminalTurn? {
    guard let file = open() else { return nil }
    while flock(file.number, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR else { return nil }
      try Interruption.check()
      usleep(20_000)
    }
    return TerminalTurn(file)
  }

  /// The terminal that standard error, or else input or output, leads to: /dev/tty has one file for all.
  static func open() -> Descriptor? {
    for number: Int32 in [2, 0, 1] {
      var name = [CChar](repeating: 0, count: 4096)
      let count = name.count
      let found = unsafe name.withUnsafeMutableBufferPointer { buffer in
        unsafe ttyname_r(number, buffer.baseAddress!, count)
      }
      guard found == 0 else { continue }
      let path = RawPath(name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) })
      if let file = try? Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_NOCTTY | O_NONBLOCK) {
        return file
      }
    }
    return nil
  }

  /// Does something short on the terminal unless a prompt is there.
  static func borrow(_ file: Descriptor?, _ body: () -> Void) {
    guard let file else { return body() }
    guard flock(file.number, LOCK_SH | LOCK_NB) == 0 else { return }
    body()
    flock(file.number, LOCK_UN)
  }
}
