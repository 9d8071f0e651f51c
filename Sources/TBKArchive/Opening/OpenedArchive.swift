import TBKCore
import TBKCrypto
import TBKFormat

/// An archive whose password or identity is right. Whatever comes out of it has been verified.
package protocol OpenedArchive: AnyObject {
  var kind: ArchiveKind { get }

  /// Whether it was given as a sealed manifest. What it says about a backup is believed if that has the id.
  var isSealedManifest: Bool { get set }

  /// What a ledger says about the backup, by whoever sent the archive.
  var claims: BackupClaims? { get set }

  /// Whether its tar has no manifest.
  var hasNoManifest: Bool { get }

  /// The most that its tar can be, in bytes.
  var maximumContentLength: UInt64 { get }

  /// Passes what was encrypted to `sink`, as it is, and ends it.
  func replay(into sink: any ByteSink) throws(Failure)

  /// Decompresses the payload into `sink`, a tar, which is ended.
  func replayTar(into sink: any ByteSink) throws(Failure)

  /// Makes sure that it can be read more than once.
  func keep() throws(Failure)

  /// Verifies what has not been read of it.
  func proveRest() throws(Failure)

  /// Where the payload said that the manifest is, when all of it has been read.
  var locator: ManifestLocator? { get }

  /// The payload, if any part of it can be read.
  func parts() throws(Failure) -> SeekablePayload?
}

/// What holds for an archive with one tag over all of it, verified before anything is used.
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
