// A lack of something is no answer about data: it is a failure of its own, or the end of the process.

import CSystem
import Glibc

extension Failure {
  /// What the process says that cannot even unwind.
  package static let exhaustedProcess = Failure(
    .exhausted, "out of memory or threads",
    hint: "free some, or raise the limits ('ulimit -v', 'ulimit -u', or those of the container)")

  /// What this process has run out of, as far as trying shows; nil if all of it is there. For failures of
  /// libraries that do not say it.
  package static var ofExhaustion: Failure? {
    do throws(Failure) {
      var files: [Descriptor] = []
      for _ in 0..<4 {
        files.append(try Descriptor.workingDirectory.open(RawPath("/dev/null"), O_RDONLY))
      }
      _ = try WorkerThread {}
      return nil
    } catch {
      return error.code == .exhausted ? error : nil
    }
  }
}

/// Ends the process, which is in no state to go on: see `tbk_end_exhausted`.
package func endExhausted() -> Never { tbk_end_exhausted() }

/// A place in the list of what goes if the process ends without unwinding; leaves it with this object, which has to
/// be before its descriptor is closed.
package final class Unfinished {
  private var place: Int32

  /// A file that is removed.
  package init(temporary name: RawPath, in directory: Descriptor) throws(Failure) {
    place = try unsafe name.withCString { (text) throws(Failure) in
      unsafe tbk_note_temporary(directory.number, text)
    }
  }

  /// A file that is truncated at `start`.
  package init(output: Descriptor, start: UInt64) {
    place = tbk_note_output(output.number, Int64(clamping: start))
  }

  /// It is finished, or gone.
  package func end() {
    tbk_forget_unfinished(place)
    place = -1
  }

  deinit { end() }
}
