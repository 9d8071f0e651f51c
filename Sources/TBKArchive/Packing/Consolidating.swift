import TBKCore
import TBKCrypto
import TBKFormat

extension BackupReader {
  /// Seals the backup as one that holds all of its bytes itself (tbk(5), "Consolidated backups").
  ///
  /// Each archive is taken once. Of one that can be read from any place, what is needed is read and no more;
  /// another is decrypted twice: to prove it, then to pack what is needed of it. Nothing of it is kept. The members come as the archives bring them; what has no content
  /// of its own, directories and links, comes after.
  ///
  /// - Parameters:
  ///   - begin: told how many bytes of content there are, before any is packed.
  ///   - progress: given the number of bytes packed.
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

  /// Likewise in suite 3 or age. No entry has an offset yet, so the id is known beforehand.
  ///
  /// - Parameters:
  ///   - sealedManifest: gets an archive of only the manifest; ended before `output` is.
  ///   - output: gets the archive; it is ended.
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

  /// The manifest of the newest archive, and what it says once the backup holds all itself.
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
  /// What the manifest says once its backup holds all bytes itself: the same tree at the same time,
  /// with the same nonce, so that the id, still to be computed, is the same each time.
  ///
  /// Throws `.usage` if it needs no others, or is TermBackup 6's.
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
      // The content comes in another tar.
      entry.offset = nil
      whole.files[index] = entry
    }
    return whole
  }

  /// Whether other backups hold content of this one.
  package var needsOthers: Bool { files.indices.contains { files.storedIn($0) != nil } }
}

/// Writes the members of a backup whose content comes in any order.
private final class ContentPacker {
  private let manifest: Manifest
  private let tar: any ByteSink
  private let progress: (Int) -> Void

  init(_ manifest: Manifest, tar: any ByteSink, _ progress: @escaping (Int) -> Void) {
    self.manifest = manifest
    self.tar = tar
    self.progress = progress
  }

  /// Packs those members of an archive for which `choose` names an entry.
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

  /// Writes what has no content of its own. Directories come after what is in them: an extractor
  /// that sets times and modes at once does not disturb them any more.
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

/// Finds out which members of an older archive are content that is wanted: only their hash tells.
final class ContentFinder: MemberConsumer {
  private let offers: (TarMember, UInt64) -> [(index: Int, sha256: Digest)]
  private let found: (Int) -> Void
  private var offered: [(index: Int, sha256: Digest)] = []
  private var position = -1
  /// The position of a member among all, and the entry whose content it is.
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

  /// Chooses the same members when they come again.
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
