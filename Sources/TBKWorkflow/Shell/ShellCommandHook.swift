import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ShellCommand {
  /// Executes a profile's command in place of this process, so that the caller waits for it and a signal ends it.
  struct Hook: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run a command of a profile; do nothing if it has none.",
      discussion: """
        With --report, standard input is a report, as tbk-notify takes it. The command gets it in its environment, \
        and on standard input in the format of a webhook.
        """)
    @Flag(name: .long, help: "A report is on standard input.")
    var report = false
    @Argument(help: ArgumentHelp("The field that holds the command.", valueName: "field"))
    var field: String
    @Argument(help: ArgumentHelp("The profile.", valueName: "profile"))
    var profile: String

    mutating func execute() throws(Failure) -> Int32 {
      Messages.program = "termbackup run"
      // Its messages go to the same place as those of the command itself.
      Messages.json = false
      let home = try Home.ofProcess()
      let settings = try home.profile(profile)
      guard let command = settings[field]?.bytes else { return ExitStatus.success }
      let words = try splitShellWords(command)
      var event = HookEvent(profile: settings, home: home.path)
      var input = Descriptor.standardInput
      if report {
        let bytes = try DescriptorSource(.standardInput).readAll(limit: 1 << 20, what: "the report")
        let report = try BackupReport(bytes, place: "the report", now: .now())
        event.report = report
        input = try TemporaryFile.anonymous()
        try input.write((report.payload(.generic).line() + [0x0a]).span)
        guard lseek(input.number, 0, SEEK_SET) == 0 else { throw .system("cannot rewind the report") }
      }
      do throws(Failure) {
        try replaceProcess(with: words, environment: event.environment, input: input)
      } catch {
        throw Failure(error.code, "\(field): \(error.message)", hint: error.hint)
      }
    }
  }
}

extension ShellCommand {
  struct Notice: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract:
        "Write down how a run ended, as tbk-notify takes it; print whom that is for, as assignments for a shell.",
      discussion: """
        tb_news is 1 if people are to be told: a run that stored nothing and has nothing to complain about is only a sign \
        of life. tb_ping is what a ping reports, success or failure.
        """)
    @Option(name: .long, help: ArgumentHelp("Where the report goes.", valueName: "file"))
    var into: RawPath
    @Argument(help: ArgumentHelp("KEY=VALUE.", valueName: "fact"))
    var facts: [RawPath] = []

    mutating func execute() throws(Failure) -> Int32 {
      let facts = try Facts(facts)
      let output = try Descriptor.workingDirectory.open(
        into, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600, missing: .cannotCreate)
      try output.write((try MadeReport.notice(facts).json.line() + [0x0a]).span)
      let status = facts.text("status") ?? ""
      let isNews = status != "unchanged" || facts["warning"] != nil
      try StandardOutput.write(
        ShellScript.assignment(to: "tb_news", isNews ? "1" : "")
          + ShellScript.assignment(to: "tb_ping", ["success", "unchanged"].contains(status) ? "success" : "failure"))
      return ExitStatus.success
    }
  }
}

/// The environment of a profile's command: ours without secrets, and variables about the backup.
struct HookEvent {
  let profile: Profile
  let home: RawPath
  /// Nil before a backup.
  var report: BackupReport?

  init(profile: Profile, home: RawPath) {
    self.profile = profile
    self.home = home
  }

  /// `NAME=VALUE` each. Unknown values are unset, even if they are in our own environment.
  var environment: [[UInt8]] {
    var facts: [(name: String, value: [UInt8]?)] = [
      ("HOME", home.bytes), ("PROFILE", Array(profile.name.utf8)), ("SOURCE", profile.source.bytes),
      ("STORE", (try? profile.store())?.operand),
    ]
    func text(_ value: String?) -> [UInt8]? { value.map { Array($0.utf8) } }
    facts += [
      ("STATUS", text(report?.status.rawValue)), ("SUMMARY", text(report?.headline)),
      ("ID", text(report?.id)), ("MODE", text(report?.mode)),
      ("FILE_COUNT", text(report?.fileCount.map { String($0) })),
      ("SIZE", text(report?.size.map { String($0) })),
      ("SECONDS", text(report?.seconds.map { String($0) })),
      ("WARNING", text(report?.warning)), ("ERROR_TYPE", text(report?.errorType)),
      ("ERROR", text(report?.errorMessage)),
    ]
    // The command must not inherit how this suite reports its own errors.
    let names = Set(
      facts.map { "TERMBACKUP_\($0.name)" } + [
        "TERMBACKUP_ERRORS", "TERMBACKUP_BUSY", "TERMBACKUP_STAGE", "TERMBACKUP_VERB",
      ])
    let kept = SecretVariables.environmentWithout().filter { variable in
      !names.contains(String(decoding: variable.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self))
    }
    return kept
      + facts.compactMap { name, value in
        value.map { Array("TERMBACKUP_\(name)=".utf8) + $0.filter { $0 != 0 } }
      }
  }
}
