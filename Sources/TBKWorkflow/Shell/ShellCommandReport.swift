import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ShellCommand {
  struct Report: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print what a verb reports, lists as tables that fit the terminal.",
      discussion: """
        The list comes on standard input: backups as 'tbk-pull --list' prints them, and versions as \
        'tbk-open --find' does. What is made of facts, KEY=VALUE, reads no \
        standard input.
        """)

    enum Kind: String, CaseIterable, ExpressibleByArgument {
      case backups, groups, versions
      case run, loop, key, identity
      case keptToken = "kept-token"
      case restore, verify, prune, consolidate, facts
      case package, unpack, migration, rotation, token, check
      case mbuPackage = "mbu-package"
      case mbuImport = "mbu-import"
      case movedToken = "moved-token"
      case initialised = "init"
      case rotationPreview = "rotation-preview"

      /// Makes the report from facts; nil if it is made from a list.
      var ofFacts: ((Facts) throws -> any VerbReport)? {
        switch self {
        case .run: { try RunReport($0) }
        case .loop: { try LoopReport($0) }
        case .key: { KeyReport($0) }
        case .identity: { IdentityReport($0) }
        case .keptToken: { try MadeReport.keptToken($0) }
        case .package: { try MadeReport.package($0) }
        case .unpack: { try MadeReport.unpack($0) }
        case .migration: { try MadeReport.migration($0) }
        case .rotation: { try MadeReport.rotation($0) }
        case .rotationPreview: { try MadeReport.rotationPreview($0) }
        case .token: { try MadeReport.token($0) }
        case .check: { MadeReport.check($0) }
        case .mbuPackage: { MadeReport.mbuPackage($0) }
        case .mbuImport: { try MadeReport.mbuImport($0) }
        case .movedToken: { MadeReport.movedToken($0) }
        case .initialised: { try MadeReport.initialised($0) }
        case .restore: { try RestoreReport($0) }
        case .verify: { try VerifyReport($0) }
        case .prune: { try PruneReport($0) }
        case .consolidate: { try ConsolidateReport($0) }
        case .facts: { try FactsReport($0) }
        default: nil
        }
      }
    }

    @Flag(name: .long, help: "Print JSON, for reports made of facts and for backups (JSON Lines).")
    var json = false
    @Option(name: .long, help: ArgumentHelp("For backups: only the last <n>.", valueName: "n"))
    var last: Int?
    @Option(name: .long, help: ArgumentHelp("For backups: only those since <time>.", valueName: "time"))
    var since: String?
    @Flag(name: .long, help: "Print no text for reports made of facts.")
    var quiet = false
    @Argument(help: ArgumentHelp("What it is.", valueName: "kind"))
    var kind: Kind
    @Argument(help: ArgumentHelp("KEY=VALUE.", valueName: "fact"))
    var facts: [RawPath] = []

    func validate() throws {
      if json && kind.ofFacts == nil && kind != .backups {
        throw ValidationError("\(kind.rawValue) are reported as they are")
      }
      if !facts.isEmpty, kind.ofFacts == nil {
        throw ValidationError("\(kind.rawValue) are not made of facts")
      }
    }

    mutating func execute() throws(Failure) -> Int32 {
      if environment("TERMBACKUP_VERB") == nil { Messages.program = "termbackup" }
      if kind.ofFacts != nil { return try print() }
      let list = try DescriptorSource(.standardInput)
        .readAll(limit: Ledger.byteLimit, what: "the list")
      if kind == .backups, json {
        try StandardOutput.write(try choice().lines(of: list))
        return ExitStatus.success
      }
      try StandardOutput.write(try text(list))
      return ExitStatus.success
    }

    /// Prints a report made from facts. Fails if it cannot be written.
    private func print() throws(Failure) -> Int32 {
      let report = try made()
      if json {
        try StandardOutput.write(report.json.line() + [0x0a])
      } else if !quiet {
        try StandardOutput.write(report.text)
      }
      do throws(Failure) {
        try StandardOutput.flush()
      } catch {
        guard error.code == .io else { throw error }
        throw Failure(.io, "cannot write to standard output", hint: "is the disk full?")
      }
      if !json, !quiet { for note in report.notes { Messages.notice(note) } }
      return ExitStatus.success
    }

    private func made() throws(Failure) -> any VerbReport {
      let facts = try Facts(facts)
      do {
        return try kind.ofFacts!(facts)
      } catch let failure as Failure {
        throw failure
      } catch {
        throw Failure(.library, "\(error)")
      }
    }

    private func choice() throws(Failure) -> BackupsReport.Choice {
      do throws(Failure) {
        return BackupsReport.Choice(
          last: last ?? .max,
          since: try since.map { (text) throws(Failure) in try AuditFilter.time(text, now: .now()) })
      } catch {
        throw Failure(error.code, "--since: \(error.message)", hint: error.hint)
      }
    }

    private func text(_ list: [UInt8]) throws(Failure) -> String {
      switch kind {
      case .backups: BackupsReport(rows: try cells(list, atLeast: 7)).text(of: try choice())
      case .groups:
        BackupsReport(rows: try cells(list, atLeast: 7))
          .groups(profiles: BackupsReport.profilesHere())
      case .versions: VersionsReport(rows: try cells(list, atLeast: 6)).text
      default: ""
      }
    }
  }
}
