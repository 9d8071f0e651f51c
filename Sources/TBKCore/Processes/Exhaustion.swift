// Running out of a resource does not mean that the data is wrong: it is a failure of its own kind, or ends the process.

import CSystem
import Glibc

extension Failure {
  /// What a process reports that cannot even unwind.
  package static let exhaustedProcess = Failure(
    .exhausted, "out of memory or threads",
    hint: "free some, or raise the limits ('ulimit -v', 'ulimit -u', or those of the container)")

  /// The resource that this process has run out of, found by trying to open files and start a thread; nil if none. For
  /// failures of libraries that do not report their cause.
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

/// Ends the process when it cannot continue: see `tbk_end_exhausted`.
package func endExhausted() -> Never { tbk_end_exhausted() }

/// An entry in the list of files to remove or truncate if the process ends without unwinding. Removed with this object,
/// which must happen before the descriptor is closed.
package final class Unfinished {
  private var place: Int32

  /// A file to remove.
  package init(temporary name: RawPath, in directory: Descriptor) throws(Failure) {
    place = try unsafe name.withCString { (text) throws(Failure) in
      unsafe tbk_note_temporary(directory.number, text)
    }
  }

  /// A file to truncate to `start` bytes.
  package init(output: Descriptor, start: UInt64) {
    place = tbk_note_output(output.number, Int64(clamping: start))
  }

  /// Removes the entry: the file is complete or removed.
  package func end() {
    tbk_forget_unfinished(place)
    place = -1
  }

  deinit { end() }
}
