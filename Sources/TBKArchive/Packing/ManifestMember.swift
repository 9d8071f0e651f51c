import TBKCore
import TBKCrypto
import TBKFormat

/// The manifest as the last member of a tar (tbk(5), "The tar").
package enum ManifestMember {
  /// Gives a manifest its id, and returns the length of its text in bytes, including the id.
  package static func identify(_ manifest: inout Manifest) throws(Failure) -> UInt64 {
    let (id, length) = try manifest.computeID()
    manifest.backupID = id.hex
    // The quoted id replaces "null".
    return length - 4 + 66
  }

  /// Writes the manifest as a tar's last member, and the tar's end.
  package static func append(
    _ manifest: Manifest, length: UInt64, to tar: any ByteSink
  ) throws(Failure) {
    let member = TarMember(
      name: Manifest.fileName, kind: .file, size: length, mode: 0o600,
      mtime: FileTime(seconds: FileTime(nanoseconds: Timestamp.now().nanoseconds).seconds))
    try tar.write(try TarWriter.header(for: member))
    let counted = CountingSink(into: tar)
    try ManifestWriter.write(manifest, backupID: manifest.backupID, to: counted)
    guard counted.count == length else {
      throw Failure(.library, "the manifest has \(counted.count) bytes, not \(length)")
    }
    try TarWriter.pad(tar, after: length)
    try tar.write(TarWriter.end)
  }
}

extension Manifest {
  /// The id, which is the hash of the canonical text with a null id, and that text's length in bytes.
  package func computeID() throws(Failure) -> (id: Digest, length: UInt64) {
    let hashing = try HashingSink(into: CountingSink())
    try ManifestWriter.write(self, backupID: nil, to: hashing)
    return (try hashing.digest(), hashing.count)
  }
}

extension TarWriter {
  /// Fills the last block of a member's content.
  static func pad(_ tar: any ByteSink, after size: UInt64) throws(Failure) {
    let padding = TarWriter.padding(after: size)
    if padding > 0 { try tar.write([UInt8](repeating: 0, count: padding)) }
  }
}
