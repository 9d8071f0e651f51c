// Sends an archive's tar, or the content of one file.

import TBKCore
import TBKCrypto
import TBKFormat

extension BackupReader {
  /// Sends the tar of the newest archive, which must be the only one. Each member is checked before it is sent, and the
  /// whole against the manifest at the end; only then is the end of the tar sent.
  ///
  /// If it fails after the first byte was sent, the tar ends with a block that is not a valid header, so that no reader
  /// accepts it as complete.
  @discardableResult
  package func sendTar(to sink: any ByteSink) throws(Failure) -> VerifiedManifest {
    // Looking for another archive reads past this one.
    if isChain { try newest.keep() }
    if try next() != nil {
      throw Failure(
        .usage, "several archives do not make one tar", hint: "extract them together with -C")
    }
    if newest.hasNoManifest { return try sendPackage(to: sink) }
    if let known = try manifestAlone(newest) {
      try refusePart(known.manifest)
      try check(id: known.id)
      try refuseAlone(known)
    }
    let verifier = try TarVerifier(termBackup6: newest.admitsTermBackup6) { [self] (manifest) throws(Failure) in
      try refusePart(manifest)
    }
    return try send(verifier, to: sink) { () throws(Failure) in
      let verified = try compareClaims(verifier.verdict(locator: newest.locator), newest)
      try check(id: verified.id)
      try refuseAlone(verified)
      return isPartial ? try verified.manifest.archived.part(verified, of: self) : verified
    }
  }

  /// Sends the newest archive's tar while `handler` checks it, and its end once `conclude` has returned.
  private func send(
    _ handler: any TarHandler, to sink: any ByteSink,
    _ conclude: () throws(Failure) -> VerifiedManifest
  ) throws(Failure) -> VerifiedManifest {
    let checking = CheckingSink(
      TarParser(handler: handler, limits: TarLimits(maximumSize: newest.maximumContentLength)),
      into: sink)
    do throws(Failure) {
      try newest.replayTar(into: TickingSink(into: checking, progress))
      let verified = try conclude()
      try checking.release()
      return verified
    } catch {
      if error.code != .brokenPipe { checking.spoil() }
      throw error
    }
  }

  /// Throws `.inputMissing` if the backup needs others.
  private func refusePart(_ manifest: Manifest) throws(Failure) {
    let others = manifest.neededIDs
    if others.isEmpty || isPartial { return }
    throw Failure(
      .inputMissing,
      "the backup is not whole without others: \(others.sorted().joined(separator: ", "))",
      hint: "extract it together with them: -C DIR and all their archives, the newest last; --partial "
        + "sends what this archive holds")
  }

  /// Sends the tar of an mbu package unchanged, except that members that a backup cannot contain are left out. Nothing
  /// is sent before all of it has been checked.
  private func sendPackage(to sink: any ByteSink) throws(Failure) -> VerifiedManifest {
    let survey = try TarSurvey(report: note)
    try replay(newest, to: survey)
    let verified = VerifiedManifest(trusting: try survey.manifest(), id: "", missing: [])
    if !survey.leavesOut {
      return try send(try TarSurvey(report: note), to: sink) { () throws(Failure) in verified }
    }
    let checking = CheckingSink(TarParser(handler: try TarSurvey(report: note)), into: sink)
    do throws(Failure) {
      try replay(newest, to: try TarSurvey(consumer: MemberCopier(checking), report: note))
      try checking.write(TarWriter.end)
      try checking.finish()
      try checking.release()
    } catch {
      if error.code != .brokenPipe { checking.spoil() }
      throw error
    }
    return verified
  }

  /// Sends the content of one file, and finishes the sink. Its hash is verified before the first byte is sent.
  package func send(path: [UInt8], to sink: any ByteSink) throws(Failure) {
    try newest.keep()
    let verified = try manifest()
    try refuseAlone(verified)
    try verified.manifest.archived.send(path, of: verified, from: self, to: sink)
    try sink.finish()
  }

  /// Sends the content of a file of a manifest that lists the whole tree.
  func sendListed(
    _ path: [UInt8], _ manifest: Manifest, to sink: any ByteSink
  ) throws(Failure) {
    let files = manifest.files
    guard var index = files.find(path) else {
      throw Failure(.inputMissing, "\(RawPath(path).display) is not in this backup")
    }
    if let first = files[index].hardLink, let target = files.find(first) { index = target }
    let entry = files[index]
    guard entry.type == .file else {
      throw Failure(.usage, "\(RawPath(path).display) is not a regular file")
    }
    if entry.storedIn == nil, let payload = try newest.parts(), let part = Part(entry) {
      try send(part, of: payload, to: sink)
    } else if entry.storedIn == nil {
      // Of a seekable archive, only the manifest has been read.
      if try newest.parts() != nil { _ = try read(newest) }
      let sender = MemberSender(sink) { $0.name == entry.tarName }
      _ = try read(newest, consumer: sender)
      guard sender.isSent else {
        throw Failure(.inputMissing, "\(RawPath(path).display) is not in this archive")
      }
    } else {
      try sendFromOthers(index, manifest, sink)
    }
  }

  /// Sends content that an earlier backup holds: finds and verifies it first.
  private func sendFromOthers(
    _ index: Int, _ manifest: Manifest, _ sink: any ByteSink
  ) throws(Failure) {
    let lookup = NameLookup(manifest)
    let have = Gathered(manifest.files.count)
    var given: Set<String> = []
    let wanted = manifest.files.storedIn(index).map { [$0] } ?? []
    while let archive = try next(wanted) {
      try archive.keep()
      if let (id, parts) = try partsLeft(to: archive, by: manifest, have, wanted: { $0 == index }),
        let payload = try archive.parts()
      {
        given.insert(id)
        guard let part = parts.first else { continue }
        return try send(part.part, of: payload, to: sink)
      }
      let finder = ContentFinder { member, offset in
        self.supplied(by: member, at: offset, to: manifest, lookup, have).filter { $0 == index }
          .compactMap { index in manifest.files[index].sha256.map { (index, $0) } }
      } found: { index in
        have[index] = true
      }
      given.insert(try read(archive, consumer: finder).id)
      if finder.isEmpty { continue }
      let choose = finder.replay()
      let sender = MemberSender(sink) { choose($0) != nil }
      _ = try read(archive, consumer: sender)
      return
    }
    try refuseMissing(manifest, have, given: given) { $0 == index }
    throw Failure(
      .inputMissing, "\(RawPath(manifest.files.path(index)).display) is not in the archives given")
  }
}

/// Sends the content of the first file that is chosen.
final class MemberSender: MemberConsumer {
  private let choose: (TarMember) -> Bool
  private let sink: any ByteSink
  private(set) var isSent = false

  /// - Parameter choose: called for each member in turn.
  init(_ sink: any ByteSink, _ choose: @escaping (TarMember) -> Bool) {
    self.choose = choose
    self.sink = sink
  }

  func begin(_ member: TarMember) -> Bool { choose(member) && member.kind == .file && !isSent }
  func body(_ bytes: Span<UInt8>) throws(Failure) { try sink.write(bytes) }
  func end(_ sha256: Digest) { isSent = true }
}

/// Sends a tar on while it is checked. The last piece, including the end marker, waits for `release()`: without it no
/// reader accepts the tar as complete.
final class CheckingSink: ByteSink {
  private let check: TarParser
  private let next: any ByteSink
  private var held: [UInt8] = []
  private var sent: UInt64 = 0
  /// Bytes left of the member that is being sent.
  private var untilHeader: UInt64 = 0

  init(_ check: TarParser, into next: any ByteSink) {
    self.check = check
    self.next = next
  }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    // `held` stays bounded: the parser limits what may follow the end.
    let isPastMembers = check.isPastMembers
    let left = check.untilHeader
    try check.write(bytes)
    if !isPastMembers {
      try pass()
      untilHeader = left
      held.removeAll(keepingCapacity: true)
    }
    held.append(bytes)
  }

  func finish() throws(Failure) { try check.finish() }

  /// Sends the rest.
  func release() throws(Failure) {
    try pass()
    try next.finish()
  }

  /// Ends a partially sent tar so that every reader fails: with a block that cannot be a header, on a block boundary,
  /// or inside a member.
  func spoil() {
    if sent == 0 { return }
    let block = UInt64(TarBlock.size)
    var count = block + (block - sent % block) % block
    // Otherwise it would exactly complete the member.
    if count == untilHeader { count += block }
    _ = try? next.write([UInt8](repeating: 0xff, count: Int(count)))
    _ = try? next.finish()
  }

  private func pass() throws(Failure) {
    if held.isEmpty { return }
    try next.write(held)
    sent += UInt64(held.count)
  }
}
