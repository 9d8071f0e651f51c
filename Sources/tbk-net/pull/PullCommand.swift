import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

struct PullCommand: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-pull",
    abstract: "Fetch an archive from a store, checked against its ledger.",
    usage: """
      tbk-pull <store> <id>|latest|--at <time> [--group <id>] [--chain [--partial]] [-o <file>] > archive
      tbk-pull <store> --each [<id> ...] [--ids <file>] [--group <id>] > archives
      tbk-pull <store> --list [--present] [--group <id>] [--json]
      tbk-pull <store> --manifest <id>|latest [--group <id>] [-o <file>] > sealed-manifest
      tbk-pull <store> --signature <id>|latest [--group <id>] [--hex] [-o <file>] > signature
      tbk-pull <store> --summary [--group <id>] [--json]
      tbk-pull <store> --seen [--json]
      tbk-pull <store> --ledger
      tbk-pull <store> --check --group <id>
      tbk-pull <store> --identity --group <id>
      tbk-pull <store> --serve < requests > answers
      tbk-pull <store> --prepare <directory> --group <id> [--identity] [--incremental [--cache <directory>]] [--rules <rules>]
      """,
    version: versionText)

  @Argument(help: "A directory, github:owner/repo, or NAME:… for a helper.")
  var store: RawPath

  @Argument(
    help: ArgumentHelp(
      "A backup's id, a unique prefix of it, 'latest', or 'latest~2', the second one before that.", valueName: "id"))
  var operands: [RawPath] = []

  @OptionGroup var time: AtOption

  private var id: RawPath? { each ? nil : operands.first }
  private var at: String? { time.at }
  private var hasBackup: Bool { id != nil || at != nil }

  @OptionGroup var groups: GroupOptions

  @Option(
    name: .shortAndLong, help: ArgumentHelp("Write to <file>, in one step.", valueName: "file"))
  var output: RawPath?

  @Flag(name: .long, help: "Send the archives it depends on as well, newest first.")
  var chain = false

  @Flag(name: .long, help: "With --chain, skip archives that the store has lost, name them and end with status 3.")
  var partial = false

  @Flag(
    name: .long, help: "Send backups and all they depend on, each once, for tbk-open --verify --each (default: all).")
  var each = false

  @Option(
    name: .long, help: ArgumentHelp("With --each, read ids from the lines of <file>, up to a tab.", valueName: "file"))
  var ids: RawPath?

  @Flag(name: .long, help: "List the backups, oldest first.")
  var list = false

  @Flag(name: .long, help: "With --list, show whether the store holds each backup whole, by size.")
  var present = false

  @Flag(name: .long, help: "Print the ledger as it is.")
  var ledger = false

  @Option(name: .long, help: ArgumentHelp("Send the sealed manifest of a backup.", valueName: "id"))
  var manifest: RawPath?

  @Option(
    name: .long, help: ArgumentHelp("Send the signature of a backup's archive.", valueName: "id"))
  var signature: RawPath?

  @Flag(name: .long, help: "Print the signature as a line of hexadecimal digits, not 64 bytes.")
  var hex = false

  @Flag(name: .long, help: "Send the password check of the group.")
  var check = false

  @Flag(
    name: .long,
    help: """
      Send the sealed identities of the group, an age identity file under a passphrase; with --prepare, check them \
      instead of fetching the password check.
      """)
  var identity = false

  @Flag(
    name: .long,
    help: "Also send what an unsigned ledger has no hash for: a check, or an archive that TermBackup 6 renamed.")
  var unvouched = false

  @Flag(name: .long, help: "Answer requests for parts of archives, for tbk-open --from.")
  var serve = false

  @Flag(name: .long, help: "Print the state of the store, and its last backup.")
  var summary = false

  @Flag(name: .long, help: "Print what this machine has seen of the store, without contacting it.")
  var seen = false

  @Flag(name: .long, help: "Print the list or the summary, and report errors, as JSON.")
  var json = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Write the state of the ledger's signature to <file>: verified, unchecked or unsigned.",
      valueName: "file"))
  var trustOut: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "With --check or --identity, write to <file>: pinned or unpinned, the SHA-256, and the key epoch.",
      valueName: "file"))
  var pinOut: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Compare archives with their signatures before sending them, and write to <file>: holds, unchecked, none or fails.",
      valueName: "file"))
  var signaturesOut: RawPath?

  @OptionGroup var preparing: PrepareOptions
  @OptionGroup var trust: TrustOptions
  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    let work = [
      each, id != nil, at != nil, list, ledger, manifest != nil, signature != nil, check, serve, summary, seen,
      identity || preparing.prepare != nil,
    ].count { $0 }
    if work == 0 { throw ValidationError("give a backup's id, 'latest' or --list") }
    if work > 1 {
      throw ValidationError(
        "only one of an id, --at, --each, --list, --summary, --seen, --ledger, --manifest, --signature, --check, --identity, --serve and --prepare"
      )
    }
    if !each, operands.count > 1 {
      throw ValidationError("unexpected argument \(operands[1].display): --each takes several ids")
    }
    if ids != nil, !each { throw ValidationError("--ids can only be used with --each") }
    if each, chain || unvouched { throw ValidationError("--each cannot be used with --chain or --unvouched") }
    if partial, !chain { throw ValidationError("--partial can only be used with --chain") }
    if chain, !hasBackup { throw ValidationError("--chain needs a backup's id or 'latest'") }
    if check || identity && preparing.prepare == nil, groups.onlyNamed == nil {
      throw ValidationError("\(check ? "--check" : "--identity") needs one --group")
    }
    if unvouched, trust.isRequired {
      throw ValidationError("--unvouched cannot be used with --require-signature or --verify-key")
    }
    if unvouched, !hasBackup, !check, !serve, preparing.prepare == nil {
      throw ValidationError("--unvouched can only be used with a backup's id, 'latest', --serve, --check or --prepare")
    }
    if signaturesOut != nil, each || !hasBackup && !serve {
      throw ValidationError("--signatures-out can only be used with a backup's id, 'latest' or --serve")
    }
    if preparing.prepare != nil, !groups.isGiven { throw ValidationError("--prepare needs --group") }
    if preparing.prepare != nil, output != nil {
      throw ValidationError("--prepare and --output cannot be used together")
    }
    if present, !list { throw ValidationError("--present can only be used with --list") }
    if pinOut != nil, !check, !identity || preparing.prepare != nil {
      throw ValidationError("--pin-out can only be used with --check and --identity")
    }
    if hex, signature == nil { throw ValidationError("--hex can only be used with --signature") }
    if serve, output != nil {
      throw ValidationError("--serve and --output cannot be used together")
    }
    if ledger, groups.isGiven { throw ValidationError("--ledger prints all of it: --group does not apply") }
    if seen, groups.isGiven || trustOut != nil || trust.isRequired {
      throw ValidationError(
        "--seen asks no store: --group, --trust-out, --verify-key and --require-signature do not apply")
    }
  }

  func execute() throws(Failure) -> Int32 {
    common.apply()
    if seen {
      try print(StoreSummary.seen(try storeOptions.seen(store).recall()))
      return ExitStatus.success
    }
    var query = try (id ?? manifest ?? signature).map { (operand) throws(Failure) in
      try BackupQuery(operand)
    }
    if let at { query = .at(try Timestamp(lastOf: at, now: .now())) }
    let isText = list || ledger || hex || summary || preparing.prepare != nil
    if output == nil, !isText {
      try StandardOutput.refuseTerminal(
        signature != nil ? "a signature" : serve ? "parts of archives" : "an archive",
        hint: "redirect it, or give -o FILE")
    }
    let meter = ProgressMeter("fetching", mode: progress.progress)
    defer { meter.finish() }
    var context = storeOptions.context(inputIsData: serve)
    if !isText, !serve { context.progress = { meter.advance($0) } }
    let keys = try trust.keys()
    let session = try storeOptions.session(store, context, keys: keys)
    let snapshot = try session.snapshot()
    try trust.requireLedger(snapshot, of: store)
    if let trustOut {
      try AtomicFile.write(Array(snapshot.trust.line.utf8), to: trustOut)
    } else {
      snapshot.trust.report()
    }
    if let ledger = snapshot.ledger, ledger.isTermBackup6 {
      Messages.notice(
        "TermBackup 6 wrote the ledger of this store: a rollback would not be noticed")
    }
    if let group = groups.onlyNamed, check || identity, preparing.prepare == nil {
      let part = check ? LedgerGroup.Part.check : .identity
      let group = try whole(group, snapshot, session)
      var hash: Digest?
      try write { (sink) throws(Failure) in
        hash = try retrieval(session, snapshot, meter, keys).send(part, of: group, in: snapshot, to: sink)
      }
      if let pinOut, let hash {
        let known = snapshot.ledger?.group(group)
        let word = known?.object(part) == nil ? "unpinned" : "pinned"
        let row = "\(word)\t\(hash.hex)\t\(known?.keyEpoch ?? 0)\n"
        try AtomicFile.write(Array(row.utf8), to: pinOut)
      }
      return ExitStatus.success
    }
    let scope = try groups.scope(in: snapshot, of: session.store.address)
    if serve {
      // From any group: a backup may need one of another group.
      let server = RangeServer(retrieval(session, snapshot, meter, keys), entries: snapshot.entries)
      try server.run(
        DescriptorSource(.standardInput), DescriptorSink(.standardOutput),
        isReady: { Descriptor.standardInput.isReadable })
      return ExitStatus.success
    }
    if let directory = preparing.prepare {
      try preparing.write(
        into: directory, session, snapshot, retrieval(session, snapshot, meter, keys), scope: scope,
        group: groups.onlyNamed, wantsIdentity: identity, row: { row($0, nil) })
      return ExitStatus.success
    }
    if summary {
      try print(StoreSummary.of(snapshot, of: session, in: scope, now: .now()))
      return ExitStatus.success
    }
    var isWhole = true
    try write { (sink) throws(Failure) in
      if list {
        let entries = snapshot.entries.filter { scope.holds($0) }
        let presence = present ? try session.presence(of: entries, in: snapshot) : []
        for (index, entry) in entries.enumerated() {
          let known = present ? presence[index] : nil
          try sink.write(json ? try line(entry, known) : row(entry, known))
        }
      } else if ledger {
        guard let ledger = snapshot.ledger else {
          throw Failure(.unavailable, "the store \(store.display) is still empty")
        }
        // Text from the store must not control the terminal.
        let isShown = output == nil && Descriptor.standardOutput.isTerminal
        try sink.write(isShown ? ledger.printable() : snapshot.bytes)
      } else if each {
        let steps = try steps(in: scope, of: snapshot, session)
        meter.setTotal(total(steps))
        isWhole = try retrieval(session, snapshot, meter, keys).sendSeries(steps, to: sink, keys: keys)
      } else if let query {
        let entry = try snapshot.find(query, in: scope, store: session.store.address)
        isWhole = try send(entry, session, snapshot, retrieval(session, snapshot, meter, keys), meter, to: sink)
      }
    }
    return isWhole ? ExitStatus.success : ExitStatus.incomplete
  }

  /// Passes the output to `body`: a file is put in place once it is complete.
  private func write(_ body: (DescriptorSink) throws(Failure) -> Void) throws(Failure) {
    let file = try output.map { (path) throws(Failure) in try AtomicFile(path) }
    let sink = DescriptorSink(file?.descriptor ?? .standardOutput, name: output)
    try body(sink)
    try sink.finish()
    try file?.commit()
  }

  private func print(_ facts: StoreSummary.Facts) throws(Failure) {
    try write { (sink) throws(Failure) in
      try sink.write(json ? StoreSummary.json(facts) : StoreSummary.rows(facts))
    }
  }

  /// The full name of a group, which may have only a password check so far.
  private func whole(
    _ group: GroupID, _ snapshot: LedgerSession.Snapshot, _ session: LedgerSession
  ) throws(Failure) -> GroupID {
    do throws(Failure) {
      return groups.newGroup ? group : try snapshot.find(group, store: session.store.address)
    } catch  where error.code == .unavailable {
      return group
    }
  }

  private func retrieval(
    _ session: LedgerSession, _ snapshot: LedgerSession.Snapshot, _ meter: ProgressMeter, _ keys: LedgerKeys
  ) -> Retrieval {
    // A network store reports bytes by itself, as they arrive.
    let isLocal = if case .directory = session.store.address { true } else { false }
    return Retrieval(
      session.store, unvouched: UnvouchedBytes(areWanted: unvouched, trust: snapshot.trust),
      signatures: signaturesOut.map { (path) in
        ArchiveSignatures(keys, acceptsFailing: unvouched, warn: { Messages.warning($0) }) { (worth) throws(Failure) in
          try AtomicFile.write(Array("\(worth.rawValue)\n".utf8), to: path)
        }
      },
      warn: { Messages.warning($0) },
      progress: { if isLocal { meter.advance($0) } })
  }

  private func send(
    _ entry: LedgerEntry, _ session: LedgerSession, _ snapshot: LedgerSession.Snapshot, _ retrieval: Retrieval,
    _ meter: ProgressMeter, to sink: DescriptorSink
  ) throws(Failure) -> Bool {
    if signature != nil {
      guard let bytes = entry.signature else {
        throw Failure(.unavailable, "the archive of backup \(entry.id.hex) is not signed")
      }
      try sink.write(hex ? Array((bytes.hex + "\n").utf8) : bytes)
      return true
    }
    if manifest != nil {
      try retrieval.sendManifest(entry, to: sink, isStaging: output != nil, mayBeCut: true)
      return true
    }
    guard chain else {
      meter.setTotal(entry.size)
      try retrieval.sendArchive(entry, to: sink, isStaging: output != nil, mayBeCut: true)
      return true
    }
    let steps = try snapshot.chain(
      of: entry, isPartial: partial, store: session.store.address)
    meter.setTotal(total(steps))
    return try retrieval.sendChain(
      steps, to: sink, isStaging: output != nil, isPartial: partial)
  }

  private func total(_ steps: [ChainStep]) -> UInt64 {
    steps.reduce(0) { $0.addingReportingOverflow($1.entry?.size ?? 0).partialValue }
  }

  /// The steps that --each sends, in ledger order.
  private func steps(
    in scope: BackupScope, of snapshot: LedgerSession.Snapshot, _ session: LedgerSession
  ) throws(Failure) -> [ChainStep] {
    var listed: [RawPath] = []
    if let ids {
      let text =
        ids.isStandardStream
        ? try DescriptorSource(.standardInput).readAll(limit: Self.idsLimit, what: "the list of ids")
        : try readFile(ids, limit: Self.idsLimit)
      listed = text.split(separator: UInt8(ascii: "\n")).map {
        RawPath(Array($0.prefix { $0 != UInt8(ascii: "\t") }))
      }
    }
    let entries = snapshot.entries.filter { scope.holds($0) }
    if operands.isEmpty, ids == nil { return try snapshot.series(of: entries) }
    var chosen: Set<Digest> = []
    var unlisted: [Digest] = []
    let known = Set(entries.map(\.id))
    let isListed = Set(listed.map(\.bytes))
    for operand in operands + listed {
      let id = Digest(hexDigits: operand.bytes)
      if let id, known.contains(id) {
        chosen.insert(id)
      } else if let id, isListed.contains(operand.bytes) {
        // It was removed after the list was made.
        unlisted.append(id)
      } else {
        let query = try BackupQuery(operand)
        chosen.insert(try snapshot.find(query, in: scope, store: session.store.address).id)
      }
    }
    return try snapshot.series(
      of: entries.filter { chosen.contains($0.id) }, unlisted: unlisted)
  }

  /// The size limit for a list of ids, in bytes.
  private static let idsLimit = 64 << 20

  private func line(
    _ entry: LedgerEntry, _ presence: BackupPresence?
  ) throws(Failure) -> [UInt8] {
    let end = [UInt8(ascii: "\n")]
    guard let presence else { return entry.line + end }
    var json = try entry.json
    json["presence"] = .object([
      "archive": .string(presence.archive.rawValue),
      "manifest": presence.manifest.map { .string($0.rawValue) } ?? .null,
      "lost": .array(presence.lost.map { .string($0.hex) }),
    ])
    return json.line() + end
  }

  private func row(_ entry: LedgerEntry, _ presence: BackupPresence?) -> [UInt8] {
    var fields = [
      entry.id.hex, entry.createdAt, String(entry.size), String(entry.fileCount),
      entry.mode ?? "-", entry.group?.description ?? "-", entry.verified ? "yes" : "no",
      entry.filename.description,
      entry.dependsOn.isEmpty ? "-" : entry.dependsOn.map(\.hex).joined(separator: ","),
      entry.sha256.hex,
    ]
    if let presence {
      fields += [
        presence.archive.rawValue, presence.manifest?.rawValue ?? "-",
        presence.lost.isEmpty ? "-" : presence.lost.map(\.hex).joined(separator: ","),
      ]
    }
    return Array((fields.joined(separator: "\t") + "\n").utf8)
  }
}
