import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ShellCommand {
  struct Clean: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove what interrupted runs left behind, for 'termbackup clean'.",
      subcommands: [Local.self, Report.self])

    struct Local: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(
        abstract: "Remove leftovers on this machine, and print them for the report.")
      @OptionGroup var common: CommonOptions
      @Flag(name: .long, help: "Remove nothing.")
      var dryRun = false
      @Option(name: .long, help: ArgumentHelp("Do not remove this directory.", valueName: "dir"))
      var except: RawPath?

      mutating func execute() throws(Failure) -> Int32 {
        common.apply()
        let left = try LocalLeftovers(of: try Home.ofProcess(), dryRun: dryRun, but: except)
        for note in left.notes { Messages.notice(note) }
        try StandardOutput.write(left.found.flatMap { $0.json.line() + [0x0a] })
        return left.hasFailed ? Failure(.io, "").exitStatus : ExitStatus.success
      }
    }

    struct Report: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(
        abstract: "Report what was removed here and in stores.")
      @OptionGroup var common: CommonOptions
      @Flag(name: .long, help: "Nothing was removed.")
      var dryRun = false
      @Flag(name: .long, help: "Print one JSON object.")
      var json = false
      @Option(name: .long, help: ArgumentHelp("How what failed ended.", valueName: "status"))
      var failed: Int32 = 0
      @Option(name: .long, help: ArgumentHelp("What 'clean local' prints.", valueName: "file"))
      var local: RawPath
      @Option(
        name: .long,
        help: ArgumentHelp(
          "What 'tbk-sh stores' noted, with what 'tbk-store clean' printed in profile/NAME/left.", valueName: "dir"))
      var stores: RawPath?

      mutating func execute() throws(Failure) -> Int32 {
        common.apply()
        var found: [Leftover] = []
        for line in try readFile(local, limit: Ledger.byteLimit).split(separator: 0x0a) {
          if let leftover = Leftover(try JSON.parse(Array(line), what: "a leftover")) { found.append(leftover) }
        }
        let noted = stores.map { CollectedFacts(folder: $0) }
        for name in noted?.rows("each-store").map({ $0[0] }) ?? [] {
          guard let profile = noted?.part("profile").part(name) else { continue }
          for row in profile.rows("left") where row.count >= 3 {
            found.append(
              Leftover(kind: row[0], size: UInt64(row[2]) ?? 0, name: RawPath(row[1]), store: profile.text("store")))
          }
        }
        let report = LeftoversReport(leftovers: found, dryRun: dryRun)
        if json {
          try StandardOutput.write(report.json.line() + [0x0a])
          return failed
        }
        if !common.quiet { try StandardOutput.write(report.text) }
        if let summary = report.summary {
          Messages.notice(summary)
        } else if failed == 0 {
          Messages.notice("there is nothing to remove")
        }
        return failed
      }
    }
  }
}
