import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto

/// tbk-seal --consolidate: a backup and those it needs, as one archive.
extension SealCommand {
  func validateConsolidating() throws {
    guard consolidate else { return }
    if reseal { throw ValidationError("only one of --reseal and --consolidate") }
    if source != nil || directory != nil || stdinName != nil || fromCommand || fromTar
      || walk.isGiven
    {
      throw ValidationError("--consolidate takes archives from standard input, and nothing else")
    }
    try validateExpectedID(expectId)
  }

  /// The password opens the archives and seals the new one.
  func sealConsolidated(
    _ password: borrowing Secret, _ cost: Argon2Cost, _ compression: Compression
  ) throws(Failure) -> Int32 {
    let sources = ArchiveSources(
      [], isChain: true, limits: OpenLimits(), keys: OpeningKeys(password: try password.copy()))
    let reader = try BackupReader(
      expectedID: expectId, progress: { _ in }, warn: { Messages.warning($0) },
      archives: { () throws(Failure) in try sources.next() })
    let key = try SealingKey(password: password, cost: cost)
    let target = try archiveOutput(lengthIsKnown: false)
    let meter = ProgressMeter("consolidating", mode: progress.progress)
    let backup = try reader.consolidate(
      key: key, compression: compression, output: target, begin: { meter.setTotal($0) },
      progress: { meter.advance($0) })
    try sources.finish()
    meter.finish()
    // What could not be read when it was made is no failure of today's.
    _ = try finish(backup, key, target)
    return ExitStatus.success
  }
}
