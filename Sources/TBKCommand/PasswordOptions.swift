import ArgumentParser
import TBKCore

extension SecretSource.Kind {
  /// Passwords are lines or files of keys, not documents.
  package static let password = password("password", "TERMBACKUP_PASSWORD")
  /// What archives that are sealed again are opened with.
  package static let oldPassword = password("old password", "TERMBACKUP_OLD_PASSWORD")
  /// What takes the place of a password, where `password` is the one in use.
  package static let newPassword = password("new password", "TERMBACKUP_NEW_PASSWORD")

  private static func password(_ noun: String, _ variable: String) -> SecretSource.Kind {
    SecretSource.Kind(noun: noun, variable: variable, limit: 64 * 1024, code: .usage)
  }
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

  private func source(_ kind: SecretSource.Kind) -> SecretSource {
    SecretSource(kind: kind, descriptor: passwordFd, file: passwordFile, command: passwordCommand)
  }

  package func validate() throws {
    if let complaint = source(.password).complaint { throw ValidationError(complaint) }
  }

  /// Whether one of the options names a place.
  package var isGiven: Bool {
    passwordFd != nil || passwordFile != nil || passwordCommand != nil
  }

  /// The password, from the first place that has one. No child sees the variables of a password or
  /// of TermBackup's token afterwards.
  ///
  /// - Parameters:
  ///   - kind: whose variables and words count.
  ///   - confirming: whether a prompt asks twice, as before sealing.
  ///   - inputIsData: whether standard input is spoken for.
  package func password(
    _ kind: SecretSource.Kind = .password, confirming: Bool, inputIsData: Bool
  ) throws(Failure) -> Secret {
    for other in SecretSource.Kind.withdrawn where other.variable != kind.variable {
      other.withdraw()
    }
    if let secret = try source(kind).secret(inputIsData: inputIsData) { return secret }
    return try input.prompt(kind, confirming: confirming)
  }
}

/// Where the password comes from that archives have had so far: options, environment, a prompt.
package struct OldPasswordOptions: ParsableArguments {
  @Option(
    name: .long, help: ArgumentHelp("Read the old password from descriptor <n>.", valueName: "n"))
  package var oldPasswordFd: Int32?

  @Option(
    name: .long, help: ArgumentHelp("Read the old password from <file>.", valueName: "file"))
  package var oldPasswordFile: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp("Take what <command> prints as the old password.", valueName: "command"))
  package var oldPasswordCommand: RawPath?

  package init() {}

  private var source: SecretSource {
    SecretSource(
      kind: .oldPassword, descriptor: oldPasswordFd, file: oldPasswordFile,
      command: oldPasswordCommand)
  }

  package func validate() throws {
    if let complaint = source.complaint { throw ValidationError(complaint) }
  }

  /// Whether one of the options names a place.
  package var isGiven: Bool {
    oldPasswordFd != nil || oldPasswordFile != nil || oldPasswordCommand != nil
  }

  /// The old password, from the first place that has one. It is to be taken before the new one,
  /// whose variables no child of this sees.
  ///
  /// - Parameter inputIsData: whether standard input is spoken for.
  package func password(_ input: InputOptions, inputIsData: Bool) throws(Failure) -> Secret {
    SecretSource.Kind.token.withdraw()
    let kept = SecretSource.Kind.password.set
    SecretSource.Kind.password.withdraw()
    defer { for (name, value) in kept { restoreEnvironment(name, value) } }
    if let secret = try source.secret(inputIsData: inputIsData) { return secret }
    return try input.prompt(.oldPassword, confirming: false)
  }
}

extension SecretSource.Kind {
  /// What a command that takes a password keeps from its children.
  fileprivate static let withdrawn: [SecretSource.Kind] = [
    .token, .password, .oldPassword, .newPassword,
  ]
}

extension InputOptions {
  /// Asks on the terminal.
  fileprivate func prompt(
    _ kind: SecretSource.Kind, confirming: Bool
  ) throws(Failure) -> Secret {
    let option = "--\(kind.option)"
    let hint = "give \(option)-file, \(option)-fd, \(option)-command or \(kind.variable)_FILE"
    if noInput { throw Failure(.usage, "no \(kind.noun) was given", hint: hint) }
    guard let terminal = try? Terminal() else {
      throw Failure(
        .usage, "no \(kind.noun) was given and there is no terminal to ask on", hint: hint)
    }
    let asked = kind.noun.prefix(1).uppercased() + kind.noun.dropFirst()
    let password = try terminal.secret("\(asked): ", limit: kind.limit)
    if password.count == 0 { throw Failure(.usage, "the \(kind.noun) is empty") }
    if confirming {
      let again = try terminal.secret("\(asked) again: ", limit: kind.limit)
      let same = password.withBytes { one in again.withBytes { other in one.elementsEqual(other) } }
      if !same { throw Failure(.usage, "the two passwords differ") }
    }
    return password
  }
}
