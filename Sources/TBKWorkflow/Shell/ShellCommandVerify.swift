import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ShellCommand {
  struct Judge: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the verdict on each backup that was verified: id, SHA-256, signature and what is wrong.",
      usage: """
        tbk-sh judge series [--ended] <dir>
        tbk-sh judge stored <dir>
        tbk-sh judge one <dir> <id> <status>
        """,
      discussion: """
        What is wrong is - if nothing is, and 'manifest' if only the sealed manifest has to be recreated. What commands
        wrote is in files of <dir>: 'tbk-pull --list' in list, its rows of the backups in ids, those of a series in new, \
        'tbk-open --verify --each' in verdicts, 'tbk-store check --stored' in faults, 'tbk-pull --signatures-out' in signature, and the end of the \
        stage open.
        """)

    @Flag(name: .long, help: "The stream came to its end: a backup without a verdict was not sent.")
    var ended = false
    @Argument(help: ArgumentHelp("How they were verified.", valueName: "way"))
    var way: String
    @Argument(help: ArgumentHelp("Where the files are.", valueName: "dir"))
    var directory: RawPath
    @Argument(help: ArgumentHelp("The id of the backup.", valueName: "id"))
    var id: String?
    @Argument(help: ArgumentHelp("How opening it has ended.", valueName: "status"))
    var status: Int32?

    /// Exits with status 1, without a verdict, if the failure does not concern the backup itself.
    mutating func execute() throws(Failure) -> Int32 {
      let asked = try rows("ids", atLeast: 10)
      let found: [VerifiedBackup]
      switch (way, id, status) {
      case ("series", nil, nil): found = try series(try rows("new", atLeast: 10))
      case ("stored", nil, nil):
        let faults = try rows("faults", atLeast: 3).map { StoredFault($0) }
        found = StoredFault.verdicts(on: asked, in: try rows("list", atLeast: 10), faults)
      case ("one", let id?, let status?):
        guard let row = asked.first(where: { $0[0] == id }), let verdict = verdict(on: row, status) else {
          return ExitStatus.no
        }
        found = [verdict]
      default: throw Failure(.usage, "unknown way '\(way)', or one that takes other arguments")
      }
      try StandardOutput.write(found.map(\.line).joined())
      return ExitStatus.success
    }

    private func rows(_ name: String, atLeast count: Int) throws(Failure) -> [[String]] {
      try cells(try readFile(directory.appending(RawPath(name)), limit: Ledger.byteLimit), atLeast: count)
    }

    private func series(_ asked: [[String]]) throws(Failure) -> [VerifiedBackup] {
      let hashes = Dictionary(asked.map { ($0[0], $0[9]) }) { first, _ in first }
      var judged: Set<String> = []
      var found: [VerifiedBackup] = []
      for verdict in try rows("verdicts", atLeast: 2) {
        guard let hash = hashes[verdict[1]] else { continue }
        judged.insert(verdict[1])
        found.append(VerifiedBackup(id: verdict[1], sha256: hash, verdict: verdict))
      }
      for row in asked where ended && !judged.contains(row[0]) {
        found.append(VerifiedBackup(id: row[0], sha256: row[9], verdict: ["missing"]))
      }
      return found
    }

    private func verdict(on row: [String], _ status: Int32) -> VerifiedBackup? {
      let end = StageEnd(of: directory.appending("open.status"))
      let noted = try? rows("signature", atLeast: 1)
      let signature = noted?.first?.first ?? "-"
      let reason: String
      switch status {
      case 0: reason = "-"
      case 65 where signature == "fails": reason = VerifiedBackup.signatureFails
      case 1: reason = "what was restored differs from the backup"
      case 3: reason = "part of it is missing"
      case 65: reason = "corrupt or incomplete"
      case 66: reason = "missing from the store"
      case 77 where end.type == "CryptoError": reason = "altered, or sealed with another password"
      default: return nil
      }
      return VerifiedBackup([row[0], row[9], signature, reason])
    }
  }

  struct Verified: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Report what Judge printed into the file judged, and note it in the audit log.",
      discussion: """
        ID:SHA256 of what is intact is added to the file held, and each line to results. The file unmended has the ids of \
        backups whose sealed manifest could not be recreated.
        """)

    @Flag(name: .long, help: "Report nothing here: programs get everything at the end.")
    var json = false
    @Flag(name: .long, help: "Report only what is wrong.")
    var quiet = false
    @Option(name: .long, help: ArgumentHelp("Whose backups they are.", valueName: "profile"))
    var profile: String
    @Argument(help: ArgumentHelp("Where the files are.", valueName: "dir"))
    var directory: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      let unmended = Set(try rows("unmended", atLeast: 1).map { $0[0] })
      let found = try rows("judged", atLeast: 4).compactMap { VerifiedBackup($0)?.mended { !unmended.contains($0) } }
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
      try add(found.filter(\.holds).map { "\($0.id):\($0.sha256)\n" }, to: "held")
      try add(found.map(\.line), to: "results")
      return ExitStatus.success
    }

    private func rows(_ name: String, atLeast count: Int) throws(Failure) -> [[String]] {
      try cells(try readFile(directory.appending(RawPath(name)), limit: Ledger.byteLimit), atLeast: count)
    }

    private func add(_ lines: [String], to name: String) throws(Failure) {
      let output = try Descriptor.workingDirectory.open(
        directory.appending(RawPath(name)), O_WRONLY | O_CREAT | O_APPEND, mode: 0o600, missing: .cannotCreate)
      let text = Array(lines.joined().utf8)
      try output.write(text.span)
    }
  }
}
