import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKCrypto

/// tbk-keygen: age identities and their recipients.
struct KeygenCommand: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-keygen",
    abstract: "Make an age identity, or print the recipient of one.",
    usage: """
      tbk-keygen [-o <file>]
      tbk-keygen -y [-o <file>] [<options>] [<identity file>]
      """,
    version: "tbk-keygen \(suiteVersion)")

  @Argument(
    help: ArgumentHelp("With -y: the file to read; standard input if there is none.", valueName: "identity file"))
  var input: RawPath?

  @Flag(name: .customShort("y"), help: "Print the recipients of the identities in a file.")
  var recipients = false

  @Option(name: .shortAndLong, help: ArgumentHelp("Write to <file>, which must not exist.", valueName: "file"))
  var output: RawPath?

  @OptionGroup var passwords: IdentityPasswordOptions
  @OptionGroup var prompts: InputOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if recipients { return }
    if input != nil { throw ValidationError("a file is read with -y alone") }
    if passwords.isGiven { throw ValidationError("a password is for a file that -y reads") }
  }

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    if output?.isStandardStream == true { output = nil }
    return recipients ? try printRecipients() : try makeIdentity()
  }

  private func makeIdentity() throws(Failure) -> Int32 {
    let identity = try AgeIdentity.generate()
    let text = try AgeIdentityFile.text(of: identity, created: Timestamp.now().iso8601())
    let public_ = try identity.recipient.text()
    if let output {
      let file = try AtomicFile(output)
      try text.withBytes { (bytes) throws(Failure) in try file.descriptor.write(bytes) }
      try commit(file, output)
    } else {
      let facts = try Descriptor.standardOutput.status()
      if facts.st_mode & S_IFMT == S_IFREG, facts.st_mode & 0o044 != 0 {
        Messages.warning("the identity is written to a file that others can read")
      }
      try text.withBytes { (bytes) throws(Failure) in try Descriptor.standardOutput.write(bytes) }
    }
    // On a terminal the output has just shown it.
    if output != nil || !Descriptor.standardOutput.isTerminal {
      Messages.notice("public key: \(public_)")
    }
    return ExitStatus.success
  }

  private func printRecipients() throws(Failure) -> Int32 {
    let path = input ?? RawPath("-")
    if path.isStandardStream, Descriptor.standardInput.isTerminal {
      throw Failure(.usage, "standard input is a terminal", hint: "give an identity file")
    }
    let identities = try readIdentities(
      path, inputIsData: false, memoryLimit: UInt64(Argon2Limits().memory)
    ) { (failed) throws(Failure) in
      try passwords.password(
        refusing: prompts.noInput, inputIsData: path.isStandardStream, after: failed)
    }
    var text = ""
    for identity in identities { text += try identity.recipient.text() + "\n" }
    guard let output else {
      try StandardOutput.write(text)
      return ExitStatus.success
    }
    let file = try AtomicFile(output, mode: 0o644)
    try file.descriptor.write(Array(text.utf8).span)
    try commit(file, output)
    return ExitStatus.success
  }

  private func commit(_ file: AtomicFile, _ path: RawPath) throws(Failure) {
    if try Descriptor.workingDirectory.statusIfPresent(of: path) != nil {
      throw Failure(.cannotCreate, "\(path.display) exists", hint: "choose another name")
    }
    try file.commit(replacing: false)
  }
}
