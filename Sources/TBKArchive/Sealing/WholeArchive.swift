import TBKCore
import TBKCrypto
import TBKFormat

/// An archive of suite 1 being written: its tar is compressed and encrypted. `FramedArchive` does the same for suite 3
/// and age.
struct WholeArchive {
  private let sealer: Sealer
  /// Takes the members; finished by `finish`.
  let tar: GzipCompressor

  /// Writes the header.
  init(_ key: SealingKey, compression: Compression, to output: ArchiveOutput) throws(Failure) {
    sealer = try Sealer(key, to: output)
    tar = try GzipCompressor(level: compression.level, threads: compression.threads, into: sealer)
  }

  /// Gives the manifest its id, appends it to the tar, and finishes the archive.
  func finish(
    identifying manifest: Manifest, isComplete: Bool, contentLength: UInt64
  ) throws(Failure) -> SealedBackup {
    var manifest = manifest
    let length = try ManifestMember.identify(&manifest)
    try ManifestMember.append(manifest, length: length, to: tar)
    return try finish(manifest, isComplete: isComplete, contentLength: contentLength)
  }

  /// Finishes an archive whose tar is complete.
  ///
  /// - Parameter manifest: with its id.
  func finish(
    _ manifest: Manifest, isComplete: Bool, contentLength: UInt64
  ) throws(Failure) -> SealedBackup {
    try tar.finish()
    let sealer = sealer
    return SealedBackup(
      manifest, isComplete: isComplete, archiveLength: sealer.archiveLength, contentLength: contentLength
    ) { () throws(Failure) in try sealer.commit() }
  }

  /// An archive of gzip members that are already there: its length is known before its first byte, so nothing is
  /// written before it is committed.
  ///
  /// - Parameters:
  ///   - manifest: with its id; it is in the last member.
  ///   - head: precedes the spooled members.
  static func waiting(
    _ manifest: Manifest, isComplete: Bool, contentLength: UInt64, key: SealingKey, head: [UInt8] = [],
    spool: EncryptedSpool, tail: [UInt8], output: ArchiveOutput
  ) throws(Failure) -> SealedBackup {
    let total = UInt64(head.count) + spool.count + UInt64(tail.count)
    return SealedBackup(
      manifest, isComplete: isComplete, archiveLength: try Sealer.archiveLength(of: key, content: total),
      contentLength: contentLength
    ) { () throws(Failure) in
      // `Sealer` writes its header at once, so create it only now.
      let sealer = try Sealer(key, length: total, to: output)
      if !head.isEmpty { try sealer.write(head) }
      try spool.replay(into: sealer)
      try sealer.write(tail)
      try sealer.finish()
      try sealer.commit()
    }
  }

  /// A small gzip member, in memory.
  static func member(
    level: Int, _ write: (any ByteSink) throws(Failure) -> Void
  ) throws(Failure) -> [UInt8] {
    let memory = MemorySink()
    let gzip = try GzipCompressor(level: level, threads: 1, into: memory)
    try write(gzip)
    try gzip.finish()
    return memory.bytes
  }
}
