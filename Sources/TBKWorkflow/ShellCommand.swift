import ArgumentParser
import TBKCommand
import TBKCore

/// `tbk-sh`: what the verbs of `termbackup`, which are shell scripts, leave to a program.
package struct ShellCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "tbk-sh",
    abstract: "Do for the verbs of termbackup what a shell should not.",
    version: suiteVersion,
    subcommands: [
      Options.self, Begin.self, Help.self, Unknown.self, Object.self, Lock.self, MakeFile.self, Leftovers.self, Cache.self,
      Password.self, KeyPassword.self, Token.self, Complete.self, Completions.self, Report.self,
      KeyringItems.self, Schedule.self, Status.self, IsEmpty.self, MbuSettingsImport.self, Doctor.self,
      KeptPassword.self, Clean.self, Version.self, Pick.self,
      Hook.self, Each.self, DependenceOf.self, Sample.self, OutOfSource.self,
    ])

  package init() {}

  /// Answers in text for the shell, with status 0 also where the usage was wrong.
  struct Options: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print a verb's options as assignments for a shell.")

    @Argument(help: ArgumentHelp("The verb.", valueName: "verb"))
    var verb: String
    @Argument(
      parsing: .captureForPassthrough,
      help: ArgumentHelp("What stands behind it.", valueName: "argument"))
    var arguments: [String] = []

    mutating func execute() throws(Failure) -> Int32 {
      try StandardOutput.write(try VerbOptions.script(of: verb, arguments))
      return 0
    }
  }

  struct Help: SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "usage", abstract: "Print the help of a verb, or of termbackup.")

    @Argument(help: ArgumentHelp("The verb.", valueName: "verb"))
    var verb: String?

    mutating func execute() throws(Failure) -> Int32 {
      try StandardOutput.write(VerbOptions.help(of: verb) + "\n")
      return 0
    }
  }

  struct Unknown: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Report that there is no such verb, and which one may be meant.")

    @Flag(name: .long, help: "Report it as JSON.")
    var json = false
    @Argument(help: ArgumentHelp("What was taken for a verb.", valueName: "word"))
    var word: String

    mutating func execute() throws(Failure) -> Int32 {
      Messages.program = "termbackup"
      throw VerbOptions.unknown(word)
    }
  }
}
