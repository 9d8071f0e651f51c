import ArgumentParser
import Glibc
import TBKCore

/// What every command takes.
package struct CommonOptions: ParsableArguments {
  @Flag(name: [.short, .long], help: "Say nothing but warnings and errors.")
  package var quiet = false

  package init() {}

  /// To be called first in `execute()`.
  package func apply() {
    Messages.quiet = quiet
  }
}

/// What commands take that may ask for something.
package struct InputOptions: ParsableArguments {
  @Flag(name: .long, help: "Never ask; fail instead.")
  package var noInput = false

  package init() {}
}

/// What long work takes.
package struct ProgressOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Show progress: auto, always or never.", valueName: "when"))
  package var progress = ProgressMode.auto

  package init() {}
}

/// Where the password comes from (DESIGN §2): options, environment, a prompt.
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

  package func validate() throws {
    let given = [passwordFd != nil, passwordFile != nil, passwordCommand != nil]
    if given.count(where: { $0 }) > 1 {
      throw ValidationError("only one of --password-fd, --password-file and --password-command")
    }
  }

  /// Whether one of the options names a place.
  package var isGiven: Bool {
    passwordFd != nil || passwordFile != nil || passwordCommand != nil
  }

  /// The password, from the first place that has one.
  ///
  /// - Parameters:
  ///   - confirming: whether a prompt asks twice, as before sealing.
  ///   - inputIsData: whether standard input is spoken for.
  package func password(confirming: Bool, inputIsData: Bool) throws(Failure) -> Secret {
    let isSetEmpty = unsafe getenv("TERMBACKUP_PASSWORD").map { unsafe $0.pointee == 0 } ?? false
    let environmentFile = takeEnvironment("TERMBACKUP_PASSWORD_FILE")
    let environmentCommand = takeEnvironment("TERMBACKUP_PASSWORD_COMMAND")
    var environmentPassword = takeEnvironment("TERMBACKUP_PASSWORD")
    defer { if environmentPassword != nil { wipe(&environmentPassword!) } }
    if let passwordFd {
      if passwordFd == 0, inputIsData {
        throw Failure(
          .usage, "--password-fd 0 would read the password from the data on standard input",
          hint: "use another descriptor, as in --password-fd 3 3<file")
      }
      guard fcntl(passwordFd, F_GETFD) >= 0 else {
        throw Failure(.usage, "--password-fd \(passwordFd): the descriptor is not open")
      }
      return try readPassword(Descriptor(owning: passwordFd), "descriptor \(passwordFd)")
    }
    if let passwordFile { return try read(file: passwordFile, inputIsData: inputIsData) }
    if let passwordCommand { return try run(passwordCommand.bytes) }
    if let environmentFile {
      return try read(file: RawPath(environmentFile), inputIsData: inputIsData)
    }
    if let environmentCommand { return try run(environmentCommand) }
    if let password = environmentPassword {
      return try Secret(copying: password.span)
    }
    if isSetEmpty { throw Failure(.usage, "the password in TERMBACKUP_PASSWORD is empty") }
    return try prompt(confirming: confirming)
  }

  private func read(file: RawPath, inputIsData: Bool) throws(Failure) -> Secret {
    if file.isStandardStream {
      if inputIsData {
        throw Failure(.usage, "standard input is the data, so the password cannot come from it")
      }
      return try readPassword(.standardInput, "standard input")
    }
    return try readPassword(try Descriptor.openForReading(file), file.display)
  }

  private func run(_ command: [UInt8]) throws(Failure) -> Secret {
    let child = try ChildProcess(try splitShellWords(command))
    // A command that failed mostly printed nothing: that it failed says more than that.
    return try readPassword(child.output, "the password command") { () throws(Failure) in
      if let reason = try child.wait() {
        throw Failure(.configuration, "the password command failed: \(reason)")
      }
    }
  }

  private func prompt(confirming: Bool) throws(Failure) -> Secret {
    let hint = "give --password-file, --password-fd, --password-command or TERMBACKUP_PASSWORD_FILE"
    if input.noInput { throw Failure(.usage, "no password was given", hint: hint) }
    guard let terminal = try? Terminal() else {
      throw Failure(.usage, "no password was given and there is no terminal to ask on", hint: hint)
    }
    let password = try terminal.secret("Password: ")
    if confirming {
      let again = try terminal.secret("Password again: ")
      let same = password.withBytes { one in again.withBytes { other in one.elementsEqual(other) } }
      if !same { throw Failure(.usage, "the two passwords differ") }
    }
    return password
  }
}

/// The value of a variable, which no child of ours will see.
private func takeEnvironment(_ name: String) -> [UInt8]? {
  defer { unsafe _ = unsetenv(name) }
  return environment(name)
}

/// Passwords are lines or files of keys, not documents.
private let longestPassword = 64 * 1024

/// Reads to the end; one trailing newline is not part of the password.
///
/// - Parameter ended: called at the end of what is read, before it is used.
private func readPassword(
  _ descriptor: Descriptor, _ what: String, ended: () throws(Failure) -> Void = {}
) throws(Failure) -> Secret {
  var bytes = [UInt8](repeating: 0, count: longestPassword + 2)
  defer { wipe(&bytes) }
  var buffer = [UInt8](repeating: 0, count: 4096)
  defer { wipe(&buffer) }
  var count = 0
  while true {
    let more = try descriptor.read(into: &buffer)
    if more == 0 { break }
    guard count + more <= longestPassword + 1 else {
      throw Failure(.usage, "the password from \(what) is longer than \(longestPassword) bytes")
    }
    for index in 0..<more { bytes[count + index] = buffer[index] }
    count += more
  }
  try ended()
  if count > 0, bytes[count - 1] == UInt8(ascii: "\n") { count -= 1 }
  if count == 0 { throw Failure(.usage, "the password from \(what) is empty") }
  return try Secret(copying: bytes.span.extracting(0..<count))
}

/// The controlling terminal, whatever standard input and output are.
package final class Terminal {
  private let descriptor: Descriptor

  /// Fails where there is no terminal.
  package init() throws(Failure) {
    descriptor = try Descriptor.workingDirectory.open(RawPath("/dev/tty"), O_RDWR)
  }

  /// Asks for a line without showing it.
  package func secret(_ prompt: String) throws(Failure) -> Secret {
    var shown = termios()
    guard unsafe tcgetattr(descriptor.number, &shown) == 0 else {
      throw .system("cannot set up the terminal")
    }
    var hidden = shown
    hidden.c_lflag &= ~tcflag_t(ECHO)
    unsafe tcsetattr(descriptor.number, TCSAFLUSH, &hidden)
    defer {
      unsafe tcsetattr(descriptor.number, TCSAFLUSH, &shown)
      _ = try? descriptor.write(Array("\n".utf8).span)
    }
    try descriptor.write(Array(prompt.utf8).span)
    var line = [UInt8](repeating: 0, count: longestPassword + 1)
    defer { wipe(&line) }
    var one: [UInt8] = [0]
    var count = 0
    while try descriptor.read(into: &one) == 1, one[0] != UInt8(ascii: "\n") {
      guard count < longestPassword else { throw Failure(.usage, "the password is too long") }
      line[count] = one[0]
      count += 1
    }
    if count == 0 { throw Failure(.usage, "the password is empty") }
    return try Secret(copying: line.span.extracting(0..<count))
  }
}
