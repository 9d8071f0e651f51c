import Glibc
import TBKCore

/// The user's editor, run on this process's terminal, without our secrets.
package enum Editor {
  /// `VISUAL`, else `EDITOR`, else `vi`: split into words as in a shell, without expansion.
  package static func command() throws(Failure) -> [[UInt8]] {
    let text = environment("VISUAL") ?? environment("EDITOR") ?? Array("vi".utf8)
    let words = try splitShellWords(text)
    if words.isEmpty { throw Failure(.configuration, "VISUAL or EDITOR names no command") }
    return words
  }

  /// Opens the file in the editor and waits. Throws `.configuration` if the editor fails.
  package static func edit(_ path: RawPath) throws(Failure) {
    let arguments = try command() + [path.bytes]
    let child = try spawnProcess(
      arguments, environment: SecretVariables.environmentWithout(),
      defaults: [SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGALRM],
      failing: "cannot run the editor \(RawPath(arguments[0]).display)", missing: .configuration)
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
