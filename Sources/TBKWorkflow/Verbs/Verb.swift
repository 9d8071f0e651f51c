import ArgumentParser

/// A verb of `termbackup`: its options and its help. A script does the work.
protocol Verb: ParsableCommand {
  /// For a verb that takes a profile only with -p: the words that come before -p, if any.
  static var wordsBeforeProfile: [String]? { get }
  /// What must be known before the script does anything.
  static var beginning: Beginning { get }
  /// The parts of `bin/lib` that the script uses, in addition to those that all scripts use.
  static var parts: [String] { get }
}

/// What `tbk-sh begin` determines for a verb, in addition to its options and the home.
struct Beginning: OptionSet {
  let rawValue: Int

  /// The profile, unless --store is given.
  static let profile = Beginning(rawValue: 1)
  /// The exclude patterns, in a file in the verb's directory.
  static let excludes = Beginning(rawValue: 2)
  /// The verb frees space: its directory may be elsewhere, if the home's file system is full.
  static let frees = Beginning(rawValue: 4)
  /// Only its options: there may be no home, and the verb has no directory.
  static let optionsAlone = Beginning(rawValue: 8)
  /// The name of a profile, which need not exist.
  static let profileName = Beginning(rawValue: 16)
  /// The sources of secrets are used later: nothing is read from them now.
  static let secretsLater = Beginning(rawValue: 32)
}

extension Verb {
  static var beginning: Beginning { [] }
  static var parts: [String] { [] }
  static var wordsBeforeProfile: [String]? { nil }

  /// Never called: options are parsed for a script.
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

  /// All verbs, in that order.
  static var verbs: [any Verb.Type] {
    configuration.groupedSubcommands.flatMap(\.subcommands).compactMap { $0 as? any Verb.Type }
  }
}
