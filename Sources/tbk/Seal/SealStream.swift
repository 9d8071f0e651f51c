import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore

/// tbk-seal stream: a stream as one file.
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

  @Argument(parsing: .postTerminator, help: ArgumentHelp("Seal what <command> prints; if it fails, nothing is sealed.", valueName: "command"))
  var command: [RawPath] = []

  @OptionGroup var output: SealOutputOptions
  @OptionGroup var records: SealRecordOptions
  @OptionGroup var group: SealGroupOptions
  @OptionGroup var compression: SealCompressionOptions
  @OptionGroup var cost: KeyCostOptions
  @OptionGroup var passwords: PasswordOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    // Whose command is the value of a variable that is empty did not mean standard input.
    if command.isEmpty, ArgumentBytes.ofProcess().contains("--") {
      throw ValidationError("no command is given after --")
    }
  }

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    try output.check(readsInput: command.isEmpty)
    let cost = try cost.cost()
    let password = try passwords.password(confirming: true, inputIsData: command.isEmpty)
    let key = try SealingKey(password: password, cost: cost)
    let child = command.isEmpty ? nil : try ChildProcess(command.map(\.bytes))
    let target = try output.target(lengthIsKnown: true)
    let meter = ProgressMeter("sealing", mode: progress.progress)
    let backup = try Sealing.stream(
      DescriptorSource(child?.output ?? .standardInput), name: name, group: group.group, key: key,
      compression: compression.compression, output: target, progress: { meter.advance($0) }
    ) { () throws(Failure) in
      if let reason = try child?.wait() {
        throw Failure(.io, "\(command[0].display) failed: \(reason)", hint: "nothing was sealed")
      }
    }
    meter.finish()
    return try records.finish(backup, key, output, target).sealStatus
  }
}
