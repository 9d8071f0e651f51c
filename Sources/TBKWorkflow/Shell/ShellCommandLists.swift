import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat

extension ShellCommand {
  struct DependenceOf: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "dependence",
      abstract: "Print what a backup needs and what needs it, as assignments for a shell.",
      discussion: "Standard input is the output of 'tbk-pull --list'.")
    @Flag(name: .long, help: "Print only what changes with other backups; nothing if this one has gone.")
    var later = false
    @Argument(help: ArgumentHelp("The id of the backup.", valueName: "id"))
    var id: String

    mutating func execute() throws(Failure) -> Int32 {
      let rows = try cells(
        try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the list"), atLeast: 10)
      guard let found = Dependence(of: id, in: rows) else {
        if later { return ExitStatus.success }
        throw Failure(.usage, "the list has no backup '\(id)'")
      }
      try StandardOutput.write(later ? found.laterScript : found.script)
      return ExitStatus.success
    }
  }

  struct Pruned: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Count what was removed and what stays, as assignments for a shell.",
      discussion: """
        Standard input is the output of tbk-prune or 'tbk-push --then-prune', as text or JSON Lines. 'tb_unpruned' is \
        why that failed, or nothing.
        """)

    @Option(name: .long, help: ArgumentHelp("How that has ended.", valueName: "n"))
    var status: Int32 = 0

    mutating func execute() throws(Failure) -> Int32 {
      let input = try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the verdicts")
      var (removed, kept, freed, failed) = (0, 0, UInt64(0), status)
      for line in input.split(separator: 0x0a) {
        let cells = String(decoding: line, as: UTF8.self).split(separator: "\t", omittingEmptySubsequences: false)
        let object = line.first == UInt8(ascii: "{") ? try JSON.parse(Array(line), what: "a verdict") : nil
        switch object?["action"]?.text ?? String(cells[0]) {
        case "keep": kept += 1
        case "remove":
          removed += 1
          freed &+=
            object.map { $0["size"]?.integer(UInt64.self) ?? 0 } ?? (cells.count > 3 ? UInt64(cells[3]) ?? 0 : 0)
        case "failed" where cells.count > 1: failed = Int32(cells[1]) ?? failed
        default: break
        }
      }
      let reason = failed == 0 ? "" : FailureReason(status: failed, operation: "prune").text
      for (name, value) in [
        ("removed", "\(removed)"), ("kept", "\(kept)"), ("freed", "\(freed)"), ("unpruned", reason),
      ] {
        try StandardOutput.write(ShellScript.assignment(to: "tb_\(name)", value))
      }
      return ExitStatus.success
    }
  }

  struct Sample: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print some of the lines of a list of backups on standard input, chosen at random, in their order.")
    @Flag(name: .long, help: "Do not name those that were taken.")
    var quiet = false
    @Argument(help: ArgumentHelp("How many, or per cent; all if it is not given.", valueName: "share"))
    var share: String?

    mutating func execute() throws(Failure) -> Int32 {
      let lines = try cells(
        try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the lines"), atLeast: 1)
      guard let sample = RandomSample(share ?? "100%") else {
        throw Failure(.usage, "'\(share ?? "")' is neither a number nor per cent")
      }
      let taken = sample.taken(of: lines)
      try StandardOutput.write(taken.map { $0.joined(separator: "\t") + "\n" }.joined())
      if share != nil, !quiet {
        let ids = taken.map { $0[0].prefix(12) }.joined(separator: " ")
        Messages.notice("\(taken.count) of \(lines.count) backups: \(ids)")
      }
      return ExitStatus.success
    }
  }

  struct OutOfSource: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "left-out",
      abstract: "For each of the directories that is below another, print a pattern for --exclude-from.")
    @Argument(help: ArgumentHelp("The directory that is read.", valueName: "source"))
    var source: RawPath
    @Argument(help: ArgumentHelp("What to leave out of it.", valueName: "dir"))
    var directories: [RawPath] = []

    mutating func execute() throws(Failure) -> Int32 {
      let leftOut = LeftOut(below: source)
      for directory in directories {
        if let pattern = leftOut.pattern(for: directory) { try StandardOutput.write(pattern + [0x0a]) }
      }
      return ExitStatus.success
    }
  }
}
