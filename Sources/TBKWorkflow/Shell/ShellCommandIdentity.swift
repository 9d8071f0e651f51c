import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKCrypto
import TBKSettings

/// age identities: those of a profile's group, encrypted with a password.
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
      help: ArgumentHelp("Keep the previous identities, which are in <file> under the old password.", valueName: "file")
    )
    var known: RawPath?
    @Option(
      name: .long,
      help: ArgumentHelp("Make none, but seal those in <file>, plain or under the password.", valueName: "file"))
    var from: RawPath?
    @Option(
      name: .long,
      help: ArgumentHelp("With --from, one of them must be that of one of these recipients.", valueName: "words"))
    var readers: String = ""
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
      let password = try passwords.password(confirming: true, inputIsData: false)
      let whole: Secret
      if let from {
        whole = try given(from, password)
      } else {
        let first = try AgeIdentityFile.text(of: try AgeIdentity.generate(), created: Timestamp.now().iso8601())
        if let before {
          _ = try before.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
          whole = try first.followed(by: before)
        } else {
          whole = first
        }
      }
      let sealed = try AgeIdentityFile.encrypt(whole, passphrase: password)
      try AtomicFile.write(sealed, to: out)
      // Read back what was written: without it, backups sealed to it could not be opened.
      let written = try whole.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
      let recipient = written[0].recipient
      let again = try SealedIdentities.text(in: out) { () throws(Failure) in try password.copy() }
      let read = try again.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
      let key = try AgeFileKey()
      _ = try AgeHeader.sealing(key, to: [recipient]).unwrap([read[0]])
      try StandardOutput.write(try recipient.text() + "\n")
      return ExitStatus.success
    }

    /// The text of an identity file as printed, or encrypted with the password, as in another copy of the store.
    private func given(_ path: RawPath, _ password: borrowing Secret) throws(Failure) -> Secret {
      let file = try Descriptor.openForReading(path)
      let text = try Secret(reading: file, limit: AgeIdentityFile.maximumLength, name: path)
      do throws(Failure) {
        let plain = try opened(text, password)
        try requireReader(plain)
        return plain
      } catch {
        throw error.within(path.display)
      }
    }

    private func opened(_ text: borrowing Secret, _ password: borrowing Secret) throws(Failure) -> Secret {
      guard try AgeIdentityFile.isEncrypted(text) else { return try text.copy() }
      return try AgeIdentityFile.decrypt(text, memoryLimit: 1 << AgeScrypt.standardLogN) { () throws(Failure) in
        try password.copy()
      }
    }

    private func requireReader(_ text: borrowing Secret) throws(Failure) {
      var known: Set<String> = []
      let identities = try text.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
      for identity in identities { known.insert(try identity.recipient.text()) }
      let recipients = readers.split(separator: " ").map(String.init).filter { $0.first != "-" }
      guard recipients.isEmpty || recipients.contains(where: { known.contains($0) }) else {
        throw Failure(
          .denied, "none of the identities in it opens the backups that this profile makes",
          hint: "give the file that 'termbackup generate-identity --print' wrote last")
      }
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
  /// The text of identities in a file encrypted with a password, with a limit on its work factor.
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
  /// Both, concatenated.
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
