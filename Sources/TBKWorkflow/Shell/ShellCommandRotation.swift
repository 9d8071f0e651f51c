import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat

/// The progress of a rotation: the next backup, and the results of those before.
struct RotationStep {
  /// The row of the next backup in the list; nil if none is left.
  let next: [String]?
  /// Its number among those to be rotated, from 1.
  let number: Int
  /// How many are to be rotated in all.
  let total: Int
  let rotated: Int
  let already: Int
  /// The total size of the resealed archives, in bytes.
  let bytes: UInt64
  /// Whether the list has a backup encrypted with a password.
  let hasSealed: Bool

  /// - Parameters:
  ///   - list: the backups, oldest first, as `tbk-pull --list` prints them.
  ///   - journal: rows of the result for a backup, its id and, if it is `rotated`, its size.
  ///   - whole: whether to include backups sealed to recipients.
  ///   - butLast: whether to leave out the last one for now.
  ///   - only: the id of the only backup to rotate.
  init(_ list: [[String]], journal: [[String]], whole: Bool = false, butLast: Bool = false, only: String? = nil) {
    let rows = list.filter { (whole || !$0[7].hasSuffix(".age")) && (only == nil || $0[0] == only) }
    let done = Set(journal.map { $0[1] })
    let place = rows.dropLast(butLast ? 1 : 0).firstIndex { !done.contains($0[0]) }
    next = place.map { rows[$0] }
    number = place.map { $0 + 1 } ?? rows.count
    total = rows.count
    rotated = journal.count { $0[0] == "rotated" }
    already = journal.count { $0[0] == "already" }
    bytes = journal.reduce(0) { $1.count > 2 && $1[0] == "rotated" ? $0 &+ (UInt64($1[2]) ?? 0) : $0 }
    hasSealed = list.contains { !$0[7].hasSuffix(".age") }
  }

  /// `tb_id`, `tb_file` and `tb_sha256` of the next one, empty if none is left, and the other values, for a shell.
  var script: [UInt8] {
    let values = [
      ("tb_id", next?[0] ?? ""), ("tb_file", next?[7] ?? ""), ("tb_sha256", next?[9] ?? ""), ("number", "\(number)"),
      ("total", "\(total)"), ("rotated", "\(rotated)"), ("already", "\(already)"), ("bytes", "\(bytes)"),
      ("has_sealed", hasSealed ? "1" : ""),
    ]
    return values.flatMap { ShellScript.assignment(to: $0.0, $0.1) }
  }
}

extension ShellCommand {
  struct NextToRotate: SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "next-to-rotate",
      abstract: "Print the next backup to reseal under the new password, as assignments for a shell.")

    @Flag(name: .long, help: "Include backups that are sealed to recipients.")
    var full = false
    @Flag(name: .long, help: "Leave the last backup for later.")
    var butLast = false
    @Option(name: .long, help: ArgumentHelp("Only the backup <id>.", valueName: "id"))
    var only: String?
    @Argument(help: ArgumentHelp("The output of 'tbk-pull --list'.", valueName: "file"))
    var list: RawPath
    @Argument(
      help: ArgumentHelp("The journal: per line, the result for a backup, its id and its size.", valueName: "file"))
    var journal: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      let step = RotationStep(
        try cells(try readFile(list, limit: Ledger.byteLimit), atLeast: 10),
        journal: try cells(try readFile(journal, limit: Ledger.byteLimit), atLeast: 2), whole: full, butLast: butLast,
        only: only)
      try StandardOutput.write(step.script)
      return ExitStatus.success
    }
  }
}
