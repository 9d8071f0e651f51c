import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

struct PruneCommand: SuiteCommand, FormerOptions {
  static let configuration = CommandConfiguration(
    commandName: "tbk-prune",
    abstract: "Remove the backups of a store that no rule keeps.",
    usage: """
      tbk-prune <store> [--keep-last <n>] [--keep-within <time>] [--keep-daily <n>] [--keep-weekly <n>] [--keep-monthly <n>] [--keep-yearly <n>] [--group <id>] [--dry-run]
      tbk-prune <store> [--max-backups <n>] [--retention-days <n>] [--group <id>] [--dry-run]
      tbk-prune <store> --next-mode --group <id> [--max-backups <n>] [--retention-days <n>]
      """,
    version: versionText)

  static let formerOptions = ["--unreferenced": "use 'tbk-store clean'"]

  @Argument(help: "A directory, github:owner/repo, or NAME:… for a helper.")
  var store: RawPath

  @OptionGroup var rules: RuleOptions

  @OptionGroup var groups: GroupOptions

  @Flag(name: [.customShort("n"), .long], help: "Print what would be removed, and remove nothing.")
  var dryRun = false

  @Flag(name: .long, help: "Remove also the last backup of a group.")
  var allowEmpty = false

  @Flag(
    name: .long,
    help: "Remove nothing if --retention-days would remove half of them or more at once, as when a clock is wrong.")
  var refuseSudden = false

  @Flag(
    name: .long,
    help: "Print 'full' if the next backup of the group has to be full for these limits to work.")
  var nextMode = false

  @Flag(
    name: .long,
    help: "Add to each line the backups that this one is kept for, separated by commas.")
  var neededBy = false

  @Flag(name: .long, help: "Print JSON Lines, and report errors as JSON.")
  var json = false

  @OptionGroup var signing: SigningOptions
  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    let rules = rules.rules
    if !nextMode, !dryRun { try signing.requireKey() }
    guard rules.keepsAny || rules.hasLimits else {
      throw ValidationError("no rule is given, such as --keep-last 7 or --max-backups 30")
    }
    if rules.keepsAny, rules.hasLimits {
      throw ValidationError(
        "--keep-... cannot be used with --max-backups or --retention-days")
    }
    if nextMode {
      if rules.keepsAny {
        throw ValidationError("--next-mode is for --max-backups and --retention-days")
      }
      if !groups.isGiven { throw ValidationError("--next-mode needs --group") }
      if dryRun || allowEmpty || refuseSudden || json || neededBy {
        throw ValidationError("--next-mode removes nothing, and prints one word")
      }
    }
  }

  func execute() throws(Failure) -> Int32 {
    common.apply()
    let retention = Retention(rules.rules, now: .now())
    let keys = try signing.keys(inputIsData: false)
    let session = try storeOptions.session(
      store, storeOptions.context(inputIsData: false), keys: keys)
    let snapshot = try session.snapshot()
    snapshot.trust.report()
    let scope = try groups.scope(in: snapshot, of: session.store.address)
    if nextMode {
      let isFull = retention.wantsFull(after: snapshot.entries, in: scope)
      try StandardOutput.write(isFull ? "full\n" : "incremental\n")
      return ExitStatus.success
    }
    let judgement =
      dryRun
      ? try session.decidePruning(snapshot, retention, scope, allowingEmpty: allowEmpty, refusingSudden: refuseSudden)
      : try session.prune(
        retention, scope, allowingEmpty: allowEmpty, refusingSudden: refuseSudden)
    for verdict in judgement.verdicts {
      try StandardOutput.write(json ? verdict.json : neededBy ? verdict.longRow : verdict.row)
    }
    judgement.report(at: session.store.address, dryRun: dryRun)
    return ExitStatus.success
  }
}

/// The retention rules.
struct RuleOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Keep the last <n> backups.", valueName: "n"))
  var keepLast: Count?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Keep what is younger than <time>: 12h, 30d, 2w, 3m (months), 1y.", valueName: "time"))
  var keepWithin: TimeSpan?

  @Option(
    name: .long,
    help: ArgumentHelp("Keep the last backup of each of the last <n> days.", valueName: "n"))
  var keepDaily: Count?

  @Option(name: .long, help: ArgumentHelp("Likewise for weeks, from Monday.", valueName: "n"))
  var keepWeekly: Count?

  @Option(name: .long, help: ArgumentHelp("Likewise for months.", valueName: "n"))
  var keepMonthly: Count?

  @Option(name: .long, help: ArgumentHelp("Likewise for years.", valueName: "n"))
  var keepYearly: Count?

  @Option(
    name: .long, help: ArgumentHelp("Remove all but the last <n> backups.", valueName: "n"))
  var maxBackups: Count?

  @Option(
    name: .long, help: ArgumentHelp("Remove what is older than <n> days.", valueName: "n"))
  var retentionDays: Count?

  var rules: RetentionRules {
    var rules = RetentionRules()
    rules.last = keepLast?.number
    rules.within = keepWithin
    rules.daily = keepDaily?.number
    rules.weekly = keepWeekly?.number
    rules.monthly = keepMonthly?.number
    rules.yearly = keepYearly?.number
    rules.maxBackups = maxBackups?.number
    rules.retentionDays = retentionDays?.number
    return rules
  }
}

/// A number from 1.
struct Count: ExpressibleByArgument {
  let number: Int

  init?(argument: String) {
    guard let number = wholeNumber(argument) else { return nil }
    self.number = number
  }
}

extension TimeSpan: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}
