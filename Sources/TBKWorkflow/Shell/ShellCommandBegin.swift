import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKSettings

extension ShellCommand {
  /// Prints shell text, with status 0 even if the verb cannot begin.
  struct Begin: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print everything that a verb needs to know at its start, as assignments for a shell.",
      discussion: """
        These are its options, the home, its profile, and a directory in the home for what its commands pass to each \
        other, which this creates and the verb must remove.
        """)

    @Option(name: .long, help: ArgumentHelp("The number of the verb's process.", valueName: "n"))
    var process: Int32
    @Option(
      name: .long, parsing: .singleValue,
      help: ArgumentHelp("A variable of the environment holds the secret of this name (repeatable).", valueName: "name")
    )
    var held: [String] = []
    @Flag(name: .long, help: "Of a verb that begins with its options alone: the rest, too.")
    var whole = false
    @Argument(help: ArgumentHelp("The verb.", valueName: "verb"))
    var verb: String
    @Argument(
      parsing: .captureForPassthrough,
      help: ArgumentHelp("What follows it.", valueName: "argument"))
    var arguments: [String] = []

    mutating func execute() throws(Failure) -> Int32 {
      Messages.program = "termbackup \(verb)"
      try StandardOutput.write(
        try VerbBeginning.script(of: verb, arguments, process: String(process), held: held, whole: whole))
      return ExitStatus.success
    }
  }

  struct Cache: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Keep the sealed manifest of a profile's last backup in the home, for its next run.",
      discussion: "If it cannot be kept, nothing fails: the next run gets it from the store.")
    @Argument(help: ArgumentHelp("The group of the profile.", valueName: "group"))
    var group: String
    @Argument(help: ArgumentHelp("The id of the backup.", valueName: "id"))
    var id: String
    @Argument(help: ArgumentHelp("The sealed manifest, which is moved.", valueName: "file"))
    var file: RawPath
    @Option(
      name: .long,
      help: ArgumentHelp("Record whom the backup is sealed to.", valueName: "words"))
    var readers: String?
    @Flag(name: .long, help: "It is the one that is sealed only for this machine, not the one that is stored.")
    var local = false

    mutating func execute() throws(Failure) -> Int32 {
      let home = try Home.ofProcess()
      do throws(Failure) {
        try CachedManifest(of: group, in: home).replace(by: file, of: id, readers: readers, isLocal: local)
      } catch {
        if error.isOfProcess { throw error }
      }
      return ExitStatus.success
    }
  }
}
