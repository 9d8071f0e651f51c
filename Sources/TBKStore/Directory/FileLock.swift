import Glibc
import TBKCore

/// An exclusive flock(2) on a file. The kernel releases it when its holder exits, so none goes stale.
package final class FileLock {
  private let file: Descriptor

  /// Waits for the lock of `name` in `directory`; the file is created if it is missing, and stays.
  ///
  /// - Parameters:
  ///   - maximumWait: in seconds; then throws `.tryAgain`.
  ///   - what: the name for the failure, such as "the store 'x'".
  package init(
    _ name: RawPath, in directory: Descriptor, maximumWait: Int, what: String
  ) throws(Failure) {
    file = try directory.openOwned(name, O_RDWR | O_NOFOLLOW | O_NONBLOCK)
    let deadline = monotonicNanoseconds() + Int64(maximumWait) * 1_000_000_000
    var pause: useconds_t = 2000
    while !(try FileLock.take(file)) {
      try Interruption.check()
      guard monotonicNanoseconds() < deadline else {
        throw Failure(
          .tryAgain, "\(what) has been locked by another process for \(maximumWait) s",
          hint: "try again when it has finished")
      }
      // Randomised, so that two waiting processes do not keep colliding.
      usleep(useconds_t.random(in: pause / 2...pause))
      pause = min(pause * 2, 50_000)
    }
  }

  /// Takes the lock of an open file. False if another process has it.
  static func take(_ file: Descriptor) throws(Failure) -> Bool {
    while flock(file.number, LOCK_EX | LOCK_NB) != 0 {
      if errno == EWOULDBLOCK { return false }
      guard errno == EINTR else { throw .system("cannot lock") }
      try Interruption.check()
    }
    return true
  }

  /// Releases the lock, as deinit does.
  package func release() { _ = flock(file.number, LOCK_UN) }

  deinit { release() }
}
