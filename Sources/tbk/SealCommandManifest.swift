import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto

/// tbk-seal --manifest-only: recreates the sealed manifest of an archive.
extension SealCommand {
  func validateManifestOnly() throws {
    guard manifestOnly else { return }
    if reseal || consolidate || source != nil || directory != nil || stdinName != nil || fromCommand
      || fromTar || walk.isGiven
    {
      throw ValidationError("--manifest-only takes an archive from standard input, and nothing else")
    }
    if receipt != nil || manifestOut != nil || group != nil || level != nil || threads.threads != nil {
      throw ValidationError(
        "--manifest-only seals what the archive has: no --receipt, --manifest-out, --group, --level and --threads")
    }
    try validateExpectedID(expectId)
  }

  /// All of the archive is verified first. The password opens it and seals the manifest.
  func sealManifest(_ password: borrowing Secret, _ cost: Argon2Cost) throws(Failure) -> Int32 {
    let keys = try password.copy()
    let sources = ArchiveSources(
      [], isChain: false, limits: OpenLimits(), keys: OpeningKeys(password: keys))
    let reader = try BackupReader(
      expectedID: expectId, progress: { _ in }, warn: { Messages.warning($0) },
      archives: { () throws(Failure) in try sources.next() })
    let verified = try reader.manifest(wholly: true)
    try Sealing.manifest(
      verified.manifest, key: try SealingKey(password: password, cost: cost),
      output: try archiveOutput(lengthIsKnown: false))
    Messages.notice("sealed the manifest of backup \(verified.id.prefix(12))")
    return ExitStatus.success
  }
}
