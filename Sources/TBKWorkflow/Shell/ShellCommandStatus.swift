import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ShellCommand {
  struct Status: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Report the state of backups, for 'termbackup status'.",
      discussion: """
        A directory holds what commands have found out, as for 'tbk-sh doctor'. The exit status is 1 if backups are \
        overdue, or if a store is not as it was seen before, or has lost a sealed identity.
        """)
    @Option(name: .long, help: ArgumentHelp("What commands have found out.", valueName: "dir"))
    var facts: RawPath
    @Flag(name: .long, help: "Print one JSON object.")
    var json = false
    @Flag(name: .long, help: "Print metrics for Prometheus.")
    var prometheus = false
    @Option(
      name: .shortAndLong, help: ArgumentHelp("Write metrics there, for others to read.", valueName: "file"))
    var output: RawPath?
    @Option(name: .long, help: ArgumentHelp("How old the last backup may be.", valueName: "age"))
    var maxAge: Age?
    @Option(name: .long, help: ArgumentHelp("The status of a failure to find something out.", valueName: "n"))
    var failed: Int32 = 0

    mutating func execute() throws(Failure) -> Int32 {
      let home = try Home.ofProcess()
      let facts = CollectedFacts(folder: facts)
      var scheduled: [ScheduledProfile] = []
      do throws(Failure) {
        scheduled = try Schedules(of: home).all()
      } catch {
        if error.isOfProcess { throw error }
        Messages.warning("cannot find out what is scheduled")
      }
      let token = facts.status("token").map { _ in ProfileStatus.token(facts) }
      let noToken = facts.status("token") ?? 0 == 0 ? nil : facts.said("token")
      var statuses: [ProfileStatus] = []
      for name in facts.rows("names").map({ $0[0] }) where facts.part("profile").part(name).isThere {
        statuses.append(
          try ProfileStatus(
            of: try home.profile(name), in: home, facts.part("profile").part(name), scheduled: scheduled,
            maxAge: maxAge?.seconds, noToken: noToken))
      }
      // The problems have been reported, and there is nothing else to print.
      if statuses.isEmpty, failed != 0, !json, !prometheus { return failed }
      try write(statuses, token, home)
      if failed != 0 { return failed }
      return statuses.contains { $0.isLate || $0.isAltered || $0.hasLostIdentity } ? ExitStatus.no : ExitStatus.success
    }

    private func write(_ statuses: [ProfileStatus], _ token: JSON?, _ home: Home) throws(Failure) {
      if json {
        let report = JSON.object([
          "home": .string(home.path.bytes), "token": token ?? .null, "profiles": .array(statuses.map(\.json)),
        ])
        try StandardOutput.write(report.line() + [0x0a])
      } else if prometheus {
        let text = MetricsReport(statuses.map(\.json)).text
        if let output {
          try AtomicFile.write(Array(text.utf8), to: output, mode: 0o644)
        } else {
          try StandardOutput.write(text)
        }
      } else {
        var parts = statuses.map { StatusReport($0.json).text }
        if let token { parts.append("token      \(StatusReport.token(token))\n") }
        try StandardOutput.write(parts.joined(separator: "\n"))
        if parts.isEmpty {
          Messages.notice("there are no profiles: make one with 'termbackup profile create NAME --source DIR'")
        }
      }
      try StandardOutput.flushForVerb()
    }
  }

  struct Stores: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Note the profiles that can be read and their stores, for 'termbackup doctor', 'status' and 'clean'.",
      discussion: """
        Below the directory, names has their names, each-store the first one of each store, profile/NAME/store their stores, \
        and repositories those on GitHub, for each of which a directory repository/OWNER/REPO is made.
        """)
    @Argument(help: ArgumentHelp("Where to note them.", valueName: "dir"))
    var directory: RawPath
    @Argument(help: ArgumentHelp("Only this profile.", valueName: "name"))
    var profile: String?

    mutating func execute() throws(Failure) -> Int32 {
      let home = try Home.ofProcess()
      var names: [String] = []
      var (stores, first): (Set<[UInt8]>, [String]) = ([], [])
      var repositories: Set<String> = []
      var broken: Failure?
      try make("profile")
      try make("repository")
      let wanted = if let profile { [profile] } else { try home.profileNames() }
      for name in wanted {
        do throws(Failure) {
          let store = try home.profile(name).store().operand
          try make("profile/\(name)")
          try note([store], as: "profile/\(name)/store")
          names.append(name)
          if stores.insert(store).inserted { first.append(name) }
          let text = String(decoding: store, as: UTF8.self)
          if text.hasPrefix("github:") { repositories.insert(String(text.dropFirst(7).prefix { $0 != "#" })) }
        } catch {
          if error.isOfProcess { throw error }
          broken = reporting(error, after: broken)
        }
      }
      ConfigCommand.report(home)
      for repository in repositories {
        try make("repository/\(repository.prefix { $0 != "/" })")
        try make("repository/\(repository)")
      }
      try note(names.map { Array($0.utf8) }, as: "names")
      try note(first.map { Array($0.utf8) }, as: "each-store")
      try note(repositories.sorted().map { Array($0.utf8) }, as: "repositories")
      if let broken { throw broken }
      return ExitStatus.success
    }

    private func make(_ name: String) throws(Failure) {
      let path = directory.appending(RawPath(name))
      if try Descriptor.workingDirectory.statusIfPresent(of: path) != nil { return }
      try Descriptor.workingDirectory.makeDirectory(path)
    }

    private func note(_ lines: [[UInt8]], as name: String) throws(Failure) {
      try AtomicFile.write(lines.flatMap { $0 + [0x0a] }, to: directory.appending(RawPath(name)))
    }
  }

  struct IsEmpty: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "is-empty",
      abstract: "Report whether a store has no backups of a profile, by its summary on standard input."
    )

    mutating func execute() throws(Failure) -> Int32 {
      let summary = try JSON.parse(
        try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the summary"), what: "the summary")
      return summary["last_id"]?.isNull == true ? ExitStatus.success : ExitStatus.no
    }
  }
}

extension StandardOutput {
  /// Fails if a report cannot be written.
  static func flushForVerb() throws(Failure) {
    do throws(Failure) {
      try flush()
    } catch {
      guard error.code == .io else { throw error }
      throw Failure(.io, "cannot write to standard output", hint: "is the disk full?")
    }
  }
}
