import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKFormat

/// tbk-seal tar: seals the contents of a tar archive.
struct SealTar: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tar",
    abstract: "Seal what a tar holds.",
    usage: "tbk-seal tar [<options>] < tar > archive")

  @Flag(name: .long, help: "Strip the top directory from the names.")
  var stripTop = false

  @OptionGroup var output: SealOutputOptions
  @OptionGroup var records: SealRecordOptions
  @OptionGroup var group: SealGroupOptions
  @OptionGroup var compression: SealCompressionOptions
  @OptionGroup var sealing: SealingOptions
  @OptionGroup var passwords: PasswordOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    try sealing.validateSalt()
    try sealing.refuse(passwords)
  }

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    try output.check(readsInput: true)
    let sealing = try sealing.sealing(
      level: compression.level, threads: compression.threads
    ) { () throws(Failure) in
      try passwords.password(confirming: true, inputIsData: true)
    }
    let source = DescriptorSource(.standardInput)
    let report: (UnreadableEntry) -> Void = {
      Messages.warning("\(RawPath($0.path).display): \($0.reason)")
    }
    let target = try output.target(lengthIsKnown: true)
    try records.begin(output)
    let meter = ProgressMeter("sealing", mode: progress.progress)
    switch sealing {
    case .whole(let key, let compression):
      let backup = try Sealing.tar(
        source, stripsTop: stripTop, group: group.group, key: key, compression: compression,
        output: target, progress: { meter.advance($0) }, report: report)
      meter.finish()
      return try records.finish(backup, key, output, target).sealStatus
    case .streamed(var sealing):
      sealing.hashesArchive = records.receipt != nil
      let sealed = try records.manifestFile()
      let backup = try Sealing.tar(
        source, stripsTop: stripTop, group: group.group, sealing: sealing,
        sealedManifest: sealed?.sink, into: target, progress: { meter.advance($0) }, report: report)
      meter.finish()
      return try records.finish(backup, sealed, output, target).sealStatus
    }
  }
}
