import CSystem
import Glibc
import Synchronization

/// Turns signals that end the process into a `Failure`, so that the process unwinds and cleans up.
///
/// The handler records the signal and starts a timer that keeps interrupting blocked calls; every read and write of
/// this module checks for it. A second signal removes the temporary files and ends the process at once.
package enum Interruption {
  private static let received = Atomic<Int32>(0)

  /// The signal that arrived, or nil.
  package static var signal: Int32? {
    let number = received.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }

  /// Signals that would end the process at once and leave its temporary files behind. The other such signals are
  /// program faults or cannot be handled.
  private static let ending = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU, SIGUSR1, SIGUSR2]

  /// Installs the handlers. Call it once, before any thread is started. SIGPIPE and SIGXFSZ become errors of the write,
  /// so that temporary files are removed.
  package static func install() {
    // Signals that nohup(1) or the shell ignores for us stay ignored.
    for number in ending where tbk_signal_is_ignored(number) == 0 {
      _ = tbk_handle_signal(number) { arrived in
        let (first, before) = Interruption.received.compareExchange(
          expected: 0, desired: arrived, ordering: .relaxed)
        // The kernel repeats SIGXCPU every second, until the hard limit kills.
        if !first, arrived != SIGXCPU || before != SIGXCPU {
          tbk_remove_unfinished()
          tbk_end(128 + arrived)
        }
        tbk_start_nudging()
      }
    }
    tbk_leave_time_to_end()
    _ = tbk_handle_signal(SIGALRM) { _ in }
    _ = tbk_ignore_signal(SIGPIPE)
    _ = tbk_ignore_signal(SIGXFSZ)
  }

  /// The failure to report after a signal that no person sends (SIGXCPU); nil for other signals, which need no message.
  package static var failure: Failure? {
    signal != SIGXCPU
      ? nil
      : Failure(
        .exhausted, "the limit of processor time is reached",
        hint: "raise it with 'ulimit -t', or start the command again")
  }

  /// Throws `.interrupted` if a signal has arrived. Call it at least once per chunk.
  package static func check() throws(Failure) {
    if received.load(ordering: .relaxed) != 0 {
      throw Failure(.interrupted, "interrupted")
    }
  }
}
