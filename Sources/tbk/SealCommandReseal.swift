import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto

/// tbk-seal --reseal: an archive under another password.
extension SealCommand {
  func validateResealing() throws {
    try validateConsolidating()
    guard reseal else {
      if oldPasswords.isGiven { throw ValidationError("an old password goes with --reseal") }
      if expectId != nil, !consolidate, !manifestOnly {
        throw ValidationError("--expect-id goes with --reseal, --consolidate and --manifest-only")
      }
      return
    }
    if source != nil || directory != nil || stdinName != nil || fromCommand || fromTar
      || walk.isGiven
    {
      throw ValidationError("--reseal takes an archive from standard input, and nothing else")
    }
    if receipt != nil || manifestOut != nil {
      throw ValidationError("--reseal makes no receipt and no sealed manifest: reseal that one too")
    }
    if level != nil || threads.threads != nil {
      throw ValidationError("--reseal leaves the compression as it is")
    }
    try validateExpectedID(expectId)
  }

  /// Authenticates all of the archive before the first byte of output.
  func sealAgain(_ cost: Argon2Cost) throws(Failure) -> Int32 {
    let old = try oldPasswords.password(refusing: passwords.input.noInput, inputIsData: true)
    let new = try passwords.password(confirming: true, inputIsData: true)
    let sources = ArchiveSources(
      [], isChain: false, limits: OpenLimits(), keys: OpeningKeys(password: old))
    guard let archive = try sources.next() else {
      throw Failure(.library, "no archive was read")
    }
    // What does not hold together is not sealed again as if it did.
    try archive.keep()
    var rest: (any OpenedArchive)? = archive
    let reader = try BackupReader(
      expectedID: expectId, progress: { _ in }, warn: { Messages.warning($0) },
      archives: { () throws(Failure) in rest.take() })
    let verified = try reader.manifest(wholly: true)
    let key = try SealingKey(password: new, cost: cost)
    let meter = ProgressMeter("sealing", mode: progress.progress)
    let length: UInt64
    if let archive = archive as? AuthenticatedArchive {
      let output = try archiveOutput(lengthIsKnown: true)
      meter.setTotal(archive.header.payloadLength)
      length = try Sealing.again(archive, key: key, output: output) { meter.advance($0) }
    } else {
      let output = try archiveOutput(lengthIsKnown: false)
      length = try Sealing.again(
        archive, of: verified.manifest, key: key, threads: threads.count, output: output
      ) { meter.advance($0) }
    }
    meter.finish()
    Messages.notice("sealed \(humanSize(length)) again, from \(archive.format) as TBK2")
    return ExitStatus.success
  }
}
