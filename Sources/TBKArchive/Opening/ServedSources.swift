import TBKCore
import TBKCrypto
import TBKFormat

/// The archives of one backup, served in parts by a command: the newest first, then others on demand.
package final class ServedSources {
  private let newest: Digest
  private let command: [[UInt8]]
  private let keys: OpeningKeys
  private let limits: OpenLimits
  /// Whether only the manifest is wanted, so that the sealed one is enough.
  private let wantsManifest: Bool
  /// Whether parts are read more than once.
  private let rereads: Bool
  /// Whether a damaged base archive counts as missing: each is fetched and verified as a whole before use.
  private let isPartial: Bool
  private var served: ServedArchives?
  private var given: Set<String> = []
  private var hasBegun = false
  private let warn: (String) -> Void

  /// - Parameters:
  ///   - id: of the newest backup.
  ///   - served: the command, if it is already running.
  ///   - warn: reports a sealed manifest or an archive that is not used.
  package init(
    _ id: Digest, _ command: [RawPath], keys: OpeningKeys, limits: OpenLimits, wantsManifest: Bool,
    rereads: Bool, isPartial: Bool = false, served: ServedArchives? = nil,
    warn: @escaping (String) -> Void
  ) {
    self.warn = warn
    newest = id
    self.served = served
    self.command = command.map(\.bytes)
    self.keys = keys
    self.limits = limits
    self.wantsManifest = wantsManifest
    self.rereads = rereads
    self.isPartial = isPartial
  }

  /// First the newest archive, then a wanted one that was not returned yet, or nil.
  package func next(_ wanted: [String]) throws(Failure) -> (any OpenedArchive)? {
    if served == nil { served = try ServedArchives(command) }
    guard let served else { return nil }
    if !hasBegun {
      hasBegun = true
      given.insert(newest.hex)
      return try first(served)
    }
    for id in wanted where !given.contains(id) {
      given.insert(id)
      // The caller that needs a missing one reports it.
      guard let digest = Digest(hex: id), let facts = try served.facts(of: digest) else { continue }
      do throws(Failure) {
        return try open(digest, facts, served)
      } catch {
        if error.code == .inputMissing { continue }
        guard isPartial, error.code == .integrity || error.code == .truncated else { throw error }
        warn("\(error.message): it is left out")
      }
    }
    return nil
  }

  /// Ends the command.
  package func finish() { served?.end() }

  private func first(_ served: ServedArchives) throws(Failure) -> any OpenedArchive {
    var failure: Failure?
    if wantsManifest {
      do throws(Failure) {
        if let archive = try sealedManifest(served) { return archive }
      } catch {
        // One that does not open matches the ledger, so the password is wrong.
        guard [.malformed, .truncated, .integrity].contains(error.code) else { throw error }
        failure = error
      }
    }
    guard let facts = try served.facts(of: newest) else {
      throw Failure(
        .unavailable, "the store has no backup \(newest.hex)", hint: "see 'tbk-pull --list STORE'")
    }
    let archive = try open(newest, facts, served)
    // The archive opens, so it was not the password.
    if let failure { warn("the sealed manifest is not used: \(failure.message)") }
    return archive
  }

  private func sealedManifest(_ served: ServedArchives) throws(Failure) -> (any OpenedArchive)? {
    guard let source = try served.manifest(of: newest) else { return nil }
    let archive = try ArchiveOpener(keys, limits: limits).open(stream: PeekingSource(source), isFramed: true)
    archive.isSealedManifest = true
    return archive
  }

  private func open(
    _ id: Digest, _ facts: ServedArchives.Facts, _ served: ServedArchives
  ) throws(Failure) -> any OpenedArchive {
    let region = try ServedRegion(served, id, length: facts.size, keeping: rereads)
    let isWithoutReceipt = facts.sha256 == id
    var archive: any OpenedArchive
    if isWithoutReceipt || isPartial && id != newest {
      // Without a receipt the id is the hash of these bytes, and nothing else proves it.
      archive = try ArchiveOpener(keys, limits: limits).open(file: try whole(region, facts, id), start: 0)
    } else {
      archive = try ArchiveOpener(keys, limits: limits).open(region: region) { () throws(Failure) in
        try whole(region, facts, id)
      }
    }
    archive.claims = BackupClaims(asked: id, isWithoutReceipt: isWithoutReceipt)
    return archive
  }

  /// Fetches a whole archive, as ciphertext, into an unnamed file, and checks its hash.
  private func whole(
    _ region: ServedRegion, _ facts: ServedArchives.Facts, _ id: Digest
  ) throws(Failure) -> Descriptor {
    let file = try TemporaryFile.anonymous()
    let hashing = try HashingSink(into: DescriptorSink(file, name: RawPath("temporary file")))
    region.expect(upTo: region.length)
    region.expect([0..<region.length])
    try RegionSource(region).copy(to: hashing)
    try hashing.finish()
    guard try hashing.digest() == facts.sha256 else {
      throw Failure(
        .integrity, "the archive of backup \(id.hex) does not have the SHA-256 that the ledger names",
        hint: "the store has lost or altered it; another copy of the store may still have it")
    }
    return file
  }
}
