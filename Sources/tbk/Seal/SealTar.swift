import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore

/// tbk-seal tar: what a tar holds.
struct SealTar: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tar",
    abstract: "Seal what a tar holds.",
    usage: "tbk-seal tar [<options>] < tar > archive")

  @Flag(name: .long, help: "Leave the directory that everything is in out of the names.")
  var stripTop = false

  @OptionGroup var output: SealOutputOptions
  @OptionGroup var records: SealRecordOptions
  @OptionGroup var group: SealGroupOptions
  @OptionGroup var compression: SealCompressionOptions
  @OptionGroup var cost: KeyCostOptions
  @OptionGroup var passwords: PasswordOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    try output.check(readsInput: true)
    let cost = try cost.cost()
    let password = try passwords.password(confirming: true, inputIsData: true)
    let key = try SealingKey(password: password, cost: cost)
    let target = try output.target(lengthIsKnown: true)
    let meter = ProgressMeter("sealing", mode: progress.progress)
    let backup = try Sealing.tar(
      DescriptorSource(.standardInput), stripsTop: stripTop, group: group.group, key: key,
      compression: compression.compression, output: target, progress: { meter.advance($0) },
      tell: { Messages.warning("\(RawPath($0.path).display): \($0.reason)") })
    meter.finish()
    return try records.finish(backup, key, output, target).sealStatus
  }
}
