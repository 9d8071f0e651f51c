import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// Reads one backup from its archives: the newest describes the tree, the others supply content.
package final class BackupReader {
  /// Returns the archives one after the other, newest first; nil at the end.
  ///
  /// - Parameter wanted: the ids of the backups that are needed, for a provider that can choose.
  package typealias ArchiveProvider = (_ wanted: [String]) throws(Failure) -> (any OpenedArchive)?

  private let provide: ArchiveProvider
  let newest: any OpenedArchive
  let expectedID: String?
  let progress: (Int) -> Void
  /// Called with warnings.
  let warn: (String) -> Void
  let stripsTop: Bool
  /// Whether a store's ledger selects the archives, so that the user cannot add others.
  let isChain: Bool
  /// Whether to restore the rest, with a warning, if archives are missing.
  let isPartial: Bool
  /// What a ledger says about the backups, by id: the newest must be one of them.
  let expected: [String: BackupClaims]?
  private var hasWarnedOfReceipt = false
  /// Members of an mbu package that a backup cannot contain, or not unchanged.
  package private(set) var flawed: Set<[UInt8]> = []
  /// Whether a given path is not in the backup.
  package internal(set) var lacksNamed = false

  /// - Parameter stripsTop: whether to strip the top directory of an mbu package from the names.
  package init(
    expectedID: String? = nil, expected: [String: BackupClaims]? = nil, stripsTop: Bool = false,
    isChain: Bool = false, isPartial: Bool = false, progress: @escaping (Int) -> Void,
    warn: @escaping (String) -> Void, archives: @escaping ArchiveProvider
  ) throws(Failure) {
    self.stripsTop = stripsTop
    self.isChain = isChain
    self.isPartial = isPartial
    self.expected = expected
    guard let first = try archives([]) else { throw Failure(.usage, "no archive is given") }
    newest = first
    provide = archives
    self.expectedID = expectedID
    self.progress = progress
    self.warn = warn
  }

  /// The next archive; nil when there are no more.
  ///
  /// - Parameter wanted: the backups that are still needed; a provider that can choose returns no others.
  func next(_ wanted: [String] = []) throws(Failure) -> (any OpenedArchive)? { try provide(wanted) }

  // MARK: One archive

  /// Reads all of an archive, and verifies everything that can be verified without the others.
  func read(
    _ archive: any OpenedArchive, consumer: (any MemberConsumer)? = nil
  ) throws(Failure) -> VerifiedManifest {
    if archive.hasNoManifest { return try readPackage(archive, consumer) }
    let verifier = try TarVerifier(consumer: consumer, termBackup6: archive.admitsTermBackup6)
    let parser = TarParser(
      handler: verifier, limits: TarLimits(maximumSize: archive.maximumContentLength))
    try archive.replayTar(into: TickingSink(into: parser, progress))
    return try compareClaims(verifier.verdict(locator: archive.locator), archive)
  }

  /// Compares an archive with the claims of the ledger.
  func compareClaims(
    _ verified: VerifiedManifest, _ archive: any OpenedArchive
  ) throws(Failure) -> VerifiedManifest {
    try archive.claims?.check(archive.kind, isManifest: verified.isAlone)
    try archive.claims?.check(verified.manifest, id: verified.id)
    if archive === newest, archive.claims?.facts?.isWithoutReceipt == true, !hasWarnedOfReceipt {
      hasWarnedOfReceipt = true
      warn("the backup was stored without a receipt: its date in the ledger proves nothing")
    }
    guard let expected else { return verified }
    if let claims = expected[ledgerID(verified.id, archive)] {
      try claims.check(archive.kind, isManifest: verified.isAlone)
      try claims.check(verified.manifest, id: verified.id)
    } else if archive === newest {
      throw Failure(
        .integrity, "the archive is backup \(verified.id), which is not among those expected",
        hint: "the store sent a different archive")
    }
    return verified
  }

  /// The id of a backup in a ledger: without a receipt that is the SHA-256 of the archive.
  private func ledgerID(_ id: String, _ archive: any OpenedArchive) -> String {
    if let claims = archive.claims { return claims.facts?.isWithoutReceipt == true ? claims.id : id }
    guard archive === newest, let expectedID, expected?[expectedID]?.facts?.isWithoutReceipt == true else {
      return id
    }
    return expectedID
  }

  /// Reads an mbu package, whose manifest is made from its tar.
  private func readPackage(
    _ archive: any OpenedArchive, _ consumer: (any MemberConsumer)?
  ) throws(Failure) -> VerifiedManifest {
    let survey = try TarSurvey(consumer: consumer, stripsTop: stripsTop, report: note)
    try replay(archive, to: survey)
    return VerifiedManifest(trusting: try survey.manifest(), id: "", missing: [])
  }

  /// Warns, once, about a member of an mbu package that a backup cannot contain, or not unchanged.
  func note(_ entry: UnreadableEntry) {
    guard flawed.insert(entry.path).inserted else { return }
    warn("\(RawPath(entry.path).display): \(entry.reason)")
  }

  /// Reads all of an archive's tar.
  func replay(
    _ archive: any OpenedArchive, to handler: any TarHandler
  ) throws(Failure) {
    let parser = TarParser(
      handler: handler, limits: TarLimits(maximumSize: archive.maximumContentLength))
    try archive.replayTar(into: TickingSink(into: parser, progress))
  }

  /// Throws `.integrity` if `id`, the newest archive's backup, is not the expected one.
  func check(id: String) throws(Failure) {
    if let expectedID, !ledgerID(id, newest).hasPrefix(expectedID) {
      throw Failure(
        .integrity, "the archive is backup \(id), and not \(expectedID)",
        hint: "the store sent a different archive")
    }
  }

  /// The format of the newest archive: "TBK2", "TBK1", "mbu" or "age".
  package var format: String { newest.format }

  /// The manifest of the newest archive, verified against that archive; if the archive is seekable, without reading its
  /// content.
  ///
  /// - Parameter wholly: whether to read the whole archive in any case.
  package func manifest(wholly: Bool = false) throws(Failure) -> VerifiedManifest {
    let alone = wholly ? nil : try manifestAlone(newest)
    let verified = if let alone { alone } else { try read(newest) }
    try check(id: verified.id)
    return verified
  }

  /// The failure if the other archives were given, but lack content that the backup needs.
  func lacking(_ ids: [String]) -> Failure {
    Failure(
      .integrity,
      "the backup needs content of others that do not have it: \(ids.joined(separator: ", "))",
      shellHint: "restore an older backup, or use --partial to restore what is there",
      libraryHint: "read an older backup")
  }

  func missingBackups(_ ids: [String]) -> Failure {
    Failure(
      .inputMissing, "the backup needs others that were not given: \(ids.joined(separator: ", "))",
      shellHint: (isChain
        ? "the store has lost them, or its ledger does not say so: it has been altered, or is "
          + "TermBackup 6's, which never did"
        : "give their archives too, or use tbk-pull --chain") + "; --partial restores the rest",
      libraryHint: "give their archives, too")
  }

  /// The whole tree of the backup, overlaid on earlier backups if its manifest does not list all of it. In that case it
  /// reads all archives; `manifest()` reads only the newest.
  package func wholeManifest() throws(Failure) -> VerifiedManifest {
    let verified = try manifest()
    guard verified.manifest.isOverlay else { return verified }
    return try gather(staging: nil, known: verified, RestoreOptions(), wanted: { (_, _) in true })
  }

  // MARK: Verifying

  /// Verifies the backup with all the archives that it needs, and returns its manifest.
  package func verifyAll() throws(Failure) -> VerifiedManifest {
    try gather(staging: nil, known: nil, RestoreOptions(), wanted: { (_, _) in true })
  }

  func refuseAlone(_ verified: VerifiedManifest) throws(Failure) {
    if verified.isAlone {
      throw Failure(
        .malformed, "this is a sealed manifest: it holds no files",
        hint: "give the archive of backup \(verified.id)")
    }
  }

  // MARK: Several archives

  /// Reads the newest archive, then the others as needed.
  ///
  /// - Parameters:
  ///   - staging: gets the entries; nil to only verify them.
  ///   - known: the newest archive's manifest, if it has been read already.
  ///   - wanted: whether to take an entry of it; called only with `known`.
  func gather(
    staging: Staging?, known: VerifiedManifest?, _ options: RestoreOptions,
    wanted: @escaping (Manifest, Int) -> Bool
  ) throws(Failure) -> VerifiedManifest {
    if let known {
      return try known.manifest.archived.gather(known, from: self, into: staging, options, wanted: wanted)
    }
    let all = staging.map { staging in StagingConsumer(staging) { _ in .take } }
    let verified = try readNewest(all)
    return try verified.manifest.archived.gatherOthers(
      of: verified, from: self, into: staging, partly: staging != nil, wanted: wanted)
  }

  /// Reads all of the newest archive, which must be the expected one and contain files.
  private func readNewest(_ consumer: (any MemberConsumer)?) throws(Failure) -> VerifiedManifest {
    let verified = try read(newest, consumer: consumer)
    try check(id: verified.id)
    try refuseAlone(verified)
    return verified
  }

  /// Gathers the wanted entries of a manifest that lists the whole tree.
  func gatherListed(
    _ known: VerifiedManifest, staging: Staging?, wanted: @escaping (Manifest, Int) -> Bool
  ) throws(Failure) -> VerifiedManifest {
    let lookup = NameLookup(known.manifest)
    let first = staging.map { staging in
      StagingConsumer(staging) { (member) throws(Failure) in
        guard let index = lookup.find(member.name) else { return .leave }
        return wanted(known.manifest, index) ? .take : .leave
      }
    }
    var verified = known
    let needsContent = staging != nil || !known.coversContent
    if needsContent, try !readParts(of: known, consumer: first, wanted: wanted) {
      verified = try readNewest(first)
    } else {
      try refuseAlone(known)
    }
    return try verified.manifest.archived.gatherOthers(
      of: verified, from: self, into: staging, partly: true, wanted: wanted)
  }

  /// Gathers from older archives the content that the newest does not contain.
  ///
  /// - Parameter partly: whether to read only the needed parts of them, where possible.
  func gatherStoredElsewhere(
    _ verified: VerifiedManifest, staging: Staging?, partly: Bool,
    wanted: @escaping (Manifest, Int) -> Bool
  ) throws(Failure) -> VerifiedManifest {
    let manifest = verified.manifest
    var pending: [String: Int] = [:]
    for index in manifest.files.indices where wanted(manifest, index) {
      if let id = manifest.files.storedIn(index) { pending[id, default: 0] += 1 }
    }
    let lookup = NameLookup(manifest)
    let have = Gathered(manifest.files.count)
    var given: Set<String> = []
    while !pending.isEmpty, let archive = try next(pending.keys.sorted()) {
      if partly,
        let id = try readParts(
          of: archive, for: manifest, have,
          consumer: staging.map { staging in StagingConsumer(staging) { _ in .take } }, wanted: wanted)
      {
        pending[id] = nil
        given.insert(id)
        continue
      }
      let consumer = OfferConsumer(staging) { member, offset in
        self.supplied(by: member, at: offset, to: manifest, lookup, have).compactMap { index in
          let entry = manifest.files[index]
          guard wanted(manifest, index), let sha256 = entry.sha256 else { return nil }
          return StagingConsumer.Offer(sha256: sha256, name: entry.tarName, index: index)
        }
      } accepted: { offer in
        have[offer.index] = true
      }
      let other = try read(archive, consumer: consumer)
      pending[other.id] = nil
      given.insert(other.id)
    }
    // Nothing may be restored before all given archives are verified.
    try proveOthers()
    let lost = try refuseMissing(manifest, have, given: given) { wanted(manifest, $0) }
    if let staging {
      try linkToSupplied(manifest, staging) { wanted(manifest, $0) && !lost.entries.contains($0) }
    }
    var rest = verified
    rest.missing += lost.entries.sorted().map { manifest.files.path($0) }
    rest.absent = lost.ids
    return rest
  }

  /// Verifies the archives that were not needed.
  func proveOthers() throws(Failure) {
    while let archive = try next() { try archive.proveRest() }
  }

  /// The entries of the newest manifest that still need content and may get it from this member of an older archive,
  /// whose content begins at `offset` in its tar.
  func supplied(
    by member: TarMember, at offset: UInt64, to manifest: Manifest, _ lookup: NameLookup,
    _ have: Gathered
  ) -> [Int] {
    guard member.kind == .file else { return [] }
    return lookup.entries(heldAs: member.name, at: offset).filter { index in
      !have[index] && manifest.files.storedIn(index) != nil
        && manifest.files.size(index) == member.size
    }
  }

  /// The entries whose content is missing, the hard links to them, and the backups that should have it.
  ///
  /// Without `isPartial`, throws `.inputMissing` for needed archives that were not given, `.integrity` for given ones
  /// that lack the content.
  @discardableResult
  func refuseMissing(
    _ manifest: Manifest, _ have: Gathered, given: Set<String>, _ wanted: (Int) -> Bool
  ) throws(Failure) -> (entries: Set<Int>, ids: [String]) {
    var missing: Set<String> = []
    var entries: Set<Int> = []
    for index in manifest.files.indices where !have[index] && wanted(index) {
      guard let id = manifest.files.storedIn(index) else { continue }
      missing.insert(id)
      if isPartial { entries.insert(index) }
    }
    if missing.isEmpty { return ([], []) }
    let absent = missing.subtracting(given)
    if isPartial {
      for id in absent.sorted() { warn(absence(of: id)) }
      for index in manifest.files.indices where manifest.files.isHardLink(index) && wanted(index) {
        if let first = manifest.files[index].hardLink, let target = manifest.files.find(first),
          entries.contains(target)
        {
          entries.insert(index)
        }
      }
      return (entries, missing.sorted())
    }
    throw absent.isEmpty ? lacking(missing.sorted()) : missingBackups(absent.sorted())
  }

  /// The warning about a needed backup that is missing.
  func absence(of id: String) -> String {
    "backup \(id) is missing: what no other archive holds is left out"
  }

  /// Creates hard links to content from other archives, which are in no tar.
  private func linkToSupplied(
    _ manifest: Manifest, _ staging: Staging, _ wanted: (Int) -> Bool
  ) throws(Failure) {
    for index in manifest.files.indices
    where manifest.files.isHardLink(index) && wanted(index) {
      let entry = manifest.files[index]
      guard let first = entry.hardLink, let target = manifest.files.find(first),
        manifest.files.storedIn(target) != nil
      else { continue }
      try staging.makeHardLink(entry.tarName, to: manifest.files[target].tarName)
    }
  }
}
