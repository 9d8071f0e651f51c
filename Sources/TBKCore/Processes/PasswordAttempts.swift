/// How many times a prompt accepts a password before the command fails.
package let passwordAttempts = 3

/// Opens a file that may be encrypted, and retries after a wrong password, up to `passwordAttempts` times.
///
/// An error of `password` is thrown unchanged, since the file is not at fault; an error of `open` names the file.
///
/// - Parameters:
///   - path: the name of the file in messages.
///   - password: returns a password. Its argument is the failure of the previous one, nil for the first; it throws that
///     failure if it has no other password.
///   - open: opens the file; calls its argument at most once, if the file needs a password.
package func openEncrypted<Opened: ~Copyable>(
  _ path: RawPath, password: (_ failed: Failure?) throws(Failure) -> Secret,
  _ open: (() throws(Failure) -> Secret) throws(Failure) -> Opened
) throws(Failure) -> Opened {
  var failed: Failure?
  var attempt = 1
  while true {
    var noPassword: Failure?
    do throws(Failure) {
      return try withoutActuallyEscaping(password) { (password) throws(Failure) in
        try open { () throws(Failure) in
          do throws(Failure) {
            return try password(failed)
          } catch {
            noPassword = error
            throw error
          }
        }
      }
    } catch {
      if error == noPassword { throw error }
      let named = error.within(path.display)
      guard error.code == .authentication, attempt < passwordAttempts else { throw named }
      failed = named
      attempt += 1
    }
  }
}
