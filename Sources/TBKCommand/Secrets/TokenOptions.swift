import ArgumentParser
import TBKCore

extension SecretSource.Kind {
  /// GitHub's tokens have at most a few hundred characters.
  static let token = SecretSource.Kind(
    noun: "token", option: "token", variable: "TERMBACKUP_TOKEN", limit: 1024, code: .token)
}

/// Sources of the token for a network store: options, environment; never a prompt. A token in config.json is used last,
/// by the code that reads that file.
package struct TokenOptions: SecretOptions {
  @Option(name: .long, help: ArgumentHelp("Read the token from descriptor <n>.", valueName: "n"))
  package var tokenFd: Int32?

  @Option(name: .long, help: ArgumentHelp("Read the token from <file>.", valueName: "file"))
  package var tokenFile: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp("Use the output of <command> as the token.", valueName: "command"))
  package var tokenCommand: RawPath?

  package init() {}

  package var source: SecretSource {
    SecretSource(kind: .token, descriptor: tokenFd, file: tokenFile, command: tokenCommand)
  }

  /// The token from the first of: the options, TERMBACKUP_TOKEN_FILE, TERMBACKUP_TOKEN_COMMAND, TERMBACKUP_TOKEN,
  /// GITHUB_TOKEN, or nil. Afterwards no child process sees the variables.
  ///
  /// - Parameters:
  ///   - inputIsData: whether standard input is used for data.
  ///   - sharing: whether GITHUB_TOKEN, which other programs share, counts.
  package func token(inputIsData: Bool, sharing: Bool = true) throws(Failure) -> Secret? {
    SecretSource.Kind.token.withdrawOthers()
    var shared = takeEnvironment("GITHUB_TOKEN")
    defer { if shared != nil { wipe(&shared!) } }
    if let secret = try source.secret(inputIsData: inputIsData) {
      try TokenOptions.check(secret)
      return secret
    }
    guard sharing, let shared else { return nil }
    let secret = try Secret(copying: shared.span)
    try TokenOptions.check(secret)
    return secret
  }

  /// Prompts for the token at the terminal, without echo; nil for an empty line, or if there is no terminal.
  package static func ask(_ prompt: String) throws(Failure) -> Secret? {
    guard let terminal = try? Terminal() else { return nil }
    let token = try terminal.secret(prompt, limit: SecretSource.Kind.token.limit)
    if token.count == 0 { return nil }
    try check(token)
    return token
  }

  /// Throws `.token` unless the token can be part of a request header: visible ASCII, no blanks.
  package static func check(_ token: borrowing Secret) throws(Failure) {
    if token.count > SecretSource.Kind.token.limit {
      throw Failure(.token, "the token is longer than \(SecretSource.Kind.token.limit) bytes")
    }
    let isVisible = token.withBytes { bytes in
      bytes.indices.allSatisfy { (0x21...0x7e).contains(bytes[$0]) }
    }
    if !isVisible || token.count == 0 {
      throw Failure(
        .token, "the token holds a blank or a character that no token has",
        hint: "it must be one line of letters, digits and signs, with nothing around it")
    }
  }
}
