import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

/// tbk-store: changes to a store other than adding a backup (tbk-push) and removing old ones (tbk-prune).
struct StoreCommand: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-store",
    abstract: "Make, check and change stores.",
    version: versionText,
    subcommands: [
      Create.self, Check.self, Remove.self, Replace.self, ReplaceManifest.self, Mark.self,
      PasswordCheck.self, Identity.self, Clean.self, Adopt.self, TakeOver.self,
    ])

  mutating func execute() throws(Failure) -> Int32 {
    let names = StoreCommand.configuration.subcommands.map { $0._commandName }
    throw Failure(.usage, "no verb is given", hint: "one of \(names.joined(separator: ", "))")
  }
}

/// Options of every verb that changes a ledger.
struct ChangeOptions: ParsableArguments {
  @OptionGroup var signing: SigningOptions
  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var common: CommonOptions

  /// A session for changing a store's ledger.
  ///
  /// - Parameters:
  ///   - inputIsData: whether standard input is used for data.
  ///   - lost: a key whose ledger is to be taken over.
  func session(
    _ store: RawPath, _ context: StoreContext, inputIsData: Bool = false, lost: Digest? = nil
  ) throws(Failure) -> LedgerSession {
    let keys = try signing.keys(inputIsData: inputIsData, lost: lost)
    return try storeOptions.session(store, context, keys: keys)
  }

  func session(_ store: RawPath, lost: Digest? = nil) throws(Failure) -> LedgerSession {
    try session(store, storeOptions.context(inputIsData: false), lost: lost)
  }

  /// For verbs that sign a ledger that no trusted key has signed.
  func requireKeyAlone() throws {
    if signing.signKey == nil || signing.trust.isRequired {
      throw ValidationError("this needs --sign-key, and neither --require-signature nor --verify-key")
    }
  }
}

/// Options of every verb that changes entries of a ledger and prints them.
struct EntryChangeOptions: ParsableArguments {
  @Flag(name: .long, help: "Print the entries, and report errors, as JSON.")
  var json = false

  @OptionGroup var change: ChangeOptions

  func report(_ entries: [LedgerEntry]) throws(Failure) {
    for entry in entries { try entry.report(json: json) }
  }
}

/// Where a store may place archives.
struct PlacementOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Where a GitHub store puts archives: git, release, or auto (by size).", valueName: "where"))
  var placement = GitHubPlacement.auto
}

/// 64 hexadecimal digits: the SHA-256 of something, or the fingerprint of a key.
struct HexDigest: ExpressibleByArgument {
  let digest: Digest

  init?(argument: String) {
    guard let digest = Digest(hex: argument) else { return nil }
    self.digest = digest
  }
}

extension StoreCommand {
  struct Create: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a new store: a directory, or a private repository.",
      usage: "tbk-store create <store> [<options>]")

    @Argument(help: "A directory, github:owner/repo, or NAME:… for a helper.")
    var store: RawPath

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var common: CommonOptions

    func execute() throws(Failure) -> Int32 {
      common.apply()
      try connection.address(store).create(connection.context(inputIsData: false))
      Messages.notice("made \(store.display)")
      return ExitStatus.success
    }
  }

  struct Remove: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove backups, and print their entries.",
      usage: "tbk-store remove <store> <id> ... [<options>]")

    @Argument(help: "The store.")
    var store: RawPath

    @Argument(help: "The ids of backups, or unique prefixes of them.")
    var ids: [RawPath]

    @OptionGroup var options: EntryChangeOptions

    func validate() throws { try options.change.signing.requireKey() }

    func execute() throws(Failure) -> Int32 {
      options.change.common.apply()
      let session = try options.change.session(store)
      let snapshot = try session.snapshot()
      snapshot.trust.report()
      var digests: [Digest] = []
      for id in ids { digests.append(try snapshot.findExactly(id, store: session.store.address).id) }
      try options.report(session.remove(digests))
      return ExitStatus.success
    }
  }

  struct Mark: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Record that backups were read back and verified, if their archives are unchanged.",
      usage: """
        tbk-store mark <store> <id>:<sha256> ... [<options>]
        tbk-store mark <store> --listed <file> [<options>]
        """)

    @Argument(help: "The store.")
    var store: RawPath

    @Argument(help: ArgumentHelp("A backup, and the SHA-256 of the archive that was read.", valueName: "id:sha256"))
    var archives: [ReadArchive] = []

    @Option(
      name: .long,
      help: ArgumentHelp("Read the backups from <file>, one per line, as <id>:<sha256>.", valueName: "file"))
    var listed: RawPath?

    @OptionGroup var options: EntryChangeOptions

    func validate() throws {
      if archives.isEmpty == (listed == nil) { throw ValidationError("give backups, or --listed") }
      try options.change.signing.requireKey()
    }

    func execute() throws(Failure) -> Int32 {
      options.change.common.apply()
      var archives = self.archives
      if let listed {
        for line in try readFile(listed, limit: Ledger.byteLimit).split(separator: UInt8(ascii: "\n")) {
          guard let archive = ReadArchive(argument: String(decoding: line, as: UTF8.self)) else {
            throw Failure(.malformed, "\(listed.display): a line is not <id>:<sha256>")
          }
          archives.append(archive)
        }
      }
      let session = try options.change.session(store)
      try session.snapshot().trust.report()
      var read: [Digest: Digest] = [:]
      for archive in archives { read[archive.id] = archive.sha256 }
      let marked = try session.markVerified(read, at: Timestamp.now().iso8601())
      if marked.count < read.count {
        Messages.notice(
          "not marked: \(read.count - marked.count) that have gone from the store, or have another "
            + "archive by now")
      }
      try options.report(marked)
      return ExitStatus.success
    }
  }

  struct Clean: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove what no ledger names and is a day old: leftovers of interrupted writers.",
      usage: "tbk-store clean <store> [--dry-run] [<options>]")

    @Argument(help: "The store.")
    var store: RawPath

    @Flag(name: [.customShort("n"), .long], help: "Print what would be removed, and remove nothing.")
    var dryRun = false

    @Flag(name: .long, help: "Print JSON Lines, and report errors as JSON.")
    var json = false

    @OptionGroup var options: ChangeOptions

    func execute() throws(Failure) -> Int32 {
      options.common.apply()
      let found = try options.session(store).clean(dryRun: dryRun)
      for leftover in found { try StandardOutput.write(json ? leftover.json : leftover.row) }
      if found.isEmpty {
        Messages.notice("the ledger names every file: there is nothing to remove")
        return ExitStatus.success
      }
      let size = found.reduce(UInt64(0)) {
        let (sum, overflow) = $0.addingReportingOverflow($1.size)
        return overflow ? .max : sum
      }
      Messages.notice(
        "\(dryRun ? "would remove" : "removed") \(found.count) "
          + "\(found.count == 1 ? "object" : "objects"), \(size) bytes")
      return ExitStatus.success
    }
  }

  struct Adopt: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Sign an unsigned ledger as it is.",
      usage: "tbk-store adopt <store> --sign-key <file> [<options>]")

    @Argument(help: "The store.")
    var store: RawPath

    @OptionGroup var options: EntryChangeOptions

    func validate() throws { try options.change.requireKeyAlone() }

    func execute() throws(Failure) -> Int32 {
      options.change.common.apply()
      let session = try options.change.session(store)
      let snapshot = try session.snapshot()
      snapshot.trust.report()
      if snapshot.ledger == nil {
        Messages.notice("the store is empty: its first ledger is going to be signed")
      } else if snapshot.trust != .unsigned {
        Messages.notice("the ledger is signed already")
      }
      try options.report(session.adopt())
      return ExitStatus.success
    }
  }

  struct TakeOver: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Sign the ledger in place of a lost key, without checking it.",
      usage: "tbk-store take-over <store> <fingerprint> --sign-key <file> [<options>]")

    @Argument(help: "The store.")
    var store: RawPath

    @Argument(help: "The fingerprint of the key that is lost.")
    var fingerprint: HexDigest

    @OptionGroup var options: EntryChangeOptions

    func validate() throws { try options.change.requireKeyAlone() }

    func execute() throws(Failure) -> Int32 {
      options.change.common.apply()
      let session = try options.change.session(store, lost: fingerprint.digest)
      try session.snapshot().trust.report()
      try options.report(session.takeOver(fingerprint.digest))
      return ExitStatus.success
    }
  }
}

/// A backup, and the SHA-256 of its archive that was read.
struct ReadArchive: ExpressibleByArgument {
  let id: Digest
  let sha256: Digest

  init?(argument: String) {
    let pieces = argument.split(separator: ":", omittingEmptySubsequences: false)
    guard pieces.count == 2, let id = Digest(hex: pieces[0]), let sha256 = Digest(hex: pieces[1])
    else { return nil }
    self.id = id
    self.sha256 = sha256
  }
}

extension Leftover {
  var row: [UInt8] {
    let fields = [kind.rawValue, name.quoted, String(size), changedAt.iso8601(microseconds: false)]
    return Array((fields.joined(separator: "\t") + "\n").utf8)
  }

  var json: [UInt8] {
    JSON.object([
      "kind": .string(kind.rawValue), "name": .string(name.bytes), "size": .number(size),
      "changed_at": .string(changedAt.iso8601(microseconds: false)),
    ]).line() + [UInt8(ascii: "\n")]
  }
}
