import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto

/// tbk-seal consolidate: a backup and those it needs, as one archive.
struct SealConsolidate: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "consolidate",
    abstract: "Make one archive of a backup and those it needs, as tbk-pull --chain sends them.",
    usage: "tbk-seal consolidate [<options>] < archives > archive")

  @Option(name: .long, help: ArgumentHelp("Refuse a backup whose id does not begin with <id>.", valueName: "id"))
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
  }

  /// The password opens the archives, and seals the new one unless there are recipients.
  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    try output.check(readsInput: true)
    let (kind, keys) = try sealing.sealingAgain(
      level: compression.level, threads: compression.threads, identities, passwords)
    let sealing = try kind(.whole)
    let sources = ArchiveSources([], isChain: true, limits: OpenLimits(), keys: keys, warn: { Messages.warning($0) })
    let reader = try BackupReader(
      expectedID: expectId, progress: { _ in }, warn: { Messages.warning($0) },
      archives: { (_) throws(Failure) in try sources.next() })
    let meter = ProgressMeter("consolidating", mode: progress.progress)
    // What could not be read when it was made is no failure of today's.
    switch sealing {
    case .whole(let key, let compression):
      let target = try output.target(lengthIsKnown: false)
      try records.begin(output)
      let backup = try reader.consolidate(
        key: key, compression: compression, output: target, begin: { meter.setTotal($0) },
        progress: { meter.advance($0) })
      try sources.finish()
      meter.finish()
      _ = try records.finish(backup, key, output, target)
    case .streamed(let sealing):
      let target = try output.target(lengthIsKnown: true)
      try records.begin(output)
      let sealed = try records.manifestFile()
      let backup = try reader.consolidate(
        sealing: sealing, sealedManifest: sealed?.sink, into: target,
        begin: { meter.setTotal($0) }, progress: { meter.advance($0) },
        ended: { () throws(Failure) in try sources.finish() })
      meter.finish()
      try local.write(backup.manifest)
      _ = try records.finish(backup, sealed, output, target)
    }
    return ExitStatus.success
  }
}
