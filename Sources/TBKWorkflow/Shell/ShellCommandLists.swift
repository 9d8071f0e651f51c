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

  struct Pruned: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Count what was removed and what stays, as assignments for a shell.",
      discussion: "What tbk-prune or 'tbk-push --then-prune' printed comes on standard input, as text or JSON Lines.")

    mutating func execute() throws(Failure) -> Int32 {
      let input = try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the verdicts")
      var (removed, kept, freed, failed) = (0, 0, UInt64(0), "0")
      for line in input.split(separator: 0x0a) {
        let cells = String(decoding: line, as: UTF8.self).split(separator: "\t", omittingEmptySubsequences: false)
        let object = line.first == UInt8(ascii: "{") ? try JSON.parse(Array(line), what: "a verdict") : nil
        switch object?["action"]?.text ?? String(cells[0]) {
        case "keep": kept += 1
        case "remove":
          removed += 1
          freed &+=
            object.map { $0["size"]?.integer(UInt64.self) ?? 0 } ?? (cells.count > 3 ? UInt64(cells[3]) ?? 0 : 0)
        case "failed" where cells.count > 1: failed = String(cells[1])
        default: break
        }
      }
      for (name, value) in [
        ("removed", "\(removed)"), ("kept", "\(kept)"), ("freed", "\(freed)"), ("unpruned", failed),
      ] {
        try StandardOutput.write(ShellScript.assignment(to: "tb_\(name)", value))
      }
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
      guard let sample = RandomSample(share) else {
        throw Failure(.usage, "'\(share)' is neither a number nor per cent")
      }
      try StandardOutput.write(sample.taken(of: lines).map { $0.joined(separator: "\t") + "\n" }.joined())
      return ExitStatus.success
    }
  }

  struct OutOfSource: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "left-out",
      abstract: "Print a pattern, for --exclude-from, for each of the directories that lies below another.")
    @Argument(help: ArgumentHelp("The directory that is read.", valueName: "source"))
    var source: RawPath
    @Argument(help: ArgumentHelp("What is not part of it.", valueName: "dir"))
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
