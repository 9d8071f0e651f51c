import ArgumentParser
import TBKCommand
import TBKCore

struct Ls: Verb {
  static let wordsBeforeProfile: [String]? = []
  static let beginning: Beginning = .profile
  static let parts = ["trust", "ranges"]
  static let configuration = CommandConfiguration(
    abstract: "List the files in a backup.",
    discussion: """
      Lists what is directly in a directory of the backup, by default its top directory, as paths from the top: \
      'termbackup cat' and 'termbackup restore' take them. Only the manifest of the backup is fetched.
      """)

  @Argument(help: ArgumentHelp("A backup: a prefix of its id, latest, or latest~2.", valueName: "id"))
  var backup: String?
  @Argument(help: ArgumentHelp("A directory or a file in it.", valueName: "path"))
  var path: RawPath?
  @OptionGroup var time: AtOption
  @Flag(name: [.customShort("R"), .long], help: "List everything below, too.")
  var recursive = false
  @Flag(name: .customShort("l"), help: "List with mode, owner, size and time.")
  var long = false
  @Flag(name: .customShort("0"), help: "End names with NUL and do not quote them.")
  var nul = false
  @OptionGroup var profile: ProfileOption
  @OptionGroup var store: StoreOptions
  @OptionGroup var report: ListOptions
  @OptionGroup var trust: TrustOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var identity: ReadingIdentityOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    // With --at the one operand is the path.
    if time.at != nil, path != nil { throw ValidationError("an id and --at cannot be used together") }
    if time.at == nil { try time.requireOne(backup) }
    try refuse(profile.profile, with: store.store)
    if report.json, long || nul { throw ValidationError("--json cannot be used with -l or -0") }
  }
}

struct Cat: Verb {
  static let wordsBeforeProfile: [String]? = []
  static let beginning: Beginning = .profile
  static let parts = ["trust", "ranges"]
  static let configuration = CommandConfiguration(
    abstract: "Print a file of a backup.",
    discussion: """
      Prints the content of a file, named as 'termbackup ls' prints it, once its hash has been verified. From \
      archives in suite 3 and age only what is needed is fetched.
      """)

  @Argument(help: ArgumentHelp("A backup: a prefix of its id, latest, or latest~2.", valueName: "id"))
  var backup: String?
  @Argument(help: ArgumentHelp("The file.", valueName: "path"))
  var path: RawPath?
  @OptionGroup var time: AtOption
  @OptionGroup var profile: ProfileOption
  @OptionGroup var store: StoreOptions
  @Flag(name: .shortAndLong, help: "Print only warnings and errors.")
  var quiet = false
  @OptionGroup var trust: TrustOptions
  @OptionGroup var rates: RateOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var identity: ReadingIdentityOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    // With --at the one operand is the file.
    if backup == nil || time.at == nil && path == nil { throw ValidationError("no file is given") }
    if time.at != nil, path != nil { throw ValidationError("an id and --at cannot be used together") }
    try refuse(profile.profile, with: store.store)
  }
}

struct Find: Verb {
  static let wordsBeforeProfile: [String]? = []
  static let beginning: Beginning = .profile
  static let parts = ["trust", "ranges"]
  static let configuration = CommandConfiguration(
    abstract: "Find out which backups have a file, in which versions.",
    discussion: """
      Prints, for each path that matches and each version of its content, the last backup that has it, how many have \
      it, its size, and when it was modified. The manifests of the backups are read once: what they list is kept in \
      the cache, sealed.
      """)

  @Argument(
    help: ArgumentHelp("What to look for, as in .gitignore: '*.txt', '/src/', 'notes/today'.", valueName: "pattern"))
  var pattern: RawPath
  @Flag(name: .customShort("0"), help: "Print tab-separated lines that end with a NUL, names as they are.")
  var nul = false
  @OptionGroup var profile: ProfileOption
  @OptionGroup var store: StoreOptions
  @OptionGroup var report: ListOptions
  @OptionGroup var trust: TrustOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var identity: ReadingIdentityOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    try refuse(profile.profile, with: store.store)
    if nul, report.json { throw ValidationError("-0 and --json cannot be used together") }
  }
}
