import Glibc
import Synchronization
import TBKCore

/// The source of a password or token: a descriptor, a file or a command named by an option, else the same in the
/// environment.
package struct SecretSource {
  /// A kind of secret.
  package struct Kind: Sendable {
    /// The noun in messages.
    let noun: String
    /// The prefix of its options: "password" for `--password-fd`.
    let option: String
    /// The variable with the secret itself; with `_FILE` or `_COMMAND` added, the variable that names a file or
    /// command.
    let variable: String
    /// The most bytes, without the newline at the end.
    let limit: Int
    /// The code of the failure for a secret that is empty or too long.
    let code: Failure.Code
    /// Shown before the prompt for a new secret: what depends on it.
    var stakes: String?
  }

  /// The nouns of the secrets that were entered at a prompt, and so may be mistyped.
  private static let entered = Mutex<Set<String>>([])

  let kind: Kind
  let descriptor: Int32?
  let file: RawPath?
  let command: RawPath?

  /// The error in the options; nil if at most one is given.
  var complaint: String? {
    guard [descriptor != nil, file != nil, command != nil].count(where: { $0 }) > 1 else {
      return nil
    }
    let option = kind.option
    return "only one of --\(option)-fd, --\(option)-file and --\(option)-command"
  }

  /// The secret from the first source that has one, without prompting, or nil. The variables are removed
  /// from the environment, so that no child process sees them.
  ///
  /// - Parameter inputIsData: whether standard input is used for data.
  func secret(inputIsData: Bool) throws(Failure) -> Secret? {
    let variable = kind.variable
    let isSetEmpty = unsafe getenv(variable).map { unsafe $0.pointee == 0 } ?? false
    let environmentFile = takeEnvironment(variable + "_FILE")
    let environmentCommand = takeEnvironment(variable + "_COMMAND")
    var environmentSecret = takeEnvironment(variable)
    defer { if environmentSecret != nil { wipe(&environmentSecret!) } }
    if let descriptor { return try read(descriptor: descriptor, inputIsData: inputIsData) }
    if let file { return try read(file: file, inputIsData: inputIsData) }
    if let command { return try run(command.bytes) }
    if let environmentFile {
      return try read(file: RawPath(environmentFile), inputIsData: inputIsData)
    }
    if let environmentCommand { return try run(environmentCommand) }
    if let secret = environmentSecret { return try Secret(copying: secret.span) }
    if isSetEmpty { throw Failure(kind.code, "the \(kind.noun) in \(variable) is empty") }
    return nil
  }

  /// The secret from the first source that has one, the prompt last.
  ///
  /// - Parameters:
  ///   - confirming: whether to prompt twice, as for a new secret.
  ///   - refusing: whether prompts are forbidden.
  ///   - inputIsData: whether standard input is used for data.
  ///   - failed: the failure of the previous secret, if one was tried; thrown unless that was entered at a prompt.
  ///   - prepare: called before the sources are checked.
  ///   - kept: returns a stored secret; called before prompting.
  func secret(
    confirming: Bool, refusing: Bool, inputIsData: Bool, after failed: Failure?, prepare: () -> Void = {},
    kept: () throws(Failure) -> Secret? = { () throws(Failure) in nil }
  ) throws(Failure) -> Secret {
    let prompt = kind.noun.prefix(1).uppercased() + kind.noun.dropFirst()
    if let failed { return try askAgain(prompt, after: failed) }
    prepare()
    if let secret = try secret(inputIsData: inputIsData) { return secret }
    if let secret = try kept() { return secret }
    return try ask(prompt, confirming: confirming, refusing: refusing)
  }

  /// Whether one of the options is given.
  var isGiven: Bool { descriptor != nil || file != nil || command != nil }

  /// Prompts for the secret at the terminal, without echo. Throws `.usage` if there is no terminal.
  ///
  /// - Parameters:
  ///   - prompt: as in "Password".
  ///   - confirming: whether it is a new secret, which is prompted for twice, and again if the two differ.
  ///   - refusing: whether prompts are forbidden.
  func ask(_ prompt: String, confirming: Bool, refusing: Bool) throws(Failure) -> Secret {
    let option = kind.option
    let hint = "give --\(option)-file, --\(option)-fd, --\(option)-command or \(kind.variable)_FILE"
    if refusing { throw Failure(.usage, "no \(kind.noun) was given", hint: hint) }
    guard let terminal = try? Terminal() else {
      throw Failure(
        .usage, "no \(kind.noun) was given and there is no terminal to ask on", hint: hint)
    }
    if confirming, let stakes = kind.stakes { try terminal.show(stakes) }
    for attempt in 1...passwordAttempts {
      let secret = try terminal.secret("\(prompt): ", limit: kind.limit)
      if secret.count == 0 { throw Failure(.usage, "the \(kind.noun) is empty") }
      if confirming {
        let again = try terminal.secret("\(prompt) again: ", limit: kind.limit)
        let same = secret.withBytes { one in again.withBytes { other in one.elementsEqual(other) } }
        if !same {
          if attempt < passwordAttempts { try terminal.show("They do not match: try again.") }
          continue
        }
      }
      let noun = kind.noun
      SecretSource.entered.withLock { _ = $0.insert(noun) }
      return secret
    }
    throw Failure(.usage, "the two passwords differ")
  }

  /// Prompts again after a failure; throws `failed` if the last secret did not come from a prompt.
  ///
  /// - Parameter failed: the failure of the last secret.
  func askAgain(_ prompt: String, after failed: Failure) throws(Failure) -> Secret {
    let noun = kind.noun
    guard SecretSource.entered.withLock({ $0.contains(noun) }) else { throw failed }
    try Terminal().show("That is not the \(noun): try again.")
    return try ask(prompt, confirming: false, refusing: false)
  }

  private func read(descriptor: Int32, inputIsData: Bool) throws(Failure) -> Secret {
    let option = "--\(kind.option)-fd \(descriptor)"
    if descriptor == 0, inputIsData {
      throw Failure(
        .usage, "\(option) would read the \(kind.noun) from the data on standard input",
        hint: "use another descriptor, as in --\(kind.option)-fd 3 3<file")
    }
    guard fcntl(descriptor, F_GETFD) >= 0 else {
      throw Failure(.usage, "\(option): the descriptor is not open")
    }
    // A standard stream stays open, or the next file opened would take its number.
    let opened =
      descriptor < 3 ? Descriptor(borrowing: descriptor) : Descriptor(owning: descriptor)
    return try read(opened, "descriptor \(descriptor)")
  }

  private func read(file: RawPath, inputIsData: Bool) throws(Failure) -> Secret {
    if file.isStandardStream {
      if inputIsData {
        throw Failure(.usage, "standard input is the data, so the \(kind.noun) cannot come from it")
      }
      return try read(.standardInput, "standard input")
    }
    return try read(try Descriptor.openForReading(file), file.display)
  }

  private func run(_ command: [UInt8]) throws(Failure) -> Secret {
    // It gets no secrets, except that a token command may use a token of its own, as `gh auth token` does.
    let kept = kind.code == .token ? ["GH_TOKEN", "GH_ENTERPRISE_TOKEN"] : []
    let child = try ChildProcess(
      try splitShellWords(command),
      environment: SecretVariables.environmentWithout(keeping: kept))
    // A failed command has usually printed nothing: report the failure rather than the empty output.
    return try read(child.output, "the \(kind.noun) command") { () throws(Failure) in
      if let reason = try child.wait() {
        throw Failure(.configuration, "the \(kind.noun) command failed: \(reason)")
      }
    }
  }

  /// Reads to the end; one trailing newline is not part of the secret.
  ///
  /// - Parameter ended: called at the end of the input, before the secret is used.
  private func read(
    _ descriptor: Descriptor, _ place: String, ended: () throws(Failure) -> Void = {}
  ) throws(Failure) -> Secret {
    var bytes = [UInt8](repeating: 0, count: kind.limit + 2)
    defer { wipe(&bytes) }
    var buffer = [UInt8](repeating: 0, count: 4096)
    defer { wipe(&buffer) }
    var count = 0
    while true {
      let more = try descriptor.read(into: &buffer)
      if more == 0 { break }
      guard count + more <= kind.limit + 1 else { throw tooLong(place) }
      for index in 0..<more { bytes[count + index] = buffer[index] }
      count += more
    }
    try ended()
    if count > 0, bytes[count - 1] == UInt8(ascii: "\n") { count -= 1 }
    if count == 0 { throw Failure(kind.code, "the \(kind.noun) from \(place) is empty") }
    if count > kind.limit { throw tooLong(place) }
    return try Secret(copying: bytes.span.extracting(0..<count))
  }

  private func tooLong(_ place: String) -> Failure {
    Failure(kind.code, "the \(kind.noun) from \(place) is longer than \(kind.limit) bytes")
  }
}

/// The value of a variable, which is removed from the environment.
func takeEnvironment(_ name: String) -> [UInt8]? {
  defer { unsafe _ = unsetenv(name) }
  return environment(name)
}
