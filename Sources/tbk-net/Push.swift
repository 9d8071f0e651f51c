import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

struct Push: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-push",
    abstract: "Store an archive and its entry in the ledger, in one step.",
    usage: """
      tbk-push <store> [--receipt <file>] [--sealed-manifest <file>] [--signature <file>] [--group <id> [--group-check <sha256>]] < archive
      tbk-push <store> --replace <id>[:<sha256>] [--rekeyed] [--sealed-manifest <file>] [--signature <file>] < archive
      tbk-push <store> --replace <id>[:<sha256>] --receipt <file> [--sealed-manifest <file>] [--signature <file>] < archive
      tbk-push <store> --remove <id> ...
      tbk-push <store> --check <file> --group <id> [--replace-check [--group-check <sha256>]]
      tbk-push <store> --mark-verified <id>:<sha256> ...
      tbk-push <store> --take-over <fingerprint> --sign-key <file>
      tbk-push <store> --adopt --sign-key <file>
      tbk-push <store> --create
      """,
    version: versionText)

  @Argument(help: "A directory, github:owner/repo, or NAME:… for a helper.")
  var store: RawPath

  @Option(name: .long, help: ArgumentHelp("What tbk-seal --receipt wrote.", valueName: "file"))
  var receipt: RawPath?

  @Option(
    name: .long, help: ArgumentHelp("What tbk-seal --manifest-out wrote.", valueName: "file"))
  var sealedManifest: RawPath?

  @Option(
    name: .long, help: ArgumentHelp("The archive's Ed25519 signature, 64 bytes.", valueName: "file")
  )
  var signature: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "The group of the profile, or the beginning of one that the store has.", valueName: "id"))
  var group: GroupID?

  @Flag(name: .long, help: "Begin this group: the store may not have it yet.")
  var newGroup = false

  @Option(
    name: .long, help: ArgumentHelp(
      "Give this backup another archive; with --receipt, put another backup into its place.",
      valueName: "id[:sha256]"))
  var replace: RawPath?

  @Option(
    name: .long, help: ArgumentHelp(
      "Give this backup the sealed manifest on standard input.", valueName: "id[:sha256]"))
  var replaceManifest: RawPath?

  @Flag(name: .long, help: "The other archive is under another password.")
  var rekeyed = false

  @Option(
    name: .long, parsing: .upToNextOption,
    help: ArgumentHelp("Remove these backups.", valueName: "id"))
  var remove: [RawPath] = []

  @Option(
    name: .long, help: ArgumentHelp("Store the password check of the group.", valueName: "file"))
  var check: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Go on only if this is the password check of the group, and name it in the ledger.",
      valueName: "sha256"))
  var groupCheck: CheckHash?

  @Flag(name: .long, help: "Replace a password check that is there.")
  var replaceCheck = false

  @Option(
    name: .long, parsing: .upToNextOption,
    help: ArgumentHelp(
      "Note that these backups were read and hold, if their archives are still those.",
      valueName: "id:sha256"))
  var markVerified: [ReadArchive] = []

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Sign the ledger in the place of this key, which is lost: unchecked.",
      valueName: "fingerprint"))
  var takeOver: LostKey?

  @Flag(name: .long, help: "Sign a ledger that nobody has signed, as it is.")
  var adopt = false

  @Flag(name: .long, help: "Make a new store: a directory, or a private repository.")
  var create = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Where a GitHub store puts archives: git, release, or auto (by size).", valueName: "where"))
  var placement = GitHubPlacement.auto

  @Flag(name: .long, help: "Print the entry, and report errors, as JSON.")
  var json = false

  @OptionGroup var signing: SigningOptions
  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    try signing.requireKey()
    let work = [
      replace != nil, replaceManifest != nil, !remove.isEmpty, check != nil, create, !markVerified.isEmpty, takeOver != nil,
      adopt,
    ]
    .count { $0 }
    if work > 1 {
      throw ValidationError(
        "only one of --replace, --replace-manifest, --remove, --check, --mark-verified, --take-over, --adopt and --create")
    }
    if takeOver != nil, signing.signKey == nil || signing.trust.isRequired {
      throw ValidationError(
        "--take-over needs --sign-key, and neither --require-signature nor --verify-key")
    }
    if adopt, signing.signKey == nil || signing.trust.isRequired {
      throw ValidationError(
        "--adopt needs --sign-key, and neither --require-signature nor --verify-key")
    }
    if check != nil, group == nil { throw ValidationError("--check needs --group") }
    if newGroup, group == nil { throw ValidationError("--new-group needs --group") }
    if groupCheck != nil, group == nil || check != nil && !replaceCheck {
      throw ValidationError("--group-check goes with --group and an archive, or with --replace-check")
    }
    if rekeyed, replace == nil { throw ValidationError("--rekeyed needs --replace") }
    if create, signing.signKey != nil {
      throw ValidationError("--create makes a store without a ledger: --sign-key signs the first")
    }
    if replaceCheck, check == nil { throw ValidationError("--replace-check needs --check") }
    if receipt != nil, work > 0, replace == nil || rekeyed {
      throw ValidationError("--receipt belongs to a new backup, not to a change of an old one")
    }
    if changesEntries || check != nil || create || replaceManifest != nil, sealedManifest != nil || signature != nil {
      throw ValidationError("--sealed-manifest and --signature belong to an archive")
    }
    if group != nil, replace != nil || replaceManifest != nil || changesEntries || create {
      throw ValidationError("--group belongs to a new backup or a password check")
    }
  }

  func execute() throws(Failure) -> Int32 {
    common.apply()
    if create {
      try storeOptions.address(store).create(storeOptions.context(inputIsData: false))
      Messages.notice("made \(store.display)")
      return ExitStatus.success
    }
    let meter = ProgressMeter("storing", mode: progress.progress)
    defer { meter.finish() }
    var context = storeOptions.context(inputIsData: !changesEntries)
    context.placement = placement
    context.progress = { meter.advance($0) }
    let keys = try signing.keys(inputIsData: !changesEntries, lost: takeOver?.fingerprint)
    let session = try storeOptions.session(store, context, keys: keys)
    let snapshot = try session.snapshot()
    snapshot.trust.tell()
    let group = try group.map { (group) throws(Failure) in
      newGroup ? group : try snapshot.findOrBegin(group, store: session.store.address)
    }
    if let check, let group { return try storeCheck(check, group, session) }
    if changesEntries {
      for entry in try change(snapshot, session) { try report(entry) }
      return ExitStatus.success
    }
    let stored = try storeArchive(in: group, session, snapshot, meter)
    if stored.wasThere { Messages.notice("the store has this backup already") }
    try report(stored.entry)
    return ExitStatus.success
  }

  /// Whether it is the ledger alone that changes.
  private var changesEntries: Bool {
    !remove.isEmpty || !markVerified.isEmpty || takeOver != nil || adopt
  }

  private func change(
    _ snapshot: LedgerSession.Snapshot, _ session: LedgerSession
  ) throws(Failure) -> [LedgerEntry] {
    if let takeOver { return try session.takeOver(takeOver.fingerprint) }
    if adopt {
      if snapshot.ledger == nil {
        Messages.notice("the store is empty: its first ledger is going to be signed")
      } else if snapshot.trust != .unsigned {
        Messages.notice("the ledger is signed already")
      }
      return try session.adopt()
    }
    if markVerified.isEmpty {
      var ids: [Digest] = []
      for operand in remove {
        ids.append(try snapshot.findExactly(operand, store: session.store.address).id)
      }
      return try session.remove(ids)
    }
    var archives: [Digest: Digest] = [:]
    for read in markVerified { archives[read.id] = read.sha256 }
    let marked = try session.markVerified(archives, at: Timestamp.now().iso8601())
    if marked.count < archives.count {
      Messages.notice(
        "not marked: \(archives.count - marked.count) that have gone from the store, or have another "
          + "archive by now")
    }
    return marked
  }

  /// What `--replace` names: the backup, and the archive that the new one was made from.
  private func readArchive() throws(Failure) -> (RawPath?, Digest?) {
    let operand = replace ?? replaceManifest
    guard let operand, let colon = operand.bytes.firstIndex(of: UInt8(ascii: ":")) else {
      return (operand, nil)
    }
    guard let sha256 = Digest(hexDigits: Array(operand.bytes[(colon + 1)...])) else {
      let option = replace == nil ? "--replace-manifest" : "--replace"
      throw Failure(.usage, "\(option) takes an id, or an id, ':' and the SHA-256 of an archive")
    }
    return (RawPath(Array(operand.bytes[..<colon])), sha256)
  }

  private func storeArchive(
    in group: GroupID?, _ session: LedgerSession, _ snapshot: LedgerSession.Snapshot, _ meter: ProgressMeter
  ) throws(Failure) -> Stored {
    if Descriptor.standardInput.isTerminal {
      throw Failure(
        .usage, "the archive is expected on standard input, which is a terminal",
        hint: "as in: tbk-seal DIR | tbk-push STORE")
    }
    // The archive's first byte comes first: tbk-seal has written its other files when it sends it.
    let input = try ArchiveInput(DescriptorSource(.standardInput), name: "standard input")
    // Everything that can be refused is, before the rest of the archive is read.
    let (operand, read) = try readArchive()
    let replaced = try operand.map { (operand) throws(Failure) in
      try snapshot.findExactly(operand, store: session.store.address).id
    }
    let receipt = try receipt.map { (path) throws(Failure) in
      try Receipt(parsing: try readFile(path, limit: Receipt.byteLimit))
    }
    if let sealed = receipt?.group, replaced == nil, sealed != group {
      throw Failure(
        .usage, "the backup was sealed for the group \(sealed)",
        hint: "give --group \(sealed), or seal it with another")
    }
    let signature = try signature.map { (path) throws(Failure) in
      try readSignature(path)
    }
    try session.refuseSigned(snapshot)
    try session.refuseUnsigned(snapshot)
    if let groupCheck, let group {
      try session.requireCheck(groupCheck.sha256, of: group, in: snapshot)
    }
    try session.requireAll(receipt?.dependsOn ?? [], in: snapshot)
    let manifest = try sealedManifest.map { (path) throws(Failure) in
      let file = DescriptorSource(try Descriptor.openForReading(path), name: path)
      let input = try ArchiveInput(file, name: path.display)
      return try session.store.stage(input, size: input.length, in: .manifests)
    }
    if replaceManifest != nil, let replaced {
      let sealed = try session.store.stage(input, size: input.length, in: .manifests)
      return try session.replaceManifest(of: replaced, read: read, by: sealed)
    }
    meter.setTotal(input.length + (manifest?.size ?? 0))
    let isLocal = if case .directory = session.store.address { true } else { false }
    let archive = try session.store.stage(
      isLocal ? MeteredSource(input, meter) : input, size: input.length, in: .backups)
    // A helper gets it with the commit.
    if case .helper = session.store.address {} else { meter.finish() }
    let version = input.header.version
    if let replaced, let receipt {
      let backup = NewBackup(
        receipt: receipt, archive: archive, archiveVersion: version, manifest: manifest,
        signature: signature)
      let (stored, dependents) = try session.supersede(replaced, read: read, by: backup)
      if !dependents.isEmpty {
        Messages.notice(
          "backup \(replaced.hex) stays: \(dependents.count == 1 ? "another depends" : "\(dependents.count) others depend") on it")
      }
      return stored
    }
    if let replaced {
      return try session.replace(
        replaced, read: read, archive: archive, archiveVersion: version, manifest: manifest,
        signature: signature, rekeyed: rekeyed)
    }
    return try session.push(
      NewBackup(
        receipt: receipt, archive: archive, archiveVersion: version, manifest: manifest,
        signature: signature, group: group, groupCheck: groupCheck?.sha256))
  }

  private func storeCheck(
    _ file: RawPath, _ group: GroupID, _ session: LedgerSession
  ) throws(Failure) -> Int32 {
    let bytes =
      file.isStandardStream
      ? try DescriptorSource(.standardInput).readAll(limit: GroupID.checkLimit, what: "the check")
      : try readFile(file, limit: GroupID.checkLimit)
    let input = try ArchiveInput(
      MemorySource(bytes), name: file.isStandardStream ? "standard input" : file.display)
    let staged = try session.store.stage(input, size: input.length, in: .checks)
    if try session.storeCheck(
      staged, of: group, replacing: replaceCheck, expected: groupCheck?.sha256)
    {
      Messages.notice("the store has this password check already")
    }
    return ExitStatus.success
  }

  private func report(_ entry: LedgerEntry) throws(Failure) {
    if json {
      try StandardOutput.write(entry.line + [UInt8(ascii: "\n")])
    } else {
      try StandardOutput.write(
        "\(entry.id.hex)\t\(entry.size)\t\(entry.fileCount)\t\(entry.filename)\n")
    }
  }
}

/// `--group-check`: the SHA-256 of a password check.
struct CheckHash: ExpressibleByArgument {
  let sha256: Digest

  init?(argument: String) {
    guard let digest = Digest(hex: argument) else { return nil }
    sha256 = digest
  }
}

/// `--take-over`: the fingerprint of a key.
struct LostKey: ExpressibleByArgument {
  let fingerprint: Digest

  init?(argument: String) {
    guard let digest = Digest(hex: argument) else { return nil }
    fingerprint = digest
  }
}

/// `--mark-verified`: a backup, and the archive of it that was read.
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
