// Archives of suite 3 and age: streamed, in zstd frames.

import TBKCore
import TBKCrypto
import TBKFormat

/// How a streamed archive is encrypted and compressed.
package struct StreamSealing {
  package enum Encryption {
    /// Suite 3.
    case password(SealingKey)
    /// An age file.
    case recipients([AgeRecipient], armored: Bool)
  }

  let encryption: Encryption
  let level: Int
  let threads: Int
  /// Whether to hash the archive for its receipt.
  package var hashesArchive = true

  /// - Parameters:
  ///   - level: 1 to 19.
  ///   - threads: number of compression threads.
  package init(
    _ encryption: Encryption, level: Int = ZstdCompressor.standardLevel, threads: Int
  ) {
    self.encryption = encryption
    self.level = level
    self.threads = threads
  }

  /// Writes the header to `sink`. Returns the stage that takes the payload; finishing it finishes `sink`.
  func begin(into sink: any ByteSink) throws(Failure) -> any ByteSink {
    switch encryption {
    case .password(let key): return try key.beginChunked(into: sink)
    case .recipients(let recipients, let isArmored):
      return try AgeWriter.begin(to: recipients, into: isArmored ? AgeArmorWriter(into: sink) : sink)
    }
  }
}

/// An archive of suite 3 or age that has been written to its last byte.
package struct StreamedBackup {
  /// The archive's manifest, with its id.
  package let manifest: Manifest
  /// Whether all of the source could be read, unchanged.
  package let isComplete: Bool
  /// Bytes of the archive.
  package let archiveLength: UInt64
  /// Of the archive; nil without `hashesArchive`.
  package let sha256: Digest?
  /// Bytes of content that were read.
  package let contentLength: UInt64

  /// What a store needs to know, unencrypted, with size and hash of the archive, because an age file does not record
  /// its own end (tbk(5), "Receipt").
  package func receipt() -> JSON {
    var receipt = manifest.receipt(isComplete: isComplete)
    receipt["size"] = .number(archiveLength)
    if let sha256 { receipt["sha256"] = .string(sha256.hex) }
    return receipt
  }
}

/// An archive being written: a tar is compressed into its frames, and the manifest comes last.
///
/// Until it is finished, its output and the sealed manifest have no last chunk and no trailer.
final class FramedArchive {
  let frames: ZstdCompressor
  private let sealing: StreamSealing
  private let archive: CountingSink
  private let hashing: HashingSink?
  private let sealedManifest: (any ByteSink)?

  /// - Parameters:
  ///   - sealedManifest: gets an archive of only the manifest, made of the same frames; finished before `output`.
  ///   - output: gets the archive; finished by `finish`.
  init(
    _ sealing: StreamSealing, sealedManifest: (any ByteSink)? = nil, into output: any ByteSink
  ) throws(Failure) {
    self.sealing = sealing
    self.sealedManifest = sealedManifest
    let hashing = sealing.hashesArchive ? try HashingSink(into: output) : nil
    self.hashing = hashing
    let archive = CountingSink(into: hashing ?? output)
    self.archive = archive
    // Encryption and output run on their own thread, beside the compression threads.
    let payload = PipelinedSink(into: try sealing.begin(into: archive))
    frames = try ZstdCompressor(level: sealing.level, threads: sealing.threads, into: payload)
  }

  /// Gives the manifest its id, and finishes the archive with it.
  func finish(
    identifying manifest: Manifest, isComplete: Bool, contentLength: UInt64
  ) throws(Failure) -> StreamedBackup {
    var manifest = manifest
    let length = try ManifestMember.identify(&manifest)
    return try finish(
      manifest, length: length, isComplete: isComplete, contentLength: contentLength)
  }

  /// Finishes the archive with a manifest that already has its id.
  ///
  /// - Parameter length: length of its JSON in bytes.
  func finish(
    _ manifest: Manifest, length: UInt64, isComplete: Bool, contentLength: UInt64
  ) throws(Failure) -> StreamedBackup {
    var copy: (any ByteSink)?
    if let sealedManifest { copy = try sealing.begin(into: sealedManifest) }
    try frames.beginManifest(length: length, copy: copy)
    try ManifestMember.append(manifest, length: length, to: frames)
    try frames.finish()
    return StreamedBackup(
      manifest: manifest, isComplete: isComplete, archiveLength: archive.count,
      sha256: try hashing?.digest(), contentLength: contentLength)
  }

  /// Finishes an archive whose tar already contains its manifest; returns its length in bytes.
  func finish() throws(Failure) -> UInt64 {
    try frames.finish()
    return archive.count
  }
}

extension Sealing {
  /// Packs and encrypts the entries of a manifest, in one pass and without a temporary file.
  ///
  /// If this throws, `output` and `sealedManifest` have no last chunk and no trailer.
  ///
  /// - Parameters:
  ///   - root: the directory that the manifest's paths are relative to.
  ///   - sealedManifest: gets an archive of only the manifest, made of the same frames; finished before `output`.
  ///   - output: gets the archive; it is finished.
  ///   - begin: called with the number of bytes of content, before any is read.
  ///   - report: called with each entry that could not be read, or changed meanwhile.
  package static func tree(
    _ manifest: Manifest, root: Descriptor, sealing: StreamSealing,
    sealedManifest: (any ByteSink)? = nil, into output: any ByteSink, begin: (UInt64) -> Void,
    progress: @escaping (Int) -> Void, report: @escaping (TreePacker.Mishap) -> Void
  ) throws(Failure) -> StreamedBackup {
    let archive = try FramedArchive(sealing, sealedManifest: sealedManifest, into: output)
    let wasWhole = (manifest.unreadable ?? []).isEmpty
    let packer = try TreePacker(
      manifest, root: root, tar: archive.frames, progress: progress, report: report)
    begin(packer.contentSize)
    try packer.pack()
    return try archive.finish(
      identifying: packer.manifest, isComplete: wasWhole && packer.mishapCount == 0,
      contentLength: packer.contentLength)
  }

  /// Seals a stream of unknown length as one file.
  ///
  /// A tar header states the file's length before its content. So a stream of 1 MiB or more is compressed into frames
  /// that wait in an encrypted spool.
  ///
  /// - Parameters:
  ///   - name: of the file; a single component.
  ///   - ended: called when the source has ended, before the archive's end is written; throws if the
  ///     source failed.
  package static func stream(
    _ source: any ByteSource, name: RawPath, group: String?, sealing: StreamSealing,
    sealedManifest: (any ByteSink)? = nil, into output: any ByteSink,
    progress: @escaping (Int) -> Void, ended: () throws(Failure) -> Void
  ) throws(Failure) -> StreamedBackup {
    try checkStreamName(name)
    let archive = try FramedArchive(sealing, sealedManifest: sealedManifest, into: output)
    let front = try source.read(upTo: 1 << 20)
    progress(front.count)
    var entry: ManifestEntry
    let hashing = try HashingSink(into: OpenEndedSink(into: archive.frames))
    if front.count < 1 << 20 {
      try ended()
      entry = streamEntry(name, size: UInt64(front.count), sha256: try SHA256.hash(front))
      let header = try TarWriter.header(for: TarMember(entry))
      try archive.frames.beginMember(header: header.count, content: entry.size)
      if entry.size > 0 { entry.offset = UInt64(header.count) }
      try archive.frames.write(header)
      try archive.frames.write(front)
    } else {
      let spool = try EncryptedSpool()
      try archive.frames.holdBack(into: spool)
      try hashing.write(front)
      try source.copy(to: TickingSink(into: hashing, progress))
      try ended()
      entry = streamEntry(name, size: hashing.count, sha256: try hashing.digest())
      let header = try TarWriter.header(for: TarMember(entry))
      entry.offset = UInt64(header.count)
      try archive.frames.release(behind: header) { (sink) throws(Failure) in
        try spool.replay(into: sink)
      }
    }
    try TarWriter.pad(archive.frames, after: entry.size)
    var manifest = try streamManifest(group)
    manifest.files.append(entry)
    return try archive.finish(
      identifying: manifest, isComplete: true, contentLength: entry.size)
  }

  /// Seals only a manifest, which has its id: an archive whose tar holds `manifest.json` and nothing else.
  package static func manifest(
    _ manifest: Manifest, sealing: StreamSealing, into output: any ByteSink
  ) throws(Failure) {
    let counted = CountingSink()
    try ManifestWriter.write(manifest, backupID: manifest.backupID, to: counted)
    let archive = try FramedArchive(sealing, into: output)
    _ = try archive.finish(manifest, length: counted.count, isComplete: true, contentLength: 0)
  }
}

/// Passes on all bytes, but not `finish()`.
private final class OpenEndedSink: ByteSink {
  private let next: any ByteSink
  init(into next: any ByteSink) { self.next = next }
  func write(_ bytes: Span<UInt8>) throws(Failure) { try next.write(bytes) }
  func finish() {}
}
