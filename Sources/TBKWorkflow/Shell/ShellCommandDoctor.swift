import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ShellCommand {
  struct Doctor: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check what backups need, and report it, for 'termbackup doctor'.",
      discussion: """
        A directory holds what commands have found out. For each command NAME, as the verb calls it, NAME is its \
        output, NAME.err its messages and NAME.status its exit status. The exit status is 1 if a check failed.
        """)
    @OptionGroup var common: CommonOptions
    @Flag(name: .long, help: "Print one JSON object.")
    var json = false
    @Option(name: .long, help: ArgumentHelp("Only this profile.", valueName: "name"))
    var profile: String?
    @Option(name: .long, help: ArgumentHelp("What commands have found out.", valueName: "dir"))
    var facts: RawPath?
    @Option(name: .long, help: ArgumentHelp("The output of 'tbk-token --version'.", valueName: "text"))
    var network: String
    @Flag(name: .long, help: "The home cannot be written to, so nothing else could be checked.")
    var full = false
    @Argument(help: ArgumentHelp("A file that an option or variable gives a secret from.", valueName: "file"))
    var secrets: [RawPath] = []

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      let findings: [Finding]
      if full {
        findings = [
          Finding(
            result: .fail, check: "home", message: "'\(home.path.appending("tmp").quoted)' cannot be written",
            hint: "make room: no backup can be made without")
        ]
      } else {
        let found = if let facts { try all(home, CollectedFacts(folder: facts)) } else { try withoutHome(home.path) }
        findings = try found + machine()
      }
      let environment =
        full ? [] : systemFacts() + [(name: "temporary", value: MachineChecks.temporary.text)]
      let report = DoctorReport(findings: findings, environment: environment)
      try StandardOutput.write(
        json
          ? report.json.line() + [0x0a]
          : Array(report.text(quiet: common.quiet, coloured: Messages.isColoured(.standardOutput)).utf8))
      return report.isInOrder ? ExitStatus.success : ExitStatus.no
    }

    /// The checks that do not need a home.
    private func withoutHome(_ path: RawPath) throws(Failure) -> [Finding] {
      let missing = Finding(
        result: .fail, check: "home", message: "\(path.display) does not exist",
        hint: "make it with 'termbackup init'")
      return try [missing, KeyringChecks.token()]
        + MachineChecks.space("temporary files", at: MachineChecks.temporary)
        + MachineChecks.space("home", at: path.parent)
    }

    private func machine() throws(Failure) -> [Finding] {
      try MachineChecks.dependencies(libraryVersions().map { (name: $0.0, version: $0.1) }, network: network)
        + MachineChecks.programs()
    }

    private func all(_ home: Home, _ facts: CollectedFacts) throws(Failure) -> [Finding] {
      let checks = HomeChecks(home: home)
      var found = checks.access() + checks.configuration()
      let (profiles, judged) = try checks.profiles(only: profile)
      found += judged + profiles.map(HomeChecks.source)
      found += try password(facts, profiles)
      found.append(try KeyringChecks.token())
      let onGitHub = profiles.contains { profile in
        if case .gitHub? = try? profile.store() { true } else { false }
      }
      let token = TokenChecks(facts: facts, isNeeded: onGitHub)
      found += token.findings()
      let isSigning = (try? home.configuration()["signing_enabled"]?.boolean) == true
      for profile in profiles {
        found += StoreChecks(
          profile: profile.name, store: Self.address(of: profile), home: home.path, isSigning: isSigning,
          facts: facts.part("profile").part(profile.name)
        ).findings()
      }
      found += try schedules(home, profiles, facts)
      found.append(TokenChecks.clock(token.skew, now: .now()))
      found += checks.signing() + checks.auditLog() + [temporary(home)]
      found += MachineChecks.space("temporary files", at: MachineChecks.temporary)
      found += MachineChecks.space("home", at: home.path)
      for profile in profiles {
        if let directory = Self.directory(of: profile) {
          found += MachineChecks.space("store of \(profile.name)", at: directory)
        }
      }
      return found
    }

    /// Checks whether the password is available without a prompt.
    private func password(_ facts: CollectedFacts, _ profiles: [Profile]) throws(Failure) -> [Finding] {
      switch facts.status("password") {
      case 0?: return [Finding(result: .ok, check: "password", message: "given: a run would not ask for it")]
      case nil where profiles.isEmpty:
        return [
          Finding(
            result: .note, check: "password", message: "a run would ask for it", hint: KeyringChecks.unattended)
        ]
      case nil:
        return profiles.compactMap { profile in
          Finding(row: facts.part("profile").part(profile.name).text("kept"))
        }
      default:
        let said = facts.said("password")
        return [
          Finding(
            result: .fail, check: "password", message: said.message,
            hint: said.hint ?? "fix the source of the password")
        ]
      }
    }

    /// Checks whether backups are made, on time, verified, and kept apart from their source; and whether others can
    /// read the files of their secrets.
    private func schedules(
      _ home: Home, _ profiles: [Profile], _ facts: CollectedFacts
    ) throws(Failure) -> [Finding] {
      var found: [Finding] = []
      let schedules = Schedules(of: home)
      var scheduled: [ScheduledProfile] = []
      do throws(Failure) {
        scheduled = try schedules.all()
      } catch {
        if error.isOfProcess { throw error }
        found.append(Finding(result: .note, check: "schedule", message: "cannot find out what is scheduled"))
      }
      for profile in profiles {
        let summary = facts.part("profile").part(profile.name).object("summary")
        let times = try ProfileTimes(
          of: profile.name, in: home,
          timetables: scheduled.filter { $0.profile == profile.name }.map(\.timetable),
          stored: Timestamp(iso8601: summary["last_created_at"]?.text ?? ""))
        let checks = DailyChecks(profile: profile.name)
        found += checks.store(summary)
        if let store = Self.directory(of: profile) { found += checks.place(of: profile.source, in: store) }
        found += checks.schedule(times)
      }
      let known = try home.profileNames()
      for gone in Set(scheduled.map(\.profile)).subtracting(known).sorted() {
        found.append(
          Finding(
            result: .warn, check: "schedule", message: "\(gone): there is a schedule, and no such profile",
            hint: "remove it with 'termbackup schedule-disable \(gone)'"))
      }
      let named = SecretFiles.named(in: schedules.commandLines(), of: home.path)
      return found + SecretFiles.check(secrets.filter { !$0.isEmpty } + named)
    }

    private func temporary(_ home: Home) -> Finding {
      do throws(Failure) {
        let left = try LocalLeftovers(of: home, dryRun: true, but: facts?.parent)
        guard !left.hasFailed else { throw Failure(.io, left.notes.last ?? "it failed without a message") }
        if left.found.isEmpty {
          return Finding(result: .ok, check: "temporary", message: "nothing was left behind")
        }
        return Finding(
          result: .warn, check: "temporary",
          message: "interrupted runs left \(counted(UInt64(left.found.count), "file")) behind",
          hint: "remove \(left.found.count == 1 ? "it" : "them") with 'termbackup clean'")
      } catch {
        return Finding(
          result: .fail, check: "temporary", message: error.message,
          hint: error.hint ?? "'termbackup clean --dry-run' tries again")
      }
    }

    private static func address(of profile: Profile) -> String {
      (try? profile.store().operand).map { RawPath($0).quoted } ?? "-"
    }

    private static func directory(of profile: Profile) -> RawPath? { try? profile.store().path }
  }
}

extension ShellCommand {
  struct KeptPassword: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "kept-password", abstract: "Print a finding for 'termbackup doctor': whether the keyring has it.",
      discussion: "The exit status is 1 if it does not.")
    @Argument(help: ArgumentHelp("The profile.", valueName: "name"))
    var profile: String

    mutating func execute() throws(Failure) -> Int32 {
      let finding = try KeyringChecks.password(of: profile)
      try StandardOutput.write(finding.row)
      return finding.result == .ok ? ExitStatus.success : ExitStatus.no
    }
  }

  struct Version: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the output of 'termbackup --version' for the suite and the machine.")

    @Flag(name: .long, help: "Print the versions of the suite and of the libraries as JSON.")
    var json = false

    mutating func execute() throws(Failure) -> Int32 {
      if json {
        let versions = [("termbackup", suiteVersion)] + libraryVersions()
        try StandardOutput.write(JSON.object(versions.map { JSON.Member($0.0, .string($0.1)) }).line() + [0x0a])
        return ExitStatus.success
      }
      try StandardOutput.write(systemFacts().map { "\($0.name) \($0.value)\n" }.joined())
      return ExitStatus.success
    }
  }
}
