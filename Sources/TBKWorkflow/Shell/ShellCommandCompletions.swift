import ArgumentParser
import TBKCommand
import TBKCore

extension ShellCommand {
  struct Complete: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print what can come next on a command line.",
      discussion: """
        A word and its description a line, divided by a tab; then lines that begin with a colon. Of a \
        command that is no verb, standard input says what it takes: what --experimental-dump-help \
        prints. Backups and their files are listed by 'termbackup' itself.
        """)
    @Option(name: .long, help: ArgumentHelp("The script 'termbackup'.", valueName: "file"))
    var front: RawPath
    @Argument(help: ArgumentHelp("From the command to the unfinished word.", valueName: "word"))
    var words: [String] = []

    mutating func execute() throws(Failure) -> Int32 {
      let input = try DescriptorSource(.standardInput).readAll(limit: 64 << 20, what: "standard input")
      try StandardOutput.write(try Completion.answer(words, dump: input, front: front))
      return ExitStatus.success
    }
  }

  struct Completions: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the completions of a shell.")
    @Argument(help: ArgumentHelp("bash, zsh or fish.", valueName: "shell"))
    var shell: CompletionFiles.Shell
    @Argument(help: ArgumentHelp("What it completes.", valueName: "command"))
    var commands: [String]

    mutating func execute() throws(Failure) -> Int32 {
      try StandardOutput.write(CompletionFiles.text(shell, commands.sorted()))
      return ExitStatus.success
    }
  }
}

extension CompletionFiles.Shell: ExpressibleByArgument {}
