import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

/// Which backups a verb works on: those of a profile, or those in a store.
struct WhoseOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("The store, if no profile is meant.", valueName: "store"))
  var store: RawPath?
  @Option(name: .long, help: ArgumentHelp("The group, of the store or of the profile.", valueName: "group"))
  var group: RawPath?
  @Option(name: .long, help: ArgumentHelp("The profile.", valueName: "name"))
  var profile: String?
  @Option(name: .long, help: ArgumentHelp("The profile's store.", valueName: "store"))
  var address: RawPath?
  @Flag(name: .long, help: "The ungrouped backups are the profile's.")
  var ungrouped = false

  var words: String { store.map { "the store \($0.display)" } ?? "the profile '\(profile ?? "")'" }

  /// The command that lists them.
  var listing: String {
    guard let store else { return "termbackup list \(profile ?? "")" }
    return "termbackup list --store \(inShell(store.bytes))" + (group.map { " --group \($0.text)" } ?? "")
  }

  /// The other profiles on this machine that, like this one, use the store's ungrouped backups: TermBackup 6 did not
  /// record which profile made a backup.
  ///
  /// - Parameter rows: the backups of this profile, if known.
  func rivals(_ rows: [[String]]?) throws(Failure) -> [String] {
    guard store == nil, group == nil || ungrouped, rows?.contains(where: { $0[5] == "-" }) ?? true else { return [] }
    let home = try Home.ofProcess()
    return try home.profileNames().filter { name in
      guard name != profile, let other = try? home.profile(name), (try? other.store().operand) == address?.bytes else {
        return false
      }
      return other.group == nil || other["ungrouped"]?.boolean == true
    }
  }

  static let rivalsHint =
    "when each of them has a backup of its own, 'termbackup profile edit NAME --unset ungrouped' takes the old ones "
    + "from those that have none there"

  /// For a profile without backups: how many backups the store has in groups of no profile on this machine, or
  /// ungrouped, and a hint. A profile recreated on a new machine does not know its backups.
  ///
  /// - Parameter rows: all backups in the store.
  func others(_ rows: [[String]]) -> (words: String, hint: String)? {
    let known = BackupsReport.profilesHere()
    let name = profile ?? ""
    let ungrouped = rows.count { $0[5] == "-" }
    let grouped = rows.count { $0[5] != "-" && known[$0[5]] == nil }
    switch (grouped, ungrouped) {
    case (0, 0): return nil
    case (0, _):
      return (
        "the store has \(ungrouped) \(ungrouped == 1 ? "backup" : "backups") in no group, as TermBackup 6 made them",
        "if they belong to it, run 'termbackup profile edit \(name) --ungrouped'"
      )
    default:
      return (
        grouped == 1
          ? "the store has 1 backup of a group that no profile here has"
          : "the store has \(grouped) backups of groups that no profile here has",
        "'termbackup list --store \(inShell(address?.bytes ?? []))' shows the groups, and 'termbackup profile edit "
          + "\(name) --group GROUP' continues one"
      )
    }
  }

  /// Quoted if necessary, for a command that is itself in quotes.
  private func inShell(_ bytes: [UInt8]) -> String {
    let isPlain =
      !bytes.isEmpty
      && bytes.allSatisfy {
        switch $0 {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        default: Array("._/:@%+,-".utf8).contains($0)
        }
      }
    return isPlain ? String(decoding: bytes, as: UTF8.self) : onOneLine(ShellScript.quote(bytes))
  }

  /// The failure if there are no backups.
  func none(_ others: [[String]]) -> Failure {
    guard let store else {
      let found = self.others(others)
      return Failure(
        .unavailable, "the profile '\(profile ?? "")' has no backups" + (found.map { "; \($0.words)" } ?? ""),
        hint: found?.hint)
    }
    switch group?.text {
    case nil: return Failure(.unavailable, "the store \(store.display) has no backups")
    case "-":
      return Failure(
        .unavailable, "the store \(store.display) has no ungrouped backups",
        hint: "see 'termbackup list --store \(inShell(store.bytes))'")
    case let group?: return Failure(.unavailable, "the store \(store.display) has no backups of the group '\(group)'")
    }
  }
}

extension ShellCommand {
  struct Others: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print what else is in the store of a profile without backups, as assignments for a shell.",
      discussion: "Standard input is the output of 'tbk-pull --list' for the whole store.")
    @Flag(name: .long, help: "Fail, and report that there are no backups.")
    var none = false
    @OptionGroup var whose: WhoseOptions

    mutating func execute() throws(Failure) -> Int32 {
      let rows = try cells(
        try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the list"), atLeast: 7)
      if none { throw whose.none(rows) }
      let found = whose.others(rows)
      try StandardOutput.write(
        ShellScript.assignment(to: "tb_others", found?.words ?? "")
          + ShellScript.assignment(to: "tb_others_hint", found?.hint ?? ""))
      return ExitStatus.success
    }
  }

  struct Rivals: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the profiles that have a claim to the same backups, as assignments for a shell.",
      discussion: "Standard input is the output of 'tbk-pull --list'.")
    @Flag(name: .long, help: "The list has not been read: there may be ungrouped backups.")
    var unseen = false
    @OptionGroup var whose: WhoseOptions

    mutating func execute() throws(Failure) -> Int32 {
      let rows = try cells(
        try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the list"), atLeast: 7)
      try StandardOutput.write(
        ShellScript.assignment(to: "tb_rivals", try whose.rivals(unseen ? nil : rows).joined(separator: " "))
          + ShellScript.assignment(to: "tb_rivals_hint", WhoseOptions.rivalsHint))
      return ExitStatus.success
    }
  }

  struct Pick: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print which backup is meant, out of those of 'tbk-pull --list', as assignments for a shell.",
      discussion: "The list comes on standard input.")
    @OptionGroup var whose: WhoseOptions
    @Option(name: .long, help: ArgumentHelp("The last one that was made by then.", valueName: "time"))
    var at: String?
    @Argument(help: ArgumentHelp("An id's prefix, latest, latest~2.", valueName: "id"))
    var backup: RawPath?

    func validate() throws {
      if (at == nil) == (backup == nil) { throw ValidationError("give an id or --at") }
    }

    mutating func execute() throws(Failure) -> Int32 {
      let hint = "see '\(whose.listing)'"
      let rows = try cells(
        try DescriptorSource(.standardInput).readAll(limit: Ledger.byteLimit, what: "the list"), atLeast: 8)
      let isByPlace = backup?.bytes.starts(with: "latest".utf8) ?? true
      if isByPlace, whose.store != nil, Set(rows.map { $0[5] }).count > 1 {
        throw Failure(
          .usage, "the store has backups of several groups, each with a last one: give --group", hint: hint)
      }
      let found = try choose(from: rows, hint)
      if isByPlace, found[5] == "-" {
        let rivals = try whose.rivals(rows)
        if !rivals.isEmpty {
          throw Failure(
            .usage,
            "this backup may be another profile's, as '\(rivals.joined(separator: " "))' has the same store, "
              + "and TermBackup 6 did not write down whose it is",
            hint: "give its id: '\(whose.listing)' shows them; \(WhoseOptions.rivalsHint)")
        }
      }
      for (variable, place) in [
        ("tb_id", 0), ("tb_created", 1), ("tb_size", 2), ("tb_count", 3), ("tb_file", 7), ("tb_sha256", 9),
      ] where place < found.count {
        try StandardOutput.write(ShellScript.assignment(to: variable, found[place]))
      }
      // TermBackup 6's ledger does not record what a backup depends on.
      try StandardOutput.write(ShellScript.assignment(to: "tb_old", found[4] == "-" ? "1" : ""))
      // The password check is that of the backup's group.
      if whose.store != nil, found[5] != "-" {
        try StandardOutput.write(ShellScript.assignment(to: "profile_group", found[5]))
      }
      return ExitStatus.success
    }

    private func choose(from rows: [[String]], _ hint: String) throws(Failure) -> [String] {
      let query: BackupQuery
      if let at {
        query = .at(try Timestamp(lastOf: at, now: .now()))
      } else {
        query = try BackupQuery(backup ?? RawPath([]), hint: hint)
      }
      do throws(Failure) {
        let found = try query.choose(from: rows, of: whose.words, id: { $0[0] }, createdAt: { $0[1] })
        if found.count > 1 {
          throw Failure(
            .usage, "\(found.count) backups have ids that begin with \(backup?.display ?? "")", hint: hint)
        }
        return found[0]
      } catch {
        throw Failure(error.code, error.message, hint: error.hint ?? hint)
      }
    }
  }
}
