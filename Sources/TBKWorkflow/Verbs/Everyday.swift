import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat

struct Run: SealingVerb {
  static let beginning: Beginning = [.profile, .excludes]
  static let parts = ["lock", "notify", "establish", "backup", "kept", "retain", "several"]
  static let configuration = CommandConfiguration(
    abstract: "Make a backup.",
    discussion: """
      Reads the profile's directory, encrypts it and stores it. The password is asked for at most once, twice for \
      the first backup of a profile. Then backups beyond the profile's max_backups or retention_days are removed. \
      With signing_enabled in config.json the backup and the ledger are signed; see 'termbackup generate-key'.

      Several profiles are backed up one after the other, each as if alone; one that fails does not stop the others, \
      and the exit status is the worst of theirs.

      Exit status: 0 the whole tree is stored, or nothing has changed since the last backup; 3 stored, but part of \
      the tree could not be read.
      """)

  @Argument(
    help: ArgumentHelp("The profiles; can be left out if there is only one.", valueName: "profile"))
  var profiles: [String] = []
  @OptionGroup var profile: ProfileOption
  @Flag(name: .long, help: "Back up all profiles.")
  var all = false
  @Flag(name: .long, help: "Read the tree and print what would be stored.")
  var dryRun = false
  @Flag(
    name: .long,
    help: "Print what has changed since the last backup, one path per line, as 'termbackup diff' does.")
  var list = false
  @Flag(name: .long, help: "Store everything, even in an incremental profile.")
  var full = false
  @Flag(name: .long, help: "Do not remove old backups.")
  var noPrune = false
  @Flag(name: .long, help: "Leave out .git/, .idea/, __pycache__/ and .DS_Store.")
  var excludeDefaults = false
  @Flag(name: .long, help: "Leave out directories with a CACHEDIR.TAG.")
  var excludeCaches = false
  @Flag(name: .long, help: "Stay on the file system of the directory.")
  var oneFileSystem = false
  @Option(
    name: .long,
    help: ArgumentHelp("Leave out files larger than <size>, as 500K, 100M, 2G.", valueName: "size"))
  var excludeLargerThan: FileSize?
  @OptionGroup var suite: SuiteOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var placement: PlacementOptions
  @Flag(
    name: .long,
    help: "Sign an unsigned ledger as it is: once, when signing is new.")
  var adopt = false
  @Flag(
    name: .long, help: "Store a tree without files although the last backup has some.")
  var allowEmpty = false
  @OptionGroup var rates: RateOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var keyPassword: KeyPasswordOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    if let name = profiles.first, profile.profile != nil {
      throw ValidationError("unexpected argument '\(name)': --profile names the profile")
    }
    if all, profile.profile != nil || !profiles.isEmpty {
      throw ValidationError("--all takes no profile")
    }
    if let twice = profiles.first(where: { name in profiles.count { $0 == name } > 1 }) {
      throw ValidationError("'\(twice)' appears twice")
    }
    if list, report.json { throw ValidationError("--list and --json cannot be used together") }
    if adopt, dryRun {
      throw ValidationError("--adopt and --dry-run cannot be used together")
    }
  }
}

struct List: Verb {
  static let beginning: Beginning = .profile
  static let parts = ["trust"]
  static let configuration = CommandConfiguration(
    abstract: "List the backups.",
    discussion: """
      Lists the backups of a profile, oldest first, and their total size. Times are local; CHANGE is how many more \
      or fewer files there are than in the previous backup; VERIFIED shows whether 'termbackup verify' found the \
      backup intact.

      With --store no profile is needed: it lists the groups of backups in the store, one for each profile that ever \
      stored there, with the last backup of each; with --group, the backups of that group.
      """)

  @OptionGroup var profile: ProfileOperand
  @Option(
    name: [.customShort("n", allowingJoined: true), .customLong("limit")],
    help: ArgumentHelp("Only the last <n> backups.", valueName: "n"))
  var count: Int?
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Only backups since <time>: 2026-02-18, 2026-02-18T10:00:00Z, or 36h, 30d, 4w ago.",
      valueName: "time"))
  var since: String?
  @OptionGroup var store: StoreOptions
  @OptionGroup var report: ListOptions
  @OptionGroup var trust: TrustOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    try refuse(profile.name, with: store.store)
    if let count, count < 1 { throw ValidationError("-n takes a number from 1") }
    if store.store != nil, store.group == nil, count != nil || since != nil {
      throw ValidationError("with --store, -n and --since need --group")
    }
  }
}

struct Restore: Verb {
  static let wordsBeforeProfile: [String]? = []
  static let beginning: Beginning = .profile
  static let parts = ["trust", "package", "ranges"]
  static let configuration = CommandConfiguration(
    abstract: "Restore a backup.",
    discussion: """
      Restores to the directory that --to names; by default to the profile's restore_dir or, without one, to the \
      directory that was backed up. Nothing is put in place before everything has been verified. Existing files are \
      replaced only with --overwrite, or if you confirm it at the terminal.

      With paths, as 'termbackup ls' prints them, or --include, only these are restored, and from archives in suite \
      3 and age only what they need is fetched.
      """)

  @Argument(help: ArgumentHelp("A backup: a prefix of its id, latest, or latest~2.", valueName: "id"))
  var backup: String?
  @Argument(help: ArgumentHelp("Only these files and directories of the backup.", valueName: "path"))
  var paths: [RawPath] = []
  @OptionGroup var time: AtOption
  @OptionGroup var profile: ProfileOption
  @OptionGroup var store: StoreOptions
  @Option(name: .long, help: ArgumentHelp("Restore to <dir>.", valueName: "dir"))
  var to: String?
  @OptionGroup var selection: SelectionOptions
  @Flag(
    name: .long,
    help: """
      Skip archives that the store has lost, name the files that only they hold, and end with \
      status 3.
      """)
  var partial = false
  @OptionGroup var trust: TrustOptions
  @Flag(
    name: .long,
    help: """
      Accept an archive that an interrupted rotate-key of TermBackup 6 left under another name, which the ledger \
      does not vouch for.
      """)
  var unvouched = false
  @OptionGroup var rates: RateOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var identity: ReadingIdentityOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    // With --at the operands are paths; a file of this name can be given as './latest'.
    if time.at == nil || backup == "latest" || backup?.hasPrefix("latest~") == true { try time.requireOne(backup) }
    try refuse(profile.profile, with: store.store)
    if store.store != nil, to == nil {
      throw ValidationError("--store needs --to <dir>: no profile says where it came from")
    }
    if unvouched, trust.requireSignature {
      throw ValidationError("--unvouched and --require-signature cannot be used together")
    }
  }
}

struct Diff: Verb {
  static let wordsBeforeProfile: [String]? = []
  static let beginning: Beginning = .profile
  static let parts = ["trust", "ranges"]
  static let configuration = CommandConfiguration(
    abstract: "Show what changed between two backups.",
    discussion: """
      Prints one line for each path that differs: what happened to it (added, modified, deleted, type, mode or \
      metadata), a tab, and its name. Without a backup it compares the last two; with one, that one and the last. \
      From archives only the manifest is fetched, and only if the store does not have it as a file of its own.

      Exit status: 0 if they are the same, 1 if they differ.
      """)

  @Argument(help: ArgumentHelp("The earlier backup: a prefix of its id, latest, or latest~2.", valueName: "old"))
  var old: String?
  @Argument(help: ArgumentHelp("The later one.", valueName: "new"))
  var new: String?
  @OptionGroup var time: AtOption
  @Flag(
    name: .long,
    help: "Also print the sizes of files before and after, in bytes; if no backup is given, they are always printed.")
  var sizes = false
  @OptionGroup var profile: ProfileOption
  @OptionGroup var store: StoreOptions
  @Flag(name: .customShort("0"), help: "End each line with a NUL, names as they are.")
  var nul = false
  @OptionGroup var report: ListOptions
  @OptionGroup var trust: TrustOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var identity: ReadingIdentityOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    try refuse(profile.profile, with: store.store)
    if nul, report.json { throw ValidationError("-0 and --json cannot be used together") }
    if time.at != nil, new != nil {
      throw ValidationError("--at names the earlier backup: give only the later one")
    }
  }
}

struct Verify: Verb {
  static let wordsBeforeProfile: [String]? = []
  static let beginning: Beginning = .profile
  static let parts = ["trust", "mend", "ranges"]
  static let configuration = CommandConfiguration(
    abstract: "Test whether backups can be restored.",
    discussion: """
      Fetches backups with all they depend on and does everything that a restore does except writing: it checks the \
      archive's hash, its tag, the manifest and every file. Signatures are checked with the public keys that are \
      trusted here. Backups that pass are marked as verified in the ledger if the store can be written to.

      --stored needs no secret: it compares the hashes of what is stored with the ledger. --restore writes files \
      into a temporary directory, compares them with the backup and removes them.

      Exit status: 0 if all pass, 1 if one does not.
      """)

  @Argument(help: ArgumentHelp("A backup: a prefix of its id, latest, or latest~2.", valueName: "id"))
  var backup: String?
  @OptionGroup var time: AtOption
  @OptionGroup var profile: ProfileOption
  @Flag(name: .long, help: "All backups.")
  var all = false
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Verify <n> of them, chosen at random; with <n>%, that share of them, and at least one; with --restore, that many "
        + "files.",
      valueName: "n"), completion: .list(["10%", "25%", "50%"]))
  var sample: Sample?
  @Flag(
    name: .long, help: "Compare what is stored with the ledger, everything if no backup is given; needs no password.")
  var stored = false
  @Flag(name: .long, help: "Restore files of one backup, the latest if none is given, compare and remove them.")
  var restore = false
  @Flag(name: .long, help: "Leave the ledger as it is.")
  var noMark = false
  @OptionGroup var trust: TrustOptions
  @OptionGroup var rates: RateOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var identity: ReadingIdentityOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var keyPassword: KeyPasswordOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    if restore {
      if stored || all { throw ValidationError("--restore cannot be used with --stored or --all") }
      if backup != nil, time.at != nil { throw ValidationError("only one of an id and --at") }
      return
    }
    switch [backup != nil, time.at != nil, all, sample != nil].count(where: { $0 }) {
    case 0 where stored: break
    case 0: throw ValidationError("no backup is given: an id, latest, --at, --all or --sample")
    case 1: break
    default: throw ValidationError("only one of an id, --at, --all and --sample")
    }
  }

  /// A number of backups, at least 1, or a percentage of them, from 1% to 100%.
  struct Sample: ExpressibleByArgument, ShellValue {
    let text: String

    init?(argument: String) {
      let isShare = argument.hasSuffix("%")
      let digits = isShare ? argument.dropLast() : argument[...]
      guard let number = Int(digits), digits.utf8.allSatisfy({ (48...57).contains($0) }),
        digits.first != "0", digits.utf8.count < 10, !isShare || number <= 100
      else { return nil }
      text = argument
    }

    var shellWord: [UInt8] { Array(text.utf8) }
  }
}

struct Status: Verb {
  static let beginning: Beginning = .profileName
  static let parts = ["collect"]
  static let configuration = CommandConfiguration(
    abstract: "Show the state of each profile's backups.",
    discussion: """
      Prints for each profile its last backup and its age, the number of backups and their size in the store, how \
      the last run ended, when the next ones are due, whether the backups were verified and the ledger is signed, \
      and the state of the GitHub token. For a store that cannot be reached it prints what this machine knows. \
      Without --max-wait it waits 20 seconds for a store. The exit status is 1 if the backups of a profile are \
      overdue, by its schedule or its max_age, or if its store was rolled back or altered.
      """)

  @OptionGroup var profile: OneProfile
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Report backups as overdue if the last one is older than this, such as 2d, instead of each profile's max_age.",
      valueName: "age"))
  var maxAge: Age?
  @Flag(
    name: .long,
    help: "Print it in the format of Prometheus, for node_exporter's textfile collector.")
  var prometheus = false
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Replace <file> with the output of --prometheus, in one step.", valueName: "file"))
  var output: RawPath?
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    if prometheus, report.json {
      throw ValidationError("--json and --prometheus cannot be used together")
    }
    if output != nil, !prometheus { throw ValidationError("--output can only be used with --prometheus") }
  }
}

/// A duration, in the syntax of a profile's `max_age`.
struct Age: ExpressibleByArgument, ShellValue {
  private let text: String

  init?(argument: String) {
    guard ConfigurationShape.seconds(ofAge: argument) != nil else { return nil }
    text = argument
  }

  /// At least 60.
  var seconds: Int64 { ConfigurationShape.seconds(ofAge: text) ?? 60 }

  var shellWord: [UInt8] { Array(text.utf8) }
}

/// A size, in the syntax of a profile's `exclude_larger_than`.
struct FileSize: ExpressibleByArgument, ShellValue {
  private let text: String

  init?(argument: String) {
    guard ConfigurationShape.bytes(ofSize: argument) != nil else { return nil }
    text = argument
  }

  var shellWord: [UInt8] { Array(text.utf8) }
}

/// A profile and `--store` cannot be used together.
func refuse(_ profile: String?, with store: String?) throws {
  if profile != nil, store != nil { throw ValidationError("a profile and --store cannot be used together") }
}
