import TBKCore
import TBKCrypto
import TBKFormat

extension Sealing {
  /// Seals the payload of an archive with another key: the gzip stream is copied byte for byte, so that id, manifest
  /// and content stay the same.
  ///
  /// - Parameters:
  ///   - archive: authenticated; TBK2 or TBK1, of a tree or of a manifest alone. An mbu package is rejected, because it
  ///     has no manifest.
  ///   - output: gets the TBK2 archive, whose length is known before its first byte.
  /// - Returns: the length of the new archive in bytes.
  package static func again(
    _ archive: AuthenticatedArchive, key: SealingKey, output: ArchiveOutput,
    progress: @escaping (Int) -> Void
  ) throws(Failure) -> UInt64 {
    let length = try archive.contentLength()
    let sealer = try Sealer(key, length: length, to: output)
    try archive.replay(into: TickingSink(into: sealer, progress))
    try sealer.commit()
    return sealer.archiveLength
  }
}

extension Sealing {
  /// Seals the tar of an archive of suite 3 or age in suite 1, byte for byte.
  ///
  /// Throws `.configuration` for a feature that only those formats have.
  ///
  /// - Parameter manifest: the archive's.
  /// - Returns: the length of the new archive in bytes.
  package static func again(
    _ archive: any OpenedArchive, of manifest: Manifest, key: SealingKey, threads: Int,
    output: ArchiveOutput, progress: @escaping (Int) -> Void
  ) throws(Failure) -> UInt64 {
    for index in manifest.files.indices where manifest.files.isRare(index) {
      if manifest.files[index].extras.contains(where: { $0.key == "pieces" }) {
        throw Failure(
          .configuration,
          "\(RawPath(manifest.files.path(index)).display) is stored in pieces, "
            + "which an archive of suite 1 cannot hold")
      }
    }
    let sealer = try Sealer(key, to: output)
    let gzip = try GzipCompressor(level: Compression().level, threads: threads, into: sealer)
    try archive.replayTar(into: TickingSink(into: gzip, progress))
    try sealer.commit()
    return sealer.archiveLength
  }
}

extension AuthenticatedArchive {
  /// The length of the gzip stream in bytes. The padding of TBK1 is known only after decryption.
  fileprivate func contentLength() throws(Failure) -> UInt64 {
    switch header {
    case .tbk2(let fields): return fields.payloadLength - UInt64(gcmTagLength)
    case .tbk1:
      let counting = CountingSink()
      try replay(into: counting)
      return counting.count
    case .mbu: throw Failure(.library, "an mbu package is not sealed again as it is")
    }
  }
}
