import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

/// `tbk-config profile VERB`.
struct ProfileGroup: ParsableCommand, SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "profile", abstract: "Choose what to back up, how, and where.",
    subcommands: [
      Create.self, List.self, Show.self, Get.self, Edit.self, Rename.self, Delete.self,
      Export.self, Import.self, Validate.self, Store.self, Group.self, Excludes.self,
    ])

  mutating func execute() throws(Failure) -> Int32 {
    throw Failure(.usage, "no verb is given", hint: "see 'tbk-config profile --help'")
  }

  static func unknown(_ field: String) -> Failure {
    let names = Profile.fields.map(\.name).joined(separator: ", ")
    return Failure(
      .usage, "there is no field \(RawPath(ArgumentBytes.decode(field)).display)",
      hint: "one of \(names)")
  }
}

/// The name of a profile as an operand.
struct ProfileName: ParsableArguments {
  @Argument(help: ArgumentHelp("The profile.", valueName: "name"))
  var profile: RawPath

  func name(new: Bool = false) throws(Failure) -> String {
    try Profile.checkedName(profile.bytes, new: new)
  }
}

/// `--json` of the verbs that change profiles.
struct ProfileReportOptions: ParsableArguments {
  @Flag(name: .long, help: "Print what was done, and report errors, as JSON.")
  var json = false

  /// Prints the profile, with URLs masked.
  func print(_ profile: Profile) throws(Failure) {
    if json { try StandardOutput.write(profile.masked.line() + [0x0a]) }
  }

  /// Prints these members as one object.
  func print(_ members: KeyValuePairs<String, JSON>) throws(Failure) {
    if json {
      let object = JSON.object(members.map { JSON.Member($0.key, $0.value) })
      try StandardOutput.write(object.line() + [0x0a])
    }
  }
}

/// The fields that `create` and `edit` set.
struct ProfileFieldOptions: ParsableArguments {
  // TermBackup 6's names for some of them are still accepted.
  @Option(name: [.short, .long], help: ArgumentHelp("Back up to <store>.", valueName: "store"))
  var repo: RawPath?
  @Option(
    name: .long,
    help: ArgumentHelp("Continue the backups of this group in the store.", valueName: "id"))
  var group: String?
  @Option(
    name: [.short, .long], parsing: .singleValue,
    help: ArgumentHelp("Leave out what matches, as gitignore(5) does.", valueName: "pattern"))
  var exclude: [RawPath] = []
  @Option(
    name: [.long, .customLong("backup-mode")], help: "full, or incremental: store only what is new.",
    completion: .list(["full", "incremental"]))
  var mode: String?
  @Option(name: .long, help: ArgumentHelp("Keep at most <n> backups.", valueName: "n"))
  var maxBackups: String?
  @Option(name: .long, help: ArgumentHelp("Keep backups for <n> days.", valueName: "n"))
  var retentionDays: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Report backups as overdue if the last one is older than this, such as 2d.", valueName: "age"))
  var maxAge: String?
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Report to <url>, which other users of this machine can see while the command runs.", valueName: "url"))
  var webhookUrl: String?
  @Option(
    name: .long, help: ArgumentHelp("Report to the URL in <file>.", valueName: "file"))
  var webhookUrlFile: RawPath?
  @Flag(name: .long, help: "Ask for the URL to report to, on the terminal.")
  var askWebhookUrl = false
  @Option(
    name: .long, help: ArgumentHelp("Ping the URL in <file> at each run.", valueName: "file"))
  var pingUrlFile: RawPath?
  @Flag(name: .long, help: "Ask for the URL to ping, on the terminal.")
  var askPingUrl = false
  @Option(
    name: .long,
    help: ArgumentHelp("Seal in cipher suite 1 or 3; that of config.json if not given.", valueName: "n"),
    completion: .list(["1", "3"]))
  var cipherSuite: String?
  @Option(
    name: .long, parsing: .singleValue,
    help: ArgumentHelp("Seal to <recipient>, age1…, instead of under a password (repeatable).", valueName: "recipient"))
  var recipient: [RawPath] = []
  @Option(
    name: [.customShort("R"), .customLong("recipients-file")], parsing: .singleValue,
    help: ArgumentHelp("Seal to the recipients in <file> (repeatable).", valueName: "file"))
  var recipientsFile: [RawPath] = []
  @Flag(name: .long, help: "Seal under a password, whatever recipients config.json names.")
  var noRecipients = false
  @Option(
    name: [.short, .long],
    help: ArgumentHelp(
      "Compress at level 0 (none) to 9, by default 6; in suite 3 at 1 to 19, by default 3.", valueName: "n"),
    completion: .list((0...19).map(String.init)))
  var compressionLevel: String?
  @Option(
    name: .long,
    help: ArgumentHelp("On GitHub, put archives: auto, git or release.", valueName: "where"),
    completion: .list(["auto", "git", "release"]))
  var placement: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Restore to <dir> instead of the directory that was backed up.", valueName: "dir"))
  var restoreDir: RawPath?
  @OptionGroup var choice: ProfileChoiceOptions
  @OptionGroup var commands: ProfileCommandOptions
  @Flag(
    name: .long,
    help: "The store's ungrouped backups, as TermBackup 6 made them, are its own.")
  var ungrouped = false

  /// Sets the given fields. Throws `.usage`.
  func apply(to profile: inout Profile) throws(Failure) {
    let before = profile
    try profile.set([
      ("backup_mode", "--mode", mode), ("max_backups", "--max-backups", maxBackups),
      ("retention_days", "--retention-days", retentionDays), ("max_age", "--max-age", maxAge),
      ("cipher_suite", "--cipher-suite", cipherSuite),
      ("compression_level", "--compression-level", compressionLevel),
      ("placement", "--placement", placement), ("group", "--group", group),
    ])
    try choice.apply(to: &profile)
    try commands.apply(to: &profile)
    if noRecipients { profile.set("recipients", .array([])) }
    if !recipient.isEmpty || !recipientsFile.isEmpty {
      profile.set("recipients", .array(try readRecipients(recipient, files: recipientsFile).map { .string($0) }))
    }
    try forgetLevel(of: &profile, before: before)
    try applyURLs(to: &profile)
    if let restoreDir { profile.set("restore_dir", .string(try absolutePath(restoreDir).bytes)) }
    if let repo { profile.set("repo", .string(try checkedStore(repo))) }
    if ungrouped { profile.set("ungrouped", .bool(true)) }
    var patterns = profile.excludePatterns
    for pattern in exclude where !patterns.contains(pattern.bytes) {
      let alone = JSON.array([.string(pattern.bytes)])
      if let complaint = ConfigurationShape.patterns.complaint(about: alone) {
        throw Failure(.usage, "--exclude \(complaint)")
      }
      patterns.append(pattern.bytes)
    }
    profile.set("exclude_patterns", .array(patterns.map { .string($0) }))
  }
}

extension ProfileFieldOptions {
  func validate() throws {
    if [webhookUrl != nil, webhookUrlFile != nil, askWebhookUrl].count(where: { $0 }) > 1 {
      throw ValidationError("only one of --webhook-url, --webhook-url-file and --ask-webhook-url")
    }
    if noRecipients, !recipient.isEmpty || !recipientsFile.isEmpty {
      throw ValidationError("--no-recipients and recipients cannot be used together")
    }
    if pingUrlFile != nil, askPingUrl {
      throw ValidationError("only one of --ping-url-file and --ask-ping-url")
    }
    if webhookUrlFile?.isStandardStream == true, pingUrlFile?.isStandardStream == true {
      throw ValidationError("standard input can give only one URL")
    }
  }

  /// A level belongs to its suite: a change of the suite resets it to the default.
  private func forgetLevel(of profile: inout Profile, before: Profile) throws(Failure) {
    let isOther =
      profile["cipher_suite"] != before["cipher_suite"]
      || (profile["recipients"]?.elements ?? []).isEmpty != (before["recipients"]?.elements ?? []).isEmpty
    guard isOther, compressionLevel == nil, profile["compression_level"]?.isNull == false else { return }
    try profile.unset("compression_level")
    Messages.notice("compression_level was for another suite: backups are compressed at the usual level")
  }

  /// Sets the two URLs, which are secrets. Throws `.usage`, without showing them.
  private func applyURLs(to profile: inout Profile) throws(Failure) {
    if let webhookUrl {
      try set("webhook_url", ArgumentBytes.decode(webhookUrl), "--webhook-url", in: &profile)
      Messages.notice(
        "all users of this machine can see arguments: --webhook-url-file is the safer way")
    }
    let sources: [(field: String, option: String, prompt: String, file: RawPath?, asks: Bool)] = [
      ("webhook_url", "webhook-url", "Webhook URL", webhookUrlFile, askWebhookUrl),
      ("ping_url", "ping-url", "Ping URL", pingUrlFile, askPingUrl),
    ]
    for source in sources {
      if let file = source.file {
        let input =
          file.isStandardStream ? Descriptor.standardInput : try Descriptor.openForReading(file)
        var bytes = try DescriptorSource(input, name: file).readAll(
          limit: 8192, what: file.isStandardStream ? "standard input" : file.display)
        if bytes.last == 0x0a { bytes.removeLast() }
        try set(source.field, bytes, "--\(source.option)-file", in: &profile)
      } else if source.asks {
        guard let terminal = try? Terminal() else {
          throw Failure(
            .usage, "there is no terminal to ask on", hint: "give --\(source.option)-file")
        }
        let secret = try terminal.secret("\(source.prompt): ", limit: 8192)
        let bytes = secret.withBytes { bytes in bytes.indices.map { bytes[$0] } }
        try set(source.field, bytes, "--ask-\(source.option)", in: &profile)
      }
    }
  }

  private func set(
    _ field: String, _ bytes: [UInt8], _ option: String, in profile: inout Profile
  ) throws(Failure) {
    guard let shape = Profile.field(field)?.shape else { return }
    let value = try shape.value(from: bytes, key: option)
    if let text = value.text, text.hasPrefix("http://"), !isLoopbackURL(text) {
      throw Failure(
        .usage, "\(option) must begin with https://, because others could read it in transit")
    }
    profile.set(field, value)
  }
}

/// Whether requests to an `http://` URL stay on this machine.
private func isLoopbackURL(_ text: String) -> Bool {
  let host = text.dropFirst(7).prefix { !"/?#".contains($0) }
  return ["localhost", "127.0.0.1", "[::1]"].contains {
    host == $0 || host.hasPrefix("\($0):")
  }
}

/// The absolute path of a directory to be backed up. Throws `.inputMissing`.
private func checkedSource(_ path: RawPath) throws(Failure) -> RawPath {
  let source = try absolutePath(path)
  _ = try Descriptor.workingDirectory.open(source, O_RDONLY | O_DIRECTORY)
  return source
}

/// Throws `.usage` if a chosen group belongs to another profile: pruning one of them would remove backups of the other.
private func refuseSharing(_ group: String?, _ profile: Profile, _ home: Home) throws(Failure) {
  guard group != nil else { return }
  for name in try home.profileNames() where name != profile.name {
    guard let other = try? home.profile(name), other.group == profile.group else { continue }
    throw Failure(
      .usage, "the group \(group ?? "") is that of the profile '\(name)'",
      hint: "'termbackup list \(name)' lists its backups")
  }
}

/// Warns of patterns without the effect that they suggest.
func warnOfPatterns(_ profile: Profile, _ place: String) {
  for pattern in profile.ineffectivePatterns {
    Messages.warning(
      "\(place): the pattern \(RawPath(pattern).display) has no effect below a directory that an earlier one excludes")
  }
}

/// Warns of a store that is the source directory itself: `termbackup run` excludes only a store below it.
private func warnOfNesting(_ profile: Profile) {
  func plain(_ path: RawPath) -> ArraySlice<UInt8> {
    path.bytes.prefix((path.bytes.lastIndex { $0 != UInt8(ascii: "/") } ?? 0) + 1)
  }
  guard let store = try? profile.store().path, plain(store) == plain(profile.source) else { return }
  Messages.warning(
    "the store \(store.display) is the directory itself: each backup would contain the previous ones")
}

extension ProfileGroup {
  struct Create: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(abstract: "Make a profile.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var operand: ProfileName
    @Option(name: [.short, .long], help: ArgumentHelp("Back up <dir>.", valueName: "dir"))
    var source: RawPath
    @OptionGroup var fields: ProfileFieldOptions
    @OptionGroup var report: ProfileReportOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let name = try operand.name(new: true)
      let home = try Home.ofProcess()
      var store = Array("/".utf8)
      if fields.repo == nil { store = try home.defaultStoreReference() }
      var profile = Profile(
        name: name, source: try checkedSource(source), store: store, group: newGroup())
      try fields.apply(to: &profile)
      try refuseSharing(fields.group, profile, home)
      try home.write(profile, replacing: false)
      warnOfNesting(profile)
      warnOfPatterns(profile, "'\(profile.name)'")
      ConfigCommand.report(home)
      try report.print(profile)
      return ExitStatus.success
    }
  }

  struct Edit: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(abstract: "Change a profile.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var operand: ProfileName
    @Option(name: [.short, .long], help: ArgumentHelp("Back up <dir>.", valueName: "dir"))
    var source: RawPath?
    @OptionGroup var fields: ProfileFieldOptions
    @Option(
      name: .long, parsing: .singleValue,
      help: ArgumentHelp("No longer exclude <pattern>.", valueName: "pattern"))
    var include: [RawPath] = []
    @Option(
      name: .long, parsing: .singleValue,
      help: ArgumentHelp("Reset <field> to its default.", valueName: "field"),
      completion: .list(
        Profile.fields.map(\.name).filter { !["name", "source_dir", "repo"].contains($0) }))
    var unset: [String] = []
    @Flag(name: .long, help: "Edit a copy with $VISUAL or $EDITOR.")
    var editor = false
    @OptionGroup var report: ProfileReportOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let name = try operand.name()
      let home = try Home.ofProcess()
      let place = home.profilePlace(name)
      // An invalid profile can be fixed in the editor.
      var profile: Profile
      if editor {
        profile = try edited(name, home)
      } else {
        profile = try home.profile(name)
        let before = profile
        for field in unset {
          guard profile[field] != nil else { throw ProfileGroup.unknown(field) }
          try profile.unset(field)
        }
        if let source { profile.set("source_dir", .string(try checkedSource(source).bytes)) }
        let kept = profile.excludePatterns.filter { !include.map(\.bytes).contains($0) }
        profile.set("exclude_patterns", .array(kept.map { .string($0) }))
        try fields.apply(to: &profile)
        try refuseSharing(fields.group, profile, home)
        if profile == before { Messages.notice("nothing is changed") }
        if let group = before.group, group != profile.group {
          Messages.notice("its previous backups stay in the store, in the group \(group)")
        }
      }
      try profile.check(place: place)
      try home.write(profile, replacing: true)
      warnOfNesting(profile)
      warnOfPatterns(profile, "'\(profile.name)'")
      ConfigCommand.report(home)
      try report.print(profile)
      return ExitStatus.success
    }

    private func edited(_ name: String, _ home: Home) throws(Failure) -> Profile {
      _ = try home.make()
      guard try home.hasProfile(name) else {
        throw Failure(.profile, "there is no profile '\(name)'")
      }
      let original = RawPath("profiles/\(name).json")
      let directory = RawPath("tmp/edit.\(getpid()).\(uniqueSuffix())")
      let folder = try home.open()
      let bytes = try readFile(original, in: folder, limit: 1 << 20)
      try folder.makeDirectory(directory)
      let copy = directory.appending("\(name).json")
      try AtomicFile.write(bytes, to: copy, in: folder)
      let copyPath = home.path.appending(copy)
      do throws(Failure) {
        try Editor.edit(copyPath)
      } catch {
        try folder.unlink(copy)
        try folder.unlink(directory, directory: true)
        throw error
      }
      let profile: Profile
      do throws(Failure) {
        profile = try Profile(
          try readFile(copy, in: folder, limit: 1 << 20), place: copyPath.display, name: name)
      } catch {
        throw Failure(
          error.code, error.message,
          hint: "the profile is unchanged; what you wrote is still there")
      }
      try folder.unlink(copy)
      // The editor may have left a backup file.
      _ = try? folder.unlink(directory, directory: true)
      return profile
    }
  }

  struct Delete: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Delete a profile. Its backups stay where they are.",
      discussion: """
        Its schedule and its cache are removed. Its password stays in the keyring, for the backups.
        """)
    @OptionGroup var common: CommonOptions
    @OptionGroup var operand: ProfileName
    @OptionGroup var report: ProfileReportOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let name = try operand.name()
      let home = try Home.ofProcess()
      guard try home.profileNames().contains(name) else { throw Failure(.profile, "there is no profile '\(name)'") }
      let group = try? home.profile(name).group
      // If this fails, the profile is still there, and the command can be repeated.
      let wasScheduled = try Schedules(of: home).disable(name)
      try home.removeProfile(name)
      if wasScheduled { Messages.notice("its schedule is removed") }
      if let group { try forget(group, in: home) }
      try report.print(["profile": .string(name), "status": .string("deleted")])
      return ExitStatus.success
    }

    /// Removes a group's cached backup data, unless another profile may need it.
    private func forget(_ group: String, in home: Home) throws(Failure) {
      for name in try home.profileNames() {
        guard let other = try? home.profile(name), other.group != group else { return }
      }
      do throws(Failure) {
        try FileTree.remove(home.path.appending("cache").appending(RawPath(group)))
      } catch {
        if error.isOfProcess { throw error }
        Messages.warning(error.message)
      }
    }
  }

  struct Export: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write a profile, without its webhook and ping URLs, to a file.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var operand: ProfileName
    @Argument(help: "The file; '-' is standard output.")
    var file: RawPath?
    @Option(name: .shortAndLong, help: ArgumentHelp("The file, given as in TermBackup 6.", valueName: "file"))
    var output: RawPath?
    @Flag(name: .long, help: "Replace the file if it exists.")
    var force = false
    @OptionGroup var report: ProfileReportOptions

    func validate() throws {
      if (file == nil) == (output == nil) { throw ValidationError("give one file to write to") }
      if report.json, (file ?? output)?.isStandardStream == true {
        throw ValidationError("--json and the profile cannot both go to standard output")
      }
    }

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      let name = try operand.name()
      let bytes = try home.profile(name).exported.pretty()
      let file = file ?? output ?? RawPath("-")
      ConfigCommand.report(home)
      if file.isStandardStream {
        try StandardOutput.write(bytes)
      } else {
        if !force, try Descriptor.workingDirectory.statusIfPresent(of: file) != nil {
          throw Failure(.cannotCreate, "\(file.display) already exists", hint: "--force replaces it")
        }
        try AtomicFile.write(bytes, to: file, replacing: force)
      }
      try report.print([
        "profile": .string(name), "status": .string("exported"), "file": .string(file.bytes),
      ])
      return ExitStatus.success
    }
  }

  struct Import: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(abstract: "Import a profile from a file.")
    @OptionGroup var common: CommonOptions
    @Argument(help: "The file; '-' is standard input.")
    var file: RawPath
    @Flag(name: .long, help: "Import commands, stores that run programs, and unknown recipients, too.")
    var trust = false
    @Option(name: .long, help: ArgumentHelp("Name it <name>.", valueName: "name"))
    var name: RawPath?
    @Option(name: .long, help: ArgumentHelp("Back up <dir>, whatever the file says.", valueName: "dir"))
    var source: RawPath?
    @Flag(name: .long, help: "Replace the profile of that name.")
    var force = false
    @OptionGroup var report: ProfileReportOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      let place = file.isStandardStream ? "standard input" : file.display
      let input =
        file.isStandardStream ? Descriptor.standardInput : try Descriptor.openForReading(file)
      let bytes = try DescriptorSource(input, name: file).readAll(limit: 1 << 20, what: place)
      var profile = try Profile(bytes, place: place)
      if let name { profile.set("name", .string(name.bytes)) }
      if let source { profile.set("source_dir", .string(try checkedSource(source).bytes)) }
      let target = try Profile.checkedName(profile["name"]?.bytes ?? [], new: true)
      if !trust, let suspicion = profile.suspicions.first {
        throw Failure(
          .profile, "\(place): \(suspicion)",
          hint: "read the file, and give --trust if that is what you want")
      }
      if !trust { try refuseStrangers(profile, home, place) }
      _ = try home.make()
      let others = try home.profileNames().filter { $0 != target }
        .compactMap { try? home.profile($0) }
      let group = profile.group
      // A profile of TermBackup 6 has no group, and finds its ungrouped backups that way until its first run.
      if let twin = others.first(where: { group != nil && $0.group == group }) {
        profile.set("group", .string(newGroup()))
        Messages.notice("the backups of '\(twin.name)' stay its own: '\(target)' starts a new series")
      }
      try home.write(profile, replacing: force)
      if (try? checkedSource(profile.source)) == nil {
        let state =
          profile.source.bytes.isEmpty
          ? "it does not say which directory to back up" : "\(profile.source.display) does not exist"
        Messages.warning(
          "\(state): set it with 'termbackup profile edit \(target) --source DIR'")
      }
      warnOfNesting(profile)
      warnOfPatterns(profile, place)
      for consequence in profile.consequences { Messages.warning("\(place): \(consequence)") }
      ConfigCommand.report(home)
      if name == nil { Messages.notice("imported '\(target)'") }
      for particular in profile.particulars { Messages.notice("  \(particular)") }
      try report.print(profile)
      return ExitStatus.success
    }

    /// Throws if a recipient is in neither config.json nor a profile here: the author of the file could open the
    /// backups.
    private func refuseStrangers(
      _ profile: Profile, _ home: Home, _ place: String
    ) throws(Failure) {
      let names = (try? home.profileNames()) ?? []
      let known = names.compactMap { try? home.profile($0) }.flatMap(\.recipientTexts)
      let own = (try? home.configuration())?["recipients"]?.elements?.compactMap(\.bytes) ?? []
      guard let stranger = profile.recipientTexts.first(where: { !known.contains($0) && !own.contains($0) }) else {
        return
      }
      throw Failure(
        .profile, "\(place): \"recipients\" has \(RawPath(stranger).display), which no profile here has",
        hint: "anyone who has its identity can open the backups: give --trust if that is what you want")
    }
  }
}
