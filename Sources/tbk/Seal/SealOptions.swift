// What the subcommands of tbk-seal share.

import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

/// When a file that is there is replaced.
enum ReplacePolicy: String, CaseIterable, ExpressibleByArgument {
  case never
  /// Not by an archive that does not hold all of its source.
  case ifComplete = "if-complete"
  case always
}

/// Where an archive goes.
struct SealOutputOptions: ParsableArguments {
  @Option(name: .shortAndLong, help: ArgumentHelp("Write to <file>, which appears when it is complete.", valueName: "file"))
  var output: RawPath?

  @Option(name: .long, help: ArgumentHelp("If <file> is there: never, if-complete or always replace it.", valueName: "when"))
  var overwrite = ReplacePolicy.always

  func validate() throws {
    if overwrite != .always, path == nil { throw ValidationError("--overwrite goes with -o") }
  }

  /// The file; nil for standard output.
  private var path: RawPath? { output.flatMap { $0.isStandardStream ? nil : $0 } }

  /// Refuses streams that are a terminal.
  ///
  /// - Parameter readsInput: whether standard input is what is sealed.
  func check(readsInput: Bool) throws(Failure) {
    if path == nil {
      try StandardOutput.refuseTerminal("an archive", hint: "use -o, > file or a pipe")
    }
    if readsInput, Descriptor.standardInput.isTerminal {
      throw Failure(
        .usage, "standard input is a terminal",
        hint: "give a directory, or pipe a manifest, an archive or a tar in")
    }
  }

  func target(lengthIsKnown: Bool) throws(Failure) -> ArchiveOutput {
    guard let path else {
      return try ArchiveOutput(to: .standardOutput, lengthIsKnown: lengthIsKnown)
    }
    if overwrite == .never, try Descriptor.workingDirectory.statusIfPresent(of: path) != nil {
      throw Failure(.cannotCreate, "\(path.display) is there already")
    }
    let target = try ArchiveOutput(path: path)
    target.replaces = overwrite != .never
    return target
  }

  /// Refuses to replace a complete archive by one that is not.
  func admit(isComplete: Bool, _ target: ArchiveOutput) throws(Failure) {
    guard overwrite == .ifComplete, !isComplete, let path else { return }
    target.replaces = false
    if try Descriptor.workingDirectory.statusIfPresent(of: path) != nil {
      throw Failure(
        .cannotCreate, "\(path.display) is not replaced by what is not complete",
        hint: "mend what was named above, or give --overwrite always")
    }
  }
}

/// What the derivation of a key takes.
struct KeyCostOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Argon2id memory in KiB.", valueName: "kib"))
  var memory = Argon2Cost.standard.memory

  @Option(name: .long, help: ArgumentHelp("Argon2id passes.", valueName: "n"))
  var iterations = UInt16(Argon2Cost.standard.passes)

  @Option(name: .long, help: ArgumentHelp("Argon2id lanes.", valueName: "n"))
  var lanes = UInt8(Argon2Cost.standard.lanes)

  func cost() throws(Failure) -> Argon2Cost {
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
    return cost
  }
}

struct SealCompressionOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Compress at level 0 (not at all) to 9; by default 6.", valueName: "n"))
  var level: Int?

  @OptionGroup var threads: ThreadOptions

  func validate() throws {
    if let level, !(0...9).contains(level) { throw ValidationError("--level must be from 0 to 9") }
  }

  var compression: Compression {
    var compression = Compression()
    (compression.level, compression.threads) = (level ?? compression.level, threads.count)
    return compression
  }
}

/// What is written beside an archive, for a store.
struct SealRecordOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Write what a store needs to know to <file>.", valueName: "file"))
  var receipt: RawPath?

  @Option(name: .long, help: ArgumentHelp("Write the manifest, sealed, to <file>.", valueName: "file"))
  var manifestOut: RawPath?

  func validate() throws {
    for (name, path) in [("--receipt", receipt), ("--manifest-out", manifestOut)] {
      if let path, path.isStandardStream { throw ValidationError("\(name) takes a file") }
    }
  }

  /// Receipt and sealed manifest are in place before the first byte of the archive is.
  ///
  /// - Returns: whether the archive holds all of its source.
  func finish(
    _ backup: consuming SealedBackup, _ key: SealingKey, _ output: SealOutputOptions,
    _ target: ArchiveOutput
  ) throws(Failure) -> Bool {
    // Said before receipt and manifest take the place of those that go with what is there.
    try output.admit(isComplete: backup.isComplete, target)
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
    return isComplete
  }
}

/// What a new backup belongs to.
struct SealGroupOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Write down in the manifest that the backup is for the group <id> of a store.", valueName: "id"))
  var group: String?

  func validate() throws {
    if let group, GroupID(group) == nil { throw ValidationError("--group takes the id of a group") }
  }
}

extension Bool {
  /// The status of a seal that holds all of its source, or does not.
  var sealStatus: Int32 { self ? ExitStatus.success : ExitStatus.incomplete }
}
