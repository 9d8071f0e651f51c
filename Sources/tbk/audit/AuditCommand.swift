import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

struct AuditCommand: ParsableCommand, SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-audit", abstract: "Append to, show and verify the audit log.",
    version: "tbk-audit \(suiteVersion)", subcommands: [Append.self, Show.self, Verify.self])

  mutating func execute() throws(Failure) -> Int32 {
    throw Failure(.usage, "no verb is given", hint: "one of append, show, verify")
  }
}

/// Selects the log.
private struct LogOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Use <file> instead of the home's log.", valueName: "file"))
  var file: RawPath?

  func log(_ home: Home) throws(Failure) -> AuditFile {
    AuditFile(file ?? home.path.appending("audit.log"))
  }
}

extension AuditCommand {
  struct Append: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(abstract: "Add one entry.")

    @OptionGroup var common: CommonOptions
    @OptionGroup fileprivate var log: LogOptions
    @Option(name: .long, help: "What was done, as in backup or rotate-key.")
    var operation: String
    @Option(name: .long, help: "The profile it was done for.")
    var profile: String?
    @Option(name: .long, help: "How it ended: success, failure or partial.")
    var status: String
    @Option(name: .long, help: ArgumentHelp("Details as a JSON object.", valueName: "json"))
    var details: RawPath?
    @Option(
      name: .long, parsing: .singleValue,
      help: ArgumentHelp("One detail; may be repeated.", valueName: "key=value"))
    var detail: [String] = []

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let entry = try AuditEntry(
        timestamp: .now(), operation: operation, profile: profile, status: status,
        details: try members())
      let home = try Home.ofProcess()
      if log.file == nil {
        if try !home.configuration().isAuditLogEnabled { return ExitStatus.success }
      }
      if let complaint = try log.log(home).append(entry) { Messages.warning(complaint) }
      return ExitStatus.success
    }

    private func members() throws(Failure) -> [JSON.Member] {
      var members: [JSON.Member] = []
      if let details {
        do throws(Failure) {
          guard let given = try JSON.parse(details.bytes, what: "--details").members else {
            throw Failure(.usage, "--details must be a JSON object")
          }
          members = given
        } catch {
          throw Failure(.usage, error.message)
        }
      }
      for pair in detail {
        guard let equals = pair.firstIndex(of: "=") else {
          throw Failure(.usage, "--detail takes KEY=VALUE")
        }
        let key = String(pair[..<equals])
        let text = String(pair[pair.index(after: equals)...])
        members.append(
          JSON.Member(key, AuditDetail(key: key)?.value(from: text) ?? .string(text)))
      }
      return members
    }
  }

  struct Show: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the latest entries, the newest last.")

    @OptionGroup var common: CommonOptions
    @OptionGroup fileprivate var log: LogOptions
    @Option(
      name: .short,
      help: ArgumentHelp("Print at most <n> entries; 0 for all.", valueName: "n"))
    var n = 20
    @Option(name: .shortAndLong, help: "Only this operation.")
    var operation: String?
    @Option(name: .shortAndLong, help: "Only this profile.")
    var profile: String?
    @Option(
      name: .long,
      help: ArgumentHelp(
        "Only entries since <time>: 2026-02-18, 2026-02-18T10:00:00Z, or 36h, 30d, 4w ago.",
        valueName: "time"))
    var since: String?
    @Flag(name: .long, help: "Print the lines as they are, in JSON Lines.")
    var json = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      if n < 0 { throw Failure(.usage, "-n takes a number from 0") }
      var filter = AuditFilter(limit: n, operation: operation, profile: profile)
      if let since { filter.since = try AuditFilter.time(since, now: .now()) }
      let home = try Home.ofProcess()
      let file = try log.log(home)
      var latest: [AuditLine] = []
      let complaint = try file.read { (number, bytes) throws(Failure) in
        do throws(Failure) {
          let line = try AuditLine(bytes, place: "\(file.path.display), line \(number)")
          if filter.takes(line) { filter.keep(line, in: &latest) }
        } catch {
          Messages.warning(error.message)
        }
      }
      if let complaint { Messages.warning(complaint) }
      for line in latest.suffix(n == 0 ? latest.count : n) {
        if json {
          try StandardOutput.write(line.bytes + [0x0a])
        } else {
          try StandardOutput.write(line.summary + "\n")
        }
      }
      return ExitStatus.success
    }
  }

  struct Verify: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check whether the log is as it was written.")

    @OptionGroup var common: CommonOptions
    @OptionGroup fileprivate var log: LogOptions
    @Flag(name: .long, help: "Print an object.")
    var json = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let file = try log.log(try Home.ofProcess())
      let found = try file.verify()
      if json {
        try StandardOutput.write(found.json.line() + [0x0a])
        return found.holds ? ExitStatus.success : ExitStatus.no
      }
      for problem in found.problems { try StandardOutput.write(problem.message + "\n") }
      if found.holds {
        try StandardOutput.write("ok \(found.lines) \(found.last.hex)\n")
        if found.unhashed > 0 {
          Messages.notice(
            "\(found.unhashed) of the lines were written by TermBackup 6, without a hash")
        }
        return ExitStatus.success
      }
      try StandardOutput.flush()
      Messages.report(Failure(.integrity, "\(file.path.display) has been altered"))
      return ExitStatus.no
    }
  }
}

extension AuditVerification {
  fileprivate var json: JSON {
    .object([
      "ok": .bool(holds), "line_count": .number(lines), "unhashed_count": .number(unhashed),
      "last_hash": .string(last.hex),
      "problems": .array(
        problems.map {
          .object([
            "line": .number($0.line), "problem": .string($0.kind.rawValue),
            "message": .string($0.message),
          ])
        }),
    ])
  }
}
