// Options shared by the subcommands of tbk-seal.

import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

/// When to replace an existing file.
enum ReplacePolicy: String, CaseIterable, ExpressibleByArgument {
  case never
  /// Not by an archive that lacks part of its source.
  case ifComplete = "if-complete"
  case always
}

/// Where to write an archive.
struct SealOutputOptions: ParsableArguments {
  @Option(
    name: .shortAndLong, help: ArgumentHelp("Write to <file>, which appears when it is complete.", valueName: "file"))
  var output: RawPath?

  @Option(
    name: .long, help: ArgumentHelp("Replace an existing <file>: never, if-complete or always.", valueName: "when"))
  var overwrite = ReplacePolicy.always

  func validate() throws {
    if overwrite != .always, path == nil { throw ValidationError("--overwrite can only be used with -o") }
  }

  /// The file; nil for standard output.
  private var path: RawPath? { output.flatMap { $0.isStandardStream ? nil : $0 } }

  /// Throws if a stream is a terminal.
  ///
  /// - Parameter readsInput: whether standard input is sealed.
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
      throw Failure(.cannotCreate, "\(path.display) already exists")
    }
    let target = try ArchiveOutput(path: path)
    target.replaces = overwrite != .never
    return target
  }

  /// Whether an existing file may be kept although sealing succeeds.
  var mayStay: Bool { overwrite == .ifComplete && path != nil }

  /// Keeps an incomplete archive from replacing a complete one.
  func admit(isComplete: Bool, _ target: ArchiveOutput) throws(Failure) {
    guard overwrite == .ifComplete, !isComplete, let path else { return }
    target.replaces = false
    if try Descriptor.workingDirectory.statusIfPresent(of: path) != nil {
      throw Failure(
        .cannotCreate, "\(path.display) is not replaced: the new one is not complete",
        hint: "fix what was named above, or give "
          + (environment("TERMBACKUP_VERB") == Array("package".utf8) ? "--accept-incomplete" : "--overwrite always"))
    }
  }
}

/// The cost of key derivation.
struct KeyCostOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Argon2id memory in KiB.", valueName: "kib"))
  var memory = Argon2Cost.standard.memory

  @Option(name: .long, help: ArgumentHelp("Argon2id passes.", valueName: "n"))
  var iterations = UInt16(Argon2Cost.standard.passes)

  @Option(name: .long, help: ArgumentHelp("Argon2id lanes.", valueName: "n"))
  var lanes = UInt8(Argon2Cost.standard.lanes)

  /// Whether any of these differs from the default.
  var isGiven: Bool {
    memory != Argon2Cost.standard.memory || UInt32(iterations) != Argon2Cost.standard.passes
      || UInt32(lanes) != Argon2Cost.standard.lanes
  }

  func cost() throws(Failure) -> Argon2Cost {
    let cost = Argon2Cost(memory: memory, passes: UInt32(iterations), lanes: UInt32(lanes))
    if cost.passes < 1 || cost.lanes < 1 || cost.memory / 8 < cost.lanes {
      throw Failure(.usage, "Argon2id needs at least one pass, one lane, and 8 KiB of memory per lane")
    }
    let limits = Argon2Limits()
    if cost.memory > limits.memory || cost.passes > limits.passes || cost.lanes > limits.lanes {
      throw Failure(
        .usage, "no program would open an archive with these Argon2id costs",
        hint: "at most --memory \(limits.memory), --iterations \(limits.passes), --lanes \(limits.lanes)")
    }
    return cost
  }
}

struct SealCompressionOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Compress at level 0 (none) to 9, by default 6; except in suite 1, at 1 to 19, by default 3.",
      valueName: "n"))
  var level: Int?

  @OptionGroup private var threadOptions: ThreadOptions

  var threads: Int { threadOptions.count }
}

/// How to encrypt an archive: with a password, in one of two suites, or to recipients.
struct SealingOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Seal in cipher suite 1, the default, or 3.", valueName: "n"))
  var suite: CipherSuite?

  @Option(
    name: .shortAndLong, parsing: .singleValue,
    help: ArgumentHelp("Seal to <recipient>, age1…, as an age file; no password is needed.", valueName: "recipient"))
  var recipient: [RawPath] = []

  @Option(
    name: [.customShort("R"), .customLong("recipients-file")], parsing: .singleValue,
    help: ArgumentHelp("Seal to the recipients in <file>.", valueName: "file"))
  var recipientsFile: [RawPath] = []

  @Flag(name: .shortAndLong, help: "With recipients: write text, as age -a does.")
  var armor = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "In suite 3: take salt and costs from the archive <file>, if it costs no less.", valueName: "file"))
  var saltFrom: RawPath?

  @OptionGroup var cost: KeyCostOptions

  var hasRecipients: Bool { !recipient.isEmpty || !recipientsFile.isEmpty }

  func validate() throws {
    if hasRecipients {
      if suite != nil { throw ValidationError("--suite is for a password, not for recipients") }
      if saltFrom != nil { throw ValidationError("--salt-from is for a password, not for recipients") }
      if cost.isGiven {
        throw ValidationError("recipients need no Argon2id: --memory, --iterations and --lanes are for a password")
      }
    } else if armor {
      throw ValidationError("--armor can only be used with recipients")
    }
  }

  /// Throws if an option for suite 3 is used with another suite.
  ///
  /// - Parameter unsaid: the default suite; nil for that of the archive.
  func validateSalt(unsaid: CipherSuite? = .whole) throws {
    if saltFrom != nil, (suite ?? unsaid) == .whole {
      throw ValidationError("--salt-from can only be used with --suite 3")
    }
  }

  /// Throws if a password was given that would be ignored.
  func refuse(_ passwords: PasswordOptions) throws {
    if hasRecipients, passwords.isGiven {
      throw ValidationError("a password is given, but the archive is sealed to recipients")
    }
  }

  /// - Parameters:
  ///   - unsaid: the default suite.
  ///   - level: nil for the default.
  ///   - password: called unless there are recipients.
  func sealing(
    unsaid: CipherSuite = .whole, level: Int? = nil, threads: Int,
    password: () throws(Failure) -> Secret
  ) throws(Failure) -> ArchiveSealing {
    try beginSealing(unsaid: unsaid, level: level, threads: threads, password: password)()
  }

  /// The same, but a key is derived only when the returned function is called.
  func beginSealing(
    unsaid: CipherSuite = .whole, level: Int? = nil, threads: Int,
    password: () throws(Failure) -> Secret
  ) throws(Failure) -> () throws(Failure) -> ArchiveSealing {
    let suite = suite ?? unsaid
    let isWhole = !hasRecipients && suite != .chunked
    let levels = isWhole ? 0...9 : 1...19
    if let level, !levels.contains(level) {
      throw Failure(
        .usage,
        "--level must be from \(levels.lowerBound) to \(levels.upperBound)"
          + (isWhole ? " in suite 1" : ""))
    }
    if hasRecipients {
      let kind = StreamSealing(.recipients(try recipients(), armored: armor), level: level ?? 3, threads: threads)
      return { () throws(Failure) in .streamed(kind) }
    }
    let cost = try cost.cost()
    let held = HeldSecret(try password())
    guard suite == .chunked else {
      var settings = Compression()
      (settings.level, settings.threads) = (level ?? settings.level, threads)
      return { [settings] () throws(Failure) in
        .whole(try SealingKey(password: try held.copy(), cost: cost), settings)
      }
    }
    return { [saltFrom] () throws(Failure) in
      let key = try Self.chunkedKey(saltFrom, try held.copy(), cost)
      return .streamed(StreamSealing(.password(key), level: level ?? 3, threads: threads))
    }
  }

  private static func chunkedKey(
    _ saltFrom: RawPath?, _ password: borrowing Secret, _ cost: Argon2Cost
  ) throws(Failure) -> SealingKey {
    guard let saltFrom else { return try SealingKey(password: password, cost: cost) }
    do throws(Failure) {
      let file = DescriptorSource(try Descriptor.openForReading(saltFrom), name: saltFrom)
      return try SealingKey.sharing(file, password: password, cost: cost)
    } catch {
      throw error.within(saltFrom.display)
    }
  }

  /// For commands where the password also opens archives: it is read once, and only if needed.
  ///
  /// - Returns: a function that returns how to seal, given the default suite; and the keys that open archives.
  func sealingAgain(
    level: Int? = nil, threads: Int, _ identities: IdentityOptions, _ passwords: PasswordOptions
  ) throws(Failure) -> ((CipherSuite) throws(Failure) -> ArchiveSealing, OpeningKeys) {
    let noInput = passwords.input.noInput
    if hasRecipients {
      let keys = OpeningKeys(identities, refusing: noInput) { (_) throws(Failure) in
        try passwords.password(confirming: false, inputIsData: true)
      }
      let never: () throws(Failure) -> Secret = { () throws(Failure) in
        throw Failure(.library, "recipients need no password")
      }
      let kind = try sealing(level: level, threads: threads, password: never)
      return ({ (_) throws(Failure) in kind }, keys)
    }
    let held = HeldSecret(try passwords.password(confirming: false, inputIsData: true))
    let keys = OpeningKeys(identities, refusing: noInput) { (_) throws(Failure) in try held.copy() }
    let kind: (CipherSuite) throws(Failure) -> ArchiveSealing = { (unsaid) throws(Failure) in
      try sealing(unsaid: unsaid, level: level, threads: threads) { () throws(Failure) in
        try held.copy()
      }
    }
    return (kind, keys)
  }

  /// All recipients, without duplicates.
  private func recipients() throws(Failure) -> [AgeRecipient] {
    var all: [AgeRecipient] = []
    for text in recipient {
      do throws(Failure) {
        all.append(try AgeRecipient(parsing: text.bytes))
      } catch {
        throw Failure(.usage, error.message, hint: error.hint)
      }
    }
    for path in recipientsFile {
      if path.isStandardStream { throw Failure(.usage, "recipients are read from a file, not from standard input") }
      let bytes = try readFile(path, limit: AgeRecipientsFile.maximumLength)
      do throws(Failure) {
        all += try AgeRecipientsFile.parse(bytes.span)
      } catch {
        throw error.within(path.display)
      }
    }
    var seen: Set<AgeRecipient> = []
    return all.filter { seen.insert($0).inserted }
  }
}

enum CipherSuite: String, CaseIterable, ExpressibleByArgument {
  /// The whole archive is one message.
  case whole = "1"
  case chunked = "3"
}

/// How to seal an archive.
enum ArchiveSealing {
  /// In suite 1.
  case whole(SealingKey, Compression)
  /// In suite 3, or as an age file.
  case streamed(StreamSealing)
}

/// The files to write beside an archive, for a store.
struct SealRecordOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Write a receipt, which a store needs, to <file>.", valueName: "file"))
  var receipt: RawPath?

  @Option(name: .long, help: ArgumentHelp("Write the manifest, sealed, to <file>.", valueName: "file"))
  var manifestOut: RawPath?

  func validate() throws {
    for (name, path) in [("--receipt", receipt), ("--manifest-out", manifestOut)] {
      if let path, path.isStandardStream { throw ValidationError("\(name) takes a file") }
    }
  }

  /// Removes the files of an earlier seal, so that they cannot be taken for this one's if it fails.
  func begin(_ output: SealOutputOptions) throws(Failure) {
    // In that case the existing archive may be kept, with the files that describe it.
    if output.mayStay { return }
    for path in [receipt, manifestOut] {
      if let path { try removeEarlier(path) }
    }
  }

  /// The sealed manifest, under a temporary name.
  func manifestFile() throws(Failure) -> SealedManifestFile? {
    try manifestOut.map { (path) throws(Failure) in try SealedManifestFile(path) }
  }

  /// Completes an archive of suite 3 or age after its last byte: puts the manifest in place, then the receipt, then the
  /// archive.
  ///
  /// - Returns: whether the archive contains its whole source.
  func finish(
    _ backup: StreamedBackup, _ manifest: SealedManifestFile?, _ output: SealOutputOptions,
    _ target: ArchiveOutput
  ) throws(Failure) -> Bool {
    try output.admit(isComplete: backup.isComplete, target)
    try manifest?.commit()
    if let receipt {
      try AtomicFile.write(backup.receipt().line() + [UInt8(ascii: "\n")], to: receipt, mode: 0o644)
    }
    try target.commit()
    report(backup.manifest, read: backup.contentLength, written: backup.archiveLength)
    return backup.isComplete
  }

  /// Writes an archive of suite 1: receipt and sealed manifest are in place before its first byte.
  ///
  /// - Returns: whether the archive contains its whole source.
  func finish(
    _ backup: consuming SealedBackup, _ key: SealingKey, _ output: SealOutputOptions,
    _ target: ArchiveOutput
  ) throws(Failure) -> Bool {
    // Report this before receipt and manifest replace those of the existing archive.
    try output.admit(isComplete: backup.isComplete, target)
    if let manifestOut { try Sealing.manifest(backup.manifest, key: key, to: manifestOut) }
    if let receipt {
      try AtomicFile.write(backup.receipt().line() + [UInt8(ascii: "\n")], to: receipt, mode: 0o644)
    }
    let (isComplete, read, written) = (backup.isComplete, backup.contentLength, backup.archiveLength)
    let manifest = backup.manifest
    try backup.commit()
    report(manifest, read: read, written: written)
    return isComplete
  }

  private func report(_ manifest: Manifest, read: UInt64, written: UInt64) {
    let files = manifest.fileCount
    Messages.notice(
      "sealed \(files) \(files == 1 ? "file" : "files"), \(humanSize(read)) into "
        + "\(humanSize(written)), id \((manifest.backupID ?? "").prefix(12))")
  }
}

/// Removes the file that an earlier seal wrote beside its archive, if any.
func removeEarlier(_ path: RawPath) throws(Failure) {
  guard let facts = try Descriptor.workingDirectory.statusIfPresent(of: path),
    facts.st_mode & S_IFMT == S_IFREG
  else { return }
  _ = try Descriptor.workingDirectory.unlink(path)
}

/// The manifest for this machine, which cannot open what it seals to other recipients.
struct SealLocalOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "With recipients: write the manifest, sealed only to --local-recipient, to <file>.", valueName: "file"))
  var localManifestOut: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "The recipient of --local-manifest-out, and not of the archive.", valueName: "recipient"))
  var localRecipient: RawPath?

  func validate(_ sealing: SealingOptions) throws {
    if (localManifestOut == nil) != (localRecipient == nil) {
      throw ValidationError("--local-manifest-out and --local-recipient must be given together")
    }
    if localManifestOut != nil, !sealing.hasRecipients {
      throw ValidationError("--local-manifest-out is for an archive that is sealed to recipients")
    }
    if localManifestOut?.isStandardStream == true { throw ValidationError("--local-manifest-out takes a file") }
  }

  /// Writes it if requested.
  func write(_ manifest: Manifest) throws(Failure) {
    guard let localManifestOut, let localRecipient else { return }
    let recipient: AgeRecipient
    do throws(Failure) {
      recipient = try AgeRecipient(parsing: localRecipient.bytes)
    } catch {
      throw Failure(.usage, error.message, hint: error.hint)
    }
    let target = try ArchiveOutput(path: localManifestOut)
    try Sealing.manifest(
      manifest, sealing: StreamSealing(.recipients([recipient], armored: false), threads: 1), into: target)
    try target.commit()
  }
}

/// A sealed manifest while it is written; it is put in place together with the archive.
final class SealedManifestFile {
  let sink: any ByteSink
  private let file: AtomicFile

  init(_ path: RawPath) throws(Failure) {
    file = try AtomicFile(path)
    sink = DescriptorSink(file.descriptor, name: path)
  }

  func commit() throws(Failure) { try file.commit() }
}

/// The group of a new backup.
struct SealGroupOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp("Record in the manifest that the backup is for the group <id> of a store.", valueName: "id"))
  var group: String?

  func validate() throws {
    if let group, GroupID(group) == nil { throw ValidationError("--group takes the id of a group") }
  }
}

extension Bool {
  /// The exit status of a seal, by whether the archive contains its whole source.
  var sealStatus: Int32 { self ? ExitStatus.success : ExitStatus.incomplete }
}
