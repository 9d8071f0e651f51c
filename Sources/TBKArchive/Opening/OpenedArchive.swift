import TBKCore
import TBKCrypto
import TBKFormat

/// An archive that opens with the given password or identity. All of its output has been verified.
package protocol OpenedArchive: AnyObject {
  var kind: ArchiveKind { get }

  /// Whether it was given as a sealed manifest, which is trusted only if its id can be recomputed.
  var isSealedManifest: Bool { get set }

  /// What a ledger says about the backup, according to the sender.
  var claims: BackupClaims? { get set }

  /// Whether its tar has no manifest.
  var hasNoManifest: Bool { get }

  /// The maximum size of its tar in bytes.
  var maximumContentLength: UInt64 { get }

  /// Decrypts the payload into `sink`, and finishes it.
  func replay(into sink: any ByteSink) throws(Failure)

  /// Decompresses the payload, a tar, into `sink`, and finishes it.
  func replayTar(into sink: any ByteSink) throws(Failure)

  /// Ensures that it can be read more than once.
  func keep() throws(Failure)

  /// Verifies the rest of it.
  func proveRest() throws(Failure)

  /// Where the manifest is according to the payload; known once all of it has been read.
  var locator: ManifestLocator? { get }

  /// The payload, if it is seekable.
  func parts() throws(Failure) -> SeekablePayload?
}

/// Defaults for an archive with one tag over the whole, which is verified before anything is used.
extension OpenedArchive {
  /// "TBK2", "TBK1", "mbu" or "age".
  package var format: String { kind.format }

  /// Which manifests of TermBackup 6 it may hold.
  var admitsTermBackup6: TermBackup6Manifests {
    let admitted = kind.admitsTermBackup6
    return isSealedManifest && admitted == .all ? .proven : admitted
  }

  package func keep() {}
  package func proveRest() {}
  package var locator: ManifestLocator? { nil }
  package func parts() -> SeekablePayload? { nil }
}
