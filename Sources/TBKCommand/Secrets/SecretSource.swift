import Glibc
import Synchronization
import TBKCore

/// Where a password or a token comes from: a descriptor, a file or a command that an
/// option names, then the same in the environment. It never asks.
package struct SecretSource {
  /// What is looked for.
  package struct Kind: Sendable {
    /// The noun in messages.
    let noun: String
    /// What options begin with, as in "password" and `--password-fd`.
    let option: String
    /// The variable with the secret itself; `_FILE` and `_COMMAND` follow it for the others.
    let variable: String
    /// The most bytes, without the newline at the end.
    let limit: Int
    /// The code of the failure for a secret that is empty or too long.
    let code: Failure.Code
    /// Shown before the prompt for a new one: what depends on it.
    var stakes: String?
  }

  /// The nouns of the secrets that were entered at a prompt, and so may be mistyped.
  private static let entered = Mutex<Set<String>>([])

  let kind: Kind
  let descriptor: Int32?
  let file: RawPath?
  let command: RawPath?

  /// What is wrong with the options; nil if at most one is given.
  var complaint: String? {
    guard [descriptor != nil, file != nil, command != nil].count(where: { $0 }) > 1 else {
      return nil
    }
    let option = kind.option
    return "only one of --\(option)-fd, --\(option)-file and --\(option)-command"
  }

  /// The secret from the first place that has one; nil if none has. The variables are taken out of
  /// the environment, so that no child sees them.
  ///
  /// - Parameter inputIsData: whether standard input is used for something else.
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

  /// The secret from the first place that has one; a prompt is the last.
  ///
  /// - Parameters:
  ///   - confirming: whether a prompt asks twice, as for a new one.
  ///   - refusing: whether nothing may be asked.
  ///   - inputIsData: whether standard input is used for something else.
  ///   - failed: the failure of the last secret, if one was tried; thrown unless that was entered at a prompt.
  ///   - prepare: called before places are looked at.
  ///   - kept: gives the one that is kept somewhere, which is looked for before anyone is asked.
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

  /// Whether one of the options names a place.
  var isGiven: Bool { descriptor != nil || file != nil || command != nil }

  /// The secret that a person at the terminal enters, unseen. Throws `.usage` where there is none.
  ///
  /// - Parameters:
  ///   - prompt: as in "Password".
  ///   - confirming: whether it is a new one, which is asked for twice, and again if the two differ.
  ///   - refusing: whether nothing may be asked.
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

  /// Another secret, from the person who entered the last one; throws `failed` if it did not come from a prompt.
  ///
  /// - Parameter failed: the failure of the last one.
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
    // A standard stream stays, or what is opened next would take its place.
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
    // It sees no secret. What may print a token may have one of its own, as `gh auth token`.
    let kept = kind.code == .token ? ["GH_TOKEN", "GH_ENTERPRISE_TOKEN"] : []
    let child = try ChildProcess(
      try splitShellWords(command),
      environment: SecretVariables.environmentWithout(keeping: kept))
    // A command that failed mostly printed nothing: that it failed says more than that.
    return try read(child.output, "the \(kind.noun) command") { () throws(Failure) in
      if let reason = try child.wait() {
        throw Failure(.configuration, "the \(kind.noun) command failed: \(reason)")
      }
    }
  }

  /// Reads to the end; one trailing newline is not part of the secret.
  ///
  /// - Parameter ended: called at the end of what is read, before it is used.
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

/// The value of a variable, which no child of ours will see.
func takeEnvironment(_ name: String) -> [UInt8]? {
  defer { unsafe _ = unsetenv(name) }
  return environment(name)
}
