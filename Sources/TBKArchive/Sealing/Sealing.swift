import TBKCore
import TBKCrypto
import TBKFormat

/// How a payload is compressed.
package struct Compression: Sendable {
  /// 0 (stored) to 9.
  package var level = 6
  package var threads = 1

  package init() {}
}

/// An archive that is written but not valid before `commit()`.
package struct SealedBackup: ~Copyable {
  /// The archive's manifest, with its id.
  package let manifest: Manifest
  /// Whether all of the source could be read, unchanged.
  package let isComplete: Bool
  /// Bytes of the archive.
  package let archiveLength: UInt64
  /// Bytes of content that were read.
  package let contentLength: UInt64
  private let finish: () throws(Failure) -> Void

  init(
    _ manifest: Manifest, isComplete: Bool, archiveLength: UInt64, contentLength: UInt64,
    finish: @escaping () throws(Failure) -> Void
  ) {
    self.manifest = manifest
    self.isComplete = isComplete
    self.archiveLength = archiveLength
    self.contentLength = contentLength
    self.finish = finish
  }

  /// Sends the archive on, or gives it its name.
  package consuming func commit() throws(Failure) { try finish() }

  /// What a store needs to know, unencrypted; contains no names or content (tbk(5), "Receipt").
  package borrowing func receipt() -> JSON { manifest.receipt(isComplete: isComplete) }
}

extension Manifest {
  /// What a store needs to know about a backup, unencrypted (tbk(5), "Receipt").
  ///
  /// - Parameter isComplete: whether all of the source could be read, unchanged.
  package func receipt(isComplete: Bool) -> JSON {
    var receipt = JSON.object([
      "receipt": .number(1), "id": backupID.map { .string($0) } ?? .null,
      "created_at": .string(createdAt), "file_count": .number(fileCount), "mode": .string(mode),
      "depends_on": .array(dependsOn.map { .string($0) }), "complete": .bool(isComplete),
    ])
    if let group { receipt["group"] = .string(group) }
    return receipt
  }
}

package enum Sealing {
  /// Packs and encrypts the entries of a manifest.
  ///
  /// - Parameters:
  ///   - root: the directory that the manifest's paths are relative to.
  ///   - begin: called with the number of bytes of content, before any is read.
  ///   - report: called for each entry that could not be read, or changed meanwhile.
  package static func tree(
    _ manifest: Manifest, root: Descriptor, key: SealingKey, compression: Compression,
    output: ArchiveOutput, begin: (UInt64) -> Void, progress: @escaping (Int) -> Void,
    report: @escaping (TreePacker.Mishap) -> Void
  ) throws(Failure) -> SealedBackup {
    let archive = try WholeArchive(key, compression: compression, to: output)
    let wasWhole = (manifest.unreadable ?? []).isEmpty
    let packer = try TreePacker(
      manifest, root: root, tar: archive.tar, progress: progress, report: report)
    try refuseTooLarge(packer.contentSize, level: compression.level)
    begin(packer.contentSize)
    try packer.pack()
    return try archive.finish(
      identifying: packer.manifest, isComplete: wasWhole && packer.mishapCount == 0,
      contentLength: packer.contentLength)
  }

  /// Seals a stream of unknown length as one file.
  ///
  /// A tar header states the file's length before its content. So the content is first compressed into an encrypted
  /// spool, and becomes a gzip member between those of the tar's other parts.
  ///
  /// - Parameters:
  ///   - name: of the file; a single component.
  ///   - ended: called when the source has ended, before anything is sealed; throws if the source failed.
  ///   - output: gets the archive, whose length is known before its first byte.
  package static func stream(
    _ source: any ByteSource, name: RawPath, group: String? = nil, key: SealingKey,
    compression: Compression, output: ArchiveOutput, progress: @escaping (Int) -> Void,
    ended: () throws(Failure) -> Void
  ) throws(Failure) -> SealedBackup {
    try checkStreamName(name)
    let spool = try EncryptedSpool()
    let gzip = try GzipCompressor(
      level: compression.level, threads: compression.threads, into: spool)
    let hashing = try HashingSink(into: TickingSink(into: gzip, progress))
    try source.copy(to: hashing)
    try ended()
    try hashing.finish()
    var manifest = try streamManifest(group)
    let entry = streamEntry(name, size: hashing.count, sha256: try hashing.digest())
    manifest.files.append(entry)
    let length = try ManifestMember.identify(&manifest)

    let head = try WholeArchive.member(level: compression.level) { (tar) throws(Failure) in
      try tar.write(try TarWriter.header(for: TarMember(entry)))
    }
    let tail = try WholeArchive.member(level: compression.level) { (tar) throws(Failure) in
      try TarWriter.pad(tar, after: entry.size)
      try ManifestMember.append(manifest, length: length, to: tar)
    }
    return try WholeArchive.waiting(
      manifest, isComplete: true, contentLength: hashing.count, key: key, head: head, spool: spool, tail: tail,
      output: output)
  }

  static func checkStreamName(_ name: RawPath) throws(Failure) {
    do throws(Failure) {
      try EntryName.check(name.bytes.span)
    } catch {
      throw Failure(.usage, error.message)
    }
    if name.bytes.contains(UInt8(ascii: "/")) {
      throw Failure(.usage, "\(name.display): the name of a stream has only one component")
    }
  }

  /// The manifest of a stream, without its entry.
  static func streamManifest(_ group: String?) throws(Failure) -> Manifest {
    var manifest = try newManifest()
    manifest.group = group
    manifest.unreadable = []
    return manifest
  }

  static func streamEntry(_ name: RawPath, size: UInt64, sha256: Digest) -> ManifestEntry {
    var entry = ManifestEntry(
      path: name.bytes, type: .file, size: size, sha256: sha256, mode: 0o100600, modifiedAt: 0)
    entry.setModification(FileTime(nanoseconds: Timestamp.now().nanoseconds))
    if name.bytes == Manifest.fileName { entry.storedAs = Manifest.fileName + [UInt8(ascii: "~")] }
    return entry
  }

  /// Seals only a manifest: an archive whose tar holds `manifest.json` and nothing else.
  package static func manifest(
    _ manifest: Manifest, key: SealingKey, to path: RawPath
  ) throws(Failure) {
    try Sealing.manifest(manifest, key: key, output: try ArchiveOutput(path: path))
  }

  /// Likewise, into `output`.
  package static func manifest(
    _ manifest: Manifest, key: SealingKey, output: ArchiveOutput
  ) throws(Failure) {
    let archive = try WholeArchive(key, compression: Compression(), to: output)
    let counted = CountingSink()
    try ManifestWriter.write(manifest, backupID: manifest.backupID, to: counted)
    try ManifestMember.append(manifest, length: counted.count, to: archive.tar)
    try archive.finish(manifest, isComplete: true, contentLength: 0).commit()
  }

  /// Deflate compresses by at most 1032:1: a source that is too large even then is rejected before it is read.
  static func refuseTooLarge(_ size: UInt64, level: Int) throws(Failure) {
    let least = level == 0 ? size : size / 1032
    if least > gcmMaximumLength {
      throw Failure(
        .usage, "\(size) bytes are more than one archive can hold",
        hint: "back up parts of the tree as archives of their own")
    }
  }
}
