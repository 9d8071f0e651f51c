import ArgumentParser
import TBKCore

extension SecretSource.Kind {
  /// Passwords are lines or files of keys, not documents.
  static let password = SecretSource.Kind(
    noun: "password", option: "password", variable: "TERMBACKUP_PASSWORD", limit: 64 * 1024,
    code: .usage)
  static let keyPassword = SecretSource.Kind(
    noun: "password of the key", option: "key-password", variable: "TERMBACKUP_KEY_PASSWORD",
    limit: 64 * 1024, code: .usage)
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
  package var isGiven: Bool { source.isGiven }

  /// The password, from the first place that has one. No child sees the variables of a password or
  /// of TermBackup's token afterwards.
  ///
  /// - Parameters:
  ///   - confirming: whether a prompt asks twice, as before sealing.
  ///   - inputIsData: whether standard input is spoken for.
  package func password(confirming: Bool, inputIsData: Bool) throws(Failure) -> Secret {
    SecretSource.Kind.token.withdraw()
    SecretSource.Kind.keyPassword.withdraw()
    SecretSource.Kind.webhook.withdraw()
    if let secret = try source.secret(inputIsData: inputIsData) { return secret }
    return try source.ask("Password", confirming: confirming, refusing: input.noInput)
  }
}

/// Where the password of a private key comes from, in commands that have another password or none.
package struct KeyPasswordOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp("Read the password of the key from descriptor <n>.", valueName: "n"))
  package var keyPasswordFd: Int32?

  @Option(
    name: .long, help: ArgumentHelp("Read the password of the key from <file>.", valueName: "file"))
  package var keyPasswordFile: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Take what <command> prints as the password of the key.", valueName: "command"))
  package var keyPasswordCommand: RawPath?

  package init() {}

  private var source: SecretSource {
    SecretSource(
      kind: .keyPassword, descriptor: keyPasswordFd, file: keyPasswordFile,
      command: keyPasswordCommand)
  }

  package func validate() throws {
    if let complaint = source.complaint { throw ValidationError(complaint) }
  }

  /// Whether one of the options names a place.
  package var isGiven: Bool { source.isGiven }

  /// The password, from the first place that has one; a prompt is the last. It comes before a token,
  /// which withdraws its variables.
  ///
  /// - Parameters:
  ///   - refusing: whether nothing may be asked.
  ///   - inputIsData: whether standard input is spoken for.
  package func password(
    confirming: Bool = false, refusing: Bool, inputIsData: Bool
  ) throws(Failure) -> Secret {
    SecretSource.Kind.password.withdraw()
    SecretSource.Kind.webhook.withdraw()
    if let secret = try source.secret(inputIsData: inputIsData) { return secret }
    return try source.ask("Password of the key", confirming: confirming, refusing: refusing)
  }
}
