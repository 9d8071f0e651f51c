import TBKCore
import TBKCrypto
import TBKFormat

extension Sealing {
  /// Seals what an archive holds under another key: the gzip stream as it is, byte for byte, so that
  /// id, manifest and content stay what they were.
  ///
  /// - Parameters:
  ///   - archive: authenticated; TBK2 or TBK1, of a tree or of a manifest alone. An mbu package has
  ///     no manifest, and cannot be one as it is.
  ///   - output: where the TBK2 archive goes; its length is known before the first byte.
  /// - Returns: bytes of the new archive.
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
  /// Throws `.configuration` for what only those can hold.
  ///
  /// - Parameter manifest: the archive's.
  /// - Returns: bytes of the new archive.
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
  /// Bytes of the gzip stream. TBK1's padding shows only once it is decrypted.
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
