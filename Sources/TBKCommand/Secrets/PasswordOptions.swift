import ArgumentParser
import TBKCore

extension SecretSource.Kind {
  /// Passwords are lines or key files, not documents.
  package static let password = SecretSource.Kind(
    noun: "password", option: "password", variable: "TERMBACKUP_PASSWORD", limit: 64 * 1024,
    code: .usage,
    stakes: "Choose a password. Without it nobody can open what it seals, not even you: keep a copy in "
      + "a safe place.")
  /// The password of archives that are to be resealed.
  package static let oldPassword = SecretSource.Kind(
    noun: "old password", option: "old-password", variable: "TERMBACKUP_OLD_PASSWORD",
    limit: 64 * 1024, code: .usage)
  /// The new password, if `password` is the current one.
  package static let newPassword = SecretSource.Kind(
    noun: "new password", option: "new-password", variable: "TERMBACKUP_NEW_PASSWORD",
    limit: 64 * 1024, code: .usage,
    stakes: "Choose the new password. Without it nobody can open the backups, not even you: keep a copy "
      + "in a safe place.")
  package static let keyPassword = SecretSource.Kind(
    noun: "password of the key", option: "key-password", variable: "TERMBACKUP_KEY_PASSWORD",
    limit: 64 * 1024, code: .usage,
    stakes: "Choose a password for the key. Without it nobody can sign with the key, not even you.")
  /// The password that encrypts an identity file.
  static let identityPassword = SecretSource.Kind(
    noun: "password of the identity file", option: "identity-password",
    variable: "TERMBACKUP_IDENTITY_PASSWORD", limit: 64 * 1024, code: .usage)

  /// Removes the variables of all other kinds from the environment, so that no child process sees them.
  func withdrawOthers() {
    for name in SecretVariables.own where name != variable {
      for suffix in ["", "_FILE", "_COMMAND"] { _ = takeEnvironment(name + suffix) }
    }
  }
}

/// Sources of the password: options, environment, a prompt.
package struct PasswordOptions: SecretOptions {
  @Option(name: .long, help: ArgumentHelp("Read the password from descriptor <n>.", valueName: "n"))
  package var passwordFd: Int32?

  @Option(
    name: .long, help: ArgumentHelp("Read the password from <file>.", valueName: "file"))
  package var passwordFile: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp("Use the output of <command> as the password.", valueName: "command"))
  package var passwordCommand: RawPath?

  @OptionGroup package var input: InputOptions

  package init() {}

  package var source: SecretSource { source(.password) }

  private func source(_ kind: SecretSource.Kind) -> SecretSource {
    SecretSource(kind: kind, descriptor: passwordFd, file: passwordFile, command: passwordCommand)
  }

  /// Removes the variables of all secrets from the environment when no password is needed, so that no child process
  /// sees them.
  package static func withdraw() {
    SecretSource.Kind.password.withdrawOthers()
    for suffix in ["", "_FILE", "_COMMAND"] {
      _ = takeEnvironment(SecretSource.Kind.password.variable + suffix)
    }
  }

  /// The password from the first source that has one. Afterwards no child process sees the variables of a password or
  /// of TermBackup's token.
  ///
  /// - Parameters:
  ///   - kind: the kind of password, which determines its variables and messages.
  ///   - confirming: whether to prompt twice, as before sealing.
  ///   - inputIsData: whether standard input is used for data.
  ///   - failed: the failure of the previous password, if one was tried; thrown unless that was entered at a prompt.
  ///   - kept: returns a stored password; called before prompting.
  package func password(
    _ kind: SecretSource.Kind = .password, confirming: Bool, inputIsData: Bool,
    after failed: Failure? = nil, kept: () throws(Failure) -> Secret? = { () throws(Failure) in nil }
  ) throws(Failure) -> Secret {
    try source(kind).secret(
      confirming: confirming, refusing: input.noInput, inputIsData: inputIsData, after: failed,
      prepare: kind.withdrawOthers, kept: kept)
  }
}

/// Sources of the current password of archives: options, environment, a prompt.
package struct OldPasswordOptions: SecretOptions {
  @Option(
    name: .long, help: ArgumentHelp("Read the old password from descriptor <n>.", valueName: "n"))
  package var oldPasswordFd: Int32?

  @Option(
    name: .long, help: ArgumentHelp("Read the old password from <file>.", valueName: "file"))
  package var oldPasswordFile: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp("Use the output of <command> as the old password.", valueName: "command"))
  package var oldPasswordCommand: RawPath?

  package init() {}

  package var source: SecretSource {
    SecretSource(
      kind: .oldPassword, descriptor: oldPasswordFd, file: oldPasswordFile,
      command: oldPasswordCommand)
  }

  /// The old password from the first source that has one. Read it before the new one.
  ///
  /// - Parameters:
  ///   - refusing: whether prompts are forbidden.
  ///   - inputIsData: whether standard input is used for data.
  package func password(refusing: Bool, inputIsData: Bool) throws(Failure) -> Secret {
    try source.secret(confirming: false, refusing: refusing, inputIsData: inputIsData, after: nil)
  }
}

/// Sources of the password of a private key, in commands that have another password or none.
package struct KeyPasswordOptions: SecretOptions {
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
      "Use the output of <command> as the password of the key.", valueName: "command"))
  package var keyPasswordCommand: RawPath?

  package init() {}

  package var source: SecretSource {
    SecretSource(
      kind: .keyPassword, descriptor: keyPasswordFd, file: keyPasswordFile,
      command: keyPasswordCommand)
  }

  /// The password from the first source that has one, the prompt last. Read it before another secret, which removes its
  /// variables from the environment.
  ///
  /// - Parameters:
  ///   - refusing: whether prompts are forbidden.
  ///   - inputIsData: whether standard input is used for data.
  ///   - failed: the failure of the previous password, if one was tried; thrown unless that was entered at a prompt.
  package func password(
    confirming: Bool = false, refusing: Bool, inputIsData: Bool, after failed: Failure? = nil
  ) throws(Failure) -> Secret {
    try source.secret(confirming: confirming, refusing: refusing, inputIsData: inputIsData, after: failed)
  }
}

/// Sources of the password of an encrypted identity file.
package struct IdentityPasswordOptions: SecretOptions {
  @Option(
    name: .long,
    help: ArgumentHelp("Read the password of the identity file from descriptor <n>.", valueName: "n"))
  package var identityPasswordFd: Int32?

  @Option(
    name: .long,
    help: ArgumentHelp("Read the password of the identity file from <file>.", valueName: "file"))
  package var identityPasswordFile: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Use the output of <command> as the password of the identity file.", valueName: "command"))
  package var identityPasswordCommand: RawPath?

  package init() {}

  package var source: SecretSource {
    SecretSource(
      kind: .identityPassword, descriptor: identityPasswordFd, file: identityPasswordFile,
      command: identityPasswordCommand)
  }

  /// The password from the first source that has one, the prompt last. Read it before another secret, which removes its
  /// variables from the environment.
  ///
  /// - Parameters:
  ///   - refusing: whether prompts are forbidden.
  ///   - inputIsData: whether standard input is used for data.
  ///   - failed: the failure of the previous password, if one was tried; thrown unless that was entered at a prompt.
  package func password(
    refusing: Bool, inputIsData: Bool, after failed: Failure? = nil
  ) throws(Failure) -> Secret {
    try source.secret(confirming: false, refusing: refusing, inputIsData: inputIsData, after: failed)
  }
}
