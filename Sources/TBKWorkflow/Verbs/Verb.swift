import ArgumentParser

/// A verb of `termbackup`: what it takes, and what its help says. Doing it is a script's job.
protocol Verb: ParsableCommand {
  /// For a verb that takes a profile only with -p: the words that -p goes with, if any.
  static var wordsBeforeProfile: [String]? { get }
  /// What has to be known before it does anything.
  static var beginning: Beginning { get }
  /// The parts of `bin/lib` that its script uses, beside those that all do.
  static var parts: [String] { get }
}

/// What `tbk-sh begin` finds out for a verb, beside its options and the home.
struct Beginning: OptionSet {
  let rawValue: Int

  /// The profile, unless --store is given.
  static let profile = Beginning(rawValue: 1)
  /// The patterns of what is not backed up, in a file of the verb's directory.
  static let excludes = Beginning(rawValue: 2)
  /// It makes room: its directory may be elsewhere, if the home's file system is full.
  static let frees = Beginning(rawValue: 4)
  /// Only its options: there may be no home, and it works in no directory.
  static let optionsAlone = Beginning(rawValue: 8)
  /// The name of a profile, which need not exist.
  static let profileName = Beginning(rawValue: 16)
  /// The places of secrets are for later: nothing is read from them at once.
  static let secretsLater = Beginning(rawValue: 32)
}

extension Verb {
  static var beginning: Beginning { [] }
  static var parts: [String] { [] }
  static var wordsBeforeProfile: [String]? { nil }

  /// Called by nobody: options are parsed for a script.
  mutating func run() {}
}

/// `termbackup` itself, in the order in which its help lists the verbs.
struct Termbackup: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "termbackup",
    abstract: "Encrypted backups that only you can read.",
    usage: "termbackup <verb> [<option>] ...\ntermbackup --version [--json]",
    discussion: "'termbackup <verb> --help' lists the options of a verb.",
    groupedSubcommands: [
      CommandGroup(
        name: "Everyday",
        subcommands: [
          Run.self, List.self, Restore.self, Ls.self, Find.self, Cat.self, Diff.self, Verify.self, Status.self,
        ]),
      CommandGroup(
        name: "Setup",
        subcommands: [
          Initialise.self, ProfileVerb.self, UpdateToken.self, TokenInfo.self, GenerateKey.self, GenerateIdentity.self,
          Migrate.self, ImportMbu.self,
        ]),
      CommandGroup(
        name: "Upkeep",
        subcommands: [
          Doctor.self, Prune.self, Consolidate.self, RotateKey.self, Clean.self, AuditLog.self,
        ]),
      CommandGroup(
        name: "Automation",
        subcommands: [
          ScheduleEnable.self, ScheduleDisable.self, ScheduleStatus.self, ScheduleRun.self,
          Daemon.self, Watch.self,
        ]),
      CommandGroup(
        name: "Without a profile", subcommands: [Package.self, Unpack.self]),
    ])

  // Read by the script itself.
  @Flag(
    name: [.customShort("v"), .long],
    help: "Print the version, and those of the system and the libraries.")
  var version = false

  /// All of them, in that order.
  static var verbs: [any Verb.Type] {
    configuration.groupedSubcommands.flatMap(\.subcommands).compactMap { $0 as? any Verb.Type }
  }
}
