import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKCrypto
import TBKSettings

/// Identities of age: those of a profile's group, under a password.
extension ShellCommand {
  struct NewIdentity: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "new-identity",
      abstract: "Make an identity, seal it under the password, prove that it opens, and print its recipient.")
    @Option(
      name: .long, help: ArgumentHelp("Write to <file>, an age identity file under a passphrase.", valueName: "file"))
    var out: RawPath
    @Option(
      name: .long,
      help: ArgumentHelp("Keep the identities of before, in <file> under the old password.", valueName: "file"))
    var known: RawPath?
    @OptionGroup var old: TBKCommand.OldPasswordOptions
    @OptionGroup var passwords: TBKCommand.PasswordOptions
    @OptionGroup var common: CommonOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let (old, refusing) = (old, passwords.input.noInput)
      let before = try known.map { (path) throws(Failure) in
        try SealedIdentities.text(in: path) { () throws(Failure) in
          try old.password(refusing: refusing, inputIsData: false)
        }
      }
      let identity = try AgeIdentity.generate()
      let first = try AgeIdentityFile.text(of: identity, created: Timestamp.now().iso8601())
      let whole: Secret
      if let before {
        _ = try before.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
        whole = try first.followed(by: before)
      } else {
        whole = first
      }
      let password = try passwords.password(confirming: true, inputIsData: false)
      let sealed = try AgeIdentityFile.encrypt(whole, passphrase: password)
      try AtomicFile.write(sealed, to: out)
      // What is written is read back: what it opens could not be opened otherwise.
      let recipient = identity.recipient
      let again = try SealedIdentities.text(in: out) { () throws(Failure) in try password.copy() }
      let read = try again.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
      let key = try AgeFileKey()
      _ = try AgeHeader.sealing(key, to: [recipient]).unwrap([read[0]])
      try StandardOutput.write(try recipient.text() + "\n")
      return ExitStatus.success
    }
  }

  struct ShowIdentities: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "show-identities",
      abstract: "Print the identities in a file under a password.")
    @Argument(help: ArgumentHelp("The file.", valueName: "file"))
    var file: RawPath
    @OptionGroup var passwords: TBKCommand.PasswordOptions
    @OptionGroup var common: CommonOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let passwords = passwords
      let text = try SealedIdentities.text(in: file) { () throws(Failure) in
        try passwords.password(confirming: false, inputIsData: false)
      }
      try text.withBytes { (text) throws(Failure) in try Descriptor.standardOutput.write(text) }
      return ExitStatus.success
    }
  }
}

private enum SealedIdentities {
  /// The text of identities in a file under a password, which may cost as much as it is written with.
  static func text(
    in path: RawPath, password: () throws(Failure) -> Secret
  ) throws(Failure) -> Secret {
    let sealed = try Secret(
      reading: try Descriptor.openForReading(path), limit: AgeIdentityFile.maximumLength, name: path)
    do throws(Failure) {
      return try AgeIdentityFile.decrypt(
        sealed, memoryLimit: 1 << AgeScrypt.standardLogN, passphrase: password)
    } catch {
      throw error.within(path.display)
    }
  }
}

extension Secret {
  /// Both, one after the other.
  fileprivate borrowing func followed(by other: borrowing Secret) throws(Failure) -> Secret {
    let whole = try Secret(count: count + other.count)
    let start = count
    withBytes { bytes in
      whole.withMutableBytes { whole in
        for index in bytes.indices { whole[index] = bytes[index] }
      }
    }
    other.withBytes { bytes in
      whole.withMutableBytes { whole in
        for index in bytes.indices { whole[start + index] = bytes[index] }
      }
    }
    return whole
  }
}
