import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKCrypto
import TBKSettings

/// Identities of age: those of a profile's group, under a password, and the one of this home.
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
      abstract: "Print the identities in a file under a password, or their recipients.")
    @Flag(name: .long, help: "Print the recipients, which are no secret.")
    var recipients = false
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
      if recipients {
        let identities = try text.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
        var lines = ""
        for identity in identities { lines += try identity.recipient.text() + "\n" }
        try StandardOutput.write(lines)
      } else {
        try text.withBytes { (text) throws(Failure) in try Descriptor.standardOutput.write(text) }
      }
      return ExitStatus.success
    }
  }

  struct LocalIdentity: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "local-identity",
      abstract: "Print the recipient of this home's own identity, which is made if it is not there.",
      discussion: "It opens the last manifest that is kept in the home, and nothing that is stored.")
    @OptionGroup var common: CommonOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let path = try Home.ofProcess().stateDirectory().appending("local_identity")
      if try Descriptor.workingDirectory.statusIfPresent(of: path) == nil {
        let identity = try AgeIdentity.generate()
        let file = try AtomicFile(path, inherits: true)
        let text = try AgeIdentityFile.text(of: identity, created: Timestamp.now().iso8601())
        try text.withBytes { (text) throws(Failure) in try file.descriptor.write(text) }
        do throws(Failure) {
          try file.commit(replacing: false)
        } catch {
          // Another run has made it meanwhile.
          if error.code != .cannotCreate { throw error }
        }
      }
      let file = try Descriptor.workingDirectory.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
      let facts = try file.status()
      guard facts.st_mode & S_IFMT == S_IFREG, facts.st_mode & 0o077 == 0 else {
        throw Failure(
          .configuration, "\(path.display) is not a file that only its owner can read",
          hint: "remove it: the next backup is full, and another one is made")
      }
      let text = try Secret(reading: file, limit: AgeIdentityFile.maximumLength, name: path)
      do throws(Failure) {
        let identities = try text.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
        try StandardOutput.write(try identities[0].recipient.text() + "\n")
      } catch {
        throw Failure(
          .configuration, "\(path.display): \(error.message)",
          hint: "remove it: the next backup is full, and another one is made")
      }
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
