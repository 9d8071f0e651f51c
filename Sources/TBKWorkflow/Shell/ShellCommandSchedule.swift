import ArgumentParser
import CSystem
import Glibc
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

/// Schedules: blocks of a crontab, and systemd timers.
extension ShellCommand {
  struct Schedule: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Schedule backups with cron or systemd.",
      subcommands: [Command.self, Enable.self, Disable.self, Status.self, Log.self])

    /// What is to be scheduled.
    struct RunOptions: ParsableArguments {
      @Option(name: .long, help: ArgumentHelp("When.", valueName: "schedule"))
      var schedule: String
      @Option(name: .long, help: ArgumentHelp("Where verbs and lib are, and termbackup near them.", valueName: "dir"))
      var top: RawPath
      @Flag(name: .long, help: "Store everything each time.")
      var full = false
      @OptionGroup var password: ScheduledPasswordOptions
      @Flag(name: .long, help: "The keyring keeps the password.")
      var kept = false
      @OptionGroup var keyPassword: ScheduledKeyPasswordOptions
      @OptionGroup var token: ScheduledTokenOptions
      @Argument(help: ArgumentHelp("The profile.", valueName: "profile"))
      var profile: String

      func command(_ more: String...) throws(Failure) -> ScheduledCommand {
        func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
        var words = [bytes("/usr/bin/env"), bytes("TERMBACKUP_HOME=") + (try Home.ofProcess().path.bytes)]
        if let bus = Self.bus { words.append(bytes("DBUS_SESSION_BUS_ADDRESS=") + bus) }
        for name in ["TERMBACKUP_GITHUB_API", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
          if let value = environment(name) { words.append(bytes("\(name)=") + value) }
        }
        words += [try program().bytes, bytes("schedule-run"), bytes("-q")]
        if full { words.append(bytes("--full")) }
        var places = [
          ("--key-password", "KEY_PASSWORD", keyPassword.keyPasswordFile, keyPassword.keyPasswordCommand),
          ("--token", "TOKEN", token.tokenFile, token.tokenCommand),
        ]
        if !kept { places.insert(("--password", "PASSWORD", password.passwordFile, password.passwordCommand), at: 0) }
        for (option, variable, file, command) in places {
          let place = try place(option, variable, file?.shellWord, command?.shellWord)
          if !place.file.isEmpty { words += [bytes("\(option)-file"), place.file.bytes] }
          if !place.command.isEmpty { words += [bytes("\(option)-command"), place.command] }
        }
        if let maxWait = token.wait.maxWait { words += [bytes("--max-wait"), bytes("\(maxWait)")] }
        return try ScheduledCommand(words + more.map(bytes) + [bytes("--"), bytes(profile)])
      }

      /// The path of `termbackup`, in the source tree or an installation.
      private func program() throws(Failure) -> RawPath {
        for place in ["", "../../bin"] {
          let program = LeftOut.real(top.appending(place)).appending("termbackup")
          let mayRun = try unsafe program.withCString { (text) throws(Failure) in unsafe access(text, X_OK) == 0 }
          if mayRun { return program }
        }
        throw Failure(.library, "termbackup is missing", hint: "reinstall TermBackup")
      }

      /// Environment variables set now will not be set at the scheduled time.
      private func place(
        _ option: String, _ variable: String, _ givenFile: [UInt8]?, _ givenCommand: [UInt8]?
      ) throws(Failure) -> ScheduledCommand.Place {
        let isGiven = givenFile != nil || givenCommand != nil
        var file = RawPath((isGiven ? givenFile : environment("TERMBACKUP_\(variable)_FILE")) ?? [])
        let command =
          isGiven ? givenCommand ?? [] : file.isEmpty ? environment("TERMBACKUP_\(variable)_COMMAND") ?? [] : []
        if file.isEmpty { return .init(file: file, command: command) }
        if file.isStandardStream { throw Failure(.usage, "\(option)-file takes a file") }
        if !SecretFiles.lasts(file) {
          throw Failure(
            .usage, "\(option)-file: \(file.display) is no regular file, and will not be there at each run",
            hint: "put what it gives into a file of mode 0600, or give a command that prints it")
        }
        if !file.isAbsolute { file = try absolutePath(file) }
        return .init(file: file, command: command)
      }

      /// The user's D-Bus session, through which the keyring is reached.
      private static var bus: [UInt8]? {
        if let bus = environment("DBUS_SESSION_BUS_ADDRESS") { return bus }
        let folder = RawPath(environment("XDG_RUNTIME_DIR") ?? Array("/run/user/\(getuid())".utf8))
        let socket = folder.appending("bus")
        guard let facts = try? Descriptor.workingDirectory.statusIfPresent(of: socket),
          facts.st_mode & S_IFMT == S_IFSOCK
        else { return nil }
        return Array("unix:path=".utf8) + socket.bytes
      }
    }

    struct Command: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(
        abstract: "Print the command that proves a scheduled run would work, for a shell.")
      @OptionGroup var run: RunOptions

      mutating func execute() throws(Failure) -> Int32 {
        _ = try Timetable(run.schedule)
        try StandardOutput.write(try run.command("--check").shell + [0x0a])
        return ExitStatus.success
      }
    }

    struct Enable: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(abstract: "Schedule it, and report that.")
      @OptionGroup var common: CommonOptions
      @Flag(name: .long, help: "By a timer of systemd.")
      var systemd = false
      @Flag(name: .long, help: "Print one JSON object.")
      var json = false
      @OptionGroup var run: RunOptions

      mutating func execute() throws(Failure) -> Int32 {
        common.apply()
        let home = try Home.ofProcess()
        let timetable = try Timetable(run.schedule)
        let keeper = systemd ? Schedules.Keeper.systemd : .cron
        try Schedules(of: home).enable(try run.command(), at: timetable, for: run.profile, by: keeper)
        home.record("schedule-enable", of: run.profile, ["schedule": keeper.rawValue])
        let log = try RunLog(of: run.profile, in: home).path
        let isSealedToRecipients = try home.sealing(of: home.profile(run.profile), nil, []).suite == .recipients
        if json {
          let report = JSON.object([
            "profile": .string(run.profile), "status": .string("enabled"), "backend": .string(keeper.rawValue),
            "schedule": .string(timetable.text), "log": .string(log.bytes),
            "needs_password": .bool(!isSealedToRecipients),
          ])
          try StandardOutput.write(report.line() + [0x0a])
        } else if !common.quiet {
          try StandardOutput.write(
            "Scheduled \(run.profile) by \(keeper.rawValue): \(timetable.text)\n  log  \(log.quoted)\n"
              + (isSealedToRecipients ? "  It needs no password, and ran without one to prove it.\n" : ""))
        }
        return ExitStatus.success
      }
    }

    struct Disable: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(abstract: "Remove its schedule, and report that.")
      @OptionGroup var common: CommonOptions
      @OptionGroup var input: TBKCommand.InputOptions
      @Flag(name: .long, help: "Remove its password from the keyring, too.")
      var forgetPassword = false
      @Flag(name: .long, help: "Print one JSON object.")
      var json = false
      @Argument(help: ArgumentHelp("The profile, which may be gone.", valueName: "profile"))
      var profile: String

      mutating func execute() throws(Failure) -> Int32 {
        common.apply()
        let home = try Home.ofProcess()
        let wasScheduled = try Schedules(of: home).disable(profile)
        if wasScheduled {
          home.record("schedule-disable", of: profile)
          if !common.quiet, !json { try StandardOutput.write("\(profile) is no longer scheduled\n") }
        } else {
          Messages.notice("'\(profile)' was not scheduled")
        }
        let wasForgotten = forgetPassword ? try ShellCommand.forgetPassword(of: profile, isAlone: input.noInput) : false
        if json {
          let report = JSON.object([
            "profile": .string(profile), "status": .string(wasScheduled ? "disabled" : "unchanged"),
            "forgot_password": .bool(wasForgotten),
          ])
          try StandardOutput.write(report.line() + [0x0a])
        }
        return ExitStatus.success
      }
    }

    struct Status: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(
        abstract: "Report which profiles are scheduled, and when.",
        discussion: "The exit status is 1 if backups are overdue.")
      @OptionGroup var common: CommonOptions
      @Flag(name: .long, help: "Print JSON Lines.")
      var json = false
      @Argument(help: ArgumentHelp("Only this profile.", valueName: "profile"))
      var profile: String?

      mutating func execute() throws(Failure) -> Int32 {
        common.apply()
        let home = try Home.ofProcess()
        let report = try SchedulesReport(try Schedules(of: home).all(), of: profile, in: home)
        if json {
          try StandardOutput.write(report.json)
        } else {
          try StandardOutput.write(report.text)
          if report.rows.isEmpty {
            Messages.notice(
              profile.map { "'\($0)' is not scheduled" }
                ?? "nothing is scheduled: see 'termbackup schedule-enable --help'")
          }
        }
        return report.isLate ? ExitStatus.no : ExitStatus.success
      }
    }

    struct Log: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(
        abstract: "Append the messages of a run, from standard input, to the log of its profile.",
        discussion: "Without a status, only makes the log.")
      @Option(name: .long, help: ArgumentHelp("How the run ended.", valueName: "status"))
      var status: Int32?
      @Option(name: .long, help: ArgumentHelp("When it began, in seconds since 1970.", valueName: "time"))
      var started: Int64?
      @Flag(name: .long, help: "Print what it said: on standard error, if it failed.")
      var show = false
      @Flag(name: .long, help: "What it said goes to standard error, and its answer to standard output.")
      var apart = false
      @Flag(name: .long, help: "Of a run that did not fail, print nothing.")
      var quiet = false
      @Argument(help: ArgumentHelp("The profile.", valueName: "profile"))
      var profile: String
      @Argument(help: ArgumentHelp("What it said, and its answer.", valueName: "file"))
      var files: [RawPath] = []

      mutating func execute() throws(Failure) -> Int32 {
        let log = try RunLog(of: profile, in: try Home.ofProcess())
        guard let status else {
          _ = try log.open()
          return ExitStatus.success
        }
        var said: [UInt8] = []
        for file in files {
          said += try DescriptorSource(try Descriptor.openForReading(file), name: file).readEnd(of: RunLog.runLimit)
        }
        let now = Int64(time(nil))
        do throws(Failure) {
          try log.add(said, status: status, seconds: UInt64(clamping: now - (started ?? now)))
        } catch {
          Messages.warning("the log \(log.path.display) cannot be written")
        }
        guard show else { return ExitStatus.success }
        for (index, file) in files.enumerated() {
          if apart ? index == 0 : status != 0 {
            try copy(file, to: .standardError)
          } else if apart || !quiet {
            try copy(file, to: .standardOutput)
          }
        }
        return ExitStatus.success
      }

      /// Fails only for standard output: a failure to write to standard error cannot be reported.
      private func copy(_ file: RawPath, to output: Descriptor) throws(Failure) {
        let input = try Descriptor.openForReading(file)
        var buffer = [UInt8](repeating: 0, count: chunkSize)
        while true {
          let count = try input.read(into: &buffer)
          if count == 0 { return }
          do throws(Failure) {
            try output.write(buffer.span.extracting(0..<count))
          } catch {
            guard output.number == 1 else { return }
            guard error.code == .io else { throw error }
            throw Failure(.io, "cannot write to standard output", hint: "is the disk full?")
          }
        }
      }
    }
  }
}

extension DescriptorSource {
  /// Reads to the end, and returns the last `limit` bytes.
  fileprivate func readEnd(of limit: Int) throws(Failure) -> [UInt8] {
    var end: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    while true {
      let count = try read(into: &buffer)
      if count == 0 { return Array(end.suffix(limit)) }
      end += buffer[..<count]
      if end.count > 4 * limit { end.removeFirst(end.count - limit) }
    }
  }
}
