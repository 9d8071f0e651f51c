import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

struct PushCommand: SuiteCommand, FormerOptions {
  static let configuration = CommandConfiguration(
    commandName: "tbk-push",
    abstract: "Store an archive and its entry in the ledger, in one step.",
    usage: """
      tbk-push <store> [--receipt <file>] [--sealed-manifest <file>] [--signature <file>] [--group <id> [--group-check <sha256>]] [--then-prune <rules>] < archive
      """,
    version: versionText)

  static let formerOptions = [
    "--create": "use 'tbk-store create'", "--remove": "use 'tbk-store remove'", "--replace": "use 'tbk-store replace'",
    "--rekeyed": "use 'tbk-store replace --rekeyed'", "--replace-manifest": "use 'tbk-store replace-manifest'",
    "--mark-verified": "use 'tbk-store mark'", "--check": "use 'tbk-store password-check'",
    "--replace-check": "use 'tbk-store password-check --replace'", "--take-over": "use 'tbk-store take-over'",
    "--adopt": "use 'tbk-store adopt'",
  ]

  @Argument(help: "A directory, github:owner/repo, or NAME:… for a helper.")
  var store: RawPath

  @Option(name: .long, help: ArgumentHelp("The file that tbk-seal --receipt wrote.", valueName: "file"))
  var receipt: RawPath?

  @Option(
    name: .long, help: ArgumentHelp("The file that tbk-seal --manifest-out wrote.", valueName: "file"))
  var sealedManifest: RawPath?

  @Option(
    name: .long, help: ArgumentHelp("The archive's Ed25519 signature, 64 bytes.", valueName: "file")
  )
  var signature: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Reject any archive except this one.", valueName: "sha256"))
  var sha256: HexDigest?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "The group of the profile, or a prefix of one that the store has.", valueName: "id"))
  var group: GroupID?

  @Flag(name: .long, help: "Start this group: the store may not have it yet.")
  var newGroup = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Require that this is the password check of the group, and name it in the ledger.",
      valueName: "sha256"))
  var groupCheck: HexDigest?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Then remove old backups of the group, as in max-backups=30,retention-days=90.", valueName: "rules"))
  var thenPrune: RetentionRules?

  @Flag(name: .long, help: "With --then-prune, ungrouped backups count as part of the group.")
  var withUngrouped = false

  @OptionGroup var placing: PlacementOptions

  @Flag(name: .long, help: "Print the entry, and report errors, as JSON.")
  var json = false

  @OptionGroup var signing: SigningOptions
  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    try signing.requireKey()
    if newGroup, group == nil { throw ValidationError("--new-group needs --group") }
    if groupCheck != nil, group == nil { throw ValidationError("--group-check needs --group") }
    if withUngrouped, thenPrune == nil || group == nil {
      throw ValidationError("--with-ungrouped can only be used with --group and --then-prune")
    }
  }

  func execute() throws(Failure) -> Int32 {
    common.apply()
    let meter = ProgressMeter("storing", mode: progress.progress)
    defer { meter.finish() }
    var context = storeOptions.context(inputIsData: true)
    context.placement = placing.placement
    context.progress = { meter.advance($0) }
    let keys = try signing.keys(inputIsData: true)
    let session = try storeOptions.session(store, context, keys: keys)
    let snapshot = try session.snapshot()
    snapshot.trust.report()
    let group = try group.map { (group) throws(Failure) in
      newGroup ? group : try snapshot.findOrBegin(group, store: session.store.address)
    }
    let (stored, isComplete) = try storeArchive(in: group, session, snapshot, meter)
    if stored.wasThere { Messages.notice("the store has this backup already") }
    try stored.entry.report(json: json)
    // The backup is stored, whatever happens to the rest.
    try StandardOutput.flush()
    guard let thenPrune else { return ExitStatus.success }
    guard isComplete else {
      Messages.notice("no old backup is removed for one that is not complete")
      return ExitStatus.success
    }
    meter.finish()
    try prune(thenPrune, .groups(withUngrouped ? [group, nil] : [group]), session)
    return ExitStatus.success
  }

  /// Removes old backups, based on the ledger just committed. A failure is reported as a warning and does not change
  /// the exit status.
  private func prune(
    _ rules: RetentionRules, _ scope: BackupScope, _ session: LedgerSession
  ) throws(Failure) {
    var lines: [UInt8] = []
    do throws(Failure) {
      let judgement = try session.prune(
        Retention(rules, now: .now()), scope, refusingSudden: true, continuing: true)
      for verdict in judgement.verdicts { lines += json ? verdict.json : verdict.row }
      judgement.report(at: session.store.address)
    } catch {
      if error.code == .interrupted { throw error }
      Messages.warning("the backup is stored, but old backups were not removed: \(error.message)")
      if let hint = error.hint { Messages.relay("hint: \(hint)") }
      lines = json ? error.pruneJSON : error.pruneRow
    }
    try StandardOutput.write(lines)
  }

  private func storeArchive(
    in group: GroupID?, _ session: LedgerSession, _ snapshot: LedgerSession.Snapshot, _ meter: ProgressMeter
  ) throws(Failure) -> (Stored, isComplete: Bool) {
    let input = try archiveFromStandardInput(hint: "as in: tbk-seal DIR | tbk-push STORE")
    // Check everything that can be rejected before reading the rest of the archive.
    try input.requireAnnouncement(receipt != nil || sha256 != nil)
    try session.refuseSigned(snapshot)
    try session.refuseUnsigned(snapshot)
    if let groupCheck, let group {
      try session.requireCheck(groupCheck.digest, of: group, in: snapshot)
    }
    // The accompanying files are written before an archive of suite 1, and after one of suite 3 or age.
    var beside = input.length == nil ? nil : try filesBeside(in: group, session, snapshot)
    let archive = try session.stageArchive(input, beside: beside?.manifest, meter)
    if beside == nil { beside = try filesBeside(in: group, session, snapshot) }
    try input.check(archive, beside?.receipt, sha256: sha256?.digest)
    let stored = try session.push(
      NewBackup(
        receipt: beside?.receipt, archive: archive, archiveVersion: input.header.version,
        manifest: beside?.manifest, signature: beside?.signature, group: group,
        groupCheck: groupCheck?.digest))
    return (stored, beside?.receipt?.complete ?? true)
  }

  /// The files that accompany an archive, each nil if not given.
  private struct FilesBeside {
    let receipt: Receipt?
    let signature: [UInt8]?
    let manifest: (any StagedObject)?
  }

  private func filesBeside(
    in group: GroupID?, _ session: LedgerSession, _ snapshot: LedgerSession.Snapshot
  ) throws(Failure) -> FilesBeside {
    let receipt = try receipt.map { (path) throws(Failure) in try readReceipt(path) }
    if let sealed = receipt?.group, sealed != group {
      throw Failure(
        .usage, "the backup was sealed for the group \(sealed)",
        hint: "give --group \(sealed), or seal it with another")
    }
    let signature = try signature.map { (path) throws(Failure) in try readSignature(path) }
    try session.requireAll(receipt?.dependsOn ?? [], in: snapshot)
    let manifest = try sealedManifest.map { (path) throws(Failure) in try session.stageManifest(path) }
    return FilesBeside(receipt: receipt, signature: signature, manifest: manifest)
  }
}
