import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat
import TBKStore

/// Options for `--prepare`.
struct PrepareOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "In one visit, write everything that a run needs to know about the store into <directory>.",
      valueName: "directory"))
  var prepare: RawPath?

  @Flag(name: .long, help: "With --prepare, make the next backup incremental if possible.")
  var incremental = false

  @Option(
    name: .long,
    help: ArgumentHelp("With --prepare, the limits, as in max-backups=30,retention-days=90.", valueName: "rules"))
  var rules: RetentionRules?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "With --prepare, make one of <n> backups full; or make one full when the last full one is older than <age>, such as 90d.",
      valueName: "n|age"))
  var fullEvery: FullEvery?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "With --prepare, make the next backup full if the last one needs <n> archives.", valueName: "n"))
  var maxChain: Count?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "With --prepare, the directory that has sealed manifests as <id>.tbk or, if they are only for this machine, as <id>.age.",
      valueName: "directory"))
  var cache: RawPath?

  func validate() throws {
    if prepare == nil,
      incremental || rules != nil || cache != nil || fullEvery != nil || maxChain != nil
    {
      throw ValidationError(
        "--incremental, --rules, --full-every, --max-chain and --cache can only be used with --prepare")
    }
  }
}

extension RetentionRules: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

extension FullEvery: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

extension PrepareOptions {
  /// The SHA-256 of the cached manifest of a backup; nil if it cannot be read.
  private func hashAtHand(_ id: Digest) -> Digest? {
    guard let path = cache?.appending(RawPath("\(id.hex).tbk")) else { return nil }
    return try? hash(path)
  }

  private func hasLocal(_ id: Digest) -> Bool {
    guard let path = cache?.appending(RawPath("\(id.hex).age")),
      let facts = try? Descriptor.workingDirectory.statusIfPresent(of: path)
    else { return false }
    return facts.st_mode & S_IFMT == S_IFREG
  }

  private func hash(_ path: RawPath) throws(Failure) -> Digest? {
    let file = try Descriptor.workingDirectory.open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW)
    guard try file.status().st_mode & S_IFMT == S_IFREG else { return nil }
    let source = DescriptorSource(file, name: path)
    var hash = try SHA256()
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    while true {
      let count = try source.read(into: &buffer)
      if count == 0 { break }
      try hash.update(buffer.span.extracting(0..<count))
    }
    return try hash.finish()
  }

  /// Writes `list`, `trust`, `prepared` and, if they exist, `check` and `manifest` into the directory.
  ///
  /// - Parameters:
  ///   - wantsIdentity: whether to look up the group's sealed identity instead of its check.
  ///   - row: the line for a backup in the list.
  func write(
    into directory: RawPath, _ session: LedgerSession, _ snapshot: LedgerSession.Snapshot,
    _ retrieval: Retrieval, scope: BackupScope, group: GroupID?, wantsIdentity: Bool, row: (LedgerEntry) -> [UInt8]
  ) throws(Failure) {
    func file(_ name: String) throws(Failure) -> DescriptorSink {
      let path = directory.appending(RawPath(name))
      return DescriptorSink(
        try Descriptor.workingDirectory.open(
          path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600, missing: .cannotCreate), name: path)
    }
    func put(_ bytes: [UInt8], _ name: String) throws(Failure) {
      let sink = try file(name)
      try sink.write(bytes.span)
      try sink.finish()
    }
    // If an object cannot be sent, its file is removed.
    func receive<Result>(
      _ name: String, _ body: (DescriptorSink) throws(Failure) -> Result
    ) throws(Failure) -> Result {
      let sink = try file(name)
      do throws(Failure) {
        let result = try body(sink)
        try sink.finish()
        return result
      } catch {
        _ = try? Descriptor.workingDirectory.unlink(directory.appending(RawPath(name)))
        throw error
      }
    }
    var list: [UInt8] = []
    for entry in snapshot.entries where scope.holds(entry) { list += row(entry) }
    try put(list, "list")
    try put(Array(snapshot.trust.line.utf8), "trust")
    let request = PreparationRequest(
      isIncremental: incremental, rules: rules, fullEvery: fullEvery, maximumChain: maxChain?.number, group: group,
      wantsIdentity: wantsIdentity, scope: scope, cached: { hashAtHand($0) }, hasLocal: { hasLocal($0) })
    let found = try session.prepare(
      request, over: snapshot, retrieval,
      manifest: { (entry) throws(Failure) in
        try receive("manifest") { (sink) throws(Failure) in
          try retrieval.sendManifest(entry, to: sink, isStaging: true)
          try sink.flush()
          let path = directory.appending(RawPath("manifest"))
          try ManifestCost.check(DescriptorSource(try Descriptor.openForReading(path), name: path))
        }
      },
      check: { (group) throws(Failure) in
        try receive("check") { (sink) throws(Failure) in
          try retrieval.send(.check, of: group, in: snapshot, to: sink)
        }
      })
    try put(found.rows, "prepared")
  }
}

extension Preparation {
  /// A name and a value on each line, separated by a tab; `-` for a missing value.
  fileprivate var rows: [UInt8] {
    let facts: [(String, String)] = [
      ("last", last?.id.hex ?? "-"),
      ("last_count", last.map { String($0.fileCount) } ?? "-"),
      ("last_suite", last.map { $0.filename.description.hasSuffix(".age") ? "age" : "password" } ?? "-"),
      ("full", reason?.rawValue ?? "-"),
      ("lost", lost.isEmpty ? "-" : lost.map(\.hex).joined(separator: ",")),
      ("manifest", manifest?.rawValue ?? "-"),
      ("check", check.rawValue),
      ("check_sha256", checkHash?.hex ?? "-"),
      ("key_epoch", keyEpoch.map(String.init) ?? "-"),
      ("identity", identityHash?.hex ?? "-"),
      ("identity_state", identity?.rawValue ?? "-"),
      ("proof", manifestProves ? "manifest" : "check"),
      ("prune", wouldPrune ? "yes" : "no"),
    ]
    return Array(facts.map { "\($0)\t\($1)\n" }.joined().utf8)
  }
}
