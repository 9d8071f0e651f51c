import CSystem
import Glibc
import Synchronization

/// Signals that end the process, turned into a `Failure` that unwinds and cleans up on the way.
///
/// The handler notes the signal and starts a timer that keeps interrupting blocked calls; every
/// read and write of this module checks the note. A second signal ends the process at once, without
/// its temporary files.
package enum Interruption {
  private static let received = Atomic<Int32>(0)

  /// The signal that arrived, or nil.
  package static var signal: Int32? {
    let number = received.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }

  /// What would end the process where it stands, with its temporary files still there. The others
  /// that do are faults of the program, or cannot be handled.
  private static let ending = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU, SIGUSR1, SIGUSR2]

  /// Installs the handlers; to be called once, before any thread is started. SIGPIPE and SIGXFSZ
  /// become errors of the write that met them, so that temporary files are removed first.
  package static func install() {
    // What nohup(1) or a shell's background job ignores stays ignored.
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

  /// The failure that a program ends with after a signal that people do not send; nil after others,
  /// which need no message.
  package static var failure: Failure? {
    signal != SIGXCPU
      ? nil
      : Failure(
        .exhausted, "the limit of processor time is reached",
        hint: "raise it with 'ulimit -t', or start the command again")
  }

  /// Throws `.interrupted` if a signal has arrived. To be called at least once a chunk.
  package static func check() throws(Failure) {
    if received.load(ordering: .relaxed) != 0 {
      throw Failure(.interrupted, "interrupted")
    }
  }
}
