import ArgumentParser
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat
import TBKStore

/// The objects that determine the keys of a group.
extension StoreCommand {
  struct PasswordCheck: SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "password-check",
      abstract: "Store the password check of a group, and name it in the ledger.",
      usage: "tbk-store password-check <store> <file> --group <id> [--replace [--group-check <sha256>]] [<options>]")

    @Argument(help: "The store.")
    var store: RawPath

    @Argument(help: "A small sealed file that only the group's password opens; '-' is standard input.")
    var file: RawPath

    @OptionGroup var group: GroupObjectOptions

    @Option(
      name: .long,
      help: ArgumentHelp(
        "With --replace, require that the present check has this SHA-256.", valueName: "sha256"))
    var groupCheck: HexDigest?

    @OptionGroup var options: ChangeOptions

    func validate() throws {
      try options.signing.requireKey()
      if groupCheck != nil, !group.replace { throw ValidationError("--group-check needs --replace") }
    }

    func execute() throws(Failure) -> Int32 {
      try group.store(file, in: store, as: .check, instead: groupCheck?.digest, options)
    }
  }

  struct Identity: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Store the sealed identities of a group, and name them in the ledger.",
      usage: "tbk-store identity <store> <file> --group <id> [--replace [--group-identity <sha256>]] [<options>]")

    @Argument(help: "The store.")
    var store: RawPath

    @Argument(help: "An age identity file under a passphrase; '-' is standard input.")
    var file: RawPath

    @OptionGroup var group: GroupObjectOptions

    @Option(
      name: .long,
      help: ArgumentHelp(
        "With --replace, require that the present file has this SHA-256.", valueName: "sha256"))
    var groupIdentity: HexDigest?

    @OptionGroup var options: ChangeOptions

    func validate() throws {
      try options.signing.requireKey()
      if groupIdentity != nil, !group.replace { throw ValidationError("--group-identity needs --replace") }
    }

    func execute() throws(Failure) -> Int32 {
      try group.store(file, in: store, as: .identity, instead: groupIdentity?.digest, options)
    }
  }
}

/// The group of an object, and whether the object replaces another.
struct GroupObjectOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "The group, or a prefix of one that the store has.", valueName: "id"))
  var group: GroupID

  @Flag(name: .long, help: "Start this group: the store may not have it yet.")
  var newGroup = false

  @Flag(name: .long, help: "Replace an existing one.")
  var replace = false

  /// - Parameter expected: the SHA-256 of the object to replace.
  func store(
    _ file: RawPath, in store: RawPath, as part: LedgerGroup.Part, instead expected: Digest?,
    _ options: ChangeOptions
  ) throws(Failure) -> Int32 {
    options.common.apply()
    let inputIsData = file.isStandardStream
    let context = options.storeOptions.context(inputIsData: inputIsData)
    let session = try options.session(store, context, inputIsData: inputIsData)
    let snapshot = try session.snapshot()
    snapshot.trust.report()
    let group = newGroup ? group : try snapshot.findOrBegin(group, store: session.store.address)
    let name = inputIsData ? "standard input" : file.display
    let bytes =
      inputIsData
      ? try DescriptorSource(.standardInput).readAll(limit: GroupID.objectLimit, what: name)
      : try readFile(file, limit: GroupID.objectLimit)
    // An unencrypted identity must never get into the store, even by mistake.
    if part == .identity, !AgeHeader.isBegun(by: bytes) {
      throw Failure(
        .malformed, "\(name) is not an identity file under a passphrase",
        hint: "'termbackup generate-identity' makes and stores one")
    }
    let input = try ArchiveInput(MemorySource(bytes), name: name)
    let staged = try session.store.stage(input, size: input.length, in: part.folder)
    if try session.storeObject(staged, as: part, of: group, replacing: replace, expected: expected) {
      Messages.notice("the store has this \(part.noun) already")
    }
    return ExitStatus.success
  }
}
