import ArgumentParser
import TBKCore

extension SecretSource.Kind {
  /// Passwords are lines or files of keys, not documents.
  static let password = SecretSource.Kind(
    noun: "password", variable: "TERMBACKUP_PASSWORD", limit: 64 * 1024, code: .usage)
}

/// Where the password comes from: options, environment, a prompt.
package struct PasswordOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Read the password from descriptor <n>.", valueName: "n"))
  package var passwordFd: Int32?

  @Option(
    name: .long, help: ArgumentHelp("Read the password from <file>.", valueName: "file"))
  package var passwordFile: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp("Take what <command> prints as the password.", valueName: "command"))
  package var passwordCommand: RawPath?

  @OptionGroup package var input: InputOptions

  package init() {}

  private var source: SecretSource {
    SecretSource(
      kind: .password, descriptor: passwordFd, file: passwordFile, command: passwordCommand)
  }

  package func validate() throws {
    if let complaint = source.complaint { throw ValidationError(complaint) }
  }

  /// Whether one of the options names a place.
  package var isGiven: Bool {
    passwordFd != nil || passwordFile != nil || passwordCommand != nil
  }

  /// The password, from the first place that has one. No child sees the variables of a password or
  /// of TermBackup's token afterwards.
  ///
  /// - Parameters:
  ///   - confirming: whether a prompt asks twice, as before sealing.
  ///   - inputIsData: whether standard input is spoken for.
  package func password(confirming: Bool, inputIsData: Bool) throws(Failure) -> Secret {
    SecretSource.Kind.token.withdraw()
    if let secret = try source.secret(inputIsData: inputIsData) { return secret }
    return try prompt(confirming: confirming)
  }

  private func prompt(confirming: Bool) throws(Failure) -> Secret {
    let hint = "give --password-file, --password-fd, --password-command or TERMBACKUP_PASSWORD_FILE"
    if input.noInput { throw Failure(.usage, "no password was given", hint: hint) }
    guard let terminal = try? Terminal() else {
      throw Failure(.usage, "no password was given and there is no terminal to ask on", hint: hint)
    }
    let limit = SecretSource.Kind.password.limit
    let password = try terminal.secret("Password: ", limit: limit)
    if password.count == 0 { throw Failure(.usage, "the password is empty") }
    if confirming {
      let again = try terminal.secret("Password again: ", limit: limit)
      let same = password.withBytes { one in again.withBytes { other in one.elementsEqual(other) } }
      if !same { throw Failure(.usage, "the two passwords differ") }
    }
    return password
  }
}
