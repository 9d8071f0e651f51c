import ArgumentParser
import TBKCommand

struct Doctor: Verb {
  static let beginning: Beginning = [.optionsAlone, .profileName]
  static let parts = ["collect"]
  static let configuration = CommandConfiguration(
    abstract: "Check everything that backups need.",
    discussion: """
      Checks the home, its configuration and profiles, the directories that are backed up, the password, keyring and \
      token, the stores and the ledgers in them, the clock, the signing key, the audit log, temporary files, free \
      space, and the programs and libraries that are used; prints what is wrong, and what to do about it. It never \
      asks for anything and changes nothing. termbackup-doctor(1) describes each check. Without --max-wait it waits \
      20 seconds for a store; --quiet prints only what is wrong.

      Exit status: 0 no check has failed, 1 one has. A warning is not a failure.
      """)

  @OptionGroup var profile: OneProfile
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var token: TokenOptions
}

struct Prune: Verb {
  static let beginning: Beginning = [.profile, .frees]
  static let parts = ["lock", "retain"]
  static let configuration = CommandConfiguration(
    abstract: "Remove old backups.",
    discussion: """
      Removes the backups of a profile that no rule keeps, and prints for each why it is kept or removed. Rules \
      given here replace the profile's: --max-backups and --retention-days, or those that begin with --keep. Backups \
      that a kept one depends on are kept, too. On a terminal it asks first.
      """)

  @OptionGroup var profile: ProfileOperand
  @Option(name: .long, help: ArgumentHelp("Remove all but the last <n> backups.", valueName: "n"))
  var maxBackups: String?
  @Option(name: .long, help: ArgumentHelp("Remove what is older than <n> days.", valueName: "n"))
  var retentionDays: String?
  @Option(name: .long, help: ArgumentHelp("Keep the last <n> backups.", valueName: "n"))
  var keepLast: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Keep what is younger: 12h, 30d, 2w, 3m (months), 1y.", valueName: "time"))
  var keepWithin: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Keep the last backup of each of the last <n> days.", valueName: "n"))
  var keepDaily: String?
  @Option(name: .long, help: ArgumentHelp("Likewise for weeks, from Monday.", valueName: "n"))
  var keepWeekly: String?
  @Option(name: .long, help: ArgumentHelp("Likewise for months.", valueName: "n"))
  var keepMonthly: String?
  @Option(name: .long, help: ArgumentHelp("Likewise for years.", valueName: "n"))
  var keepYearly: String?
  @Flag(
    name: [.customShort("n"), .long], help: "Print what would be removed, and remove nothing.")
  var dryRun = false
  @Flag(name: .shortAndLong, help: "Do not ask.")
  var yes = false
  @Flag(name: .long, help: "Remove the last backup, too.")
  var allowEmpty = false
  @OptionGroup var report: ListOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var keyPassword: KeyPasswordOptions
  @OptionGroup var token: TokenOptions
}

struct Consolidate: SealingVerb {
  static let beginning: Beginning = .profile
  static let parts = ["lock", "kept", "ranges"]
  static let configuration = CommandConfiguration(
    abstract: "Turn an incremental backup into one that needs no others.",
    discussion: """
      Makes a full backup of an incremental one and those that it depends on, and puts it in place of the \
      incremental one, so that the others can be removed. Only the store is read, nothing readable is written to \
      disk, and the old backup stays until the new one is stored. If other backups depend on the old one, both are \
      kept.

      Exit status: 0 also if the backup already needs no others; then nothing is stored.
      """)

  @Argument(help: ArgumentHelp("The profile.", valueName: "profile"))
  var profile: String
  @Argument(help: ArgumentHelp("A backup: a prefix of its id, latest, or latest~2.", valueName: "id"))
  var backup: String?
  @OptionGroup var time: AtOption
  @Flag(
    name: [.customShort("n"), .long], help: "Print what would be read and what would stay.")
  var dryRun = false
  @OptionGroup var suite: SuiteOptions
  @OptionGroup var identity: ReadingIdentityOptions
  @OptionGroup var placement: PlacementOptions
  @OptionGroup var rates: RateOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var keyPassword: KeyPasswordOptions
  @OptionGroup var token: TokenOptions

  func validate() throws { try time.requireOne(backup) }
}

struct RotateKey: Verb {
  static let beginning: Beginning = .profile
  static let parts = ["lock", "reseal", "rotate"]
  static let configuration = CommandConfiguration(
    commandName: "rotate-key",
    abstract: "Put all backups under a new password.",
    discussion: """
      Reseals every backup of the profile under a new password, one after the other: each is replaced in the store \
      in one step, and the old archive is removed once the new one is stored. If it is interrupted, the same command \
      with the same two passwords continues where it stopped. The options --password-... give the old password.
      """)

  @OptionGroup var profile: ProfileOperand
  @Option(
    name: .long,
    help: ArgumentHelp("Only this backup; the profile keeps its password.", valueName: "id"))
  var only: String?
  @Flag(
    name: .long,
    help: "If backups are sealed to an identity, also reseal what is stored, so that the old identity opens nothing.")
  var full = false
  @Flag(
    name: [.customShort("n"), .long], help: "Print which backups are under which password.")
  var dryRun = false
  @OptionGroup var placement: PlacementOptions
  @OptionGroup var rates: RateOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: PasswordOptions
  @Option(
    name: .long, help: ArgumentHelp("Read the new password from descriptor <n>.", valueName: "n"))
  var newPasswordFd: DescriptorNumber?
  @Option(name: .long, help: ArgumentHelp("Read the new password from <file>.", valueName: "file"))
  var newPasswordFile: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Use the output of <command> as the new password.", valueName: "command"))
  var newPasswordCommand: String?
  @OptionGroup var keyPassword: KeyPasswordOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    let given = [newPasswordFd != nil, newPasswordFile != nil, newPasswordCommand != nil]
    if given.count(where: { $0 }) > 1 {
      throw ValidationError(
        "only one of --new-password-fd, --new-password-file and --new-password-command")
    }
    guard let number = newPasswordFd?.number else { return }
    if [password.passwordFd, keyPassword.keyPasswordFd, token.tokenFd].contains(where: {
      $0?.number == number
    }) {
      throw ValidationError("descriptor \(number) cannot give the new password and something else")
    }
  }
}

struct Clean: Verb {
  static let beginning: Beginning = [.frees, .profileName]
  static let wordsBeforeProfile: [String]? = ["--store"]
  static let configuration = CommandConfiguration(
    abstract: "Remove what interrupted runs left behind.",
    discussion: """
      Removes temporary files of processes that ended without cleaning up, from the home and the directories that \
      profiles are backed up from and restored to, and caches of groups of backups that no profile has any more; \
      prints what it removed, and its size. With --store, it also removes from the profiles' stores what no ledger \
      names and has not changed for a day: leftovers of killed writers and interrupted uploads. Backups are never \
      touched.
      """)

  @Flag(name: .customLong("store"), help: "Clean the stores, too.")
  var inStores = false
  @Option(
    name: [.customShort("p", allowingJoined: true), .long],
    help: ArgumentHelp("With --store: only the store of this profile.", valueName: "profile"))
  var profile: String?
  @Flag(name: .long, help: "Print what would be removed, and remove nothing.")
  var dryRun = false
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var token: TokenOptions

  func validate() throws {
    if profile != nil, !inStores { throw ValidationError("-p can only be used with --store") }
  }
}

struct AuditLog: Verb {
  static let beginning: Beginning = .optionsAlone
  static let wordsBeforeProfile: [String]? = []
  static let configuration = CommandConfiguration(
    commandName: "audit-log",
    abstract: "Show what was done.",
    discussion: """
      Prints the latest entries of the audit log, the newest last; or, with --verify, checks that the log is as it \
      was written.

      Exit status: with --verify, 1 if a line was changed, moved, inserted or removed.
      """)

  @Option(
    name: .customShort("n", allowingJoined: true),
    help: ArgumentHelp("At most <n> entries (20); 0 for all.", valueName: "n"))
  var count: Int?
  @Option(
    name: [.customShort("o", allowingJoined: true), .long],
    help: ArgumentHelp(
      "Only this operation, as in backup, restore, verify.", valueName: "operation"))
  var operation: String?
  @Option(
    name: [.customShort("p", allowingJoined: true), .long],
    help: ArgumentHelp("Only this profile.", valueName: "profile"))
  var profile: String?
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Only entries since <time>: 2026-02-18, 2026-02-18T10:00:00Z, or 36h, 30d, 4w ago.",
      valueName: "time"))
  var since: String?
  @Flag(name: .long, help: "Print which lines were changed, moved, inserted or removed.")
  var verify = false
  @OptionGroup var report: ListOptions

  func validate() throws {
    if let count, count < 0 { throw ValidationError("-n takes a number from 0") }
    let filter =
      count.map { _ in "-n" } ?? operation.map { _ in "--operation" }
      ?? profile.map { _ in "--profile" } ?? since.map { _ in "--since" }
    if verify, let filter {
      throw ValidationError("--verify checks the whole log: \(filter) cannot be used with it")
    }
  }
}
