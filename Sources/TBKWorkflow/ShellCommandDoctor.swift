import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ShellCommand {
  /// Checks of 'termbackup doctor', a line each for its script to keep.
  struct Findings: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check what backups need that are made day by day, for 'termbackup doctor'.",
      discussion: """
        Prints a line for each finding, with tabs between the result (ok, note, warn or fail), the name of \
        the check, the message and a hint.
        """,
      subcommands: [OfProfile.self, OfSecrets.self, OfKeyring.self, OfKeptPassword.self])
    struct OfProfile: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(
        commandName: "profile", abstract: "Whether a profile's backups come, are looked at and lie apart.")
      @OptionGroup var scheduled: SchedulesOption
      @Option(
        name: .long,
        help: ArgumentHelp("What 'tbk-pull --summary --json' prints; not if it is empty.", valueName: "file"))
      var summary: RawPath
      @Option(
        name: .long, help: ArgumentHelp("The directory that is its only store.", valueName: "dir"))
      var store: RawPath?
      @Argument(help: ArgumentHelp("The profile.", valueName: "name"))
      var profile: String

      mutating func execute() throws(Failure) -> Int32 {
        let home = try Home.ofProcess()
        let told = try readFile(summary, limit: Ledger.byteLimit)
        let summary = told.isEmpty ? .null : try JSON.parse(told, what: "the summary")
        let timetables = try scheduled.all().filter { $0.profile == profile }.map(\.timetable)
        let times = try ProfileTimes(
          of: profile, in: home, timetables: timetables,
          stored: Timestamp(iso8601: summary["last_created_at"]?.text ?? ""))
        let checks = DailyChecks(profile: profile)
        var found = checks.store(summary)
        if let store, let source = try home.profile(profile)["source_dir"]?.bytes {
          found += checks.place(of: RawPath(source), in: store)
        }
        found += checks.schedule(times)
        try StandardOutput.write(found.map(\.row).joined())
        return ExitStatus.success
      }
    }

    struct OfKeyring: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(
        commandName: "keyring", abstract: "Whether there is a keyring, and a token in it.")

      mutating func execute() throws(Failure) -> Int32 {
        try StandardOutput.write(try KeyringChecks.token().row)
        return ExitStatus.success
      }
    }

    struct OfKeptPassword: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(
        commandName: "kept-password", abstract: "Whether the keyring has a profile's password: 1 if not.")
      @Argument(help: ArgumentHelp("The profile.", valueName: "name"))
      var profile: String

      mutating func execute() throws(Failure) -> Int32 {
        let finding = try KeyringChecks.password(of: profile)
        try StandardOutput.write(finding.row)
        return finding.result == .ok ? ExitStatus.success : ExitStatus.no
      }
    }

    struct OfSecrets: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(
        commandName: "secrets", abstract: "Whether others can read files with passwords and tokens.",
        discussion: "A crontab and units of systemd are read from standard input.")
      @Argument(help: ArgumentHelp("A file with a secret.", valueName: "file"))
      var files: [RawPath] = []

      mutating func execute() throws(Failure) -> Int32 {
        let lines = try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the schedules")
        let named = SecretFiles.named(in: lines, of: try Home.ofProcess().path)
        try StandardOutput.write(
          SecretFiles.check(files.filter { !$0.isEmpty } + named).map(\.row).joined())
        return ExitStatus.success
      }
    }
  }
}
