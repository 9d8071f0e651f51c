import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

/// The archives of one backup as a command serves them, in parts: the newest first, then those that are asked for.
final class ServedSources {
  private let newest: Digest
  private let command: [[UInt8]]
  private let keys: OpeningKeys
  private let limits: OpenLimits
  /// Whether the manifest is all that is wanted, so that the sealed one will do.
  private let wantsManifest: Bool
  /// Whether parts are read more than once.
  private let rereads: Bool
  private var served: ServedArchives?
  private var given: Set<String> = []

  private var hasBegun = false

  /// - Parameters:
  ///   - id: of the newest, all 64 digits.
  ///   - served: the command, if it runs already.
  init(
    _ id: Digest, _ command: [RawPath], keys: OpeningKeys, limits: OpenLimits, wantsManifest: Bool,
    rereads: Bool, served: ServedArchives? = nil
  ) {
    newest = id
    self.served = served
    self.command = command.map(\.bytes)
    self.keys = keys
    self.limits = limits
    self.wantsManifest = wantsManifest
    self.rereads = rereads
  }

  /// The newest archive at first, then one of those that are wanted and were not given yet; nil if there is none.
  func next(_ wanted: [String]) throws(Failure) -> (any OpenedArchive)? {
    if served == nil { served = try ServedArchives(command) }
    guard let served else { return nil }
    if !hasBegun {
      hasBegun = true
      given.insert(newest.hex)
      return try first(served)
    }
    for id in wanted where !given.contains(id) {
      given.insert(id)
      guard let digest = Digest(hex: id) else { continue }
      do throws(Failure) {
        // Whoever needs one that is missing says so.
        if let archive = try open(digest, served) { return archive }
      } catch {
        guard error.code == .inputMissing else { throw error }
      }
    }
    return nil
  }

  /// Ends the command.
  func finish() { served?.end() }

  private func first(_ served: ServedArchives) throws(Failure) -> any OpenedArchive {
    var failure: Failure?
    if wantsManifest {
      do throws(Failure) {
        if let archive = try sealedManifest(served) { return archive }
      } catch {
        // One that does not open is what the ledger names: it is the password.
        guard [.malformed, .truncated, .integrity].contains(error.code) else { throw error }
        failure = error
      }
    }
    guard let archive = try open(newest, served) else {
      throw Failure(
        .unavailable, "the store has no backup \(newest.hex)", hint: "see 'tbk-pull --list STORE'")
    }
    // The archive opens, so it was not the password.
    if let failure { Messages.warning("the sealed manifest is not used: \(failure.message)") }
    return archive
  }

  private func sealedManifest(_ served: ServedArchives) throws(Failure) -> (any OpenedArchive)? {
    guard let source = try served.manifest(of: newest) else { return nil }
    return try ArchiveOpener(keys, limits: limits).open(stream: PeekingSource(source), isFramed: true)
  }

  private func open(_ id: Digest, _ served: ServedArchives) throws(Failure) -> (any OpenedArchive)? {
    guard let facts = try served.facts(of: id) else { return nil }
    let region = try ServedRegion(served, id, length: facts.size, keeping: rereads)
    let isWithoutReceipt = facts.sha256 == id
    var archive: any OpenedArchive
    if isWithoutReceipt {
      // The id is that of these bytes, and nothing else proves it.
      archive = try ArchiveOpener(keys, limits: limits).open(file: try whole(region, facts, id), start: 0)
    } else {
      archive = try ArchiveOpener(keys, limits: limits).open(region: region) { () throws(Failure) in
        try whole(region, facts, id)
      }
    }
    archive.claims = BackupClaims(asked: id, isWithoutReceipt: isWithoutReceipt)
    return archive
  }

  /// All of an archive, as ciphertext, in a file without a name.
  private func whole(
    _ region: ServedRegion, _ facts: ServedArchives.Facts, _ id: Digest
  ) throws(Failure) -> Descriptor {
    let file = try TemporaryFile.anonymous()
    let hashing = try HashingSink(into: DescriptorSink(file, name: RawPath("temporary file")))
    region.expect(upTo: region.length)
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

extension OpenCommand {
  func validateServed() throws {
    guard let from else { return try validateFind() }
    guard Digest(hex: from) != nil else {
      throw ValidationError("--from takes an id of 64 lower-case hexadecimal digits")
    }
    if archives.isEmpty {
      throw ValidationError("--from needs a command that serves archives, as in -- tbk-pull --serve STORE")
    }
    if chain || each || partial || raw || header || mbuConfig != nil || expectId != nil {
      throw ValidationError(
        "--from cannot be used with --chain, --each, --partial, --raw, --header, --expect-id or --mbu-config")
    }
  }

  /// The command gets the descriptors of the caller, but those of secrets.
  func withholdSecrets() {
    var numbers = [passwords.passwordFd, identities.passwords.identityPasswordFd].compactMap { $0 }
    let files = [passwords.passwordFile, identities.passwords.identityPasswordFile].compactMap { $0 }
    for path in identities.identity + files {
      for folder in ["/dev/fd/", "/proc/self/fd/"] where path.bytes.starts(with: folder.utf8) {
        let digits = String(decoding: path.bytes.dropFirst(folder.utf8.count), as: UTF8.self)
        if let number = Int32(digits) { numbers.append(number) }
      }
    }
    for number in numbers where number > 2 { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
  }

  /// What `--from` reads; nil without it.
  func servedSources() -> ServedSources? {
    guard let from, let id = Digest(hex: from) else { return nil }
    withholdSecrets()
    return ServedSources(
      id, archives, keys: openingKeys, limits: limits, wantsManifest: list || manifest,
      rereads: cat != nil)
  }
}
