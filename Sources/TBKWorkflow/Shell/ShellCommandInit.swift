import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ShellCommand {
  struct InitHome: SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "init-home",
      abstract: "Make the home and the first store, unless they exist, and print them, as assignments for a shell.",
      discussion: """
        home; store, as tbk-push takes it, and its repository, if it is on GitHub; made, what was made, in lines or as \
        JSON; and tb_audited if that is anything.
        """)
    @Option(name: .long, help: ArgumentHelp("New profiles back up to <store>.", valueName: "store"))
    var repo: RawPath?
    @Flag(name: .long, help: "Refuse a store that is not a repository.")
    var createRepo = false
    @Flag(name: .long, help: "Print made as JSON.")
    var json = false

    mutating func execute() throws(Failure) -> Int32 {
      let home = try Home.ofProcess()
      if createRepo {
        // Check first, so that a usage error creates nothing.
        let reference = if let repo { try absoluteStore(repo) } else { try home.defaultStoreReference() }
        guard repository(of: try StoreReference(reference).operand) != nil else {
          throw Failure(
            .usage, "--create-repo is for a repository: give --repo OWNER/REPO", hint: "see 'termbackup init --help'")
        }
      }
      let (made, store) = try home.initialise(store: repo)
      ConfigCommand.report(home)
      let paths = made.map { Array($0.quoted.utf8) + [0x0a] }
      let report = json ? home.initialised(made, store: store).line() : [UInt8](paths.joined())
      for (name, value) in [
        ("home", home.path.bytes), ("store", store), ("repository", repository(of: store) ?? []), ("made", report),
      ] {
        try StandardOutput.write(ShellScript.assignment(to: name, value))
      }
      if !made.isEmpty { try StandardOutput.write(ShellScript.assignment(to: "tb_audited", "init")) }
      return ExitStatus.success
    }
  }

  struct ProfileTable: SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "profiles", abstract: "Print the profiles as a table that fits the terminal.")
    @Flag(name: .shortAndLong, help: "No notes.")
    var quiet = false

    mutating func execute() throws(Failure) -> Int32 {
      Messages.quiet = quiet
      let home = try Home.ofProcess()
      var rows: [[String]] = []
      let broken = try ProfileGroup.List.visit(home) { (profile) throws(Failure) in
        rows.append(ProfileGroup.List.columns(of: profile))
      }
      if !rows.isEmpty {
        try StandardOutput.write(ProfilesReport(rows: rows).text)
      } else if broken == nil {
        Messages.notice("there are no profiles: make one with 'termbackup profile create NAME --source DIR'")
      }
      if let broken {
        try StandardOutput.flush()
        throw broken
      }
      return ExitStatus.success
    }
  }
}
