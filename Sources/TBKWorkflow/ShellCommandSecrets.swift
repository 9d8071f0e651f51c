import ArgumentParser
import TBKCommand
import TBKCore
import TBKCrypto
import TBKSettings

/// Secrets, as they come from a person or from where they are kept.
extension ShellCommand {
  struct Password: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the password, for a script to hand on.",
      discussion: "It comes from the options, the environment or a prompt on the terminal, and is "
        + "never printed to a terminal.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var source: TBKCommand.PasswordOptions
    @Flag(name: .long, help: "Ask twice, if it has to be asked for.")
    var confirm = false
    @Flag(name: .customLong("new"), help: "It takes the place of another: TERMBACKUP_NEW_PASSWORD, and asked for as such.")
    var isNew = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      try StandardOutput.refuseTerminal("a password", hint: "this is for scripts")
      try ShellCommand.write(
        password: try source.password(
          isNew ? .newPassword : .password, confirming: confirm, inputIsData: false),
        option: isNew ? "new-password" : "password")
      return ExitStatus.success
    }
  }

  struct KeyPassword: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the password of the private key, for a script to hand on.",
      discussion: "It comes from the options, the environment or a prompt on the terminal, and is "
        + "never printed to a terminal.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var source: TBKCommand.KeyPasswordOptions
    @OptionGroup var input: TBKCommand.InputOptions
    @Flag(name: .long, help: "Ask twice, if it has to be asked for.")
    var confirm = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      try StandardOutput.refuseTerminal("a password", hint: "this is for scripts")
      let password = try source.password(
        confirming: confirm, refusing: input.noInput, inputIsData: false)
      try ShellCommand.write(password: password, option: "key-password")
      return ExitStatus.success
    }
  }

  struct Token: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the GitHub token, for a script to hand on; nothing if there is none.",
      discussion: "It comes from the options, the environment or config.json, and is never printed "
        + "to a terminal.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var source: TBKCommand.TokenOptions
    @Flag(
      name: .long,
      help: "Where neither the options nor TERMBACKUP_TOKEN have one, ask on the terminal.")
    var ask = false
    @Flag(name: .long, help: "Print the one in config.json and no other.")
    var stored = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      try StandardOutput.refuseTerminal("a token", hint: "this is for scripts")
      guard let token = try token() else { return ExitStatus.success }
      try TBKCommand.TokenOptions.check(token)
      try ShellCommand.write(token)
      return ExitStatus.success
    }

    private func token() throws(Failure) -> Secret? {
      if !stored {
        if let given = try source.token(inputIsData: false, sharing: !ask) { return given }
        if ask { return try TBKCommand.TokenOptions.ask("GitHub token: ") }
      }
      guard let token = try configuredToken(warn: { Messages.warning($0) }) else { return nil }
      if !stored { Messages.notice(configuredTokenNotice) }
      return token
    }
  }

  private static func write(password: borrowing Secret, option: String) throws(Failure) {
    try password.withBytes { (bytes) throws(Failure) in
      for index in bytes.indices where bytes[index] == 0 {
        throw Failure(
          .usage, "the password holds a NUL byte, which a shell cannot hand on",
          hint: "keep it in a file and give --\(option)-file")
      }
    }
    try write(password)
  }

  /// Prints a secret for a script, not through the buffer of standard output, which is never wiped.
  private static func write(_ secret: borrowing Secret) throws(Failure) {
    try secret.withBytes { (bytes) throws(Failure) in
      try Descriptor.standardOutput.write(bytes)
    }
    try Descriptor.standardOutput.write([0x0a].span)
  }
}
