import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat

extension ShellCommand {
  struct DependenceOf: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "dependence",
      abstract: "Print what a backup needs and what needs it, as assignments for a shell.",
      discussion: "What 'tbk-pull --list' prints comes on standard input.")
    @Argument(help: ArgumentHelp("The id of the backup.", valueName: "id"))
    var id: String

    mutating func execute() throws(Failure) -> Int32 {
      let rows = try cells(
        try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the list"), atLeast: 10)
      guard let found = Dependence(of: id, in: rows) else { throw Failure(.usage, "the list has no backup '\(id)'") }
      try StandardOutput.write(found.script)
      return ExitStatus.success
    }
  }

  struct Sample: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print some of the lines of standard input, chosen at random, in their order.")
    @Argument(help: ArgumentHelp("How many, or per cent.", valueName: "share"))
    var share: String

    mutating func execute() throws(Failure) -> Int32 {
      let lines = try cells(
        try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the lines"), atLeast: 1)
      guard let chosen = sample(lines.map { $0.joined(separator: "\t") }, share) else {
        throw Failure(.usage, "'\(share)' is neither a number nor per cent")
      }
      try StandardOutput.write(chosen.map { $0 + "\n" }.joined())
      return ExitStatus.success
    }
  }

  struct OutOfSource: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "left-out",
      abstract: "Print a pattern, for --exclude-from, for each of the directories that lies below another.")
    @Argument(help: ArgumentHelp("The directory that is read.", valueName: "source"))
    var source: RawPath
    @Argument(help: ArgumentHelp("What is no part of it.", valueName: "dir"))
    var directories: [RawPath] = []

    mutating func execute() throws(Failure) -> Int32 {
      let leftOut = LeftOut(below: source)
      for directory in directories {
        if let pattern = leftOut.pattern(for: directory) { try StandardOutput.write(pattern + [0x0a]) }
      }
      return ExitStatus.success
    }
  }

  struct Pick: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the line of the backup that is meant, out of those of 'tbk-pull --list'.",
      discussion: "The list comes on standard input.")
    @Option(name: .long, help: ArgumentHelp("Whose verb this is for.", valueName: "verb"))
    var verb: String
    @Option(name: .long, help: ArgumentHelp("Whose backups these are.", valueName: "words"))
    var of: RawPath
    @Option(name: .long, help: ArgumentHelp("The command that lists them.", valueName: "command"))
    var listing: RawPath
    @Option(name: .long, help: ArgumentHelp("The last one that was made by then.", valueName: "time"))
    var at: String?
    @Argument(help: ArgumentHelp("An id's beginning, latest, latest~2.", valueName: "id"))
    var backup: RawPath?

    func validate() throws {
      if (at == nil) == (backup == nil) { throw ValidationError("give an id or --at") }
    }

    mutating func execute() throws(Failure) -> Int32 {
      Messages.program = "termbackup \(verb)"
      let hint = "see '\(RawPath.quote(listing.bytes.span))'"
      let query: BackupQuery
      if let at {
        query = .at(try Timestamp(lastOf: at, now: .now()))
      } else {
        query = try BackupQuery(backup ?? RawPath([]), hint: hint)
      }
      let rows = try cells(
        try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the list"), atLeast: 7)
      do throws(Failure) {
        let found = try query.choose(
          from: rows, of: RawPath.quote(of.bytes.span), id: { $0[0] }, createdAt: { $0[1] })
        if found.count > 1 {
          throw Failure(
            .usage, "\(found.count) backups have ids that begin with \(backup?.display ?? "")", hint: hint)
        }
        try StandardOutput.write(found[0].joined(separator: "\t") + "\n")
      } catch {
        throw Failure(error.code, error.message, hint: error.hint ?? hint)
      }
      return ExitStatus.success
    }
  }
}
