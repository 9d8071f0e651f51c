import CSystem
import Glibc
import TBKCore

/// A lock on a terminal shared by several commands of a pipeline: flock(2) on the terminal's own file. A prompt takes
/// it exclusively, and no progress is drawn meanwhile.
///
/// If the terminal cannot be found or opened, there is no locking.
final class TerminalTurn {
  private let file: Descriptor

  private init(_ file: Descriptor) { self.file = file }

  deinit { flock(file.number, LOCK_UN) }

  /// Waits until no other command prompts or draws progress.
  static func take() throws(Failure) -> TerminalTurn? {
    guard let file = open() else { return nil }
    while flock(file.number, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR else { return nil }
      try Interruption.check()
      usleep(20_000)
    }
    return TerminalTurn(file)
  }

  /// The terminal of standard error, or else of input or output: not /dev/tty, which is one file for all terminals.
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

  /// Runs `body`, something short on the terminal, unless there is a prompt.
  static func borrow(_ file: Descriptor?, _ body: () -> Void) {
    guard let file else { return body() }
    guard flock(file.number, LOCK_SH | LOCK_NB) == 0 else { return }
    body()
    flock(file.number, LOCK_UN)
  }
}
