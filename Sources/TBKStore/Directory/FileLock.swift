import Glibc
import TBKCore

/// An exclusive flock(2) on a file. The kernel drops it with its holder, so none goes stale.
package final class FileLock {
  private let file: Descriptor

  /// Waits for the lock of `name` in `directory`, a file that is made if need be and stays.
  ///
  /// - Parameters:
  ///   - maximumWait: seconds; then `.tryAgain`.
  ///   - what: what the failure calls it, as in "the store 'x'".
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
      // At random, so that two who wait do not keep meeting a third.
      usleep(useconds_t.random(in: pause / 2...pause))
      pause = min(pause * 2, 50_000)
    }
  }

  /// Takes the lock of an open file if nobody holds it.
  static func take(_ file: Descriptor) throws(Failure) -> Bool {
    while flock(file.number, LOCK_EX | LOCK_NB) != 0 {
      if errno == EWOULDBLOCK { return false }
      guard errno == EINTR else { throw .system("cannot lock") }
      try Interruption.check()
    }
    return true
  }

  /// Ends the lock; it also ends with the object.
  package func release() { _ = flock(file.number, LOCK_UN) }

  deinit { release() }
}
