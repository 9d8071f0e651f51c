import TBKCore
import TBKCrypto
import TBKFormat

/// Verifies many backups, reading each archive once: the content that a backup needs from others is looked up in what
/// those offered when they were verified. An offer is kept until as many others as the sender announced have been
/// checked against it.
package final class SeriesVerification {
  /// The result for one backup.
  package struct Verdict {
    package enum Kind: String, Sendable {
      case ok
      /// Its archive is missing.
      case missing
      /// Its archive is damaged or incomplete.
      case corrupt
      /// Its archive does not open: it was altered, or the password is wrong.
      case altered
      /// It does not match the ledger.
      case differs
      /// It is valid, but content that it needs from others is missing or damaged.
      case depends
    }

    package let kind: Kind
    /// According to the ledger, if that is sent, else to the archive; nil if unknown.
    package let id: String?
    /// Its verified manifest; nil if the archive could not be read.
    package let verified: VerifiedManifest?
    package let format: String?
    /// What is wrong; nil if nothing is.
    package let failure: Failure?
    /// The backups that it needs, but that are missing or damaged.
    package let lacking: [String]
    /// The state of the sealed manifest; nil if none was sent.
    package let manifest: BackupClaims.BackupPresenceWord?
    package let signature: String?
  }

  private let opener: ArchiveOpener
  private let keys: any ArchiveKeys
  private let expected: [String: BackupClaims]?
  private let progress: (Int) -> Void
  private var offers = SeriesOffers()

  /// - Parameters:
  ///   - expected: what a ledger says about the backups, by id; each backup must be among them.
  package init(
    limits: OpenLimits, expected: [String: BackupClaims]? = nil,
    progress: @escaping (Int) -> Void, keys: any ArchiveKeys
  ) {
    opener = ArchiveOpener(keys, limits: limits)
    self.keys = keys
    self.expected = expected
    self.progress = progress
  }

  /// Verifies the backups of one stream, in which each comes after those that it needs; calls `report` for those that
  /// were asked for. Throws errors that are not the fault of one backup, and those of the stream.
  package func verify(
    _ stream: any ByteSource, report: (Verdict) throws(Failure) -> Void
  ) throws(Failure) {
    let chain = ChainReader(stream)
    while true {
      try Interruption.check()
      var sealed: Result<VerifiedManifest?, Failure>?
      let link = try chain.next(manifest: { (_, source) throws(Failure) in
        sealed = try self.attempt { () throws(Failure) in try self.sealedManifest(source) }
      })
      guard let link else { return }
      let verdict = try verify(link, sealed)
      // If this is truncated, the stream is at fault.
      try chain.passRest()
      let found = chain.lastIsDamaged && verdict.verified == nil ? lost(link, sealed, isDamaged: true) : verdict
      if link.claims?.isWanted ?? true { try report(found) }
    }
  }

  /// Verifies the archive in a file.
  ///
  /// - Parameter name: its name in failures.
  package func verify(
    file: Descriptor, start: UInt64, name: String, report: (Verdict) throws(Failure) -> Void
  ) throws(Failure) {
    let result = try attempt { () throws(Failure) in
      do throws(Failure) {
        return try read(opener.open(file: file, start: start))
      } catch {
        throw error == keys.failure ? error : error.within(name)
      }
    }
    try report(try conclude(result, nil, sealed: nil))
  }

  // MARK: One backup

  private struct Opened {
    let verified: VerifiedManifest
    let kind: ArchiveKind
  }

  private func verify(
    _ link: ChainReader.Link, _ sealed: Result<VerifiedManifest?, Failure>?
  ) throws(Failure) -> Verdict {
    defer { if let claims = link.claims, claims.isWanted { offers.release(claims.facts?.dependsOn ?? []) } }
    guard let source = link.archive else {
      return lost(link, sealed, isDamaged: link.claims?.archive == .damaged)
    }
    let result = try attempt { () throws(Failure) in
      try read(opener.open(stream: source, isFramed: link.isFramed))
    }
    // Then the start of the next archive is unknown.
    if case .failure(let failure) = result, !link.isFramed { throw failure }
    return try conclude(result, link.claims, sealed: sealed)
  }

  /// The verdict on a backup whose archive the sender does not have, or has damaged.
  private func lost(
    _ link: ChainReader.Link, _ sealed: Result<VerifiedManifest?, Failure>?, isDamaged: Bool
  ) -> Verdict {
    Verdict(
      kind: isDamaged ? .corrupt : .missing, id: link.claims?.id, verified: nil, format: nil,
      failure: isDamaged
        ? Failure(.integrity, "its archive is not what the ledger says")
        : Failure(.inputMissing, "its archive is missing"),
      lacking: [], manifest: word(sealed, nil), signature: link.claims?.signature)
  }

  private func conclude(
    _ result: Result<Opened, Failure>, _ claims: BackupClaims?,
    sealed: Result<VerifiedManifest?, Failure>?
  ) throws(Failure) -> Verdict {
    func verdict(
      _ kind: Verdict.Kind, _ opened: Opened?, _ failure: Failure?, lacking: [String] = []
    ) -> Verdict {
      Verdict(
        kind: kind, id: claims?.id ?? opened?.verified.id, verified: opened?.verified,
        format: opened?.kind.format, failure: failure, lacking: lacking,
        manifest: word(sealed, opened?.verified.id), signature: claims?.signature)
    }
    let opened: Opened
    switch result {
    case .success(let value): opened = value
    case .failure(let failure):
      return verdict(failure.code == .authentication ? .altered : .corrupt, nil, failure)
    }
    let verified = opened.verified
    if verified.isAlone {
      return verdict(
        .corrupt, nil, Failure(.malformed, "this is a sealed manifest: it holds no files"))
    }
    let said = try attempt { () throws(Failure) in
      try claims?.check(opened.kind)
      try claims?.check(verified.manifest, id: verified.id)
      guard let expected else { return }
      let isWithoutReceipt = claims?.facts?.isWithoutReceipt == true
      guard let listed = expected[isWithoutReceipt ? claims?.id ?? verified.id : verified.id] else {
        guard claims?.isWanted ?? true else { return }
        throw Failure(.integrity, "backup \(verified.id) is not among those expected")
      }
      try listed.check(opened.kind)
      try listed.check(verified.manifest, id: verified.id)
    }
    if case .failure(let failure) = said { return verdict(.differs, opened, failure) }
    // A backup that was sent only because others need it need not be complete, unless it is part of an overlay.
    let tree = verified.manifest.archived
    let isWanted = claims?.isWanted ?? true
    let lacking = isWanted || !tree.listsWholeTree ? tree.lacking(verified, in: offers) : []
    tree.offer(verified, isWhole: lacking.isEmpty, dependents: claims?.dependents, in: &offers)
    if lacking.isEmpty { return verdict(.ok, opened, nil) }
    return verdict(
      .depends, opened,
      Failure(
        .inputMissing,
        "it depends on backups that are missing or damaged: \(lacking.joined(separator: ", "))"),
      lacking: lacking)
  }

  private func read(_ archive: any OpenedArchive) throws(Failure) -> Opened {
    let verifier = try TarVerifier(termBackup6: archive.admitsTermBackup6)
    let parser = TarParser(
      handler: verifier, limits: TarLimits(maximumSize: archive.maximumContentLength))
    try archive.replayTar(into: TickingSink(into: parser, progress))
    return Opened(
      verified: try verifier.verdict(locator: archive.locator), kind: archive.kind)
  }

  /// Reads a sealed manifest; nil if it is empty, because the sender does not have it.
  private func sealedManifest(_ source: any ByteSource) throws(Failure) -> VerifiedManifest? {
    let whole = PeekingSource(source)
    if try whole.peek(1).isEmpty { return nil }
    let archive = try opener.open(stream: whole, isFramed: true)
    archive.isSealedManifest = true
    return try read(archive).verified
  }

  private func word(
    _ sealed: Result<VerifiedManifest?, Failure>?, _ id: String?
  ) -> BackupClaims.BackupPresenceWord? {
    guard let sealed else { return nil }
    guard case .success(let found) = sealed else { return .damaged }
    guard let found else { return .missing }
    return id == nil || found.id == id ? .whole : .damaged
  }

  /// The result of `body`, or the failure that the data causes; throws any other failure.
  private func attempt<R>(
    _ body: () throws(Failure) -> R
  ) throws(Failure) -> Result<R, Failure> {
    do throws(Failure) { return .success(try body()) } catch {
      if error == keys.failure { throw error }
      switch error.code {
      case .malformed, .truncated, .integrity, .authentication: return .failure(error)
      default: throw error
      }
    }
  }
}
