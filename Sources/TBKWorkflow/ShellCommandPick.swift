import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat

extension ShellCommand {
  struct Pick: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the line of the backup that is meant, out of those of 'tbk-pull --list'.",
      discussion: "The list comes on standard input.")
    @Option(name: .long, help: ArgumentHelp("Whose verb this is for.", valueName: "verb"))
    var verb: String
    @Option(name: .long, help: ArgumentHelp("Whose backups these are.", valueName: "words"))
    var of: RawPath
    @Option(name: .long, help: ArgumentHelp("The command that lists them.", valueName: "command"))
    var listing: RawPath
    @Option(name: .long, help: ArgumentHelp("The last one that was made by then.", valueName: "time"))
    var at: String?
    @Argument(help: ArgumentHelp("An id's beginning, latest, latest~2.", valueName: "id"))
    var backup: RawPath?

    func validate() throws {
      if (at == nil) == (backup == nil) { throw ValidationError("give an id or --at") }
    }

    mutating func execute() throws(Failure) -> Int32 {
      Messages.program = "termbackup \(verb)"
      let hint = "see '\(RawPath.quote(listing.bytes.span))'"
      let query: BackupQuery
      if let at {
        query = .at(try Timestamp(lastOf: at, now: .now()))
      } else {
        query = try BackupQuery(backup ?? RawPath([]), hint: hint)
      }
      let rows = try cells(
        try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the list"), atLeast: 7)
      do throws(Failure) {
        let found = try query.choose(
          from: rows, of: RawPath.quote(of.bytes.span), id: { $0[0] }, createdAt: { $0[1] })
        if found.count > 1 {
          throw Failure(
            .usage, "\(found.count) backups have ids that begin with \(backup?.display ?? "")", hint: hint)
        }
        try StandardOutput.write(found[0].joined(separator: "\t") + "\n")
      } catch {
        throw Failure(error.code, error.message, hint: error.hint ?? hint)
      }
      return ExitStatus.success
    }
  }
}
