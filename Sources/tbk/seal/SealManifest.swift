import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto

/// tbk-seal manifest: recreates the sealed manifest of an archive.
struct SealManifest: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "manifest",
    abstract: "Seal only the manifest of an archive.",
    usage: "tbk-seal manifest [<options>] < archive > sealed-manifest")

  @Option(name: .long, help: ArgumentHelp("Reject a backup whose id does not begin with <id>.", valueName: "id"))
  var expectId: String?

  @OptionGroup var output: SealOutputOptions
  @OptionGroup var sealing: SealingOptions
  @OptionGroup var identities: IdentityOptions
  @OptionGroup var passwords: PasswordOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    try sealing.validateSalt(unsaid: nil)
    try validateExpectedID(expectId)
  }

  /// The whole archive is verified first. The password opens it, and seals the manifest unless there are recipients;
  /// without --suite, in the archive's suite.
  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    try output.check(readsInput: true)
    let (kind, keys) = try sealing.sealingAgain(threads: 1, identities, passwords)
    let sources = ArchiveSources([], isChain: false, limits: OpenLimits(), keys: keys, warn: { Messages.warning($0) })
    let meter = ProgressMeter("verifying", mode: progress.progress)
    let reader = try BackupReader(
      expectedID: expectId, progress: { meter.advance($0) }, warn: { Messages.warning($0) },
      archives: { (_) throws(Failure) in try sources.next() })
    let verified = try reader.manifest(wholly: true)
    meter.finish()
    let chosen = try kind(sources.isChunked ? .chunked : .whole)
    if verified.manifest.hasUnprovenID {
      throw Failure(
        .configuration, "the manifest of an incremental backup of TermBackup 6 proves nothing without its archive")
    }
    if case .streamed = chosen, verified.manifest.tree.isReadOnly { throw .staysInSuite1 }
    switch chosen {
    case .whole(let key, _):
      try Sealing.manifest(
        verified.manifest, key: key, output: try output.target(lengthIsKnown: false))
    case .streamed(let sealing):
      let target = try output.target(lengthIsKnown: true)
      try Sealing.manifest(verified.manifest, sealing: sealing, into: target)
      try target.commit()
    }
    Messages.notice("sealed the manifest of backup \(verified.id.prefix(12))")
    return ExitStatus.success
  }
}
