import CSystem
import Glibc
import TBKCore

/// The directory for files that a verb's commands pass to each other while it runs.
enum WorkDirectory {
  /// Creates `VERB.PROCESS.NUMBER`, private to the user, and writes a file in it: a full disk may have room for a
  /// directory only.
  ///
  /// - Parameters:
  ///   - process: the verb's process id, by which 'termbackup clean' finds the directories of killed verbs.
  ///   - places: where it may be, best first; more than one for a verb that frees space.
  /// - Throws: `.cannotCreate` or `.io` if it cannot be created in any of them.
  static func make(for verb: String, process: String, in places: [RawPath]) throws(Failure) -> RawPath {
    var last = Failure(.cannotCreate, "there is no place for a directory")
    for place in places {
      do throws(Failure) {
        return try make(verb: verb, process, in: place)
      } catch {
        if error.isOfProcess { throw error }
        last = error
      }
    }
    throw last
  }

  /// The places for a verb that frees space.
  static func places(beside home: RawPath) -> [RawPath] {
    [
      home, environment("TMPDIR").map { RawPath($0) } ?? RawPath("/var/tmp"), RawPath("/dev/shm"), RawPath("/tmp"),
      home,
    ]
  }

  private static func make(verb: String, _ process: String, in place: RawPath) throws(Failure) -> RawPath {
    for number in 0..<100 {
      let path = place.appending(RawPath("\(verb).\(process).\(number)"))
      let made = try unsafe path.withCString { (text) throws(Failure) in unsafe mkdir(text, 0o700) }
      if made != 0 {
        if errno == EEXIST { continue }
        if errno == ENOSPC || errno == EDQUOT { throw full(place) }
        break
      }
      do throws(Failure) {
        let file = try Descriptor.workingDirectory.open(
          path.appending("verb"), O_WRONLY | O_CREAT | O_EXCL, mode: 0o600, missing: .cannotCreate)
        try file.write(Array("\(verb)\n".utf8).span)
        return path
      } catch {
        _ = try? Descriptor.workingDirectory.unlink(path.appending("verb"))
        _ = try? Descriptor.workingDirectory.unlink(path, directory: true)
        if error.isOfProcess { throw error }
        throw full(place)
      }
    }
    throw Failure(.cannotCreate, "cannot create a directory in \(place.display)")
  }

  private static func full(_ place: RawPath) -> Failure {
    Failure(
      .io, "cannot write to \(place.display)",
      hint: "make room for it, or move the home with TERMBACKUP_HOME")
  }
}
