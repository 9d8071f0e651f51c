import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

/// When backups are due, and whether they are late.
extension ShellCommand {
  /// Which profiles are scheduled.
  struct SchedulesOption: ParsableArguments {
    @Option(
      name: .long,
      help: ArgumentHelp(
        "Lines of keeper, name and timetable, with tabs between, of all that is scheduled.",
        valueName: "file"))
    var schedules: RawPath

    func all() throws(Failure) -> [ScheduledProfile] {
      ScheduledProfile.all(
        try cells(try readFile(schedules, limit: Ledger.byteLimit), atLeast: 3))
    }
  }

  /// A filter, so that the shell need not know what of a report says how late backups are.
  struct Times: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Add to a profile's part of the report of 'termbackup status' what is due when.",
      discussion: "Ends with status 1 if its backups are overdue.")
    @OptionGroup var scheduled: SchedulesOption
    @Option(name: .long, help: ArgumentHelp("How old the last backup may be.", valueName: "age"))
    var maxAge: Age?

    mutating func execute() throws(Failure) -> Int32 {
      Messages.program = "termbackup"
      var report = try JSON.parse(
        try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the report"),
        what: "the report")
      let name = report["profile"]?.text ?? ""
      let schedules = try scheduled.all().filter { $0.profile == name }
      let times = try ProfileTimes(
        of: name, in: try Home.ofProcess(), timetables: schedules.map(\.timetable),
        maxAge: maxAge?.seconds,
        stored: Timestamp(iso8601: report["summary"]?["last_created_at"]?.text ?? ""))
      report["schedules"] = .array(schedules.map(\.json))
      report["next_run_at"] = times.lateness.nextAt.map { .string($0) } ?? .null
      report["overdue"] = times.lateness.reason.map { .string($0) } ?? .null
      try StandardOutput.write(report.line() + [0x0a])
      return times.lateness.reason == nil ? ExitStatus.success : ExitStatus.no
    }
  }
}
