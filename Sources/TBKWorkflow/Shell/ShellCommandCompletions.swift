import ArgumentParser
import TBKCommand
import TBKCore

extension ShellCommand {
  struct Complete: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print what may stand at the end of a command line.",
      discussion: """
        A word and its description a line, divided by a tab; then lines that begin with a colon. Of a \
        command that is no verb, standard input says what it takes: what --experimental-dump-help \
        prints.
        """)
    @Flag(
      name: .long,
      help: "Print backups, out of what 'termbackup list --json' prints, on standard input.")
    var backups = false
    @Flag(name: .long, help: "Likewise paths, out of what 'termbackup ls --json' prints.")
    var paths = false
    @Argument(help: ArgumentHelp("From the command to the unfinished word.", valueName: "word"))
    var words: [String] = []

    mutating func execute() throws(Failure) -> Int32 {
      let input = try DescriptorSource(.standardInput).readAll(limit: 64 << 20, what: "standard input")
      let answer = try Completion.answer(
        words, dump: input, backups: backups ? input : nil, paths: paths ? input : nil)
      try StandardOutput.write(answer)
      return ExitStatus.success
    }
  }

  struct Completions: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the file that a shell completes commands with.")
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
