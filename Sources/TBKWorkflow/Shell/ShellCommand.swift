import ArgumentParser
import TBKCommand
import TBKCore

/// `tbk-sh`: the parts of the `termbackup` verbs, which are shell scripts, that need a program.
package struct ShellCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "tbk-sh",
    abstract: "Do the work of termbackup's verbs that a shell should not do.",
    version: suiteVersion,
    subcommands: [
      Options.self, Begin.self, Help.self, Unknown.self, Object.self, Lock.self, MakeFile.self, Leftovers.self,
      Cache.self,
      Password.self, KeyPassword.self, Token.self, Complete.self, Completions.self, Report.self,
      KeyringItems.self, KeepPassword.self, NewIdentity.self, ShowIdentities.self, PlainIdentities.self, Answer.self,
      Schedule.self, Status.self, Stores.self,
      IsEmpty.self, MbuSettingsImport.self, Doctor.self,
      KeptPassword.self, Clean.self, Version.self, Pick.self, Others.self, Rivals.self,
      Hook.self, Notice.self, Each.self, Repeat.self, DependenceOf.self, Sample.self, OutOfSource.self,
      Say.self, Failed.self, Ask.self, PackagePlan.self, UnpackPlan.self, MbuPackages.self, Trust.self,
      Manual.self, Judge.self, Verified.self, Pruned.self, NextToRotate.self, InitHome.self, ProfileTable.self,
      MbuOutcome.self,
    ])

  package init() {}

  /// Prints shell text, with status 0 even for a usage error.
  struct Options: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print a verb's options as assignments for a shell.")

    @Argument(help: ArgumentHelp("The verb.", valueName: "verb"))
    var verb: String
    @Argument(
      parsing: .captureForPassthrough,
      help: ArgumentHelp("What follows it.", valueName: "argument"))
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
      abstract: "Report that there is no such verb, and which one may be meant; as JSON, if an argument asks for that.")

    @Argument(
      parsing: .captureForPassthrough,
      help: ArgumentHelp("The word that was mistaken for a verb, and what follows it.", valueName: "word"))
    var words: [String]

    mutating func execute() throws(Failure) -> Int32 {
      Messages.program = "termbackup"
      let given = words.drop { $0 == "--" }
      if given.prefix(while: { $0 != "--" }).contains("--json") { Messages.json = true }
      throw VerbOptions.unknown(given.first ?? "")
    }
  }

  /// Executes man, if it is installed.
  struct Manual: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show the manual of a verb or a command, or else its help.")

    @Argument(help: ArgumentHelp("A verb or a command.", valueName: "word"))
    var word: String
    @Argument(help: ArgumentHelp("Where manuals may be.", valueName: "dir"))
    var places: [RawPath] = []

    mutating func execute() throws(Failure) -> Int32 {
      Messages.program = "termbackup"
      guard !word.isEmpty, word.utf8.allSatisfy({ (97...122).contains($0) || (48...57).contains($0) || $0 == 45 })
      else {
        throw VerbOptions.unknown(word)
      }
      let name = word.hasPrefix("tbk-") ? word : "termbackup-\(word)"
      let page = RawPath("man1/\(name).1")
      for place in places {
        guard try Descriptor.workingDirectory.statusIfPresent(of: place.appending(page)) != nil else { continue }
        _ = try? replaceProcess(
          with: [Array("man".utf8), place.appending(page).bytes], environment: processEnvironment(),
          input: .standardInput)
      }
      return ExitStatus.no
    }
  }
}
