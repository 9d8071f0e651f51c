import Glibc

extension Failure {
  /// The failure of a system call that has just returned -1.
  ///
  /// - Parameters:
  ///   - action: what was tried, as in "cannot open 'a/b'".
  ///   - number: the call's `errno`; by default what it is now.
  ///   - missing: the code for ENOENT, which depends on whose file it was.
  package static func system(
    _ action: String, errno number: Int32 = errno, missing: Code = .inputMissing
  ) -> Failure {
    let reason = unsafe String(cString: strerror(number))
    let message = "\(action): \(reason)"
    switch number {
    case ENOENT, ENOTDIR: return Failure(missing, message)
    case EACCES, EPERM: return Failure(.denied, message)
    case EEXIST, ENOTEMPTY, EISDIR, EROFS: return Failure(.cannotCreate, message)
    case ENOSPC, EDQUOT: return Failure(.io, message, hint: "free some space and try again")
    case EFBIG:
      return Failure(
        .io, message, hint: "'ulimit -f', or the file system, allows no larger files")
    case EPIPE: return Failure(.brokenPipe, message)
    case EWOULDBLOCK: return Failure(.tryAgain, message)
    default: return Failure(.io, message)
    }
  }
}
