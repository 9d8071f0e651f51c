import TBKCore
import TBKCrypto
import TBKFormat

/// Verifies many backups, each archive read once: what a backup takes from others is looked up in what was
/// verified of those. What a backup offers is kept until as many others as the sender announced have been checked
/// against it.
package final class SeriesVerification {
  /// What came of one backup.
  package struct Verdict {
    package enum Kind: String, Sendable {
      case ok
      /// Its archive is missing.
      case missing
      /// Its archive is not whole, or not what it should be.
      case corrupt
      /// Its archive does not open: it was altered, or has another password.
      case altered
      /// The ledger says something else of it.
      case differs
      /// It holds, but not what it takes from others.
      case depends
    }

    package let kind: Kind
    /// In the ledger's word, where it comes along; nil if nothing says it.
    package let id: String?
    /// What its archive says; nil if that could not be read.
    package let verified: VerifiedManifest?
    package let format: String?
    /// What does not hold; nil if all does.
    package let failure: Failure?
    /// The backups that it needs and that do not hold, or were not given.
    package let lacking: [String]
    /// What became of the sealed manifest; nil where none came along.
    package let manifest: BackupClaims.BackupPresenceWord?
    package let signature: String?
  }

  private let opener: ArchiveOpener
  private let keys: any ArchiveKeys
  private let expected: [String: BackupClaims]?
  private let progress: (Int) -> Void
  private var offers = SeriesOffers()

  /// - Parameters:
  ///   - expected: what a ledger says about the backups, by id; each must be among them.
  package init(
    limits: OpenLimits, expected: [String: BackupClaims]? = nil,
    progress: @escaping (Int) -> Void, keys: any ArchiveKeys
  ) {
    opener = ArchiveOpener(keys, limits: limits)
    self.keys = keys
    self.expected = expected
    self.progress = progress
  }

  /// Verifies the backups of one stream, which come in an order in which none is before what it needs;
  /// `report` gets those that were asked for. Throws what is not the fault of a backup, or one of the stream.
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
      // Of one that is truncated, it is the stream that is at fault.
      try chain.passRest()
      let found = chain.lastIsDamaged && verdict.verified == nil ? lost(link, sealed, isDamaged: true) : verdict
      if link.claims?.isWanted ?? true { try report(found) }
    }
  }

  /// Verifies the archive that lies in a file.
  ///
  /// - Parameter name: what a failure calls it.
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
    // Where the next one begins is not known then.
    if case .failure(let failure) = result, !link.isFramed { throw failure }
    return try conclude(result, link.claims, sealed: sealed)
  }

  /// Of a backup whose archive the sender does not have as the ledger names it.
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
    // What is there only because others need it offers what it holds itself, unless it must be laid over others.
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

  /// Nil for one that is empty: the sender does not have it.
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

  /// What `body` gives, or why what it reads does not hold; throws what is not the fault of that.
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
