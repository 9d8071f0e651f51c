import TBKCore

/// In bytes; a key file is a few lines of text.
private let keyFileLimit = 64 * 1024

extension SigningKey {
  /// Reads a private key from a file, or from standard input as "-".
  ///
  /// - Parameter password: called if the key is encrypted; after a wrong password called again, with the failure.
  package init(
    file path: RawPath, password: (_ failed: Failure?) throws(Failure) -> Secret
  ) throws(Failure) {
    let text = try readKey(path)
    self = try openEncrypted(path, password: password) { (password) throws(Failure) in
      try text.withBytes { (text) throws(Failure) in
        try SigningKey(parsing: text, password: password)
      }
    }
  }
}

extension VerifyingKey {
  /// Reads a public key from a file, or from standard input as "-".
  package init(file path: RawPath) throws(Failure) {
    // By mistake it may be a private key, so read it as a secret.
    let text = try readKey(path)
    do throws(Failure) {
      self = try text.withBytes { (text) throws(Failure) in try VerifyingKey(parsing: text) }
    } catch {
      throw error.within(path.display)
    }
  }
}

private func readKey(_ path: RawPath) throws(Failure) -> Secret {
  let file = path.isStandardStream ? .standardInput : try Descriptor.openForReading(path)
  return try Secret(reading: file, limit: keyFileLimit, name: path)
}
