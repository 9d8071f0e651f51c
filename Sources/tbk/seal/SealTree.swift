import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

/// tbk-seal itself: seals the files that a manifest lists.
struct SealTree: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tree",
    abstract: "Seal what a manifest lists, or a directory (the default).",
    usage: """
      tbk-seal [<options>] < manifest > archive
      tbk-seal [<options>] <dir> > archive
      """)

  @Argument(help: ArgumentHelp("Make the manifest of this directory, instead of reading one.", valueName: "dir"))
  var source: RawPath?

  @Option(
    name: [.customShort("C"), .customLong("directory")],
    help: ArgumentHelp("Read the files below <dir> instead of where the manifest says.", valueName: "dir"))
  var directory: RawPath?

  @OptionGroup var output: SealOutputOptions
  @OptionGroup var records: SealRecordOptions
  @OptionGroup var local: SealLocalOptions
  @OptionGroup var group: SealGroupOptions
  @OptionGroup var compression: SealCompressionOptions
  @OptionGroup var sealing: SealingOptions
  @OptionGroup var walk: WalkOptionGroup
  @OptionGroup var passwords: PasswordOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    try sealing.validateSalt()
    try sealing.refuse(passwords)
    try local.validate(sealing)
    if walk.isGiven, source == nil {
      throw ValidationError("choose what to leave out when the manifest is made")
    }
    if directory != nil, source != nil {
      throw ValidationError("--directory is for a manifest from standard input")
    }
  }

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    try output.check(readsInput: source == nil)
    let begin = try sealing.beginSealing(
      level: compression.level, threads: compression.threads
    ) { () throws(Failure) in
      try passwords.password(confirming: true, inputIsData: source == nil)
    }
    // The key is derived while the tree is walked, or the manifest is read.
    let pending = try Beside(begin)
    var manifest: Manifest
    if let source {
      manifest = try walkTree(source)
    } else {
      do throws(Failure) {
        manifest = try readManifest(nil, allowsDeferred: true)
      } catch {
        guard error.code == .malformed, error.hint == nil else { throw error }
        throw Failure(
          error.code, error.message,
          hint: "standard input is not a manifest; 'tbk-seal stream NAME' seals any other data")
      }
    }
    if let group = group.group { manifest.group = group }
    if manifest.mode == "incremental" || manifest.needsOthers, records.receipt == nil {
      throw Failure(
        .usage, "an incremental backup without --receipt would be broken by the first prune",
        hint: "give --receipt FILE here and to tbk-push")
    }
    guard let path = directory?.bytes ?? manifest.sourceDirectory else {
      throw Failure(.usage, "the manifest does not say where its files are", hint: "give -C DIR")
    }
    let (root, _) = try openDirectory(RawPath(path))
    let meter = ProgressMeter("sealing", mode: progress.progress)
    let report: (TreePacker.Mishap) -> Void = {
      Messages.warning("\(RawPath($0.path).display): \($0.reason)")
    }
    switch try pending.value() {
    case .whole(let key, let compression):
      let target = try output.target(lengthIsKnown: false)
      try records.begin(output)
      let backup = try Sealing.tree(
        manifest, root: root, key: key, compression: compression, output: target,
        begin: { meter.setTotal($0) }, progress: { meter.advance($0) }, report: report)
      meter.finish()
      reportEarlier(manifest)
      return try records.finish(backup, key, output, target).sealStatus
    case .streamed(var sealing):
      sealing.hashesArchive = records.receipt != nil
      let target = try output.target(lengthIsKnown: true)
      try records.begin(output)
      let sealed = try records.manifestFile()
      let backup = try Sealing.tree(
        manifest, root: root, sealing: sealing, sealedManifest: sealed?.sink, into: target,
        begin: { meter.setTotal($0) }, progress: { meter.advance($0) }, report: report)
      meter.finish()
      reportEarlier(manifest)
      try local.write(backup.manifest)
      return try records.finish(backup, sealed, output, target).sealStatus
    }
  }

  private func reportEarlier(_ manifest: Manifest) {
    let earlier = manifest.unreadable?.count ?? 0
    if earlier > 0, source == nil {
      Messages.warning("the manifest names \(earlier) entries that could not be read")
    }
  }

  private func walkTree(_ path: RawPath) throws(Failure) -> Manifest {
    var creation = ManifestCreation()
    creation.walk = try walk.options()
    creation.defersHash = true
    creation.threads = 1
    creation.walksAhead = compression.threads > 1
    creation.remark = { WalkReport.report($0) }
    return try creation.manifest(of: path)
  }
}
