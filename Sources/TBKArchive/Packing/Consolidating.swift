import TBKCore
import TBKCrypto
import TBKFormat

extension BackupReader {
  /// Seals the backup as one that contains all of its content itself (tbk(5), "Consolidated backups").
  ///
  /// Each archive is opened once. If it is seekable, only the needed parts are read; otherwise it is decrypted twice:
  /// once to verify it, and once to pack what is needed. Members are packed in the order of the archives; directories
  /// and links, which have no content, come last.
  ///
  /// - Parameters:
  ///   - begin: called with the number of bytes of content, before any is packed.
  ///   - progress: called with the number of bytes packed.
  package func consolidate(
    key: SealingKey, compression: Compression, output: ArchiveOutput, begin: (UInt64) -> Void,
    progress: @escaping (Int) -> Void
  ) throws(Failure) -> SealedBackup {
    let (verified, whole) = try consolidation()
    let total = whole.totalSize
    try Sealing.refuseTooLarge(total, level: compression.level)
    begin(total)
    let archive = try WholeArchive(key, compression: compression, to: output)
    try pack(verified, as: whole, into: archive.tar, progress)
    return try archive.finish(
      identifying: whole, isComplete: (whole.unreadable ?? []).isEmpty, contentLength: total)
  }

  /// Likewise in suite 3 or age. No entry gets an offset, so the id does not depend on the packing.
  ///
  /// - Parameters:
  ///   - sealedManifest: gets an archive of only the manifest; finished before `output`.
  ///   - output: gets the archive; it is finished.
  ///   - ended: called when all has been packed, before the archive's end is written.
  package func consolidate(
    sealing: StreamSealing, sealedManifest: (any ByteSink)? = nil, into output: any ByteSink,
    begin: (UInt64) -> Void, progress: @escaping (Int) -> Void, ended: () throws(Failure) -> Void
  ) throws(Failure) -> StreamedBackup {
    let (verified, whole) = try consolidation()
    let total = whole.totalSize
    begin(total)
    let archive = try FramedArchive(sealing, sealedManifest: sealedManifest, into: output)
    try pack(verified, as: whole, into: archive.frames, progress)
    try ended()
    return try archive.finish(
      identifying: whole, isComplete: (whole.unreadable ?? []).isEmpty, contentLength: total)
  }

  /// The manifest of the newest archive, and its consolidated form.
  private func consolidation() throws(Failure) -> (verified: VerifiedManifest, whole: Manifest) {
    try newest.keep()
    let verified = try manifest()
    try refuseAlone(verified)
    return (verified, try verified.manifest.consolidated())
  }

  /// Writes the members of the consolidated backup, without its manifest.
  private func pack(
    _ verified: VerifiedManifest, as whole: Manifest, into tar: any ByteSink,
    _ progress: @escaping (Int) -> Void
  ) throws(Failure) {
    let listed = verified.manifest
    let packer = ContentPacker(whole, tar: tar, progress)
    let lookup = NameLookup(listed)
    let named = packer.consumer { lookup.find($0.name) }
    let isContent: (Manifest, Int) -> Bool = { $0.files.type($1) == .file && !$0.files.isHardLink($1) }
    if try !readParts(of: verified, consumer: named, wanted: isContent) {
      _ = try read(newest, consumer: named)
    }

    let have = Gathered(listed.files.count)
    var pending = Set(listed.dependsOn)
    var given: Set<String> = []
    while !pending.isEmpty, let archive = try next(pending.sorted()) {
      try archive.keep()
      if let id = try readParts(of: archive, for: listed, have, consumer: named, wanted: isContent) {
        pending.remove(id)
        given.insert(id)
        continue
      }
      let finder = ContentFinder { member, offset in
        self.supplied(by: member, at: offset, to: listed, lookup, have).compactMap { index in
          listed.files[index].sha256.map { (index, $0) }
        }
      } found: { index in
        have[index] = true
      }
      let id = try read(archive, consumer: finder).id
      pending.remove(id)
      given.insert(id)
      if !finder.isEmpty { _ = try read(archive, consumer: packer.consumer(finder.replay())) }
    }
    try proveOthers()
    try refuseMissing(listed, have, given: given) { _ in true }

    try packer.finish()
  }
}

extension Manifest {
  /// The manifest of the consolidated backup: the same tree, time and nonce, so that its id, still to be computed, is
  /// always the same.
  ///
  /// Throws `.usage` if the backup needs no others, or is one of TermBackup 6.
  package func consolidated() throws(Failure) -> Manifest {
    guard !tree.isReadOnly else {
      throw Failure(
        .usage, "TermBackup 6's incremental backups do not record what was deleted: they stay as they are",
        hint: "make a full backup instead")
    }
    guard needsOthers else {
      throw Failure(.usage, "the backup needs no others: there is nothing to consolidate")
    }
    var whole = self
    whole.mode = "full"
    whole.parentBackupID = nil
    whole.backupID = nil
    for index in files.indices where files.storedIn(index) != nil || files.offset(index) != nil {
      var entry = files[index]
      entry.storedIn = nil
      // The content moves to another tar.
      entry.offset = nil
      whole.files[index] = entry
    }
    return whole
  }

  /// Whether content of this backup is stored in others.
  package var needsOthers: Bool { files.indices.contains { files.storedIn($0) != nil } }
}

/// Writes the members of a backup, with content in any order.
private final class ContentPacker {
  private let manifest: Manifest
  private let tar: any ByteSink
  private let progress: (Int) -> Void

  init(_ manifest: Manifest, tar: any ByteSink, _ progress: @escaping (Int) -> Void) {
    self.manifest = manifest
    self.tar = tar
    self.progress = progress
  }

  /// Packs the members of an archive for which `choose` returns an entry.
  func consumer(_ choose: @escaping (TarMember) -> Int?) -> any MemberConsumer {
    ChosenContent(self, choose)
  }

  func begin(_ index: Int) throws(Failure) {
    try Interruption.check()
    let header = try TarWriter.header(for: TarMember(manifest.files[index]))
    if let frames = tar as? ZstdCompressor {
      try frames.beginMember(header: header.count, content: manifest.files.size(index))
    }
    try tar.write(header)
  }

  func body(_ bytes: Span<UInt8>) throws(Failure) {
    try tar.write(bytes)
    progress(bytes.count)
  }

  func end(_ index: Int, _ sha256: Digest) throws(Failure) {
    guard manifest.files[index].sha256 == sha256 else {
      throw Failure(.integrity, "an archive changed while it was read")
    }
    try TarWriter.pad(tar, after: manifest.files.size(index))
  }

  /// Writes the members without content. Directories come after their content, so that an extractor that sets times and
  /// modes at once does not disturb them again.
  func finish() throws(Failure) {
    for index in manifest.files.indices {
      var member: TarMember
      if manifest.files.isHardLink(index) {
        let entry = manifest.files[index]
        guard let first = entry.hardLink, let target = manifest.files.find(first) else {
          throw Failure(.malformed, "\(RawPath(entry.path).display) is a hard link to nothing")
        }
        member = TarMember(entry)
        member.linkTarget = manifest.files[target].tarName
      } else {
        if manifest.files.type(index) == .file { continue }
        member = TarMember(manifest.files[index])
      }
      try tar.write(try TarWriter.header(for: member))
    }
  }

  private final class ChosenContent: MemberConsumer {
    private let packer: ContentPacker
    private let choose: (TarMember) -> Int?
    private var index: Int?

    init(_ packer: ContentPacker, _ choose: @escaping (TarMember) -> Int?) {
      self.packer = packer
      self.choose = choose
    }

    func begin(_ member: TarMember) throws(Failure) -> Bool {
      index = choose(member)
      guard let index, member.kind == .file else { return false }
      try packer.begin(index)
      return true
    }

    func body(_ bytes: Span<UInt8>) throws(Failure) { try packer.body(bytes) }

    func end(_ sha256: Digest) throws(Failure) {
      if let index { try packer.end(index, sha256) }
    }
  }
}

/// Finds the members of an older archive that are needed content, by their hash.
final class ContentFinder: MemberConsumer {
  private let offers: (TarMember, UInt64) -> [(index: Int, sha256: Digest)]
  private let found: (Int) -> Void
  private var offered: [(index: Int, sha256: Digest)] = []
  private var position = -1
  /// The number of a member in the tar, and the entry whose content it is.
  private var plan: [(position: Int, index: Int)] = []

  init(
    offers: @escaping (TarMember, UInt64) -> [(index: Int, sha256: Digest)],
    found: @escaping (Int) -> Void
  ) {
    self.offers = offers
    self.found = found
  }

  var isEmpty: Bool { plan.isEmpty }

  func begin(_ member: TarMember) throws(Failure) -> Bool { try begin(member, contentAt: 0) }

  func begin(_ member: TarMember, contentAt offset: UInt64) throws(Failure) -> Bool {
    position += 1
    offered = offers(member, offset)
    return !offered.isEmpty
  }

  func body(_ bytes: Span<UInt8>) {}

  func end(_ sha256: Digest) {
    guard let match = offered.first(where: { $0.sha256 == sha256 }) else { return }
    plan.append((position, match.index))
    found(match.index)
  }

  /// Chooses the same members when the archive is read again.
  func replay() -> (TarMember) -> Int? {
    var position = -1
    var rest = plan[...]
    return { _ in
      position += 1
      guard let next = rest.first, next.position == position else { return nil }
      rest.removeFirst()
      return next.index
    }
  }
}
