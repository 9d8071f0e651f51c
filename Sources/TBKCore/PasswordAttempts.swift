/// How often a person may enter a password before a command gives up.
package let passwordAttempts = 3

/// Opens a file that may be encrypted, with another password while the last one is wrong and there is another.
///
/// Throws what `password` throws as it is: that there is no password is no fault of the file. What `open` throws
/// names the file.
///
/// - Parameters:
///   - path: what the file is called in messages.
///   - password: gives a password. It is handed what the last one did, nil for the first, and throws
///     that if it has no other.
///   - open: opens the file; calls its argument if that needs a password, once.
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
