import ArgumentParser
import TBKCommand
import TBKCore
import TBKCrypto

// Options shared by several verbs. Their properties name the shell variables: `opt_json`.

/// Options of every report.
struct ReportOptions: ParsableArguments {
  @Flag(name: .long, help: "Print one JSON object.")
  var json = false
  @Flag(name: .shortAndLong, help: "Print only warnings and errors.")
  var quiet = false
}

/// Options of lists, which are JSON Lines.
struct ListOptions: ParsableArguments {
  @Flag(name: .long, help: "Print JSON Lines.")
  var json = false
  @Flag(name: .shortAndLong, help: "Print only warnings and errors.")
  var quiet = false
}

/// Options of verbs that could prompt, or wait for the keyring to be unlocked.
struct InputOptions: ParsableArguments {
  @Flag(name: .long, help: "Never ask; fail instead.")
  var noInput = false
}

/// When to show the progress of long work.
enum ProgressChoice: String, ExpressibleByArgument, CaseIterable, ShellValue {
  case auto, always, never
}

struct ProgressOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("auto, always or never.", valueName: "when"))
  var progress: ProgressChoice = .auto
}

/// The password of the backups.
struct PasswordOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Read the password from descriptor <n>.", valueName: "n"))
  var passwordFd: DescriptorNumber?
  @Option(name: .long, help: ArgumentHelp("Read the password from <file>.", valueName: "file"))
  var passwordFile: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Use the output of <command> as the password.", valueName: "command"))
  var passwordCommand: String?
}

/// The password of the backups in scheduled runs, where only a file or a command can supply it.
struct ScheduledPasswordOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Read the password from <file>.", valueName: "file"))
  var passwordFile: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Use the output of <command> as the password.", valueName: "command"))
  var passwordCommand: String?
}

/// The password of the signing key.
struct KeyPasswordOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp("Read the password of the signing key from descriptor <n>.", valueName: "n"))
  var keyPasswordFd: DescriptorNumber?
  @Option(
    name: .long,
    help: ArgumentHelp("Read the password of the signing key from <file>.", valueName: "file"))
  var keyPasswordFile: String?
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Use the output of <command> as the password of the signing key.", valueName: "command"))
  var keyPasswordCommand: String?
}

/// The password of the signing key in scheduled runs.
struct ScheduledKeyPasswordOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp("Read the password of the signing key from <file>.", valueName: "file"))
  var keyPasswordFile: String?
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Use the output of <command> as the password of the signing key.", valueName: "command"))
  var keyPasswordCommand: String?
}

/// How long to wait for a store.
struct WaitOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Wait at most <seconds> for a store that is busy or unavailable (0 to 86400).", valueName: "seconds"))
  var maxWait: Int?

  func validate() throws {
    if let maxWait, !(0...86400).contains(maxWait) {
      throw ValidationError("--max-wait takes seconds, 0 to 86400")
    }
  }
}

/// Limits for transfers to and from a store.
struct RateOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp("Send at most <n> KiB per second to the store.", valueName: "n"))
  var limitUpload: Int?
  @Option(
    name: .long,
    help: ArgumentHelp("Fetch at most <n> KiB per second from the store.", valueName: "n"))
  var limitDownload: Int?

  func validate() throws {
    for rate in [limitUpload, limitDownload] {
      if let rate, !(1...Int(Int32.max)).contains(rate) {
        throw ValidationError("--limit-upload and --limit-download take KiB per second, from 1")
      }
    }
  }
}

/// The GitHub token.
struct TokenOptions: ParsableArguments {
  @Option(
    name: .long, help: ArgumentHelp("Read the GitHub token from descriptor <n>.", valueName: "n"))
  var tokenFd: DescriptorNumber?
  @Option(name: .long, help: ArgumentHelp("Read the GitHub token from <file>.", valueName: "file"))
  var tokenFile: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Use the output of <command> as the GitHub token.", valueName: "command"))
  var tokenCommand: String?
  @OptionGroup var wait: WaitOptions
}

/// The GitHub token in scheduled runs.
struct ScheduledTokenOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Read the GitHub token from <file>.", valueName: "file"))
  var tokenFile: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Use the output of <command> as the GitHub token.", valueName: "command"))
  var tokenCommand: String?
  @OptionGroup var wait: WaitOptions
}

/// How far to trust the ledger of a store.
struct TrustOptions: ParsableArguments {
  @Flag(name: .long, help: "Require that a trusted key has signed the ledger.")
  var requireSignature = false
  @Flag(
    name: .long,
    help: "Accept what the store holds now, although it was rolled back, split or exchanged.")
  var acceptStoreState = false
}

/// Where to store archives on GitHub.
enum PlacementChoice: String, ExpressibleByArgument, CaseIterable, ShellValue {
  case auto, git, release
}

struct PlacementOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "On GitHub, put archives into git, into a release, or, with auto, into one of them by size.",
      valueName: "where"))
  var placement: PlacementChoice?
}

/// The cipher suites that archives are sealed in.
enum SuiteChoice: String, ExpressibleByArgument, CaseIterable, ShellValue {
  case whole = "1"
  case chunked = "3"
}

/// A cipher suite other than the profile's.
struct SuiteOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp("Seal in cipher suite 1 or 3 under a password, whatever the profile says.", valueName: "n"))
  var suite: SuiteChoice?
  @OptionGroup var recipients: RecipientOptions

  func validate() throws {
    if suite != nil, recipients.isGiven {
      throw ValidationError("--suite is for a password, not for recipients")
    }
  }
}

/// A verb that seals a profile's backups.
protocol SealingVerb: Verb {
  var suite: SuiteOptions { get }
}

/// The recipients to seal backups to.
struct RecipientOptions: ParsableArguments {
  @Option(
    name: .shortAndLong, parsing: .singleValue,
    help: ArgumentHelp("Seal to <recipient>, age1…, instead of under a password (repeatable).", valueName: "recipient"))
  var recipient: [RawPath] = []
  @Option(
    name: [.customShort("R"), .customLong("recipients-file")], parsing: .singleValue,
    help: ArgumentHelp("Seal to the recipients in <file> (repeatable).", valueName: "file"))
  var recipientsFile: [RawPath] = []

  var isGiven: Bool { !recipient.isEmpty || !recipientsFile.isEmpty }

  func read() throws(Failure) -> [[UInt8]] { try readRecipients(recipient, files: recipientsFile) }
}

/// The recipients that were given, and those in files. Throws `.usage` for an invalid recipient.
func readRecipients(_ given: [RawPath], files: [RawPath]) throws(Failure) -> [[UInt8]] {
  var all: [[UInt8]] = []
  for text in given {
    do throws(Failure) { _ = try AgeRecipient(parsing: text.bytes) } catch {
      throw Failure(.usage, error.message, hint: error.hint)
    }
    all.append(text.bytes)
  }
  for path in files {
    if path.isStandardStream {
      throw Failure(.usage, "recipients are read from a file, not from standard input")
    }
    let bytes = try readFile(path, limit: AgeRecipientsFile.maximumLength)
    do throws(Failure) {
      for recipient in try AgeRecipientsFile.parse(bytes.span) { all.append(Array(try recipient.text().utf8)) }
    } catch {
      throw error.within(path.display)
    }
  }
  return all
}

/// What opens backups that are sealed to recipients.
struct IdentityOptions: ParsableArguments {
  @Option(
    name: .shortAndLong, parsing: .singleValue,
    help: ArgumentHelp(
      "Open what was sealed to the recipient of an identity in <file> (repeatable).", valueName: "file"))
  var identity: [RawPath] = []
  @Option(
    name: .long,
    help: ArgumentHelp("Read the password of the identity file from descriptor <n>.", valueName: "n"))
  var identityPasswordFd: DescriptorNumber?
  @Option(
    name: .long,
    help: ArgumentHelp("Read the password of the identity file from <file>.", valueName: "file"))
  var identityPasswordFile: String?
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Use the output of <command> as the password of the identity file.", valueName: "command"))
  var identityPasswordCommand: String?

  func validate() throws {
    let given = [identityPasswordFd != nil, identityPasswordFile != nil, identityPasswordCommand != nil]
    if given.count(where: { $0 }) > 1 {
      throw ValidationError(
        "only one of --identity-password-fd, --identity-password-file and --identity-password-command")
    }
    if given.contains(true), identity.isEmpty {
      throw ValidationError("a password of the identity file can only be used with --identity")
    }
  }
}

/// The same, in verbs that read backups.
struct ReadingIdentityOptions: ParsableArguments {
  @OptionGroup var identity: IdentityOptions
  @Flag(
    name: .long,
    help: "Accept a backup that is sealed to recipients although no trusted key has signed the ledger.")
  var unsigned = false
}

/// A profile as an operand, or by its option.
struct ProfileOperand: ParsableArguments {
  @Argument(help: ArgumentHelp("The profile; can be left out if there is only one.", valueName: "profile"))
  var profileOperand: String?
  @OptionGroup var option: ProfileOption

  /// The profile, from the operand or the option.
  var name: String? { profileOperand ?? option.profile }

  func validate() throws { try refuse(operand: profileOperand, with: option.profile) }
}

/// Refuses a profile that is given twice.
private func refuse(operand: String?, with option: String?) throws {
  if let operand, option != nil {
    throw ValidationError("unexpected argument '\(operand)': --profile names the profile")
  }
}

/// The profile of a report, by operand or option; all profiles if neither is given.
struct OneProfile: ParsableArguments {
  @Argument(help: ArgumentHelp("Only this profile.", valueName: "profile"))
  var profileOperand: String?
  @Option(
    name: [.customShort("p", allowingJoined: true), .long],
    help: ArgumentHelp("Only this profile.", valueName: "profile"))
  var profile: String?

  func validate() throws { try refuse(operand: profileOperand, with: profile) }
}

/// A profile by option, in verbs whose operands are something else.
struct ProfileOption: ParsableArguments {
  @Option(
    name: [.customShort("p", allowingJoined: true), .long],
    help: ArgumentHelp("The profile; can be left out if there is only one.", valueName: "profile"))
  var profile: String?
}

/// A store without a profile.
struct StoreOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Without a profile: what is in <store>, a directory, owner/repo, or as a profile has it.",
      valueName: "store"))
  var store: String?
  @Option(
    name: .long,
    help: ArgumentHelp("With --store: the backups of this group, or of the one with this prefix.", valueName: "group"))
  var group: String?

  func validate() throws {
    if group != nil, store == nil { throw ValidationError("--group needs --store") }
  }
}

/// What to restore of a backup, and how.
struct SelectionOptions: ParsableArguments {
  @Option(
    name: .long, parsing: .singleValue,
    help: ArgumentHelp(
      "Only what matches, as in .gitignore (repeatable).", valueName: "pattern"))
  var include: [String] = []
  @Option(
    name: .long, parsing: .singleValue,
    help: ArgumentHelp("Leave out what matches (repeatable).", valueName: "pattern"))
  var exclude: [String] = []
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Existing files: never touch them, if-changed (replace what differs) or always.",
      valueName: "when"))
  var overwrite: OverwriteChoice?
  @Flag(name: .long, help: "Print what would be done, and write nothing.")
  var dryRun = false
  @Flag(name: .long, help: "Do not restore owners.")
  var noOwner = false
  @Flag(name: .long, help: "Restore owners by their numbers.")
  var numericOwner = false
  @Flag(name: .long, help: "Restore what gives privileges: set-id bits, capabilities.")
  var setuid = false
}

enum OverwriteChoice: String, ExpressibleByArgument, CaseIterable, ShellValue {
  case never, ifChanged = "if-changed", always
}

/// The number of an open descriptor.
struct DescriptorNumber: ExpressibleByArgument, ShellValue {
  let number: Int32

  init?(argument: String) {
    guard !argument.isEmpty, argument.utf8.allSatisfy({ (48...57).contains($0) }),
      let number = Int32(argument)
    else { return nil }
    self.number = number
  }

  var shellWord: [UInt8] { Array(String(number).utf8) }
}

extension AtOption {
  /// Throws unless exactly one backup is named, in one of the two ways.
  func requireOne(_ backup: String?) throws {
    if at == nil, backup == nil { throw ValidationError("no backup is given: an id, latest or --at") }
    if at != nil, backup != nil { throw ValidationError("an id and --at cannot be used together") }
  }
}
