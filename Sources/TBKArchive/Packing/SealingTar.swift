import TBKCore
import TBKCrypto
import TBKFormat

extension Sealing {
  /// Seals what a tar holds, as a backup with a manifest.
  ///
  /// What the manifest will say is known only at the tar's end. So the members are compressed into
  /// an encrypted spool as they come, and the manifest becomes a gzip member after them. Where names
  /// turn out to have to change then, the spool is read once more.
  ///
  /// - Parameters:
  ///   - source: a tar, not compressed.
  ///   - stripsTop: whether everything is in one directory, which becomes the root of the backup; of a
  ///     tar of one file it does nothing.
  ///   - output: where the archive goes; its length is known before the first byte.
  ///   - report: called with each member that cannot be in a backup as it is, and why.
  package static func tar(
    _ source: any ByteSource, stripsTop: Bool, group: String? = nil, key: SealingKey,
    compression: Compression, output: ArchiveOutput, progress: @escaping (Int) -> Void,
    report: @escaping (UnreadableEntry) -> Void
  ) throws(Failure) -> SealedBackup {
    let taken = try SpooledTar(
      source, stripsTop: stripsTop, compression: compression, progress: progress, report: report)
    var manifest = taken.manifest
    manifest.group = group
    let isComplete = (manifest.unreadable ?? []).isEmpty
    let content = manifest.totalSize
    var spool = taken.spool
    if taken.names.differ {
      spool = try EncryptedSpool()
      let gzip = try GzipCompressor(
        level: compression.level, threads: compression.threads, into: spool)
      try taken.replay(into: gzip)
      try gzip.finish()
    }
    try manifest.validate()
    let length = try ManifestMember.identify(&manifest)
    let tail = try WholeArchive.member(level: compression.level) { (tar) throws(Failure) in
      try ManifestMember.append(manifest, length: length, to: tar)
    }
    return try WholeArchive.waiting(
      manifest, isComplete: isComplete, contentLength: content, key: key, spool: spool, tail: tail, output: output)
  }
}

extension Sealing {
  /// Likewise in suite 3 or age. Where each content lies in the tar is known when all names are.
  ///
  /// - Parameters:
  ///   - sealedManifest: gets an archive of only the manifest; ended before `output` is.
  ///   - output: gets the archive; it is ended.
  package static func tar(
    _ source: any ByteSource, stripsTop: Bool, group: String?, sealing: StreamSealing,
    sealedManifest: (any ByteSink)? = nil, into output: any ByteSink,
    progress: @escaping (Int) -> Void, report: @escaping (UnreadableEntry) -> Void
  ) throws(Failure) -> StreamedBackup {
    var waiting = Compression()
    (waiting.level, waiting.threads) = (1, sealing.threads)
    let taken = try SpooledTar(
      source, stripsTop: stripsTop, compression: waiting, progress: progress, report: report)
    var manifest = taken.manifest
    manifest.group = group
    let archive = try FramedArchive(sealing, sealedManifest: sealedManifest, into: output)
    try taken.replay(into: archive.frames) { path, offset in
      guard let index = manifest.files.find(path) else { return }
      var entry = manifest.files[index]
      entry.offset = offset
      manifest.files[index] = entry
    }
    try manifest.validate()
    return try archive.finish(
      identifying: manifest, isComplete: (manifest.unreadable ?? []).isEmpty,
      contentLength: manifest.totalSize)
  }
}

/// The members of a tar, compressed in an encrypted spool, and the manifest that was made of them.
private struct SpooledTar {
  let spool: EncryptedSpool
  let manifest: Manifest
  let names: MemberNames
  private let records: EntryTable

  init(
    _ source: any ByteSource, stripsTop: Bool, compression: Compression,
    progress: @escaping (Int) -> Void, report: @escaping (UnreadableEntry) -> Void
  ) throws(Failure) {
    spool = try EncryptedSpool()
    let gzip = try GzipCompressor(
      level: compression.level, threads: compression.threads, into: spool)
    let survey = try TarSurvey(consumer: TarRewriter(gzip), stripsTop: stripsTop, report: report)
    let parser = TarParser(handler: survey)
    try source.copy(to: TickingSink(into: parser, progress))
    try parser.finish()
    try gzip.finish()
    var manifest = try survey.manifest()
    names = MemberNames(&manifest)
    self.manifest = manifest
    records = survey.records
  }

  /// Writes the members into a tar under the names that they have now, without ending it.
  ///
  /// - Parameter placed: told the path of each entry with content of its own, and where that is.
  func replay(
    into tar: any ByteSink, placed: @escaping ([UInt8], UInt64) -> Void = { _, _ in }
  ) throws(Failure) {
    let renamer = TarRenamer(records, names, tar, placed)
    let gunzip = try GzipDecompressor(into: EndlessTar(TarParser(handler: renamer)))
    try spool.replay(into: gunzip)
    try gunzip.finish()
  }
}

/// The names that members have in an archive's tar, where they are not those they came with: a
/// tree's own `manifest.json`, and files whose names sort otherwise than they came.
private struct MemberNames {
  /// Paths whose content stands under another name of the same file, and the other way round.
  private var swapped: [[UInt8]: [UInt8]] = [:]
  /// First names of files, as the tar had them, and as the manifest has them now.
  private var firstNames: [[UInt8]: [UInt8]] = [:]
  private let stored: [UInt8]

  /// What `TarRewriter` calls a `manifest.json` before it is known whether that name is free.
  static let likely = Manifest.fileName + [UInt8(ascii: "~")]

  /// Whether the names are others than `TarRewriter` gives on its own.
  var differ: Bool { !swapped.isEmpty || stored != MemberNames.likely }

  /// Finds the names, and notes in the manifest what is stored under another.
  init(_ manifest: inout Manifest) {
    let files = manifest.files
    // The name that sorts first stands for the content.
    for index in files.indices where files.isHardLink(index) {
      guard let first = files[index].hardLink, firstNames[first] == nil else { continue }
      let path = files.path(index)
      let leads = path.lexicographicallyPrecedes(first)
      firstNames[first] = leads ? path : first
      if leads { (swapped[first], swapped[path]) = (path, first) }
    }
    var other = MemberNames.likely
    if files.find(Manifest.fileName) != nil {
      while files.find(other) != nil { other.append(UInt8(ascii: "~")) }
    }
    stored = other
    for index in files.indices {
      let path = files.path(index)
      let isRenamed = Manifest.isReserved(path)
      guard isRenamed || swapped[path] != nil || files.isHardLink(index) else { continue }
      var entry = files[index]
      if let first = entry.hardLink ?? (swapped[path] == nil ? nil : path) {
        let leader = firstNames[first] ?? first
        entry.hardLink = leader == path ? nil : leader
      }
      if isRenamed { entry.storedAs = stored + path[Manifest.fileName.count...] }
      manifest.files[index] = entry
    }
  }

  /// The entry whose content, or link, came under a name.
  func entry(_ path: [UInt8]) -> [UInt8] { swapped[path] ?? path }

  /// The name in the tar for a name as it came.
  func name(_ path: [UInt8]) -> [UInt8] { inTar(entry(path)) }

  /// What a hard link to `first`, as it came, is a link to.
  func target(_ first: [UInt8]) -> [UInt8] { inTar(firstNames[first] ?? first) }

  private func inTar(_ path: [UInt8]) -> [UInt8] {
    Manifest.isReserved(path) ? stored + path[Manifest.fileName.count...] : path
  }
}

/// Writes members as they pass into a tar of ours, `manifest.json` under another name. The tar is not
/// ended.
private final class TarRewriter: MemberConsumer {
  private let copier: MemberCopier

  init(_ tar: any ByteSink) { copier = MemberCopier(tar) }

  func begin(_ member: TarMember) throws(Failure) -> Bool {
    var member = member
    member.name = TarRewriter.inTar(member.name)
    if member.kind == .hardlink {
      member.linkTarget = TarRewriter.inTar(member.linkTarget)
      // It has what its first name has, which stands there.
      member.mode &= 0o1777
      member.xattrs = []
    }
    return try copier.begin(member)
  }

  func body(_ bytes: Span<UInt8>) throws(Failure) { try copier.body(bytes) }
  func end(_ sha256: Digest) throws(Failure) { try copier.end(sha256) }

  private static func inTar(_ path: [UInt8]) -> [UInt8] {
    Manifest.isReserved(path)
      ? MemberNames.likely + path[Manifest.fileName.count...] : path
  }
}

/// Gives the members of a tar that `TarRewriter` wrote the names that they are to have.
private final class TarRenamer: TarHandler {
  private let records: EntryTable
  private let names: MemberNames
  private let next: TarRewriter
  private let frames: ZstdCompressor?
  private let placed: ([UInt8], UInt64) -> Void
  private var index = 0
  private var takes = false

  /// - Parameters:
  ///   - records: of the members in their order, under the names that they came with.
  ///   - placed: told the path of each entry with content, and where in `tar` it is, if that is known.
  init(
    _ records: EntryTable, _ names: MemberNames, _ tar: any ByteSink,
    _ placed: @escaping ([UInt8], UInt64) -> Void
  ) {
    self.records = records
    self.names = names
    self.placed = placed
    next = TarRewriter(tar)
    frames = tar as? ZstdCompressor
  }

  func begin(_ member: TarMember) throws(Failure) {
    guard records.indices.contains(index) else {
      throw Failure(.io, "the temporary file changed while it was in use")
    }
    var member = member
    let entry = records[index]
    index += 1
    member.name = names.name(entry.path)
    if let first = entry.hardLink { member.linkTarget = names.target(first) }
    takes = try next.begin(member)
    if let frames, takes, member.size > 0 { placed(names.entry(entry.path), frames.position) }
  }

  func body(_ bytes: Span<UInt8>) throws(Failure) { if takes { try next.body(bytes) } }
  func end() throws(Failure) { if takes { try next.end(.ofNothing) } }
}

/// Ends a tar that has no end marker.
private final class EndlessTar: ByteSink {
  private let parser: TarParser

  init(_ parser: TarParser) { self.parser = parser }

  func write(_ bytes: Span<UInt8>) throws(Failure) { try parser.write(bytes) }

  func finish() throws(Failure) {
    try parser.write(TarWriter.end)
    try parser.finish()
  }
}
