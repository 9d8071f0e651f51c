import CSystem
import Glibc
import Synchronization

/// SIGINT and SIGTERM, turned into a `Failure` that unwinds and cleans up on the way.
///
/// The handler notes the signal and starts a timer that keeps interrupting blocked calls; every
/// read and write of this module checks the note. A second signal ends the process at once.
package enum Interruption {
  private static let received = Atomic<Int32>(0)

  /// The signal that arrived, or nil.
  package static var signal: Int32? {
    let number = received.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }

  /// Installs the handlers; to be called once, before any thread is started. SIGPIPE becomes an
  /// error of the write that met it, so that temporary files are removed first.
  package static func install() {
    // What nohup(1) or a shell's background job ignores stays ignored.
    for number in [SIGINT, SIGTERM, SIGHUP] where tbk_signal_is_ignored(number) == 0 {
      _ = tbk_handle_signal(number) { arrived in
        let (first, _) = Interruption.received.compareExchange(
          expected: 0, desired: arrived, ordering: .relaxed)
        if !first { _exit(128 + arrived) }
        tbk_start_nudging()
      }
    }
    _ = tbk_handle_signal(SIGALRM) { _ in }
    _ = tbk_ignore_signal(SIGPIPE)
  }

  /// Throws `.interrupted` if a signal has arrived. To be called at least once a chunk.
  package static func check() throws(Failure) {
    if received.load(ordering: .relaxed) != 0 {
      throw Failure(.interrupted, "interrupted")
    }
  }
}
