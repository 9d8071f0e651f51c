import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat

extension ShellCommand {
  struct Report: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print a list as a table that fits the terminal, or what else a verb reports.",
      discussion: """
        The list comes on standard input: backups as 'tbk-pull --list' prints them, verdicts as \
        tbk-prune does, profiles as 'tbk-config profile list' does, and schedules as lines of name, \
        keeper, timetable, log, time and status of the last run; status and token are parts of what \
        'termbackup status --json' prints.
        """)

    enum Kind: String, CaseIterable, ExpressibleByArgument {
      case backups, groups, verdicts, profiles, schedules, status, token
    }

    @Flag(name: .long, help: "Print JSON Lines: of schedules.")
    var json = false
    @Argument(help: ArgumentHelp("What it is.", valueName: "kind"))
    var kind: Kind

    func validate() throws {
      if json, kind != .schedules {
        throw ValidationError("there is no JSON of \(kind.rawValue)")
      }
    }

    mutating func execute() throws(Failure) -> Int32 {
      Messages.program = "termbackup"
      let list = try DescriptorSource(.standardInput)
        .readAll(limit: Ledger.byteLimit, what: "the list")
      if json {
        try StandardOutput.write(SchedulesReport(rows: try cells(list, atLeast: 6)).json)
      } else {
        try StandardOutput.write(try text(list))
      }
      return ExitStatus.success
    }

    private func text(_ list: [UInt8]) throws(Failure) -> String {
      switch kind {
      case .backups: BackupsReport(rows: try cells(list, atLeast: 7)).text
      case .groups:
        BackupsReport(rows: try cells(list, atLeast: 7))
          .groups(profiles: BackupsReport.profilesHere())
      case .verdicts: VerdictsReport(rows: try cells(list, atLeast: 5)).text
      case .profiles: ProfilesReport(rows: try cells(list, atLeast: 4)).text
      case .schedules: SchedulesReport(rows: try cells(list, atLeast: 6)).text
      case .status: StatusReport(try JSON.parse(list, what: "the report")).text
      case .token: StatusReport.token(try JSON.parse(list, what: "the report")) + "\n"
      }
    }
  }
}
