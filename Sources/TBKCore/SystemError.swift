import Glibc

extension Failure {
  /// The failure of a system call that has just returned -1.
  ///
  /// - Parameters:
  ///   - action: what failed, as in "cannot open 'a/b'".
  ///   - number: the call's `errno`; by default the current one.
  ///   - missing: the code for ENOENT and ENOTDIR, which depends on the kind of file.
  package static func system(
    _ action: String, errno number: Int32 = errno, missing: Code = .inputMissing
  ) -> Failure {
    let reason = unsafe String(cString: strerror(number))
    let message = "\(action): \(reason)"
    switch number {
    case ENOENT, ENOTDIR: return Failure(missing, message)
    case EACCES, EPERM: return Failure(.denied, message)
    case EEXIST, ENOTEMPTY, EISDIR, EROFS: return Failure(.cannotCreate, message)
    case ENOMEM:
      return Failure(.exhausted, message, hint: "free some memory, or raise its limit")
    case EMFILE:
      return Failure(.exhausted, message, hint: "raise the limit of open files with 'ulimit -n'")
    case ENFILE, ENOBUFS:
      return Failure(.exhausted, message, hint: "try again when other programs use less")
    case ENOSPC, EDQUOT: return Failure(.io, message, hint: "free some space and try again")
    case EFBIG:
      return Failure(
        .io, message, hint: "'ulimit -f', or the file system, allows no larger files")
    case EPIPE: return Failure(.brokenPipe, message)
    case EAGAIN: return Failure(.tryAgain, message)
    default: return Failure(.io, message)
    }
  }

  /// The failure of a call that starts a process or a thread.
  package static func starting(
    _ action: String, errno number: Int32, missing: Code = .inputMissing
  ) -> Failure {
    guard number == EAGAIN else { return .system(action, errno: number, missing: missing) }
    return Failure(
      .exhausted, "\(action): there are too many processes and threads",
      hint: "end some, or raise the limit ('ulimit -u', or that of the container)")
  }
}
