import Glibc
import TBKCore

/// The person's own editor, on the terminal this process has, without our secrets.
package enum Editor {
  /// `VISUAL`, else `EDITOR`, else `vi`: words as a shell would split them, nothing expanded.
  package static func command() throws(Failure) -> [[UInt8]] {
    let text = environment("VISUAL") ?? environment("EDITOR") ?? Array("vi".utf8)
    let words = try splitShellWords(text)
    if words.isEmpty { throw Failure(.configuration, "VISUAL or EDITOR names no command") }
    return words
  }

  /// Opens the file in the editor and waits. Throws `.configuration` if the editor fails.
  package static func edit(_ path: RawPath) throws(Failure) {
    let arguments = try command() + [path.bytes]
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe _ = posix_spawnattr_destroy(&attributes) }
    var defaults = sigset_t()
    unsafe sigemptyset(&defaults)
    for number in [SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGALRM] {
      unsafe _ = sigaddset(&defaults, number)
    }
    unsafe posix_spawnattr_setsigdefault(&attributes, &defaults)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))

    let vector = unsafe argumentVector(arguments)
    let variables = unsafe argumentVector(SecretVariables.environmentWithout())
    defer {
      unsafe (vector + variables).forEach { unsafe free($0) }
    }
    guard let name = unsafe vector[0] else { throw Failure(.library, "no memory") }
    var child: pid_t = 0
    let result = unsafe posix_spawnp(&child, name, nil, &attributes, vector, variables)
    guard result == 0 else {
      throw .starting(
        "cannot run the editor \(RawPath(arguments[0]).display)", errno: result,
        missing: .configuration)
    }
    var status: Int32 = 0
    while unsafe waitpid(child, &status, 0) < 0 {
      if errno != EINTR { throw .system("cannot wait for the editor") }
    }
    try Interruption.check()
    if status != 0 {
      throw Failure(.configuration, "the editor failed; nothing was changed")
    }
  }
}
