import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ShellCommand {
  struct Judge: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print what became of each backup that was verified: id, SHA-256, signature and what does not hold.",
      discussion: """
        What does not hold is - where all does, and 'manifest' where the sealed manifest alone has to be made again.
        """)

    @Flag(name: .long, help: "The stream came to its end: a backup without a verdict was not sent.")
    var ended = false
    @Argument(help: ArgumentHelp("The ids of the backups, and the SHA-256 of their archives.", valueName: "file"))
    var asked: RawPath
    @Argument(help: ArgumentHelp("What 'tbk-open --verify --each' printed.", valueName: "file"))
    var verdicts: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      let asked = try cells(try readFile(asked, limit: Ledger.byteLimit), atLeast: 2)
      let verdicts = try cells(try readFile(verdicts, limit: Ledger.byteLimit), atLeast: 2)
      let hashes = Dictionary(asked.map { ($0[0], $0[1]) }) { first, _ in first }
      var judged: Set<String> = []
      for verdict in verdicts {
        guard let hash = hashes[verdict[1]] else { continue }
        judged.insert(verdict[1])
        try StandardOutput.write(VerifiedBackup(id: verdict[1], sha256: hash, verdict: verdict).line)
      }
      for row in asked where ended && !judged.contains(row[0]) {
        try StandardOutput.write(VerifiedBackup(id: row[0], sha256: row[1], verdict: ["missing"]).line)
      }
      return ExitStatus.success
    }
  }

  struct Verified: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Report what Judge prints, on standard input, and note it in the audit log.",
      discussion: "ID:SHA256 of what holds is added to a file, and each line to another.")

    @Flag(name: .long, help: "Report nothing here: programs get all at the end.")
    var json = false
    @Flag(name: .long, help: "Report only what does not hold.")
    var quiet = false
    @Option(name: .long, help: ArgumentHelp("Whose backups they are.", valueName: "profile"))
    var profile: String
    @Argument(help: ArgumentHelp("What holds.", valueName: "file"))
    var held: RawPath
    @Argument(help: ArgumentHelp("All of them.", valueName: "file"))
    var results: RawPath
    @Argument(help: ArgumentHelp("The ids of backups whose sealed manifest could not be recreated.", valueName: "file"))
    var unmended: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      let input = try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the verdicts")
      let unmended = Set(try cells(try readFile(unmended, limit: Ledger.byteLimit), atLeast: 1).map { $0[0] })
      let found = try cells(input, atLeast: 4).compactMap { VerifiedBackup($0)?.mended { !unmended.contains($0) } }
      let home = try Home.ofProcess()
      for backup in found {
        let id = String(backup.id.prefix(12))
        if backup.isOfGroup {
          home.record("verify", of: profile, status: "failure", ["error": backup.reason])
        } else if backup.holds {
          home.record("verify", of: profile, ["backup_id": id])
        } else {
          home.record("verify", of: profile, status: "failure", ["backup_id": id, "error": backup.reason])
        }
        if !json, !quiet || !backup.holds { try StandardOutput.write(backup.text) }
      }
      try StandardOutput.flush()
      try add(found.filter(\.holds).map { "\($0.id):\($0.sha256)\n" }, to: held)
      try add(found.map(\.line), to: results)
      return ExitStatus.success
    }

    private func add(_ lines: [String], to file: RawPath) throws(Failure) {
      let output = try Descriptor.workingDirectory.open(
        file, O_WRONLY | O_CREAT | O_APPEND, mode: 0o600, missing: .cannotCreate)
      let text = Array(lines.joined().utf8)
      try output.write(text.span)
    }
  }
}
