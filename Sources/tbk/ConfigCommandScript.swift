import ArgumentParser
import CSystem
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat
import TBKSettings

/// What shell scripts need and a shell does not have.
extension ConfigCommand {
  struct Object: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print one JSON object on one line.")
    @Argument(
      help: ArgumentHelp(
        "KEY=TEXT, KEY:=JSON for what is no text, or KEY:=@FILE for the JSON in a file.",
        valueName: "member"))
    var members: [RawPath] = []

    mutating func execute() throws(Failure) -> Int32 {
      var object: [JSON.Member] = []
      for member in members.map(\.bytes) {
        guard let equals = member.firstIndex(of: UInt8(ascii: "=")), equals > 0 else {
          throw Failure(.usage, "\(RawPath(member).display) is not KEY=TEXT or KEY:=JSON")
        }
        let isJSON = member[equals - 1] == UInt8(ascii: ":")
        let name = member[..<(isJSON ? equals - 1 : equals)]
        let rest = Array(member[(equals + 1)...])
        guard let key = String(validating: name, as: UTF8.self), !key.isEmpty,
          !object.contains(where: { $0.key == key })
        else { throw Failure(.usage, "\(RawPath(member).display) has no key, or one given before") }
        let value = isJSON ? try json(rest, of: key) : .string(rest)
        object.append(JSON.Member(key, value))
      }
      try StandardOutput.write(JSON.object(object).line() + [0x0a])
      return ExitStatus.success
    }

    /// What stands after `:=`: JSON, or '@' and the name of a file of it, for a system limits the
    /// length of an argument.
    private func json(_ text: [UInt8], of key: String) throws(Failure) -> JSON {
      let what = "the value of '\(key)'"
      guard text.first == UInt8(ascii: "@") else { return try JSON.parse(text, what: what) }
      return try JSON.parse(
        try readFile(RawPath(Array(text.dropFirst())), limit: Ledger.byteLimit), what: what)
    }
  }

  struct Lock: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lock the file open on a descriptor, for as long as anyone has it open.",
      discussion: "Ends with status 75 if another process holds the lock.")
    @Argument(help: ArgumentHelp("The number of the descriptor.", valueName: "fd"))
    var descriptor: Int32

    mutating func execute() throws(Failure) -> Int32 {
      while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
        switch errno {
        case EINTR: try Interruption.check()
        case EWOULDBLOCK: throw Failure(.tryAgain, "another process holds the lock")
        case EBADF: throw Failure(.usage, "descriptor \(descriptor) is not open")
        default: throw .system("cannot lock descriptor \(descriptor)")
        }
      }
      return ExitStatus.success
    }
  }

  struct Leftovers: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove what killed restores have left in a directory.",
      discussion: "Prints the bytes and the name of each.")
    @Flag(name: .long, help: "Print them, and remove nothing.")
    var dryRun = false
    @Argument(help: ArgumentHelp("The directory.", valueName: "dir"))
    var directory: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      let place = try Descriptor.workingDirectory.open(directory, O_RDONLY | O_DIRECTORY)
      for (name, bytes) in try RestoreLeftovers.collect(in: place, dryRun: dryRun) {
        try StandardOutput.write("\(bytes)\t\(name.text)\n")
      }
      return ExitStatus.success
    }
  }

  /// As a shell cannot: root would make it root's.
  struct MakeFile: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "make-file",
      abstract: "Make an empty file that belongs to its directory's owner, unless it is there.")
    @Argument(help: ArgumentHelp("The file.", valueName: "file"))
    var file: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      _ = try Descriptor.workingDirectory.openOwned(file, O_WRONLY | O_NOFOLLOW | O_NONBLOCK)
      return ExitStatus.success
    }
  }

  struct Password: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the password, for a script to hand on.",
      discussion: "It comes from the options, the environment or a prompt on the terminal, and is "
        + "never printed to a terminal.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var source: PasswordOptions
    @Flag(name: .long, help: "Ask twice, if it has to be asked for.")
    var confirm = false
    @Flag(name: .customLong("new"), help: "It takes the place of another: TERMBACKUP_NEW_PASSWORD, and asked for as such.")
    var isNew = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      try StandardOutput.refuseTerminal("a password", hint: "this is for scripts")
      try ConfigCommand.write(
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
    @OptionGroup var source: KeyPasswordOptions
    @OptionGroup var input: InputOptions
    @Flag(name: .long, help: "Ask twice, if it has to be asked for.")
    var confirm = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      try StandardOutput.refuseTerminal("a password", hint: "this is for scripts")
      let password = try source.password(
        confirming: confirm, refusing: input.noInput, inputIsData: false)
      try ConfigCommand.write(password: password, option: "key-password")
      return ExitStatus.success
    }
  }

  struct Token: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the GitHub token, for a script to hand on; nothing if there is none.",
      discussion: "It comes from the options, the environment or config.json, and is never printed "
        + "to a terminal.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var source: TokenOptions
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
      try TokenOptions.check(token)
      try ConfigCommand.write(token)
      return ExitStatus.success
    }

    private func token() throws(Failure) -> Secret? {
      if !stored {
        if let given = try source.token(inputIsData: false, sharing: !ask) { return given }
        if ask { return try TokenOptions.ask("GitHub token: ") }
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

  struct Version: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the versions of the suite and of the libraries it runs with.")
    @OptionGroup var common: CommonOptions
    @Flag(name: .long, help: "Print JSON.")
    var json = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      var versions: [JSON.Member] = [JSON.Member("termbackup", .string(suiteVersion))]
      for (name, text) in libraryVersions() { versions.append(JSON.Member(name, .string(text))) }
      if json {
        try StandardOutput.write(JSON.object(versions).line() + [0x0a])
      } else {
        for version in versions {
          try StandardOutput.write("\(version.key) \(version.value.text ?? "")\n")
        }
      }
      return ExitStatus.success
    }
  }
}

/// What the libraries in this process say of themselves.
private func libraryVersions() -> [(String, String)] {
  [
    ("openssl", CryptoVersions.openssl), ("argon2", CryptoVersions.argon2), ("zlib", zlibVersion),
    ("glibc", unsafe String(cString: tbk_libc_version())),
  ]
}
