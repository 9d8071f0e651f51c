import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore

/// tbk-seal stream: seals a stream as a single file.
struct SealStream: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "stream",
    abstract: "Seal a stream as one file.",
    usage: """
      tbk-seal stream [<options>] <name> < data > archive
      tbk-seal stream [<options>] <name> -- <command> [<argument> ...] > archive
      """)

  @Argument(help: ArgumentHelp("What the file is called.", valueName: "name"))
  var name: RawPath

  @Argument(
    parsing: .postTerminator,
    help: ArgumentHelp("Seal what <command> prints; if it fails, nothing is sealed.", valueName: "command"))
  var command: [RawPath] = []

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
    // An empty command is probably an unset variable, and not meant to be standard input.
    if command.isEmpty, ArgumentBytes.ofProcess().contains("--") {
      throw ValidationError("no command is given after --")
    }
  }

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    try output.check(readsInput: command.isEmpty)
    let sealing = try sealing.sealing(
      level: compression.level, threads: compression.threads
    ) { () throws(Failure) in
      try passwords.password(confirming: true, inputIsData: command.isEmpty)
    }
    if self.sealing.hasRecipients { PasswordOptions.withdraw() }
    let child = command.isEmpty ? nil : try ChildProcess(command.map(\.bytes))
    let source = DescriptorSource(child?.output ?? .standardInput)
    let target = try output.target(lengthIsKnown: true)
    try records.begin(output)
    let meter = ProgressMeter("sealing", mode: progress.progress)
    switch sealing {
    case .whole(let key, let compression):
      let backup = try Sealing.stream(
        source, name: name, group: group.group, key: key, compression: compression, output: target,
        progress: { meter.advance($0) }
      ) { () throws(Failure) in try end(child) }
      meter.finish()
      return try records.finish(backup, key, output, target).sealStatus
    case .streamed(var sealing):
      sealing.hashesArchive = records.receipt != nil
      let sealed = try records.manifestFile()
      let backup = try Sealing.stream(
        source, name: name, group: group.group, sealing: sealing, sealedManifest: sealed?.sink,
        into: target, progress: { meter.advance($0) }
      ) { () throws(Failure) in try end(child) }
      meter.finish()
      return try records.finish(backup, sealed, output, target).sealStatus
    }
  }

  private func end(_ child: ChildProcess?) throws(Failure) {
    if let reason = try child?.wait() {
      throw Failure(.io, "\(command[0].display) failed: \(reason)", hint: "nothing was sealed")
    }
  }
}
