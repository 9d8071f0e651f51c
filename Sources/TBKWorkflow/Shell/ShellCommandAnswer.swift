import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat
import TBKSettings

extension ShellCommand {
  /// Small questions, for which a command of its own each would be large.
  struct Answer: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Answer a question of a verb: plain-key, readers, successors, stored or why-not.")

    @Argument(help: ArgumentHelp("What is asked.", valueName: "question"))
    var question: String
    @Argument(help: ArgumentHelp("What about.", valueName: "word"))
    var words: [RawPath] = []

    mutating func execute() throws(Failure) -> Int32 {
      switch question {
      case "plain-key" where words.count == 1: try Answers.plainKey(words[0])
      case "readers": try Answers.readers(try Facts(words))
      case "successors" where words.count >= 2: try Answers.successors(words[...])
      case "stored" where words.count == 3: try Answers.stored(list: words[0], asked: words[1], faults: words[2])
      case "why-not":
        guard let reason = Answers.whyNot(words.map { Int32($0.text) ?? -1 }) else { return 1 }
        try StandardOutput.write(reason + "\n")
      default: throw Failure(.usage, "unknown question '\(question)'")
      }
      return ExitStatus.success
    }
  }
}

private enum Answers {
  /// Prints the fingerprint of a key to sign with, which must need no password.
  static func plainKey(_ file: RawPath) throws(Failure) {
    let key = try SigningKey(file: file) { (_) throws(Failure) -> Secret in
      throw Failure(
        .configuration, "the signing key is under a password, which nobody would be there to enter",
        hint: "'termbackup generate-key --force --no-password --enable' makes one without a password; the current key "
          + "stays trusted")
    }
    try StandardOutput.write(try key.verifyingKey.fingerprint.hex + "\n")
  }

  /// Prints to whom backups are sealed from now on, as options, by the identities on standard input: to the
  /// recipient of the first of them, and to those of before that are of none of them. Prints nothing if these
  /// are those of before, unless this home has noted another sealed identity for them, as before it was put
  /// back into the store: that note goes.
  ///
  /// - Parameter words: the group, the file with its sealed identity, and options that name the recipients of
  ///   before.
  static func successors(_ words: ArraySlice<RawPath>) throws(Failure) {
    let options = words.dropFirst(2).map(\.text)
    let before = options.filter { $0.first != "-" }
    let text = try Secret(
      reading: .standardInput, limit: AgeIdentityFile.maximumLength, name: RawPath("standard input"))
    let identities = try text.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
    var known: [String] = []
    for identity in identities { known.append(try identity.recipient.text()) }
    let next = known.prefix(1) + before.filter { !known.contains($0) }
    if Set(next) == Set(before) {
      let memory = RecipientsMemory(of: words[0].text, in: try Home.ofProcess().stateDirectory())
      let hash = try SHA256.hash(try readFile(words[1], limit: AgeIdentityFile.maximumLength))
      guard try memory.forget(options.joined(separator: " "), unlessFor: hash.hex) else { return }
    }
    try StandardOutput.write(next.map { "--recipient \($0)" }.joined(separator: " ") + "\n")
  }

  /// Prints what a run needs to know where backups are sealed to recipients, as assignments for a shell:
  /// `prepared_full` is why the next backup is full, or a hyphen; `tb_local_recipient` the recipient of this
  /// home's own identity, which is made if it is not there: it opens the last manifest that is kept in the home,
  /// and nothing that is stored; `tb_problem` what a person must know of the sealed identity of the group, which is
  /// also a warning: the store has lost or altered it, or it is another one than when these recipients were used
  /// first.
  ///
  /// - Parameter facts: full, as far as is known; manifest, where the last comes from, as tbk-pull says; last, what
  ///   the last backup is sealed in and latest, its id; mode, profile, group and readers, options that name the
  ///   recipients; identity, the SHA-256 of the sealed one, a hyphen or nothing, and state, what the store has of it,
  ///   as tbk-pull says; dry, if nothing is to be made or
  ///   noted; opens, if an identity is given.
  static func readers(_ facts: Facts) throws(Failure) {
    let home = try Home.ofProcess()
    let own = try home.stateDirectory().appending("local_identity")
    let readers = facts.text("readers") ?? ""
    if let problem = try problem(facts, home, readers) {
      try StandardOutput.write(ShellScript.assignment(to: "tb_problem", problem))
    }
    try StandardOutput.write(ShellScript.assignment(to: "prepared_full", try reason(facts, home, readers, own)))
    if facts["dry"] == nil, facts.text("mode") == "incremental" {
      try StandardOutput.write(ShellScript.assignment(to: "tb_local_recipient", try recipient(of: own)))
    }
  }

  /// Warns of what is wrong with the sealed identity, and returns it in short; nil for nothing.
  private static func problem(_ facts: Facts, _ home: Home, _ readers: String) throws(Failure) -> String? {
    let profile = facts.text("profile") ?? "-"
    let problem: String
    switch facts.text("state") {
    case "missing": problem = "the sealed identity is missing from the store"
    case "altered": problem = "the sealed identity in the store has been altered"
    default:
      guard facts["dry"] == nil, let identity = facts.text("identity") else { return nil }
      let memory = RecipientsMemory(of: facts.text("group") ?? "", in: try home.stateDirectory())
      guard try memory.areOutdated(readers, identity: identity) else { return nil }
      Messages.warning(
        "another machine has changed the identity of '\(profile)': backups from here are still sealed to the one "
          + "of before; 'termbackup generate-identity \(profile)' takes over the new one")
      return "another machine has changed the identity"
    }
    Messages.warning(
      "\(problem): the password no longer opens the backups of '\(profile)', only a printed identity does; "
        + "'termbackup generate-identity \(profile) -i FILE', on this machine, puts the printed one back")
    return problem
  }

  /// A backup is built on one that all of its readers can open, and that opens here.
  private static func reason(
    _ facts: Facts, _ home: Home, _ readers: String, _ own: RawPath
  ) throws(Failure) -> String {
    let full = facts.text("full") ?? ""
    guard full == "-" else { return full }
    guard facts.text("last") == "age" else { return "readers" }
    let noted = try CachedManifest(of: facts.text("group") ?? "", in: home).readers()
    guard noted == "\(facts.text("latest") ?? "") \(readers)" else { return "readers" }
    let place = facts.text("manifest")
    let isReadable =
      try place == "local"
      ? Descriptor.workingDirectory.statusIfPresent(of: own) != nil : facts["opens"] != nil && place == "cached"
    return isReadable ? full : "identity"
  }

  private static func recipient(of path: RawPath) throws(Failure) -> String {
    if try Descriptor.workingDirectory.statusIfPresent(of: path) == nil {
      let identity = try AgeIdentity.generate()
      let file = try AtomicFile(path, inherits: true)
      let text = try AgeIdentityFile.text(of: identity, created: Timestamp.now().iso8601())
      try text.withBytes { (text) throws(Failure) in try file.descriptor.write(text) }
      do throws(Failure) {
        try file.commit(replacing: false)
      } catch {
        // Another run has made it meanwhile.
        if error.code != .cannotCreate { throw error }
      }
    }
    let file = try Descriptor.workingDirectory.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    let facts = try file.status()
    guard facts.st_mode & S_IFMT == S_IFREG, facts.st_mode & 0o077 == 0 else {
      throw Failure(
        .configuration, "\(path.display) is not a file that only its owner can read",
        hint: "remove it: the next backup is full, and another one is made")
    }
    let text = try Secret(reading: file, limit: AgeIdentityFile.maximumLength, name: path)
    do throws(Failure) {
      let identities = try text.withBytes { (text) throws(Failure) in try AgeIdentityFile.parse(text) }
      return try identities[0].recipient.text()
    } catch {
      throw Failure(
        .configuration, "\(path.display): \(error.message)",
        hint: "remove it: the next backup is full, and another one is made")
    }
  }

  /// Prints what became of each backup of which the stored bytes were compared, as Judge does.
  ///
  /// - Parameters:
  ///   - list: what `tbk-pull --list` printed.
  ///   - asked: the ids of the backups, and the SHA-256 of their archives.
  ///   - faults: what `tbk-store check --stored` printed.
  static func stored(list: RawPath, asked: RawPath, faults: RawPath) throws(Failure) {
    let faults = try cells(try readFile(faults, limit: Ledger.byteLimit), atLeast: 3).map { StoredFault($0) }
    let rows = try cells(try readFile(list, limit: Ledger.byteLimit), atLeast: 9)
    let needs = Dictionary(rows.map { ($0[0], $0[8]) }) { first, _ in first }
    for row in try cells(try readFile(asked, limit: Ledger.byteLimit), atLeast: 2) {
      let lacking = (needs[row[0]] ?? "").split(separator: ",").filter { need in
        faults.contains { $0.owner == need && $0.kind == "archive" }
      }
      var reason = faults.filter { $0.owner == row[0] }.map(\.reason).joined(separator: "; ")
      if reason.isEmpty, !lacking.isEmpty {
        let ids = lacking.map { $0.prefix(12) }.joined(separator: " ")
        reason = "depends on \(ids), missing or damaged in the store"
      }
      try StandardOutput.write(
        VerifiedBackup(id: row[0], sha256: row[1], reason: reason.isEmpty ? "-" : reason).line)
    }
    // What is of the group and of no backup stands for every one of it.
    for fault in faults where !["archive", "manifest"].contains(fault.kind) {
      try StandardOutput.write(VerifiedBackup(id: fault.owner, sha256: "-", reason: fault.reason).line)
    }
  }

  /// What does not hold of a backup, by how what opened it has ended, and what fetched it if that was another
  /// command; a hyphen if all does, and nil if that says nothing about it.
  static func whyNot(_ statuses: [Int32]) -> String? {
    let fetched = statuses.count > 1 ? statuses[1] : nil
    return switch statuses.first {
    case 0: "-"
    case 1: "what was restored differs from the backup"
    case 3 where fetched == nil: "part of it is missing"
    case 65: "corrupt or incomplete"
    case 66 where fetched != nil && fetched != 66: "it needs backups that its entry in the ledger does not name"
    case 66: "missing from the store"
    case 69 where fetched != nil: "missing from the store"
    case 77 where fetched != 77: "altered, or sealed with another password"
    default: nil
    }
  }
}
