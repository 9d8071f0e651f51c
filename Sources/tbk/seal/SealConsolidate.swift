import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto

/// tbk-seal consolidate: combines a backup and those it needs into one archive.
struct SealConsolidate: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "consolidate",
    abstract: "Make one archive of a backup and those it needs, as tbk-pull --chain sends them.",
    usage: """
      tbk-seal consolidate [<options>] < archives > archive
      tbk-seal consolidate --from <id> [<options>] -- <command> [<argument> ...] > archive
      """)

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Read only what is needed of backup <id> from a command that serves archives, as tbk-pull --serve does.",
      valueName: "id"))
  var from: String?

  @Argument(
    parsing: .postTerminator, help: ArgumentHelp("What serves the archives of --from.", valueName: "command"))
  var command: [RawPath] = []

  @Option(name: .long, help: ArgumentHelp("Reject a backup whose id does not begin with <id>.", valueName: "id"))
  var expectId: String?

  @OptionGroup var output: SealOutputOptions
  @OptionGroup var records: SealRecordOptions
  @OptionGroup var local: SealLocalOptions
  @OptionGroup var compression: SealCompressionOptions
  @OptionGroup var sealing: SealingOptions
  @OptionGroup var identities: IdentityOptions
  @OptionGroup var passwords: PasswordOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    try sealing.validateSalt()
    try local.validate(sealing)
    try validateExpectedID(expectId)
    if let from {
      guard Digest(hex: from) != nil else {
        throw ValidationError("--from takes an id of 64 lower-case hexadecimal digits")
      }
      if expectId != nil { throw ValidationError("--from cannot be used with --expect-id") }
      if command.isEmpty {
        throw ValidationError("--from needs a command that serves archives, as in -- tbk-pull --serve STORE")
      }
    } else if !command.isEmpty {
      throw ValidationError("a command that serves archives needs --from")
    }
  }

  /// The password opens the archives, and seals the new one unless there are recipients.
  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    try output.check(readsInput: from == nil)
    let (kind, keys) = try sealing.sealingAgain(
      level: compression.level, threads: compression.threads, identities, passwords)
    let sealing = try kind(.whole)
    let (provide, finish) = sources(keys)
    let reader = try BackupReader(
      expectedID: from ?? expectId, isChain: from != nil, progress: { _ in }, warn: { Messages.warning($0) },
      archives: provide)
    let meter = ProgressMeter("consolidating", mode: progress.progress)
    // Files that could not be read when the backup was made are no failure now.
    switch sealing {
    case .whole(let key, let compression):
      let target = try output.target(lengthIsKnown: false)
      try records.begin(output)
      let backup = try reader.consolidate(
        key: key, compression: compression, output: target, begin: { meter.setTotal($0) },
        progress: { meter.advance($0) })
      try finish()
      meter.finish()
      _ = try records.finish(backup, key, output, target)
    case .streamed(var sealing):
      sealing.hashesArchive = records.receipt != nil
      let target = try output.target(lengthIsKnown: true)
      try records.begin(output)
      let sealed = try records.manifestFile()
      let backup = try reader.consolidate(
        sealing: sealing, sealedManifest: sealed?.sink, into: target,
        begin: { meter.setTotal($0) }, progress: { meter.advance($0) },
        ended: finish)
      meter.finish()
      try local.write(backup.manifest)
      _ = try records.finish(backup, sealed, output, target)
    }
    return ExitStatus.success
  }

  /// The archives, and a function to call after the last one.
  private func sources(
    _ keys: OpeningKeys
  ) -> (BackupReader.ArchiveProvider, () throws(Failure) -> Void) {
    guard let from, let id = Digest(hex: from) else {
      let sources = ArchiveSources([], isChain: true, limits: OpenLimits(), keys: keys, warn: { Messages.warning($0) })
      return (
        { (_) throws(Failure) in try sources.next() }, { () throws(Failure) in try sources.finish() }
      )
    }
    ServedSources.withhold(passwords, identities)
    let sources = ServedSources(
      id, command, keys: keys, limits: OpenLimits(), wantsManifest: false, rereads: true,
      warn: { Messages.warning($0) })
    return (
      { (wanted) throws(Failure) in try sources.next(wanted) }, { () throws(Failure) in sources.finish() }
    )
  }
}
