import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto

/// tbk-seal reseal: an archive under another password.
struct SealReseal: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "reseal",
    abstract: "Seal an archive under another password.",
    usage: "tbk-seal reseal [<options>] < archive > archive")

  @Option(name: .long, help: ArgumentHelp("Refuse a backup whose id does not begin with <id>.", valueName: "id"))
  var expectId: String?

  @OptionGroup var output: SealOutputOptions
  @OptionGroup var cost: KeyCostOptions
  @OptionGroup var oldPasswords: OldPasswordOptions
  @OptionGroup var passwords: PasswordOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws { try validateExpectedID(expectId) }

  /// Authenticates all of the archive before the first byte of output.
  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    try output.check(readsInput: true)
    let cost = try cost.cost()
    let old = try oldPasswords.password(refusing: passwords.input.noInput, inputIsData: true)
    let new = try passwords.password(confirming: true, inputIsData: true)
    let sources = ArchiveSources(
      [], isChain: false, limits: OpenLimits(), keys: OpeningKeys(password: old))
    guard let archive = try sources.next() else {
      throw Failure(.library, "no archive was read")
    }
    // What does not hold together is not sealed again as if it did.
    try archive.keep()
    var rest: (any OpenedArchive)? = archive
    let reader = try BackupReader(
      expectedID: expectId, progress: { _ in }, warn: { Messages.warning($0) },
      archives: { () throws(Failure) in rest.take() })
    let verified = try reader.manifest(wholly: true)
    let key = try SealingKey(password: new, cost: cost)
    let meter = ProgressMeter("sealing", mode: progress.progress)
    let length: UInt64
    if let archive = archive as? AuthenticatedArchive {
      let target = try output.target(lengthIsKnown: true)
      meter.setTotal(archive.header.payloadLength)
      length = try Sealing.again(archive, key: key, output: target) { meter.advance($0) }
    } else {
      let target = try output.target(lengthIsKnown: false)
      length = try Sealing.again(
        archive, of: verified.manifest, key: key, threads: min(processorCount(), 1024),
        output: target
      ) { meter.advance($0) }
    }
    meter.finish()
    Messages.notice("sealed \(humanSize(length)) again, from \(archive.format) as TBK2")
    return ExitStatus.success
  }
}
