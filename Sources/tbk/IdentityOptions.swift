import ArgumentParser
import TBKCommand
import TBKCore
import TBKCrypto

/// Identities for archives that are sealed to their recipients.
struct IdentityOptions: ParsableArguments {
  @Option(
    name: .shortAndLong, parsing: .singleValue,
    help: ArgumentHelp("Open what was sealed to the recipient of an identity in <file>.", valueName: "file"))
  var identity: [RawPath] = []

  @OptionGroup var passwords: IdentityPasswordOptions

  func validate() throws {
    if passwords.isGiven, identity.isEmpty {
      throw ValidationError("a password of an identity file is given, but no -i")
    }
  }

  /// The identities in all of the files.
  ///
  /// - Parameters:
  ///   - refusing: whether prompts are forbidden.
  ///   - inputIsData: whether standard input is used for data.
  ///   - memoryLimit: the most memory for a file's passphrase, in KiB.
  func read(
    refusing: Bool, inputIsData: Bool, memoryLimit: UInt64
  ) throws(Failure) -> [AgeIdentity] {
    var identities: [AgeIdentity] = []
    var password: Secret?
    for path in identity {
      identities += try readIdentities(path, inputIsData: inputIsData, memoryLimit: memoryLimit) {
        (failed) throws(Failure) in
        // One password for all files: a descriptor can be read only once.
        if password == nil || failed != nil {
          password = try passwords.password(
            refusing: refusing, inputIsData: inputIsData || path.isStandardStream, after: failed)
        }
        return try password!.copy()
      }
    }
    return identities
  }
}

/// The identities in a file, or from standard input for "-".
///
/// - Parameter password: called if the file is encrypted, and again after a wrong password, with its failure.
func readIdentities(
  _ path: RawPath, inputIsData: Bool, memoryLimit: UInt64,
  password: (_ failed: Failure?) throws(Failure) -> Secret
) throws(Failure) -> [AgeIdentity] {
  if path.isStandardStream, inputIsData {
    throw Failure(.usage, "standard input is the data, so the identity cannot come from it")
  }
  let file = path.isStandardStream ? .standardInput : try Descriptor.openForReading(path)
  let text = try Secret(reading: file, limit: AgeIdentityFile.maximumLength, name: path)
  return try openEncrypted(path, password: password) { (password) throws(Failure) in
    guard try AgeIdentityFile.isEncrypted(text) else {
      return try text.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
    }
    let plain = try AgeIdentityFile.decrypt(text, memoryLimit: memoryLimit, passphrase: password)
    return try plain.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
  }
}
