import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

/// The backup to replace, and optionally the SHA-256 of the archive that the replacement was made from.
struct ReplacedBackup: ExpressibleByArgument {
  let id: RawPath
  let read: Digest?

  init?(argument: String) {
    let bytes = Array(argument.utf8)
    guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else {
      id = RawPath(bytes)
      read = nil
      return
    }
    guard let sha256 = Digest(hexDigits: Array(bytes[(colon + 1)...])) else { return nil }
    id = RawPath(Array(bytes[..<colon]))
    read = sha256
  }
}

extension StoreCommand {
  struct Replace: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Replace a backup's archive; with --receipt, replace the backup itself.",
      usage: """
        tbk-store replace <store> <id>[:<sha256>] [--rekeyed [--receipt <file>]] [--sealed-manifest <file>] [--signature <file>] < archive
        tbk-store replace <store> <id>[:<sha256>] --receipt <file> [--sealed-manifest <file>] [--signature <file>] < archive
        """)

    @Argument(help: "The store.")
    var store: RawPath

    @Argument(
      help: ArgumentHelp(
        "The backup, and the SHA-256 of the archive that the new one was made from.", valueName: "id[:sha256]"))
    var backup: ReplacedBackup

    @Option(
      name: .long,
      help: ArgumentHelp(
        "The file that tbk-seal --receipt wrote: the archive is another backup, or with --rekeyed the same.",
        valueName: "file"))
    var receipt: RawPath?

    @Option(
      name: .long, help: ArgumentHelp("The file that tbk-seal --manifest-out wrote.", valueName: "file"))
    var sealedManifest: RawPath?

    @Option(
      name: .long, help: ArgumentHelp("The archive's Ed25519 signature, 64 bytes.", valueName: "file")
    )
    var signature: RawPath?

    @Flag(name: .long, help: "The other archive is under another password, or sealed to other recipients.")
    var rekeyed = false

    @Flag(name: .long, help: "Print the entry, and report errors, as JSON.")
    var json = false

    @Option(
      name: .long,
      help: ArgumentHelp(
        "Reject any archive except this one.", valueName: "sha256"))
    var sha256: HexDigest?

    @OptionGroup var placing: PlacementOptions
    @OptionGroup var options: ChangeOptions
    @OptionGroup var progress: ProgressOptions

    func validate() throws { try options.signing.requireKey() }

    func execute() throws(Failure) -> Int32 {
      options.common.apply()
      let meter = ProgressMeter("storing", mode: progress.progress)
      defer { meter.finish() }
      var context = options.storeOptions.context(inputIsData: true)
      context.placement = placing.placement
      context.progress = { meter.advance($0) }
      let session = try options.session(store, context, inputIsData: true)
      let snapshot = try session.snapshot()
      snapshot.trust.report()
      let stored = try storeArchive(session, snapshot, meter)
      if stored.wasThere { Messages.notice("the store has this backup already") }
      try stored.entry.report(json: json)
      return ExitStatus.success
    }

    private func storeArchive(
      _ session: LedgerSession, _ snapshot: LedgerSession.Snapshot, _ meter: ProgressMeter
    ) throws(Failure) -> Stored {
      let input = try archiveFromStandardInput(hint: "as in: tbk-seal … | tbk-store replace STORE ID")
      // Check everything that can be rejected before reading the rest of the archive.
      let id = try snapshot.findExactly(backup.id, store: session.store.address).id
      try input.requireAnnouncement(receipt != nil || sha256 != nil)
      try session.refuseSigned(snapshot)
      try session.refuseUnsigned(snapshot)
      // The accompanying files are written before an archive of suite 1, and after one of suite 3 or age.
      var receipt: Receipt?
      var signature: [UInt8]?
      var manifest: (any StagedObject)?
      func readFilesBeside() throws(Failure) {
        receipt = try self.receipt.map { (path) throws(Failure) in try readReceipt(path) }
        signature = try self.signature.map { (path) throws(Failure) in try readSignature(path) }
        try session.requireAll(receipt?.dependsOn ?? [], in: snapshot)
        manifest = try sealedManifest.map { (path) throws(Failure) in try session.stageManifest(path) }
      }
      if input.length != nil { try readFilesBeside() }
      let archive = try session.stageArchive(input, beside: manifest, meter)
      if input.length == nil { try readFilesBeside() }
      try input.check(archive, receipt, sha256: sha256?.digest)
      let version = input.header.version
      if rekeyed, let receipt, receipt.id != id {
        throw Failure(
          .integrity, "the receipt is of the backup \(receipt.id.hex), not of \(id.hex)",
          hint: "give the receipt that was written with this archive")
      }
      guard let receipt, !rekeyed else {
        return try session.replace(
          id, read: backup.read, archive: archive, archiveVersion: version, manifest: manifest,
          signature: signature, rekeyed: rekeyed)
      }
      let other = NewBackup(
        receipt: receipt, archive: archive, archiveVersion: version, manifest: manifest, signature: signature)
      let (stored, dependents) = try session.supersede(id, read: backup.read, by: other)
      if !dependents.isEmpty {
        let number = dependents.count == 1 ? "another depends" : "\(dependents.count) others depend"
        Messages.notice("backup \(id.hex) stays: \(number) on it")
      }
      return stored
    }
  }

  struct ReplaceManifest: SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "replace-manifest",
      abstract: "Give a backup the sealed manifest on standard input.",
      usage: "tbk-store replace-manifest <store> <id>[:<sha256>] [<options>] < sealed-manifest")

    @Argument(help: "The store.")
    var store: RawPath

    @Argument(
      help: ArgumentHelp(
        "The backup, and the SHA-256 of the archive that the manifest was made from.", valueName: "id[:sha256]"))
    var backup: ReplacedBackup

    @Flag(name: .long, help: "Print the entry, and report errors, as JSON.")
    var json = false

    @OptionGroup var options: ChangeOptions

    func validate() throws { try options.signing.requireKey() }

    func execute() throws(Failure) -> Int32 {
      options.common.apply()
      let context = options.storeOptions.context(inputIsData: true)
      let session = try options.session(store, context, inputIsData: true)
      let snapshot = try session.snapshot()
      snapshot.trust.report()
      let input = try archiveFromStandardInput(
        hint: "as in: tbk-seal manifest … | tbk-store replace-manifest STORE ID")
      let id = try snapshot.findExactly(backup.id, store: session.store.address).id
      try session.refuseSigned(snapshot)
      try session.refuseUnsigned(snapshot)
      let sealed = try session.store.stage(input, size: input.length, in: .manifests)
      let stored = try session.replaceManifest(of: id, read: backup.read, by: sealed)
      if stored.wasThere { Messages.notice("the backup has this manifest already") }
      try stored.entry.report(json: json)
      return ExitStatus.success
    }
  }
}
