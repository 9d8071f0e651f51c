import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

/// tbk-seal: packs and encrypts.
struct SealCommand: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-seal",
    abstract: "Pack and encrypt what a manifest lists.",
    usage: """
      tbk-seal [<options>] < manifest > archive
      tbk-seal [<options>] <dir> > archive
      tbk-seal [<options>] --stdin-name <name> [--from-command -- <command> ...] > archive
      tbk-seal --from-tar [<options>] < tar > archive
      tbk-seal --reseal [<options>] < archive > archive
      tbk-seal --consolidate [<options>] < archives > archive
      tbk-seal --manifest-only [<options>] < archive > sealed-manifest
      """,
    version: "tbk-seal \(suiteVersion)")

  @Argument(help: ArgumentHelp("Make the manifest of this directory, instead of reading one.", valueName: "dir"))
  var source: RawPath?

  @Option(name: [.customShort("C"), .customLong("directory")], help: ArgumentHelp("Read the files below <dir>, not where the manifest says.", valueName: "dir"))
  var directory: RawPath?

  @Option(name: .long, help: ArgumentHelp("Seal a stream as one file called <name>.", valueName: "name"))
  var stdinName: RawPath?

  @Flag(name: .long, help: "Take the stream from the command after --, and fail if it fails.")
  var fromCommand = false

  @Argument(parsing: .postTerminator, help: .hidden)
  var command: [RawPath] = []

  @Flag(name: .long, help: "Seal what a tar holds.")
  var fromTar = false

  @Flag(name: .long, help: "Of a tar, leave the directory that everything is in out of the names.")
  var stripTop = false

  @Flag(name: .long, help: "Seal an archive, TBK2 or TBK1, under another password.")
  var reseal = false

  @Flag(name: .long, help: "Make one archive of a backup and those it needs, as tbk-pull --chain sends them.")
  var consolidate = false

  @Flag(name: .long, help: "Seal the manifest of an archive alone, under the same password.")
  var manifestOnly = false

  @Option(name: .long, help: ArgumentHelp("Seal it again only if the backup has this id, or one that begins so.", valueName: "id"))
  var expectId: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("Write to <file>, which appears when it is complete.", valueName: "file"))
  var output: RawPath?

  @Option(name: .long, help: ArgumentHelp("If <file> is there: never, if-complete or always replace it.", valueName: "when"))
  var overwrite = ReplacePolicy.always

  @Option(name: .long, help: ArgumentHelp("Write what a store needs to know to <file>.", valueName: "file"))
  var receipt: RawPath?

  @Option(name: .long, help: ArgumentHelp("Write the manifest, sealed, to <file>.", valueName: "file"))
  var manifestOut: RawPath?

  @Option(name: .long, help: ArgumentHelp("Write down in the manifest that the backup is for the group <id> of a store.", valueName: "id"))
  var group: String?

  @Option(name: .long, help: ArgumentHelp("Compress at level 0 (not at all) to 9; by default 6.", valueName: "n"))
  var level: Int?

  @Option(name: .long, help: ArgumentHelp("Argon2id memory in KiB.", valueName: "kib"))
  var memory = Argon2Cost.standard.memory

  @Option(name: .long, help: ArgumentHelp("Argon2id passes.", valueName: "n"))
  var iterations = UInt16(Argon2Cost.standard.passes)

  @Option(name: .long, help: ArgumentHelp("Argon2id lanes.", valueName: "n"))
  var lanes = UInt8(Argon2Cost.standard.lanes)

  @OptionGroup var threads: ThreadOptions
  @OptionGroup var walk: WalkOptionGroup
  @OptionGroup var passwords: PasswordOptions
  @OptionGroup var oldPasswords: OldPasswordOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if let level, !(0...9).contains(level) { throw ValidationError("--level must be from 0 to 9") }
    try validateResealing()
    try validateManifestOnly()
    if fromTar, source != nil || directory != nil || stdinName != nil {
      throw ValidationError("--from-tar seals a tar from standard input, and nothing else")
    }
    if let group, GroupID(group) == nil { throw ValidationError("--group takes the id of a group") }
    if group != nil, reseal || consolidate {
      throw ValidationError("--group is for a new archive only")
    }
    if stripTop, !fromTar { throw ValidationError("--strip-top goes with --from-tar") }
    for (name, path) in [("--receipt", receipt), ("--manifest-out", manifestOut)] {
      if let path, path.isStandardStream { throw ValidationError("\(name) takes a file") }
    }
    if overwrite != .always, output?.isStandardStream ?? true { throw ValidationError("--overwrite goes with -o") }
    if stdinName != nil, source != nil || directory != nil {
      throw ValidationError("--stdin-name seals a stream, not a directory")
    }
    if fromCommand, stdinName == nil {
      throw ValidationError("--from-command needs --stdin-name")
    }
    if fromCommand == command.isEmpty {
      throw ValidationError(
        fromCommand
          ? "--from-command needs a command after --" : "a command is given without --from-command")
    }
    if walk.isGiven, source == nil {
      throw ValidationError("what to leave out is chosen where the manifest is made")
    }
    if directory != nil, source != nil {
      throw ValidationError("--directory is for a manifest from standard input")
    }
  }

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    if output?.isStandardStream == true { output = nil }
    if output == nil {
      try StandardOutput.refuseTerminal("an archive", hint: "use -o, > file or a pipe")
    }
    let inputIsData = source == nil && !fromCommand
    if inputIsData, Descriptor.standardInput.isTerminal {
      throw Failure(
        .usage, "standard input is a terminal",
        hint: "give a directory, or pipe a manifest, an archive or a tar in")
    }
    let cost = Argon2Cost(memory: memory, passes: UInt32(iterations), lanes: UInt32(lanes))
    if cost.passes < 1 || cost.lanes < 1 || cost.memory / 8 < cost.lanes {
      throw Failure(.usage, "Argon2id needs a pass, a lane, and 8 KiB of memory a lane")
    }
    let limits = Argon2Limits()
    if cost.memory > limits.memory || cost.passes > limits.passes || cost.lanes > limits.lanes {
      throw Failure(
        .usage, "nothing would open an archive that takes so much Argon2id",
        hint: "at most --memory \(limits.memory), --iterations \(limits.passes), --lanes \(limits.lanes)")
    }
    if reseal { return try sealAgain(cost) }
    let password = try passwords.password(confirming: !consolidate && !manifestOnly, inputIsData: inputIsData)
    var compression = Compression()
    (compression.level, compression.threads) = (level ?? compression.level, threads.count)
    if manifestOnly { return try sealManifest(password, cost) }
    if consolidate { return try sealConsolidated(password, cost, compression) }
    if let stdinName {
      return try sealStream(stdinName, password, cost, compression)
    }
    if fromTar { return try sealTar(password, cost, compression) }
    return try sealTree(password, cost, compression)
  }

  func archiveOutput(lengthIsKnown: Bool) throws(Failure) -> ArchiveOutput {
    if let output {
      if overwrite == .never, try Descriptor.workingDirectory.statusIfPresent(of: output) != nil {
        throw Failure(.cannotCreate, "\(output.display) is there already")
      }
      let target = try ArchiveOutput(path: output)
      target.replaces = overwrite != .never
      return target
    }
    return try ArchiveOutput(to: .standardOutput, lengthIsKnown: lengthIsKnown)
  }

  // MARK: A tree

  private func sealTree(
    _ password: borrowing Secret, _ cost: Argon2Cost, _ compression: Compression
  ) throws(Failure) -> Int32 {
    var manifest: Manifest
    if let source {
      manifest = try walkTree(source)
    } else {
      manifest = try readManifest(nil, allowsDeferred: true)
    }
    if let group { manifest.group = group }
    if manifest.mode == "incremental" || manifest.needsOthers, receipt == nil {
      throw Failure(
        .usage, "an incremental backup without --receipt would be broken by the first prune",
        hint: "give --receipt FILE here and to tbk-push")
    }
    guard let path = directory?.bytes ?? manifest.sourceDirectory else {
      throw Failure(.usage, "the manifest does not say where its files are", hint: "give -C DIR")
    }
    let (root, _) = try openDirectory(RawPath(path))
    let key = try SealingKey(password: password, cost: cost)
    let target = try archiveOutput(lengthIsKnown: false)
    let meter = ProgressMeter("sealing", mode: progress.progress)
    let backup = try Sealing.tree(
      manifest, root: root, key: key, compression: compression, output: target,
      begin: { meter.setTotal($0) }, progress: { meter.advance($0) },
      report: { Messages.warning("\(RawPath($0.path).display): \($0.reason)") })
    meter.finish()
    let earlier = manifest.unreadable?.count ?? 0
    if earlier > 0, source == nil {
      Messages.warning("the manifest names \(earlier) entries that could not be read")
    }
    return try finish(backup, key, target)
  }

  private func walkTree(_ path: RawPath) throws(Failure) -> Manifest {
    var creation = ManifestCreation()
    creation.walk = try walk.options()
    creation.defersHash = true
    creation.threads = 1
    creation.remark = { WalkReport.tell($0) }
    return try creation.manifest(of: path)
  }

  // MARK: A stream

  private func sealStream(
    _ name: RawPath, _ password: borrowing Secret, _ cost: Argon2Cost, _ compression: Compression
  ) throws(Failure) -> Int32 {
    let key = try SealingKey(password: password, cost: cost)
    let child = fromCommand ? try ChildProcess(command.map(\.bytes)) : nil
    let target = try archiveOutput(lengthIsKnown: true)
    let meter = ProgressMeter("sealing", mode: progress.progress)
    let backup = try Sealing.stream(
      DescriptorSource(child?.output ?? .standardInput), name: name, group: group, key: key,
      compression: compression, output: target, progress: { meter.advance($0) }
    ) { () throws(Failure) in
      if let reason = try child?.wait() {
        throw Failure(.io, "\(command[0].display) failed: \(reason)", hint: "nothing was sealed")
      }
    }
    meter.finish()
    return try finish(backup, key, target)
  }

  // MARK: A tar

  private func sealTar(
    _ password: borrowing Secret, _ cost: Argon2Cost, _ compression: Compression
  ) throws(Failure) -> Int32 {
    let key = try SealingKey(password: password, cost: cost)
    let target = try archiveOutput(lengthIsKnown: true)
    let meter = ProgressMeter("sealing", mode: progress.progress)
    let backup = try Sealing.tar(
      DescriptorSource(.standardInput), stripsTop: stripTop, group: group, key: key,
      compression: compression, output: target, progress: { meter.advance($0) },
      tell: { Messages.warning("\(RawPath($0.path).display): \($0.reason)") })
    meter.finish()
    return try finish(backup, key, target)
  }

  // MARK: The end

  /// Receipt and sealed manifest are in place before the first byte of the archive is.
  func finish(
    _ backup: consuming SealedBackup, _ key: SealingKey, _ target: ArchiveOutput
  ) throws(Failure) -> Int32 {
    if overwrite == .ifComplete, !backup.isComplete {
      target.replaces = false
      // Said before receipt and manifest take the place of those that go with what is there.
      if let output, try Descriptor.workingDirectory.statusIfPresent(of: output) != nil {
        throw Failure(
          .cannotCreate, "\(output.display) is not replaced by what is not complete",
          hint: "mend what was named above, or give --overwrite always")
      }
    }
    if let manifestOut { try Sealing.manifest(backup.manifest, key: key, to: manifestOut) }
    if let receipt {
      try AtomicFile.write(backup.receipt().line() + [UInt8(ascii: "\n")], to: receipt, mode: 0o644)
    }
    let (isComplete, read, written) = (backup.isComplete, backup.contentLength, backup.archiveLength)
    let id = backup.manifest.backupID ?? ""
    let files = backup.manifest.fileCount
    try backup.commit()
    Messages.notice(
      "sealed \(files) \(files == 1 ? "file" : "files"), \(humanSize(read)) into "
        + "\(humanSize(written)), id \(id.prefix(12))")
    return isComplete ? ExitStatus.success : ExitStatus.incomplete
  }
}

/// When a file that is there is replaced.
enum ReplacePolicy: String, CaseIterable, ExpressibleByArgument {
  case never
  /// Not by an archive that does not hold all of its source.
  case ifComplete = "if-complete"
  case always
}
