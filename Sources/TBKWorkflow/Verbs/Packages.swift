import ArgumentParser

struct Package: Verb {
  static let parts = ["package"]
  static let configuration = CommandConfiguration(
    abstract: "Encrypt one directory into one file, without a profile.",
    discussion: """
      Encrypts a directory into the file NAME.tbk, named after it, in package_dir of config.json; to recipients, \
      into NAME.age, which age opens. The previous package stays until the new one is complete, and is replaced in \
      one step. 'termbackup unpack NAME' unpacks it.

      Exit status: 0 all of the directory is in the package; 3 packaged, but part of it could not be read; 73 part \
      of it could not be read, and the previous package stays.
      """)

  @Argument(help: ArgumentHelp("The directory.", valueName: "dir"))
  var directory: String
  @Option(name: .long, help: ArgumentHelp("Put the package into <dir>.", valueName: "dir"))
  var to: String?
  @Option(
    name: [.customShort("o", allowingJoined: true), .long],
    help: ArgumentHelp("Write the package to <file>; - is standard output.", valueName: "file"))
  var output: String?
  @Flag(name: .long, help: "Print what would be packaged, and write nothing.")
  var dryRun = false
  @Option(
    name: .long, parsing: .singleValue,
    help: ArgumentHelp("Leave out what matches, as in .gitignore (repeatable).", valueName: "pattern"))
  var exclude: [String] = []
  @Option(
    name: .long, parsing: .singleValue,
    help: ArgumentHelp("Leave out what the patterns in <file> match (repeatable).", valueName: "file"))
  var excludeFrom: [String] = []
  @Flag(name: .long, help: "Leave out .git/, .idea/, __pycache__/ and .DS_Store.")
  var excludeDefaults = false
  @Flag(name: .long, help: "Leave out directories with a CACHEDIR.TAG.")
  var excludeCaches = false
  @Flag(name: .long, help: "Stay on the file system of the directory.")
  var oneFileSystem = false
  @Option(
    name: .long,
    help: ArgumentHelp("Seal in cipher suite 1 or 3; that of config.json if not given.", valueName: "n"))
  var suite: SuiteChoice?
  @OptionGroup var recipients: RecipientOptions
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Compress at level 0 (none) to 9, by default 6; in suite 3 and to recipients at 1 to 19, by default 3.",
      valueName: "n"),
    completion: .list((0...19).map(String.init)))
  var level: Int?
  @Flag(
    name: .long,
    help: "Replace the previous package even if part of the directory could not be read.")
  var acceptIncomplete = false
  @Flag(name: .long, help: "Use another password from now on.")
  var newPassword = false
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: PasswordOptions

  func validate() throws {
    let levels = suite.map { $0 == .whole ? 0...9 : 1...19 } ?? (recipients.isGiven ? 1...19 : 0...19)
    if let level, !levels.contains(level) {
      throw ValidationError("--level takes a number from \(levels.lowerBound) to \(levels.upperBound)")
    }
    if recipients.isGiven, suite != nil {
      throw ValidationError("--suite is for a password, not for recipients")
    }
    if recipients.isGiven, newPassword {
      throw ValidationError("--new-password and recipients cannot be used together")
    }
    if to != nil, output != nil { throw ValidationError("only one of --to and -o") }
    if output == "-", report.json, !dryRun {
      throw ValidationError("--json and the package cannot both go to standard output")
    }
  }
}

struct Unpack: Verb {
  static let parts = ["package"]
  static let configuration = CommandConfiguration(
    abstract: "Unpack a package.",
    discussion: """
      Unpacks what 'termbackup package' made: the package of that name in package_dir of config.json, or a file, or \
      standard input. The tree goes to a directory of the same name in restore_dir, or to the directory that --to \
      names. Nothing is put in place before everything has been verified. Existing files are replaced only with \
      --overwrite, or if you confirm it at the terminal.
      """)

  @Argument(help: ArgumentHelp("The name of a package, a file, or - for standard input.", valueName: "name|file|-"))
  var package: String
  @Option(name: .long, help: ArgumentHelp("Unpack the content of the package into <dir>.", valueName: "dir"))
  var to: String?
  @Option(
    name: .long,
    help: ArgumentHelp("The package is one of mbu, with its settings in <file>.", valueName: "file"))
  var mbuConfig: String?
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var selection: SelectionOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: PasswordOptions

  func validate() throws {
    if package == "-", to == nil {
      throw ValidationError("standard input has no name: give --to <dir>")
    }
    if mbuConfig != nil, !identity.identity.isEmpty {
      throw ValidationError("a package of mbu is under a password, not sealed to recipients")
    }
  }
}
