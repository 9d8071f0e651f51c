import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ProfileGroup {
  struct List: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print name, source, store and mode of every profile.")
    @OptionGroup var common: CommonOptions
    @Flag(name: .long, help: "Print JSON Lines: the profiles, one per line.")
    var json = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      let broken = try Self.visit(home) { (profile) throws(Failure) in
        try StandardOutput.write(
          json ? profile.masked.line() + [0x0a] : Array((Self.columns(of: profile).joined(separator: "\t") + "\n").utf8)
        )
      }
      if let broken {
        try StandardOutput.flush()
        throw broken
      }
      return ExitStatus.success
    }

    /// Calls `body` for all profiles that can be read.
    ///
    /// - Returns: the failure of the last profile that cannot be read; earlier ones have been reported.
    static func visit(
      _ home: Home, _ body: (Profile) throws(Failure) -> Void
    ) throws(Failure) -> Failure? {
      var broken: Failure?
      for name in try home.profileNames() {
        do throws(Failure) {
          try body(try home.profile(name))
        } catch {
          guard error.code == .profile else { throw error }
          broken = reporting(error, after: broken)
        }
      }
      ConfigCommand.report(home)
      return broken
    }

    static func columns(of profile: Profile) -> [String] {
      [profile.name] + ["source_dir", "repo", "backup_mode"].map { plain(profile[$0] ?? .null) }
    }
  }

  struct Show: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(abstract: "Print a profile.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var operand: ProfileName
    @OptionGroup var revealing: RevealOptions
    @Flag(name: .long, help: "Print JSON.")
    var json = false
    @Flag(
      name: .long,
      help: ArgumentHelp(
        "Print assignments for a shell script to evaluate.", visibility: .hidden))
    var shell = false
    @Option(
      name: .long,
      help: ArgumentHelp("With --shell: seal in this cipher suite.", visibility: .hidden))
    var suite: SuiteChoice?
    @Option(
      name: .long, parsing: .singleValue,
      help: ArgumentHelp("With --shell: seal to this recipient.", visibility: .hidden))
    var recipient: [RawPath] = []
    @Option(
      name: .long, parsing: .singleValue,
      help: ArgumentHelp("With --shell: seal to the recipients in this file.", visibility: .hidden))
    var recipientsFile: [RawPath] = []

    func validate() throws {
      if json, shell { throw ValidationError("only one of --json and --shell") }
      if suite != nil || !recipient.isEmpty || !recipientsFile.isEmpty, !shell {
        throw ValidationError("--suite and recipients can only be used with --shell")
      }
    }

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      let profile = try home.profile(try operand.name())
      ConfigCommand.report(home)
      if shell {
        try StandardOutput.write(
          try shellAssignments(
            profile, try home.sealing(of: profile, suite, readRecipients(recipient, files: recipientsFile))))
      } else if json {
        try StandardOutput.write((revealing.reveal ? profile.object : profile.masked).line() + [0x0a])
      } else {
        let known = Profile.fields.map(\.name)
        let others = (profile.object.members ?? []).map(\.key).filter { !known.contains($0) }
        for name in known + others {
          let value = profile[name] ?? .null
          let shown = revealing.reveal ? value : Profile.field(name)?.masked(value) ?? value
          try StandardOutput.write("\(RawPath(name).quoted): \(plain(shown))\n")
        }
      }
      return ExitStatus.success
    }
  }

  struct Get: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print one field as it is, for scripts; nothing if it has no value.",
      discussion: "The elements of a list are printed one per line.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var operand: ProfileName
    @Argument var field: String
    @OptionGroup var revealing: RevealOptions
    @Flag(name: .customShort("0"), help: "End each value with a NUL.")
    var nul = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      let profile = try home.profile(try operand.name())
      ConfigCommand.report(home)
      guard var value = profile[field] else { throw ProfileGroup.unknown(field) }
      if !revealing.reveal { value = Profile.field(field)?.masked(value) ?? value }
      try ConfigCommand.write(value, nul: nul)
      return ExitStatus.success
    }
  }

  struct Validate: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check profiles, all if none is named.")
    @OptionGroup var common: CommonOptions
    @Argument(help: ArgumentHelp("The profiles.", valueName: "name"))
    var profiles: [RawPath] = []
    @OptionGroup var report: ProfileReportOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      var names: [String] = []
      for profile in profiles { names.append(try Profile.checkedName(profile.bytes)) }
      if names.isEmpty { names = try home.profileNames() }
      try checkProfiles(names, home)
      ConfigCommand.report(home)
      try report.print([
        "ok": .bool(true), "profiles": .array(names.map { .string($0) }),
      ])
      return ExitStatus.success
    }
  }

  struct Store: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the address of a profile's store as tbk-push and tbk-pull take it.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var operand: ProfileName

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      let profile = try home.profile(try operand.name())
      ConfigCommand.report(home)
      try StandardOutput.write(try profile.store().operand + [0x0a])
      return ExitStatus.success
    }
  }

  struct Group: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the group of a profile's backups; make one if it has none yet.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var operand: ProfileName
    @Flag(name: .long, help: "The profile keeps its ungrouped backups beside the new group.")
    var ungrouped = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      var profile = try home.profile(try operand.name())
      if profile.group == nil {
        profile.set("group", .string(newGroup()))
        if ungrouped { profile.set("ungrouped", .bool(true)) }
        try home.write(profile, replacing: true)
      }
      ConfigCommand.report(home)
      try StandardOutput.write((profile.group ?? "") + "\n")
      return ExitStatus.success
    }
  }
}

extension Home {
  /// How to seal the next backup of a profile. Throws `.profile` for a level that does not fit.
  ///
  /// - Parameters:
  ///   - suite: overrides the profile's suite.
  ///   - recipients: override the profile's recipients.
  func sealing(
    of profile: Profile, _ suite: SuiteChoice?, _ recipients: [[UInt8]]
  ) throws(Failure) -> BackupSealing {
    let sealing = profile.sealing(
      try configuration(), suite: suite.flatMap { BackupSuite(rawValue: $0.rawValue) },
      recipients: recipients)
    try profile.check(sealing, place: profilePlace(profile.name))
    return sealing
  }
}

extension ProfileGroup {
  struct Excludes: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print everything that a profile excludes, one pattern per line, those of its file first.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var operand: ProfileName

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      try StandardOutput.write(try Home.ofProcess().profile(try operand.name()).excludes())
      return ExitStatus.success
    }
  }
}

extension Profile {
  /// All exclude patterns, one per line: those of its file, then its own.
  func excludes() throws(Failure) -> [UInt8] {
    var lines: [UInt8] = []
    if let file = excludeFrom {
      do throws(Failure) {
        lines = try readFile(file, limit: 16 << 20)
      } catch {
        throw Failure(
          error.code, "exclude_from: \(error.message)",
          hint: "'termbackup profile edit \(name) --unset exclude_from' removes the setting")
      }
      if !lines.isEmpty, lines.last != 0x0a { lines.append(0x0a) }
    }
    return lines + excludePatterns.flatMap { $0 + [0x0a] }
  }
}

/// `profile_FIELD='…'` for every field with a single value. For `repo` there are `profile_store` and, for a directory,
/// `profile_store_directory` with its path, or, for GitHub, `profile_repository` with its name; `profile_walk` has the
/// options for tbk-manifest. A source that is not set yet is empty. For a secret there is only `profile_has_FIELD`,
/// which is 1 or empty. `profile_sealing` has the options of tbk-seal for suite, recipients and level,
/// `profile_recipients` those for recipients alone, and `profile_cipher_suite` is 1, 3 or age.
func shellAssignments(_ profile: Profile, _ sealing: BackupSealing) throws(Failure) -> [UInt8] {
  var output: [UInt8] = []
  func assign(_ name: String, _ value: [UInt8]) {
    output += ShellScript.assignment(to: "profile_\(name)", value)
  }
  for field in Profile.fields {
    if ["cipher_suite", "recipients"].contains(field.name) { continue }
    let value = profile[field.name] ?? .null
    if field.secret {
      assign("has_\(field.name)", value.isNull ? [] : [UInt8(ascii: "1")])
      continue
    }
    if field.shape == .source {
      assign(field.name, profile.source.bytes)
      continue
    }
    switch value {
    case .null: assign(field.name, [])
    case .string(let bytes): assign(field.name, bytes)
    case .array: continue
    case let value: assign(field.name, value.line())
    }
  }
  assign("sealing", sealing.words)
  assign("recipients", sealing.recipientWords)
  assign("cipher_suite", Array(sealing.suite.rawValue.utf8))
  let store = try profile.store()
  assign("walk", Array(profile.walkOptions.joined(separator: " ").utf8))
  assign("store", store.operand)
  assign("store_directory", store.path?.bytes ?? [])
  assign("repository", repository(of: store.operand) ?? [])
  return output
}

/// OWNER/REPO for a store on GitHub; otherwise nil.
func repository(of store: [UInt8]) -> [UInt8]? {
  let prefix = "github:".utf8
  guard store.starts(with: prefix) else { return nil }
  return Array(store.dropFirst(prefix.count).prefix { $0 != UInt8(ascii: "#") })
}

/// The same variables without values, for a verb without a profile.
let blankProfile: [UInt8] = {
  let fields = Profile.fields.filter { !["cipher_suite", "recipients"].contains($0.name) }
  let names = fields.map { ($0.secret ? "has_" : "") + $0.name }
  return (names + ["sealing", "recipients", "cipher_suite", "walk", "store", "store_directory", "repository"])
    .flatMap { ShellScript.assignment(to: "profile_\($0)", "") }
}()
