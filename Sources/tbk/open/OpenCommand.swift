import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat
import TBKSettings

extension OverwritePolicy: ExpressibleByArgument {}

/// tbk-open: authenticates archives, then lists, extracts or passes on their content.
struct OpenCommand: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-open",
    abstract: "Authenticate and decrypt archives.",
    usage: """
      tbk-open [<options>] [<archive> ...] > tar
      tbk-open [<options>] -C <dir> [<archive> ...]
      tbk-open [<options>] --list | --manifest | --header | --verify | --cat <path> [<archive> ...]
      tbk-open --from <id> [<options>] [-C <dir> | --list | --manifest | --verify | --cat <path>] -- <command> ...
      tbk-open --find <pattern> --expect <file> [--index <file>] [<options>] -- <command> ...
      tbk-open --raw [-i <file> ...] [<options>] [<file>] > data
      tbk-open --mbu-config <file> [<options>] [<package>]
      """,
    discussion: "Several archives make one backup: the last one lists the tree.",
    version: "tbk-open \(suiteVersion)")

  @Argument(help: ArgumentHelp("Archives; standard input if there are none.", valueName: "archive"))
  var archives: [RawPath] = []

  @Option(
    name: [.customShort("C"), .customLong("directory")], help: ArgumentHelp("Extract below <dir>.", valueName: "dir"))
  var directory: RawPath?

  @Flag(name: .long, help: "List the entries.")
  var list = false

  @Option(
    name: .customLong("in"),
    help: ArgumentHelp(
      "With --list, list only what is directly in <path>, or <path> itself if it is not a directory; '.' is the top.",
      valueName: "path"))
  var within: RawPath?

  @Flag(name: [.customShort("R"), .long], help: "With --in, everything below it.")
  var recursive = false

  @Flag(name: .customShort("l"), help: "List with mode, owner, size and time.")
  var long = false

  @Flag(name: .customShort("0"), help: "End names with NUL and do not quote them.")
  var nul = false

  @Flag(name: .long, help: "Print the manifest.")
  var manifest = false

  @Flag(name: .long, help: "Print the header; needs no password.")
  var header = false

  @Flag(name: .long, help: "Verify everything and write nothing.")
  var verify = false

  @Option(name: .long, help: ArgumentHelp("Send the content of one file.", valueName: "path"))
  var cat: RawPath?

  @Flag(name: .long, help: "Send what was encrypted as it is: of an age file, or of an archive.")
  var raw = false

  @Flag(name: .long, help: "Report as JSON.")
  var json = false

  @Flag(name: .long, help: "Read archives back to back, the newest first, as tbk-pull --chain sends them.")
  var chain = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Read only what is needed of backup <id> from a command that serves archives, as tbk-pull --serve does.",
      valueName: "id"))
  var from: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Print which of the backups in --expect have files that match, and in which versions.", valueName: "pattern"))
  var find: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp("With --find, keep what is known about the backups in <file>, sealed.", valueName: "file"))
  var index: RawPath?

  @Flag(name: .long, help: "With --verify, treat each archive as a backup of its own, as tbk-pull --each sends them.")
  var each = false

  @Flag(name: .long, help: "Skip missing or damaged base archives and name the files that only they hold.")
  var partial = false

  @Option(name: .long, help: ArgumentHelp("Replace existing files: never, if-changed or always.", valueName: "when"))
  var overwrite = OverwritePolicy.never

  @Option(name: .long, help: ArgumentHelp("Extract only what matches, as gitignore(5) does.", valueName: "pattern"))
  var include: [RawPath] = []

  @Option(name: .long, help: ArgumentHelp("Extract only <path>, and what is below it.", valueName: "path"))
  var path: [RawPath] = []

  @Option(name: .long, help: ArgumentHelp("Do not extract what matches.", valueName: "pattern"))
  var exclude: [RawPath] = []

  @Flag(name: .long, help: "Print what would be extracted, and extract nothing.")
  var dryRun = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "With -C, to try it: extract <n> files, or <n>%, chosen at random, compare them with the backup, and remove them.",
      valueName: "n"))
  var trial: String?

  @Option(
    name: .long,
    help: ArgumentHelp("Write to <file> how many files were extracted, a tab, and their bytes.", valueName: "file"))
  var countsOut: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "If files already exist, write what --overwrite if-changed would do to <file>, and exit with status 73 "
        + "without an error.", valueName: "file"))
  var existingOut: RawPath?

  @Flag(name: .long, help: "Do not restore owners.")
  var noOwner = false

  @Flag(name: .long, help: "Restore owners by their numbers.")
  var numericOwner = false

  @Flag(name: .long, help: "Restore what gives privileges: set-id bits, capabilities.")
  var setuid = false

  @Option(
    name: .long, help: ArgumentHelp("Fail unless the backup has this id, or one with this prefix.", valueName: "id"))
  var expectId: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Fail unless the backup matches <file>, which is the output of tbk-pull --list.", valueName: "file"))
  var expect: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp("Fail unless the backup is the one that <manifest> describes.", valueName: "manifest"))
  var against: RawPath?

  @Option(name: .long, help: ArgumentHelp("Open a package of mbu, whose settings are in <file>.", valueName: "file"))
  var mbuConfig: RawPath?

  @Flag(name: .long, help: "Strip the top directory of an mbu package from the names.")
  var stripTop = false

  @Flag(
    name: .long,
    help: "Reject age files: anyone who has a recipient can make one, and nothing else vouches for them.")
  var noAge = false

  @Option(name: .long, help: ArgumentHelp("The most Argon2id memory to spend, in KiB.", valueName: "kib"))
  var maxMemory = Argon2Limits().memory

  @Option(name: .long, help: ArgumentHelp("The most Argon2id passes.", valueName: "n"))
  var maxIterations = Argon2Limits().passes

  @Option(name: .long, help: ArgumentHelp("The most Argon2id lanes.", valueName: "n"))
  var maxLanes = Argon2Limits().lanes

  @OptionGroup var identities: IdentityOptions
  @OptionGroup var passwords: PasswordOptions
  @OptionGroup var progress: ProgressOptions

  @Flag(
    name: .long,
    help: "Show progress only once the pipe on standard input has ended: what feeds it may show its own.")
  var progressAfterInput = false

  @OptionGroup var common: CommonOptions

  func validate() throws {
    let modes = [list, manifest, header, verify, raw, cat != nil, directory != nil, find != nil]
    if modes.count(where: { $0 }) > 1 {
      throw ValidationError("only one of -C, --list, --manifest, --header, --verify, --cat, --find and --raw")
    }
    try validateRaw()
    try validateEach()
    try validateServed()
    if directory == nil {
      let given = [
        !include.isEmpty, !path.isEmpty, !exclude.isEmpty, dryRun, noOwner, numericOwner, setuid,
        overwrite != .never, countsOut != nil, existingOut != nil, trial != nil,
      ]
      if given.contains(true) {
        throw ValidationError("options for extracting need -C")
      }
    }
    if long && !list || nul && !list && !dryRun && find == nil {
      throw ValidationError("-l and -0 can only be used with --list")
    }
    if countsOut?.isStandardStream == true { throw ValidationError("--counts-out takes a file") }
    if existingOut?.isStandardStream == true { throw ValidationError("--existing-out takes a file") }
    if existingOut != nil, dryRun || overwrite != .never {
      throw ValidationError("--existing-out cannot be used with --dry-run or --overwrite")
    }
    if within != nil, !list { throw ValidationError("--in can only be used with --list") }
    if recursive, within == nil { throw ValidationError("--recursive can only be used with --in") }
    if let trial {
      if RandomSample(trial) == nil { throw ValidationError("--trial takes a number of files, or per cent of them") }
      if dryRun || overwrite != .never || partial || mbuConfig != nil || json {
        throw ValidationError(
          "--trial cannot be used with --dry-run, --overwrite, --partial, --mbu-config or --json")
      }
    }
    if dryRun, countsOut != nil { throw ValidationError("--counts-out needs more than --dry-run") }
    if json, long || nul { throw ValidationError("--json cannot be used with -l or -0") }
    if noAge, header || raw || mbuConfig != nil {
      throw ValidationError("--no-age cannot be used with --header, --raw or --mbu-config")
    }
    if header, expectId != nil {
      throw ValidationError("--expect-id needs what --header does not read: see --verify")
    }
    if json, !(list || header || verify || directory != nil || find != nil) {
      throw ValidationError("--json can only be used with --list, --header, --verify, --find or -C")
    }
    if header, expect != nil {
      throw ValidationError("--expect needs what --header does not read: see --verify")
    }
    if partial, header || raw || cat != nil {
      throw ValidationError("--partial can only be used with -C, --list, --manifest, --verify or a tar")
    }
    if against != nil, !(directory != nil || verify) {
      throw ValidationError("--against can only be used with -C or --verify")
    }
    let fromInput = from != nil || find != nil ? 0 : archives.isEmpty ? 1 : archives.count { $0.isStandardStream }
    if progressAfterInput, fromInput == 0 {
      throw ValidationError("--progress-after-input needs an archive on standard input")
    }
    let others = [against, expect].count { $0?.isStandardStream == true }
    if fromInput + others > 1 {
      throw ValidationError("standard input can be read only once")
    }
    try validatePackage()
    try validateExpectedID(expectId)
  }

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    if header { return try showHeader() }
    if raw { return try sendRaw() }
    if each { return try verifyEach() }
    if find != nil { return try findVersions() }
    if directory == nil, !list, !verify {
      if cat == nil, !manifest {
        try StandardOutput.refuseTerminal("a tar", hint: "use -C to extract, or --list")
      }
    }
    let meter = meter(verify ? "verifying" : "opening")
    defer { meter.finish() }
    if let sources = servedSources() {
      let status = try run(try reader(meter) { (wanted) throws(Failure) in try sources.next(wanted) }, meter)
      sources.finish()
      return status
    }
    let sources = archiveSources(try mbuSettings())
    let reader = try reader(meter) { (_) throws(Failure) in try sources.next() }
    let status = try run(reader, meter)
    try sources.finish()
    return status == ExitStatus.success && !reader.flawed.isEmpty ? ExitStatus.incomplete : status
  }

  func meter(_ label: String) -> ProgressMeter {
    ProgressMeter(label, mode: progress.progress, after: progressAfterInput ? .standardInput : nil)
  }

  private func reader(
    _ meter: ProgressMeter, _ archives: @escaping BackupReader.ArchiveProvider
  ) throws(Failure) -> BackupReader {
    try BackupReader(
      expectedID: from ?? expectId, expected: try expect.map(readExpected), stripsTop: stripTop,
      isChain: chain || from != nil, isPartial: partial, progress: { meter.advance($0) },
      warn: { Messages.warning($0) }, archives: archives)
  }

  private func run(_ reader: BackupReader, _ meter: ProgressMeter) throws(Failure) -> Int32 {
    let sink = DescriptorSink(.standardOutput)
    if directory != nil { return try extract(reader, meter) }
    if verify { return try report(try reader.verifyAll(), format: reader.format) }
    if let cat {
      try reader.send(path: BackupPath(cat.bytes).bytes, to: sink)
    } else if list || manifest {
      let isSeveral = chain || from != nil || archives.count > 1
      let verified = try isSeveral ? reader.wholeManifest() : reader.manifest()
      defer { reportMissing(verified.absent.isEmpty ? [] : verified.missing, verified.manifest) }
      if list {
        let chosen = try within.map { (path) throws(Failure) in
          try BackupPath(path.bytes).entries(in: verified.manifest, recursively: recursive)
        }
        try Listing(long: long, json: json, nul: nul).print(verified.manifest, chosen)
      } else {
        try ManifestWriter.write(verified.manifest, backupID: verified.manifest.backupID, to: sink)
        try sink.write([UInt8(ascii: "\n")])
        try sink.finish()
      }
      return verified.absent.isEmpty ? ExitStatus.success : ExitStatus.incomplete
    } else {
      return reportMissing(try reader.sendTar(to: sink))
    }
    return ExitStatus.success
  }

  func archiveSources(_ mbu: MbuSettings? = nil) -> ArchiveSources {
    ArchiveSources(
      archives, isChain: chain, isPartial: partial, limits: limits, mbu: mbu, keys: openingKeys,
      warn: { Messages.warning($0) })
  }

  var limits: OpenLimits {
    var limits = OpenLimits()
    limits.argon2.memory = maxMemory
    limits.argon2.passes = maxIterations
    limits.argon2.lanes = maxLanes
    return limits
  }

  // MARK: Extracting

  private func extract(_ reader: BackupReader, _ meter: ProgressMeter) throws(Failure) -> Int32 {
    guard let directory else { return ExitStatus.success }
    var options = RestoreOptions()
    options.policy = overwrite
    options.metadata.owner = !noOwner
    options.metadata.numericOwner = numericOwner
    options.metadata.setID = setuid
    options.destinationName = directory
    options.includePatterns = include.map(\.bytes) + path.map { BackupPath($0.bytes).pattern }
    for path in path {
      let named = BackupPath(path.bytes)
      options.named[named.pattern] = named.bytes
    }
    for pattern in options.includePatterns { options.include.add(pattern: pattern) }
    for pattern in exclude { options.exclude.add(pattern: pattern.bytes) }
    options.against = try against.map { (path) throws(Failure) in
      try readManifest(path, allowsDeferred: false)
    }
    if dryRun {
      let target = try Descriptor.workingDirectory.openIfPresent(directory, O_RDONLY | O_DIRECTORY)
      let report = EntryReport(key: "action", json: json, nul: nul)
      let status = reportMissing(
        try reader.preview(to: target, options) { (word, path) throws(Failure) in
          try report.print(word, path)
        })
      return reader.lacksNamed ? ExitStatus.incomplete : status
    }
    var proposed: [UInt8] = []
    if existingOut != nil {
      options.propose = { (word, path) throws(Failure) in
        proposed += Array("\(word)\t\(RawPath(path).quoted)\n".utf8)
      }
    }
    options.sample = trial.flatMap { RandomSample($0) }
    let destination = try RestoreDestination(directory)
    if trial != nil { return try tryOut(reader, destination, directory, options, meter) }
    let summary = try reader.restore(
      to: destination.directory, destinationIsNew: destination.isNew, options)
    if summary.isProposal, let existingOut {
      try AtomicFile.write(proposed, to: existingOut)
      return Failure(.cannotCreate, "").exitStatus
    }
    destination.keep()
    meter.finish()
    try writeCounts(summary)
    let status = reportMissing(summary.backup)
    if let path = summary.withheld {
      Messages.notice(
        "set-id bits and attributes that give privileges were left out, as of \(path.display): "
          + "see --setuid")
    }
    if summary.keepsRoot {
      Messages.notice(
        "\(directory.display) existed before and keeps its mode and owner: see --overwrite")
    }
    if json {
      try StandardOutput.write(summary.json.line() + [UInt8(ascii: "\n")])
    } else {
      Messages.notice(
        "extracted \(summary.files) \(summary.files == 1 ? "file" : "files"), "
          + humanSize(summary.bytes)
          + (mbuConfig == nil ? ", of backup \(summary.backup.id.prefix(12))" : ""))
    }
    return summary.isExact && !reader.lacksNamed ? status : ExitStatus.incomplete
  }

  /// Extracts some files, compares them, and removes them. Returns status 1 if they differ from the backup.
  private func tryOut(
    _ reader: BackupReader, _ destination: RestoreDestination, _ directory: RawPath, _ options: RestoreOptions,
    _ meter: ProgressMeter
  ) throws(Failure) -> Int32 {
    guard destination.isNew else {
      throw Failure(.cannotCreate, "\(directory.display) exists", hint: "--trial makes and removes its directory")
    }
    var differing = 0
    let report = EntryReport(key: "problem", json: false, nul: nul)
    let trial = TrialRestore(in: destination.directory, directory)
    let summary = try trial.run(reader, options) { (problem, path) throws(Failure) in
      differing += 1
      try report.print(problem.rawValue, path)
    }
    meter.finish()
    try writeCounts(summary)
    let status = reportMissing(summary.backup)
    Messages.notice(
      "extracted and compared \(summary.files) \(summary.files == 1 ? "file" : "files"), \(humanSize(summary.bytes)), "
        + "of backup \(summary.backup.id.prefix(12))")
    return differing > 0 ? ExitStatus.no : status
  }

  private func writeCounts(_ summary: RestoreSummary) throws(Failure) {
    guard let countsOut else { return }
    try AtomicFile.write(Array("\(summary.files)\t\(summary.bytes)\t\(summary.replaced)\n".utf8), to: countsOut)
  }

  // MARK: Reports

  private func report(_ verified: VerifiedManifest, format: String) throws(Failure) -> Int32 {
    if let against {
      let other = try readManifest(against, allowsDeferred: false)
      let id = try other.computeID().id.hex
      if verified.manifest.hasUnprovenID || id != verified.id {
        throw Failure(.integrity, "the archive is not the backup that the manifest describes")
      }
    }
    let manifest = verified.manifest
    if json {
      let report = JSON.object([
        "ok": .bool(verified.isWhole), "id": verified.shownID,
        "format": .string(format), "mode": .string(manifest.mode), "file_count": .number(manifest.fileCount),
        "entry_count": .number(manifest.files.count), "size": .number(manifest.totalSize),
        "missing": .array(verified.missing.map { .string($0) }),
        "absent": .array(verified.absent.map { .string($0) }),
      ])
      try StandardOutput.write(report.line() + [UInt8(ascii: "\n")])
    } else {
      let name = verified.id.isEmpty ? format : verified.id
      let word = verified.absent.isEmpty ? "ok" : "partial"
      try StandardOutput.write(
        "\(word) \(name) \(manifest.fileCount) files \(manifest.totalSize) bytes\n")
    }
    return reportMissing(verified)
  }

  /// Reports what is missing, and returns the exit status.
  private func reportMissing(_ verified: VerifiedManifest) -> Int32 {
    reportMissing(verified.missing, verified.manifest)
    return verified.isWhole ? ExitStatus.success : ExitStatus.incomplete
  }

  private func reportMissing(_ missing: [[UInt8]], _ manifest: Manifest) {
    for path in missing {
      let holder = manifest.holder(of: path)
      let reason =
        holder.map { "left out, its content is in backup \($0.prefix(12))" }
        ?? "listed, but not in the archive"
      Messages.warning("\(RawPath(path).display): \(reason)")
    }
  }

  /// The entries in a file written by `tbk-pull --list`, with or without `--json`, by id.
  func readExpected(_ path: RawPath) throws(Failure) -> [String: BackupClaims] {
    var expected: [String: BackupClaims] = [:]
    for claims in try readClaims(path) { expected[claims.id] = claims }
    return expected
  }

  /// The same, in the file's order.
  func readClaims(_ path: RawPath) throws(Failure) -> [BackupClaims] {
    let file = path.isStandardStream ? .standardInput : try Descriptor.openForReading(path)
    let bytes = try DescriptorSource(file, name: path).readAll(
      limit: OpenCommand.expectedLimit, what: path.display)
    var expected: [BackupClaims] = []
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      do throws(Failure) {
        let claims =
          try line.first == UInt8(ascii: "{")
          ? BackupClaims(parsing: Array(line)) : BackupClaims(row: Array(line))
        expected.append(claims)
      } catch {
        throw error.within(path.display)
      }
    }
    return expected
  }

  /// The size limit for such a file, in bytes.
  private static let expectedLimit = 256 << 20

  private func showHeader() throws(Failure) -> Int32 {
    let sources = archiveSources()
    let fields = try sources.firstFront().fields
    if json {
      try StandardOutput.write(JSON.object(fields).line() + [UInt8(ascii: "\n")])
    } else {
      for field in fields {
        guard let value = field.value.text ?? field.value.integer(UInt64.self).map(String.init)
        else { continue }
        try StandardOutput.write("\(field.key): \(value)\n")
      }
    }
    return ExitStatus.success
  }
}

/// mbu packages.
extension OpenCommand {
  fileprivate func validatePackage() throws {
    guard mbuConfig != nil else {
      if stripTop { throw ValidationError("--strip-top can only be used with --mbu-config") }
      return
    }
    if header { throw ValidationError("an mbu package has no header") }
    if manifest { throw ValidationError("an mbu package has no manifest: see --list") }
    if expectId != nil || against != nil || expect != nil {
      throw ValidationError("an mbu package has no id for --expect-id, --expect or --against")
    }
    if partial { throw ValidationError("--partial does not apply to an mbu package") }
    if chain || archives.count > 1 {
      throw ValidationError("an mbu package stands alone: give one, and no --chain")
    }
    if !identities.identity.isEmpty {
      throw ValidationError("an mbu package is opened with a password, not an identity")
    }
    if stripTop, !list, !verify, cat == nil, directory == nil {
      throw ValidationError("--strip-top can only be used with -C, --list, --verify or --cat")
    }
  }

  func mbuSettings() throws(Failure) -> MbuSettings? {
    guard let mbuConfig else { return nil }
    let file = try Descriptor.openForReading(mbuConfig)
    return try MbuSettings(reading: file, mbuConfig)
  }
}

extension VerifiedManifest {
  /// The id in a report; null for an mbu package, which has none.
  fileprivate var shownID: JSON { id.isEmpty ? .null : .string(id) }

  /// Whether everything that it lists is there.
  fileprivate var isWhole: Bool { missing.isEmpty && absent.isEmpty }
}

extension RestoreSummary {
  var json: JSON {
    .object([
      "id": backup.shownID, "file_count": .number(files), "size": .number(bytes),
      "missing": .array(backup.missing.map { .string($0) }),
      "absent": .array(backup.absent.map { .string($0) }), "exact": .bool(isExact),
    ])
  }
}
