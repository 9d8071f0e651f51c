import TBKCore
import TBKCrypto
import TBKFormat

extension Sealing {
  /// Seals the content of a tar as a backup with a manifest.
  ///
  /// The manifest is known only at the tar's end. So the members are compressed into an encrypted spool, and the
  /// manifest becomes a gzip member after them. If names then have to change, the spool is rewritten once.
  ///
  /// - Parameters:
  ///   - source: a tar, not compressed.
  ///   - stripsTop: whether everything is in one directory, which becomes the root of the backup; no effect on a tar of
  ///     a single file.
  ///   - output: gets the archive, whose length is known before its first byte.
  ///   - report: called with each member that is left out or changed, and why.
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
  /// Likewise in suite 3 or age. The content offsets are known only when all names are.
  ///
  /// - Parameters:
  ///   - sealedManifest: gets an archive of only the manifest; finished before `output`.
  ///   - output: gets the archive; it is finished.
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

/// The members of a tar, compressed in an encrypted spool, and the manifest made from them.
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

  /// Writes the members into a tar under their final names, without finishing it.
  ///
  /// - Parameter placed: called with the path of each entry that has content, and its offset in the tar.
  func replay(
    into tar: any ByteSink, placed: @escaping ([UInt8], UInt64) -> Void = { _, _ in }
  ) throws(Failure) {
    let renamer = TarRenamer(records, names, tar, placed)
    let gunzip = try GzipDecompressor(into: EndlessTar(TarParser(handler: renamer)))
    try spool.replay(into: gunzip)
    try gunzip.finish()
  }
}

/// The names of members in the archive's tar, where they differ from those in the source: a tree's own `manifest.json`,
/// and hard links whose first name in sorted order is not the first in the source.
private struct MemberNames {
  /// Paths whose content is stored under another name of the same file, and the reverse.
  private var swapped: [[UInt8]: [UInt8]] = [:]
  /// The first name of each hard-linked file in the source tar, and the one in the manifest.
  private var firstNames: [[UInt8]: [UInt8]] = [:]
  private let stored: [UInt8]

  /// The name that `TarRewriter` gives a `manifest.json` before it knows whether that name is free.
  static let likely = Manifest.fileName + [UInt8(ascii: "~")]

  /// Whether the names differ from those that `TarRewriter` gives.
  var differ: Bool { !swapped.isEmpty || stored != MemberNames.likely }

  /// Finds the names, and records in the manifest which entries are stored under another name.
  init(_ manifest: inout Manifest) {
    let files = manifest.files
    // The name that sorts first gets the content.
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

  /// The path of the entry for a name in the source.
  func entry(_ path: [UInt8]) -> [UInt8] { swapped[path] ?? path }

  /// The name in our tar for a name in the source.
  func name(_ path: [UInt8]) -> [UInt8] { inTar(entry(path)) }

  /// The link target in our tar for a hard link to `first` in the source.
  func target(_ first: [UInt8]) -> [UInt8] { inTar(firstNames[first] ?? first) }

  private func inTar(_ path: [UInt8]) -> [UInt8] {
    Manifest.isReserved(path) ? stored + path[Manifest.fileName.count...] : path
  }
}

/// Copies members into a new tar, with `manifest.json` renamed. The tar is not finished.
private final class TarRewriter: MemberConsumer {
  private let copier: MemberCopier

  init(_ tar: any ByteSink) { copier = MemberCopier(tar) }

  func begin(_ member: TarMember) throws(Failure) -> Bool {
    var member = member
    member.name = TarRewriter.inTar(member.name)
    if member.kind == .hardlink {
      member.linkTarget = TarRewriter.inTar(member.linkTarget)
      // Its metadata is stored with its first name.
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

/// Gives the members of a tar that `TarRewriter` wrote their final names.
private final class TarRenamer: TarHandler {
  private let records: EntryTable
  private let names: MemberNames
  private let next: TarRewriter
  private let frames: ZstdCompressor?
  private let placed: ([UInt8], UInt64) -> Void
  private var index = 0
  private var takes = false

  /// - Parameters:
  ///   - records: the members in order, under their names in the source.
  ///   - placed: called with the path of each entry that has content, and its offset in `tar`, if known.
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

/// Adds the end marker to a tar without one.
private final class EndlessTar: ByteSink {
  private let parser: TarParser

  init(_ parser: TarParser) { self.parser = parser }

  func write(_ bytes: Span<UInt8>) throws(Failure) { try parser.write(bytes) }

  func finish() throws(Failure) {
    try parser.write(TarWriter.end)
    try parser.finish()
  }
}
