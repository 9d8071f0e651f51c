import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKFormat

/// tbk-manifest: creates manifests, compares them, and checks trees against them.
struct ManifestCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-manifest",
    abstract: "Make, compare, check and show manifests.",
    version: "tbk-manifest \(suiteVersion)",
    subcommands: [
      ManifestCreate.self, ManifestDiffCommand.self, ManifestCheckCommand.self, ManifestShow.self,
      ManifestID.self,
    ],
    defaultSubcommand: ManifestCreate.self)
}

enum ManifestMode: String, ExpressibleByArgument, CaseIterable {
  case full, incremental
}

struct ManifestCreate: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Walk a directory and print its manifest (the default).")

  @Argument(help: ArgumentHelp("The directory.", valueName: "dir"))
  var directory: RawPath

  @OptionGroup var walk: WalkOptionGroup

  @Option(name: .long, help: ArgumentHelp("Take the hashes of unchanged files from <manifest>.", valueName: "manifest"))
  var previous: RawPath?

  @Option(name: .long, help: ArgumentHelp("full, or incremental over --previous.", valueName: "mode"))
  var mode = ManifestMode.full

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Write how the tree differs from --previous to <file>, in the format of diff.", valueName: "file"))
  var changes: RawPath?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Write how many entries differ from --previous to <file>: added, modified, deleted, and those in which only metadata differs.",
      valueName: "file"))
  var counts: RawPath?

  @Flag(name: .long, help: "Leave the hashes of files that must be packed anyway to tbk-seal.")
  var deferHash = false

  @Flag(name: .long, help: "Fail if there is no regular file, as when a disk is not mounted.")
  var needFiles = false

  @OptionGroup var threads: ThreadOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if mode == .incremental, previous == nil {
      throw ValidationError("--mode incremental needs --previous")
    }
    for (option, file) in [("--changes", changes), ("--counts", counts)] {
      guard let file else { continue }
      if previous == nil { throw ValidationError("\(option) needs --previous") }
      if file.isStandardStream {
        throw ValidationError("\(option) takes a file: standard output is the manifest")
      }
    }
  }

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    let meter = ProgressMeter("reading", mode: progress.progress)
    var creation = ManifestCreation()
    creation.walk = try walk.options()
    creation.previous = try previous.map { (path) throws(Failure) in
      try readManifest(path, allowsDeferred: false)
    }
    creation.incremental = mode == .incremental
    creation.defersHash = deferHash
    creation.needsFiles = needFiles
    creation.threads = deferHash && previous == nil ? 1 : threads.count
    creation.walksAhead = threads.count > 1
    creation.progress = { meter.advance($0) }
    creation.remark = { WalkReport.report($0) }
    let changeList = try changes.map { (path) throws(Failure) in try create(path) }
    let countList = try counts.map { (path) throws(Failure) in try create(path) }
    let tally = ChangeTally()
    if changes != nil || counts != nil {
      creation.change = { (change, path) throws(Failure) in
        tally.count(change)
        try changeList?.write(Array("\(change.rawValue)\t\(RawPath(path).quoted)\n".utf8))
      }
    }
    let sink = DescriptorSink(.standardOutput)
    let summary = try creation.run(directory, to: sink)
    try changeList?.finish()
    try countList?.write(Array(tally.line.utf8))
    try countList?.finish()
    try sink.write([UInt8(ascii: "\n")])
    try sink.finish()
    meter.finish()
    return summary.unreadable == 0 ? ExitStatus.success : ExitStatus.incomplete
  }

  private func create(_ path: RawPath) throws(Failure) -> DescriptorSink {
    DescriptorSink(
      try Descriptor.workingDirectory.open(
        path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o666, missing: .cannotCreate), name: path)
  }
}

struct ManifestDiffCommand: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff", abstract: "Print what differs between two manifests.")

  @Argument(help: ArgumentHelp("The older manifest.", valueName: "old"))
  var old: RawPath

  @Argument(help: ArgumentHelp("The newer manifest.", valueName: "new"))
  var new: RawPath

  @Flag(name: .long, help: "Print one object per line.")
  var json = false

  @Flag(name: .customShort("0"), help: "End names with NUL and do not quote them.")
  var nul = false

  @Flag(name: .long, help: "Also print the sizes of files before and after, in bytes, between the other two columns.")
  var sizes = false

  @Flag(name: [.short, .long], help: "Print nothing; only set the exit status.")
  var quiet = false

  func validate() throws {
    if json, nul { throw ValidationError("--json cannot be used with -0") }
  }

  mutating func execute() throws(Failure) -> Int32 {
    Messages.quiet = quiet
    if old.isStandardStream, new.isStandardStream {
      throw Failure(.usage, "only one manifest can come from standard input")
    }
    var differs = false
    let report = EntryReport(key: "status", json: json, nul: nul)
    let (older, newer) = (
      try readManifest(old, allowsDeferred: true), try readManifest(new, allowsDeferred: true)
    )
    let (isQuiet, hasSizes) = (quiet, sizes)
    try ManifestDiff.compareSizes(older, newer) { (change, path, sizes) throws(Failure) in
      differs = true
      if !isQuiet { try report.print(change.rawValue, path, sizes: hasSizes ? sizes : nil) }
    }
    return differs ? ExitStatus.no : ExitStatus.success
  }
}

struct ManifestCheckCommand: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Print how a directory differs from a manifest.")

  @Argument(help: ArgumentHelp("The manifest.", valueName: "manifest"))
  var manifest: RawPath

  @Argument(help: ArgumentHelp("The directory.", valueName: "dir"))
  var directory: RawPath

  @OptionGroup var walk: WalkOptionGroup

  @Flag(name: .long, help: "Do not compare owners.")
  var noOwner = false

  @Flag(name: .long, help: "Print one object per line.")
  var json = false

  @Flag(name: .customShort("0"), help: "End names with NUL and do not quote them.")
  var nul = false

  @OptionGroup var threads: ThreadOptions
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if json, nul { throw ValidationError("--json cannot be used with -0") }
  }

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    let meter = ProgressMeter("checking", mode: progress.progress)
    let listed = try readManifest(manifest, allowsDeferred: true)
    meter.setTotal(listed.totalSize)
    var check = ManifestCheck()
    check.walk = try walk.options()
    check.comparesOwner = !noOwner
    check.threads = threads.count
    check.progress = { meter.advance($0) }
    check.remark = { WalkReport.report($0) }
    let report = EntryReport(key: "problem", json: json, nul: nul)
    var differs = false
    let isWhole = try check.run(listed, against: directory) { (problem, path) throws(Failure) in
      differs = true
      try report.print(problem.rawValue, path)
    }
    meter.finish()
    return differs || !isWhole ? ExitStatus.no : ExitStatus.success
  }
}

struct ManifestShow: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Print the entries of a manifest.")

  @Argument(help: ArgumentHelp("The manifest.", valueName: "manifest"))
  var manifest: RawPath

  @Flag(name: .customShort("l"), help: "Print mode, owner, size and time as well.")
  var long = false

  @Flag(name: .long, help: "Print one object per line.")
  var json = false

  @Flag(name: .customShort("0"), help: "End names with NUL and do not quote them.")
  var nul = false

  func validate() throws {
    if json, long || nul { throw ValidationError("--json cannot be used with -l or -0") }
  }

  mutating func execute() throws(Failure) -> Int32 {
    try Listing(long: long, json: json, nul: nul)
      .print(try readManifest(manifest, allowsDeferred: true))
    return ExitStatus.success
  }
}

struct ManifestID: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "id", abstract: "Print the backup id of a manifest.")

  @Argument(help: ArgumentHelp("The manifest.", valueName: "manifest"))
  var manifest: RawPath

  @Flag(
    name: .long, help: "Print the id that the backup will have once it is consolidated; its own if it needs no others.")
  var consolidated = false

  @Flag(name: .long, help: "Print the ids of the backups that this one needs to be restored, one per line.")
  var needed = false

  func validate() throws {
    if consolidated, needed { throw ValidationError("only one of --consolidated and --needed") }
  }

  mutating func execute() throws(Failure) -> Int32 {
    let manifest = try readManifest(manifest, allowsDeferred: true)
    if needed {
      for id in manifest.neededIDs { try StandardOutput.write(id + "\n") }
      return ExitStatus.success
    }
    if consolidated, manifest.needsOthers {
      try StandardOutput.write(try manifest.consolidated().computeID().id.hex + "\n")
      return ExitStatus.success
    }
    let id = try manifest.computeID().id.hex
    if let recorded = manifest.backupID, recorded != id {
      throw Failure(
        .integrity, "the manifest says it is \(recorded), and its content is \(id)",
        hint: manifest.hasUnprovenID
          ? "TermBackup 6 computed the ids of incremental backups from a list that it did not store" : nil)
    }
    try StandardOutput.write(id + "\n")
    return ExitStatus.success
  }
}
