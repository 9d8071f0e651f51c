import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

/// tbk-seal reseal: seals an archive with another password, in another suite or to other recipients. It keeps its suite
/// if no other is given; an archive that was sealed to recipients becomes one of suite 3.
struct SealReseal: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "reseal",
    abstract: "Seal an archive under another password, in another suite, or to recipients.",
    usage: "tbk-seal reseal [<options>] < archive > archive")

  @Option(name: .long, help: ArgumentHelp("Reject a backup whose id does not begin with <id>.", valueName: "id"))
  var expectId: String?

  @Option(
    name: .long,
    help: ArgumentHelp("With recipients: write a receipt, which a store needs, to <file>.", valueName: "file"))
  var receipt: RawPath?

  @OptionGroup var output: SealOutputOptions
  @OptionGroup var sealing: SealingOptions
  @OptionGroup var identities: IdentityOptions
  @OptionGroup var oldPasswords: OldPasswordOptions
  @OptionGroup var passwords: PasswordOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    try validateExpectedID(expectId)
    try sealing.validateSalt(unsaid: nil)
    try sealing.refuse(passwords)
    if receipt != nil, !sealing.hasRecipients {
      throw ValidationError("--receipt is for an archive that is sealed to recipients")
    }
    if receipt?.isStandardStream == true { throw ValidationError("--receipt takes a file") }
  }

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    try output.check(readsInput: true)
    let keys = try oldKeys()
    // Ask before reading the archive, which may take long.
    let held =
      self.sealing.hasRecipients
      ? nil : HeldSecret(try passwords.password(confirming: true, inputIsData: true))
    _ = try self.sealing.cost.cost()
    let sources = ArchiveSources([], isChain: false, limits: OpenLimits(), keys: keys, warn: { Messages.warning($0) })
    guard let archive = try sources.next() else {
      throw Failure(.library, "no archive was read")
    }
    let sealing = try sealing.sealing(
      unsaid: sources.isChunked ? .chunked : .whole, threads: min(processorCount(), 256)
    ) { () throws(Failure) in
      guard let held else { throw Failure(.library, "recipients need no password") }
      return try held.copy()
    }
    let meter = ProgressMeter("sealing", mode: progress.progress)
    let length = try again(archive, sealing, meter)
    meter.finish()
    let format = self.sealing.hasRecipients ? "age" : "TBK2"
    Messages.notice("sealed \(humanSize(length)) again, from \(archive.format) as \(format)")
    return ExitStatus.success
  }

  /// Reads the old password before the new one. With an identity there may be none.
  private func oldKeys() throws(Failure) -> OpeningKeys {
    let (options, noInput) = (oldPasswords, passwords.input.noInput)
    if identities.identity.isEmpty || options.isGiven {
      let held = HeldSecret(try options.password(refusing: noInput, inputIsData: true))
      return OpeningKeys(identities, refusing: noInput) { (_) throws(Failure) in try held.copy() }
    }
    return OpeningKeys(identities, refusing: noInput) { (_) throws(Failure) in
      try options.password(refusing: noInput, inputIsData: true)
    }
  }

  /// For an archive of suite 1, nothing is written until all of it has been verified; one of suite 3 or age is
  /// streamed, and its end is written when it has been verified.
  private func again(
    _ archive: any OpenedArchive, _ sealing: ArchiveSealing, _ meter: ProgressMeter
  ) throws(Failure) -> UInt64 {
    let advance: (Int) -> Void = { meter.advance($0) }
    if let archive = archive as? StreamedArchive, case .streamed(let sealing) = sealing {
      return try streamed { (target) throws(Failure) in
        var manifest: Manifest?
        _ = try Sealing.again(archive, sealing: sealing, into: target, progress: advance) {
          (copied) throws(Failure) in manifest = try verify(copied)
        }
        return manifest
      }
    }
    // An inconsistent archive must not be resealed.
    try archive.keep()
    let manifest = try verify(archive)
    if case .streamed = sealing, manifest.tree.isReadOnly { throw .staysInSuite1 }
    guard let archive = archive as? AuthenticatedArchive else {
      guard case .whole(let key, let compression) = sealing else {
        throw Failure(.library, "an archive of an unknown kind")
      }
      let target = try output.target(lengthIsKnown: false)
      return try Sealing.again(
        archive, of: manifest, key: key, threads: compression.threads, output: target,
        progress: advance)
    }
    meter.setTotal(archive.header.payloadLength)
    switch sealing {
    case .whole(let key, _):
      let target = try output.target(lengthIsKnown: true)
      return try Sealing.again(archive, key: key, output: target, progress: advance)
    case .streamed(let sealing):
      return try streamed { (target) throws(Failure) in
        _ = try Sealing.again(archive, sealing: sealing, into: target, progress: advance)
        return manifest
      }
    }
  }

  /// Writes an archive of suite 3 or age, and the receipt before its output is closed.
  ///
  /// - Parameter write: writes the whole archive, and returns its manifest.
  /// - Returns: the size of the archive, in bytes.
  private func streamed(
    _ write: (any ByteSink) throws(Failure) -> Manifest?
  ) throws(Failure) -> UInt64 {
    let target = try output.target(lengthIsKnown: true)
    if let receipt { try removeEarlier(receipt) }
    let hashing = try HashingSink(into: target)
    let manifest = try write(hashing)
    if let receipt, let manifest {
      var record = manifest.receipt(isComplete: (manifest.unreadable ?? []).isEmpty)
      record["size"] = .number(hashing.count)
      record["sha256"] = .string(try hashing.digest().hex)
      try AtomicFile.write(record.line() + [UInt8(ascii: "\n")], to: receipt, mode: 0o644)
    }
    try target.commit()
    return hashing.count
  }

  private func verify(_ archive: any OpenedArchive) throws(Failure) -> Manifest {
    var rest: (any OpenedArchive)? = archive
    let reader = try BackupReader(
      expectedID: expectId, progress: { _ in }, warn: { Messages.warning($0) },
      archives: { (_) throws(Failure) in rest.take() })
    return try reader.manifest(wholly: true).manifest
  }
}

extension Failure {
  /// In suite 3 and age its manifests would be rejected.
  static let staysInSuite1 = Failure(
    .configuration, "TermBackup 6 made the backup, which stays in suite 1",
    hint: "restore it, and back that up")
}
