// Reads only the needed parts of a seekable archive: first the manifest, then the content of the wanted entries.

import TBKCore
import TBKCrypto
import TBKFormat

/// The content of one entry, and where it is in a tar.
struct Part {
  /// The member to pass to the consumer.
  let member: TarMember
  let offset: UInt64
  let sha256: Digest

  /// - Parameter offset: where the content is, if the entry does not record it.
  /// - Returns: nil if the offset or the hash is unknown.
  init?(_ entry: ManifestEntry, at offset: UInt64? = nil) {
    guard let sha256 = entry.sha256, let place = entry.size == 0 ? 0 : entry.offset ?? offset else {
      return nil
    }
    member = TarMember(entry)
    self.offset = place
    self.sha256 = sha256
  }
}

extension BackupReader {
  // MARK: The manifest

  /// The manifest of an archive, without reading its content; nil if the whole archive must be read.
  func manifestAlone(_ archive: any OpenedArchive) throws(Failure) -> VerifiedManifest? {
    guard let payload = try archive.parts() else { return nil }
    let finder = ManifestFinder(length: payload.locator.length, archive.admitsTermBackup6)
    let parser = TarParser(handler: finder)
    let sink = TickingSink(into: parser, progress)
    var position = payload.locator.offset
    let (end, overflow) = position.addingReportingOverflow(payload.locator.length)
    if !overflow { payload.expect([position..<end]) }
    // Read on to see whether anything follows the manifest.
    while !finder.isFollowed, !parser.isPastMembers, position < payload.length {
      let end = min(payload.length, position + UInt64(chunkSize))
      try payload.read(position..<end, into: sink)
      position = end
    }
    guard let manifest = finder.manifest else {
      throw Failure(.malformed, "the payload's locator does not point to the manifest")
    }
    guard manifest.archived.describesArchive else { return nil }
    let verified = VerifiedManifest(
      reading: manifest, isAlone: payload.locator.offset == 0 && !finder.isFollowed)
    return try compareClaims(verified, archive)
  }

  // MARK: Content

  /// Reads the wanted content of the newest archive itself; false if an entry does not record its offset, or so much is
  /// wanted that reading the whole archive is faster.
  func readParts(
    of known: VerifiedManifest, consumer: (any MemberConsumer)?,
    wanted: (Manifest, Int) -> Bool
  ) throws(Failure) -> Bool {
    guard !known.coversContent, let payload = try newest.parts() else { return false }
    let manifest = known.manifest
    let lookup = NameLookup(manifest)
    var parts: [Part] = []
    var links: [TarMember] = []
    var size: UInt64 = 0
    for index in manifest.files.indices where wanted(manifest, index) {
      let entry = manifest.files[index]
      if lookup.isStoredElsewhere(entry) { continue }
      if entry.carriesContent {
        guard let part = Part(entry) else { return false }
        parts.append(part)
        size = size.addingReportingOverflow(entry.size).partialValue
      } else {
        var member = TarMember(entry)
        if let first = entry.hardLink, let target = manifest.files.find(first) {
          member.linkTarget = manifest.files[target].tarName
        }
        links.append(member)
      }
    }
    guard size <= payload.length / 2 else { return false }
    try read(parts, of: payload, consumer: consumer)
    for member in links { _ = try consumer?.begin(member) }
    return true
  }

  /// Reads from an older archive the content that the newest does not contain; returns its id, or nil if it must be
  /// read as a whole.
  func readParts(
    of archive: any OpenedArchive, for manifest: Manifest, _ have: Gathered,
    consumer: (any MemberConsumer)?, wanted: (Manifest, Int) -> Bool
  ) throws(Failure) -> String? {
    guard let (id, parts) = try partsLeft(to: archive, by: manifest, have, wanted: { wanted(manifest, $0) }),
      let payload = try archive.parts()
    else { return nil }
    try read(parts.map(\.part), of: payload, consumer: consumer)
    for (index, _) in parts { have[index] = true }
    return id
  }

  /// The parts that the newest manifest needs from an older archive, and the id of its backup; nil if the archive must
  /// be read as a whole.
  ///
  /// The older manifest is not read if the newest one records all offsets: its hashes prove the content.
  func partsLeft(
    to archive: any OpenedArchive, by manifest: Manifest, _ have: Gathered, wanted: (Int) -> Bool
  ) throws(Failure) -> (id: String, parts: [(index: Int, part: Part)])? {
    if let id = archive.claims?.id, try archive.parts() != nil,
      let parts = parts(in: id, nil, for: manifest, have, wanted: wanted), !parts.isEmpty
    {
      return (id, parts)
    }
    guard let other = try manifestAlone(archive), !other.isAlone,
      let parts = parts(in: other.id, other.manifest.files, for: manifest, have, wanted: wanted)
    else { return nil }
    return (other.id, parts)
  }

  /// The parts of an older archive that the newest needs; nil if not all offsets are known.
  ///
  /// - Parameters:
  ///   - id: of its backup.
  ///   - held: the entries of its own manifest, if known.
  private func parts(
    in id: String, _ held: EntryTable?, for manifest: Manifest, _ have: Gathered, wanted: (Int) -> Bool
  ) -> [(index: Int, part: Part)]? {
    var parts: [(index: Int, part: Part)] = []
    for index in manifest.files.indices
    where manifest.files.storedIn(index) == id && !have[index] && wanted(index) {
      let entry = manifest.files[index]
      var place: UInt64?
      if entry.offset == nil, let held, let found = held.find(entry.path) {
        let same = held[found]
        if same.carriesContent, same.size == entry.size, same.sha256 == entry.sha256 {
          place = same.offset
        }
      }
      guard let part = Part(entry, at: place) else { return nil }
      parts.append((index, part))
    }
    return parts
  }

  /// Sends one part, after verifying its hash.
  func send(
    _ part: Part, of payload: SeekablePayload, to sink: any ByteSink
  ) throws(Failure) {
    try read([part], of: payload, consumer: nil)
    try read([part], of: payload, consumer: MemberSender(sink) { _ in true })
  }

  /// Passes parts to `consumer` in tar order, and verifies the hash of each.
  private func read(
    _ parts: [Part], of payload: SeekablePayload, consumer: (any MemberConsumer)?
  ) throws(Failure) {
    let parts = parts.sorted { $0.offset < $1.offset }
    payload.expect(
      parts.map { part in
        let (end, overflow) = part.offset.addingReportingOverflow(part.member.size)
        return part.offset..<(overflow ? part.offset : end)
      })
    for part in parts {
      try Interruption.check()
      let isWanted = try consumer?.begin(part.member) ?? false
      let sink = try PartSink(isWanted ? consumer : nil, progress)
      let (end, overflow) = part.offset.addingReportingOverflow(part.member.size)
      guard !overflow else {
        throw Failure(.malformed, "the manifest points outside of the archive")
      }
      try payload.read(part.offset..<end, into: sink)
      let digest = try sink.digest()
      guard digest == part.sha256 else {
        throw Failure(
          .integrity,
          "\(RawPath(part.member.name).display) does not match the hash in the manifest")
      }
      if isWanted { try consumer?.end(digest) }
    }
  }
}

/// Hashes the content of an entry and passes it to the consumer.
private final class PartSink: ByteSink {
  private let consumer: (any MemberConsumer)?
  private let progress: (Int) -> Void
  private var hash: SHA256

  init(_ consumer: (any MemberConsumer)?, _ progress: @escaping (Int) -> Void) throws(Failure) {
    self.consumer = consumer
    self.progress = progress
    hash = try SHA256()
  }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    try hash.update(bytes)
    try consumer?.body(bytes)
    progress(bytes.count)
  }

  func finish() {}

  func digest() throws(Failure) -> Digest { try hash.finish() }
}

/// Reads the manifest at its announced offset in a tar.
private final class ManifestFinder: TarHandler {
  private let length: UInt64
  private let termBackup6: TermBackup6Manifests
  private var text: ManifestText?
  private(set) var manifest: Manifest?
  /// Whether another member follows it.
  private(set) var isFollowed = false

  /// - Parameter length: its expected length in bytes.
  init(length: UInt64, _ termBackup6: TermBackup6Manifests) {
    self.length = length
    self.termBackup6 = termBackup6
  }

  func begin(_ member: TarMember) throws(Failure) {
    if manifest != nil {
      isFollowed = true
      return
    }
    guard EntryName.normalised(member.name) == Manifest.fileName, member.kind == .file,
      member.size == length
    else { throw Failure(.malformed, "the payload's locator does not point to the manifest") }
    text = try ManifestText()
  }

  func body(_ bytes: Span<UInt8>) throws(Failure) { try text?.write(bytes) }

  func end() throws(Failure) {
    guard let text else { return }
    manifest = try TarVerifier.checked(text, termBackup6)
    self.text = nil
  }
}
