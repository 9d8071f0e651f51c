import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat
import TBKSettings

extension ShellCommand {
  /// Small queries, each too small for a command of its own.
  struct Answer: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Answer a question of a verb: plain-key, readers, regroup, replacing or successors.")

    @Argument(help: ArgumentHelp("What is asked.", valueName: "question"))
    var question: String
    @Argument(help: ArgumentHelp("What about.", valueName: "word"))
    var words: [RawPath] = []

    mutating func execute() throws(Failure) -> Int32 {
      switch question {
      case "plain-key" where words.count == 1: try Answers.plainKey(words[0])
      case "readers": try Answers.readers(try Facts(words))
      case "regroup" where !words.isEmpty: try Answers.regroup(words[0].bytes, words.dropFirst().map(\.bytes))
      case "successors" where words.count >= 2: try Answers.successors(words[...])
      case "replacing" where words.count == 3:
        try Answers.replacing(preview: words[0], in: words[1], differing: words[2])
      default: throw Failure(.usage, "unknown question '\(question)'")
      }
      return ExitStatus.success
    }
  }
}

private enum Answers {
  /// Prints the fingerprint of a signing key, which must not need a password.
  static func plainKey(_ file: RawPath) throws(Failure) {
    let key = try SigningKey(file: file) { (_) throws(Failure) -> Secret in
      throw Failure(
        .configuration, "the signing key is under a password, which nobody would be there to enter",
        hint: "'termbackup generate-key --force --no-password --enable' makes one without a password; the current key "
          + "stays trusted")
    }
    try StandardOutput.write(try key.verifyingKey.fingerprint.hex + "\n")
  }

  /// Prints the arguments of a verb, quoted, with this group as the value of --group.
  static func regroup(_ group: [UInt8], _ arguments: [[UInt8]]) throws(Failure) {
    let option = Array("--group".utf8)
    let end = arguments.firstIndex(of: Array("--".utf8)) ?? arguments.endIndex
    var words = arguments
    for index in 0..<end {
      if words[index].starts(with: option + [UInt8(ascii: "=")]) { words[index] = option + [UInt8(ascii: "=")] + group }
      if index > 0, arguments[index - 1] == option { words[index] = group }
    }
    let quoted = words.map { ShellScript.quote($0) }
    try StandardOutput.write([UInt8](quoted.joined(separator: [UInt8(ascii: " ")])) + [0x0a])
  }

  /// Prints the new recipients of backups, as options, from the identities on standard input: the recipient of the
  /// first identity, and those previous recipients that belong to none of the identities. Prints nothing if these are
  /// the previous recipients, unless this home has recorded another sealed identity for them, as before it was restored
  /// to the store: that record is then removed.
  ///
  /// - Parameter words: the group, the file with its sealed identity, and the previous recipients as options.
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

  /// Prints what a run needs to know about the last backup, as assignments for a shell. `prepared_full` is the reason
  /// why the next backup cannot be based on it, or a hyphen. If it should be, `mode` is incremental if possible. If
  /// backups are sealed to recipients, `tb_local_recipient` is the recipient of this home's own identity, which is
  /// created if necessary: it opens the last manifest cached in the home, but nothing in the store. `tb_problem` is
  /// what the user must know about the group's sealed identity, which is also a warning: it is missing or altered in
  /// the store, or differs from the one when these recipients were first used. Reports why a backup that should be
  /// incremental is full.
  ///
  /// - Parameter facts: wanted, if it should be incremental; quiet; full, why it must be full as far as known, or a
  ///   hyphen, and lost, both from tbk-pull; manifest, the source of the last manifest, also from tbk-pull; suite, of
  ///   the profile; last, how the last backup is sealed, and latest, its id; profile, its mode, group and readers, the
  ///   recipients as options; identity, the SHA-256 of the sealed identity, a hyphen or nothing, and state, its state
  ///   in the store, from tbk-pull; dry, if nothing may be created or recorded; opens, if an identity is given.
  static func readers(_ facts: Facts) throws(Failure) {
    let home = try Home.ofProcess()
    let own = try home.stateDirectory().appending("local_identity")
    let readers = facts.text("readers") ?? ""
    let isSealedToReaders = facts.text("suite") == "age"
    if isSealedToReaders, let problem = try problem(facts, home, readers) {
      try StandardOutput.write(ShellScript.assignment(to: "tb_problem", problem))
    }
    let reason = try reason(facts, home, readers, own)
    try StandardOutput.write(ShellScript.assignment(to: "prepared_full", reason))
    if facts["wanted"] != nil {
      try StandardOutput.write(ShellScript.assignment(to: "mode", reason == "-" ? "incremental" : "full"))
      sayWhyFull(reason, facts)
    }
    if isSealedToReaders, facts["dry"] == nil, facts.text("mode") == "incremental" {
      try StandardOutput.write(ShellScript.assignment(to: "tb_local_recipient", try recipient(of: own)))
    }
  }

  /// Warns of a problem with the sealed identity, and returns it in short, or nil.
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

  /// A backup must be based on one that all of its readers and this machine can open. Returns a hyphen, or why it
  /// cannot be.
  private static func reason(
    _ facts: Facts, _ home: Home, _ readers: String, _ own: RawPath
  ) throws(Failure) -> String {
    let full = facts.text("full") ?? ""
    guard full == "-" else { return full }
    guard (facts.text("last") == "age") == (facts.text("suite") == "age") else { return "readers" }
    guard facts.text("suite") == "age" else { return full }
    let noted = try CachedManifest(of: facts.text("group") ?? "", in: home).readers()
    guard noted == "\(facts.text("latest") ?? "") \(readers)" else { return "readers" }
    let place = facts.text("manifest")
    let isReadable =
      try place == "local"
      ? Descriptor.workingDirectory.statusIfPresent(of: own) != nil : facts["opens"] != nil && place == "cached"
    return isReadable ? full : "identity"
  }

  /// Reports why an incremental profile's next backup is full.
  private static func sayWhyFull(_ word: String, _ facts: Facts) {
    let reason: String
    switch word {
    case "lost":
      let ids = (facts.text("lost") ?? "").split(separator: ",").map { $0.prefix(12) }.joined(separator: " ")
      return Messages.warning(
        "the store no longer has everything that the last backup needs (\(ids)): this one is full")
    case "readers": reason = "the last backup was not sealed for the same readers"
    case "identity": reason = "the manifest of the last backup is not kept here"
    case "chain": reason = "the last backup needs as many archives as max_chain allows"
    case "due": reason = "a full backup is due, by full_every"
    // A base is kept while backups depend on it: once it is beyond the limits, the next backup is full.
    case "limits": reason = "the base of the last backup is beyond the limits of the profile"
    case "manifest":
      reason = "the store has no manifest of the last backup"
      if facts.text("manifest") == "damaged" {
        Messages.warning(
          "the sealed manifest of backup \((facts.text("latest") ?? "").prefix(12)) is damaged and is not used; "
            + "'termbackup verify' recreates it")
      }
    default: return
    }
    if facts["quiet"] == nil {
      Messages.notice(reason + (word == "identity" ? ", this one is full" : ": this one is full"))
    }
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
        // Another run has created it meanwhile.
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

  /// Prints the question whether to replace files in a restore's target, as an assignment, and writes the names of
  /// those that differ to a file.
  ///
  /// - Parameter preview: the output of `tbk-open --existing-out`.
  static func replacing(preview: RawPath, in target: RawPath, differing: RawPath) throws(Failure) {
    let names = try readFile(preview, limit: 1 << 30).split(separator: 0x0a).compactMap { line in
      line.starts(with: "replace\t".utf8) ? line.dropFirst(8) : nil
    }
    try AtomicFile.write(names.flatMap { $0 + [0x0a] }, to: differing)
    let place = "'\(onOneLine(target.bytes))'"
    let question =
      switch names.count {
      case 0: "No file in \(place) differs from the backup. Restore what is missing, and modes and times?"
      case 1: "1 file in \(place) differs from the backup. Replace it?"
      case let count: "\(count) files in \(place) differ from the backup. Replace them?"
      }
    try StandardOutput.write(ShellScript.assignment(to: "question", question))
  }
}
