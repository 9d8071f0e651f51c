import ArgumentParser
import TBKCore

struct Initialise: Verb {
  static let beginning: Beginning = .optionsAlone
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract: "Make the configuration and a first store.",
    discussion: """
      Makes ~/.termbackup (or the directory that TERMBACKUP_HOME names) with a configuration and a store that needs \
      no account. What already exists stays as it is.

      On a terminal it asks for a GitHub token, which only stores on GitHub need: leave it empty to do without. A \
      token is checked with GitHub and kept in the keyring.
      """)

  @Option(
    name: .long,
    help: ArgumentHelp(
      "New profiles back up to <store>: a directory, owner/repo, or an address as rclone:REMOTE:PATH.",
      valueName: "store"))
  var repo: String?
  @Flag(name: .long, help: "Create the private repository of --repo if it does not exist.")
  var createRepo = false
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var token: TokenOptions
}

/// Its subcommands are those of `tbk-config profile` that are for people.
struct ProfileVerb: Verb {
  static let beginning: Beginning = .optionsAlone
  static let configuration = CommandConfiguration(
    commandName: "profile",
    abstract: "Choose what to back up, how, and where.",
    discussion: """
      A profile says what to back up, how, and where. Deleting it leaves its backups where they are.
      """,
    subcommands: [
      ProfileGroup.Create.self, ProfileGroup.List.self, ProfileGroup.Show.self,
      ProfileGroup.Edit.self, ProfileGroup.Rename.self, ProfileGroup.Delete.self, ProfileGroup.Export.self,
      ProfileGroup.Import.self, ProfileGroup.Validate.self,
    ])
}

struct UpdateToken: Verb {
  static let configuration = CommandConfiguration(
    commandName: "update-token",
    abstract: "Replace the GitHub token in the keyring.",
    discussion: """
      Checks a token with GitHub and puts it into the keyring in place of the previous one. The token comes from the \
      options, TERMBACKUP_TOKEN_FILE, TERMBACKUP_TOKEN_COMMAND or TERMBACKUP_TOKEN, or is asked for on the terminal. \
      A token in config.json is removed from it afterwards.
      """)

  @Option(
    name: .long,
    help: ArgumentHelp("Check too that the token can write to this repository.", valueName: "owner/repo"))
  var repo: String?
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var token: TokenOptions
}

struct TokenInfo: Verb {
  static let beginning: Beginning = .profileName
  static let wordsBeforeProfile: [String]? = []
  static let configuration = CommandConfiguration(
    commandName: "token-info",
    abstract: "Show what the GitHub token is and may do.",
    discussion: """
      Asks GitHub about the token that a backup would use: its kind, scopes and expiry, what is left \
      of the rate limit and, for a repository, what it may do there. The token itself is never shown.
      """)

  @Option(
    name: [.customShort("p", allowingJoined: true), .long],
    help: ArgumentHelp("Report the access to the repository of <profile>.", valueName: "profile"))
  var profile: String?
  @Option(
    name: .long, help: ArgumentHelp("Report the access to this repository.", valueName: "owner/repo"))
  var repo: String?
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    if profile != nil, repo != nil { throw ValidationError("-p and --repo cannot be used together") }
  }
}

struct GenerateKey: Verb {
  static let configuration = CommandConfiguration(
    commandName: "generate-key",
    abstract: "Create the key that signs backups.",
    discussion: """
      Makes an Ed25519 key: signing_key.pem, encrypted under a password, and signing_key.pub for other machines, \
      which put it into their trusted_keys.

      The password is one of its own, or that of the backups: then 'termbackup run' needs no other. Without an \
      option it is asked for, twice.
      """)

  @Flag(name: .long, help: "Sign backups from now on.")
  var enable = false
  @Flag(
    name: .long,
    help: "Replace the existing key; its public half is added to trusted_keys.")
  var force = false
  @Flag(name: .long, help: "Do not encrypt the private key.")
  var noPassword = false
  @OptionGroup var keyPassword: KeyPasswordOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions

  func validate() throws {
    if noPassword, (keyPassword.firstGiven ?? password.firstGiven) != nil {
      throw ValidationError("--no-password is given together with a password")
    }
  }
}

struct GenerateIdentity: Verb {
  static let beginning: Beginning = .profile
  static let parts = ["lock"]
  static let configuration = CommandConfiguration(
    commandName: "generate-identity",
    abstract: "Make backups that this machine itself cannot open.",
    discussion: """
      Asks for a password, makes an age identity, and puts it into the store, sealed under the password. From then \
      on the profile's backups are sealed to its recipient and signed with a key that needs no password: run, \
      daemon, watch and schedules need no secret at all, and restore asks for the password, on any machine.

      With --recipient somebody else holds the identity, and nothing is put into the store. If the store has \
      lost the identity, --identity puts the printed one back, under the password.
      """)

  @OptionGroup var profile: ProfileOperand
  @Option(
    name: [.customShort("r", allowingJoined: true), .long], parsing: .singleValue,
    help: ArgumentHelp("Seal to <recipient>, age1…, whose identity is elsewhere (repeatable).", valueName: "recipient"))
  var recipient: [String] = []
  // Not the identities that open what the verb reads: those are `identity`.
  @Option(
    name: [.customShort("i"), .customLong("identity")],
    help: ArgumentHelp(
      "Put the identities in <file>, as printed, back into a store that lost them.", valueName: "file"))
  var printed: RawPath?
  @Flag(name: .long, help: "Print the identities, which open all backups: for a safe.")
  var print = false
  @Flag(name: .long, help: "Sign an existing ledger that is not signed.")
  var adopt = false
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    if print, report.json { throw ValidationError("--print and --json cannot be used together") }
    if print, !recipient.isEmpty { throw ValidationError("--print is for an identity that is in the store") }
    if printed != nil, print || !recipient.isEmpty {
      throw ValidationError("--identity cannot be used with --print or --recipient")
    }
  }
}

struct Migrate: Verb {
  static let parts = ["lock", "reseal"]
  static let configuration = CommandConfiguration(
    abstract: "Move what earlier versions stored to the current place or format.",
    discussion: """
      Moves the token that an older configuration holds in plain text into the keyring: puts it there, reads it \
      back, and only then removes it from config.json. GitHub is not contacted.

      With --archives, reseals those archives of a profile that are in the TBK1 format of earlier versions, as TBK2 \
      under the same password. Each one is replaced in the store in one step; if it is interrupted, the same command \
      continues.
      """)

  @Flag(name: .long, help: "Replace a different token in the keyring.")
  var force = false
  @Option(
    name: .long,
    help: ArgumentHelp("Migrate the archives of <profile>, not the token.", valueName: "profile"))
  var archives: String?
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup(title: "Options with --archives") var archiveOptions: ArchiveOptions

  /// Options that are only for archives.
  struct ArchiveOptions: ParsableArguments {
    @OptionGroup var placement: PlacementOptions
    @Option(name: .long, help: ArgumentHelp("auto, always or never.", valueName: "when"))
    var progress: ProgressChoice?
    @OptionGroup var password: PasswordOptions
    @OptionGroup var keyPassword: KeyPasswordOptions
    @OptionGroup var token: TokenOptions
  }

  func validate() throws {
    if archives != nil {
      if force { throw ValidationError("--force is for the token") }
      return
    }
    if let name = archiveOptions.placement.placement.map({ _ in "--placement" })
      ?? archiveOptions.progress.map({ _ in "--progress" })
      ?? archiveOptions.password.firstGiven ?? archiveOptions.keyPassword.firstGiven
      ?? archiveOptions.token.firstGiven
    {
      throw ValidationError("\(name) goes with --archives")
    }
  }
}

struct ImportMbu: Verb {
  static let parts = ["package"]
  static let configuration = CommandConfiguration(
    commandName: "import-mbu",
    abstract: "Import the settings and packages of mbu.",
    discussion: """
      Copies package_dir and restore_dir from mbu's config.toml to config.json unless they are already set there, \
      and names the settings that have no counterpart. With --reseal each package of mbu is opened and resealed as \
      NAME.tbk in package_dir, with nothing unencrypted on disk. The old packages stay unless --remove-old is given.

      Without an option for mbu's password, it is that of the new packages. A package that already exists as \
      NAME.tbk is left alone.
      """)

  @Argument(help: ArgumentHelp("mbu's config.toml.", valueName: "config"))
  var config: String
  @Flag(name: .long, help: "Reseal mbu's packages.")
  var reseal = false
  @Option(
    name: .long, parsing: .singleValue,
    help: ArgumentHelp(
      "The directory of these, if not mbu's package directory (repeatable).", valueName: "dir"))
  var packages: [String] = []
  @Flag(
    name: .long,
    help: "Remove an mbu package once its new one has been read back and holds as many files and bytes.")
  var removeOld = false
  @Option(
    name: .long, help: ArgumentHelp("Read mbu's password from descriptor <n>.", valueName: "n"))
  var mbuPasswordFd: DescriptorNumber?
  @Option(name: .long, help: ArgumentHelp("Read mbu's password from <file>.", valueName: "file"))
  var mbuPasswordFile: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Use the output of <command> as mbu's password.", valueName: "command"))
  var mbuPasswordCommand: String?
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: PasswordOptions

  func validate() throws {
    if !reseal,
      !packages.isEmpty || removeOld || mbuPasswordFd != nil || mbuPasswordFile != nil
        || mbuPasswordCommand != nil
    {
      throw ValidationError("options for packages need --reseal")
    }
    if let mbuPasswordFd, mbuPasswordFd.number == password.passwordFd?.number {
      throw ValidationError("descriptor \(mbuPasswordFd.number) cannot give both passwords")
    }
  }
}
