import ArgumentParser
import TBKCommand
import TBKCore
import TBKCrypto
import TBKSettings

/// Secrets, from a prompt or from where they are stored. The commands can also be called by the names of the shell
/// variables that receive them.
extension ShellCommand {
  struct Password: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the password, for a script to pass on.",
      discussion: "It comes from the options, the environment or a prompt on the terminal, and is "
        + "never printed to a terminal.",
      aliases: ["new_password", "mbu_password", "identity_password"])
    @OptionGroup var common: CommonOptions
    @OptionGroup var source: TBKCommand.PasswordOptions
    @Flag(name: .long, help: "Ask twice if the password must be entered.")
    var confirm = false
    @Option(
      name: .long,
      help: ArgumentHelp("Look in the keyring for a profile's password before asking for it.", valueName: "name"))
    var profile: String?
    @Flag(
      name: .customLong("new"), help: "It replaces another: read TERMBACKUP_NEW_PASSWORD, and ask for the new password."
    )
    var isNew = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      try StandardOutput.refuseTerminal("a password", hint: "this is for scripts")
      try ShellCommand.write(
        password: try source.password(
          isNew ? .newPassword : .password, confirming: confirm, inputIsData: false, kept: kept),
        option: isNew ? "new-password" : "password")
      return ExitStatus.success
    }

    private func kept() throws(Failure) -> Secret? {
      guard let profile else { return nil }
      return try keptPassword(of: profile, isAlone: source.input.noInput)
    }
  }

  struct KeyPassword: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the password of the private key, for a script to pass on.",
      discussion: "It comes from the options, the environment or a prompt on the terminal, and is "
        + "never printed to a terminal.",
      aliases: ["key_password"])
    @OptionGroup var common: CommonOptions
    @OptionGroup var source: TBKCommand.KeyPasswordOptions
    @OptionGroup var input: TBKCommand.InputOptions
    @Flag(name: .long, help: "Ask twice if the password must be entered.")
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
      abstract: "Print the GitHub token, for a script to pass on; nothing if there is none.",
      discussion: "It comes from the options, the environment or config.json, and is never printed "
        + "to a terminal.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var source: TBKCommand.TokenOptions
    @Flag(
      name: .long,
      help: "If neither the options nor TERMBACKUP_TOKEN give one, ask on the terminal.")
    var ask = false
    @Flag(name: .long, help: "Print only the one in config.json.")
    var stored = false
    @Flag(name: .long, help: "Print where the token is kept and, unless it is GITHUB_TOKEN, the token.")
    var kept = false
    @Flag(name: .long, help: "With --kept: GITHUB_TOKEN is set.")
    var shared = false
    @Flag(name: .long, help: "Remove the one in config.json.")
    var drop = false
    @OptionGroup var input: TBKCommand.InputOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      if drop { return try remove() }
      try StandardOutput.refuseTerminal("a token", hint: "this is for scripts")
      if kept { return try printKept() }
      guard let token = try token() else { return ExitStatus.success }
      try TBKCommand.TokenOptions.check(token)
      try ShellCommand.write(token)
      return ExitStatus.success
    }

    /// Removes the token from the configuration; the caller must have stored it elsewhere.
    private func remove() throws(Failure) -> Int32 {
      let home = try Home.ofProcess()
      guard var configuration = try home.storedConfiguration(checking: false),
        configuration["github_token"] ?? .null != .null
      else { return ExitStatus.success }
      configuration.unset("github_token")
      try home.write(configuration)
      Messages.notice("config.json no longer holds a token")
      return ExitStatus.success
    }

    private func printKept() throws(Failure) -> Int32 {
      switch try KeptToken.find(shared: shared, isAlone: input.noInput) {
      case .none: break
      case .shared: try StandardOutput.write("GITHUB_TOKEN\n")
      case .keyring(let token): try ShellCommand.write(token, from: "keyring")
      case .configured(let token): try ShellCommand.write(token, from: "config.json")
      }
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

  private static func write(_ token: borrowing Secret, from place: String) throws(Failure) {
    try Descriptor.standardOutput.write(Array("\(place) ".utf8).span)
    try write(token)
  }

  /// Prints a secret for a script, bypassing the buffer of standard output, which is never wiped.
  private static func write(_ secret: borrowing Secret) throws(Failure) {
    try secret.withBytes { (bytes) throws(Failure) in
      try Descriptor.standardOutput.write(bytes)
    }
    try Descriptor.standardOutput.write([0x0a].span)
  }
}
