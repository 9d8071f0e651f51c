import TBKCore
import TBKCrypto
import TBKFormat

/// How to treat bytes whose hash is in no ledger.
package enum UnvouchedBytes: Sendable {
  /// They are not sent: the user has not asked for them.
  case withheld
  /// They are not sent, even on request: the ledger is signed, and does not name them.
  case refused
  /// They are sent, with a warning.
  case sent

  /// - Parameters:
  ///   - areWanted: whether the user has asked for them.
  ///   - trust: the result for the ledger that should have their hash.
  package init(areWanted: Bool, trust: LedgerTrust) {
    self = trust != .unsigned ? .refused : areWanted ? .sent : .withheld
  }
}

/// Reads objects from a store and checks them against the ledger.
package final class Retrieval {
  let store: any Store
  let unvouched: UnvouchedBytes
  private let signatures: ArchiveSignatures?
  let warn: (String) -> Void
  private let progress: (Int) -> Void

  /// - Parameters:
  ///   - unvouched: how to treat bytes that the ledger does not name.
  ///   - signatures: checks archives against their signatures; nil if the ledger authenticates them.
  ///   - warn: called when bytes are sent that the ledger does not name.
  ///   - progress: called with the number of bytes as they are sent.
  package init(
    _ store: any Store, unvouched: UnvouchedBytes = .withheld, signatures: ArchiveSignatures? = nil,
    warn: @escaping (String) -> Void, progress: @escaping (Int) -> Void = { _ in }
  ) {
    self.store = store
    self.unvouched = unvouched
    self.signatures = signatures
    self.warn = warn
    self.progress = progress
  }

  /// Sends the archive of a backup, without ending the sink. Throws `.inputMissing` if the store does not have it, and
  /// `.integrity` if it does not match the ledger.
  ///
  /// - Parameters:
  ///   - isStaging: whether the sink's data is discarded on failure. If not, nothing is sent until all of it has been
  ///     checked, except with `mayBeCut`; and even if the store changes it meanwhile, the output is never complete and
  ///     wrong.
  ///   - mayBeCut: whether an archive whose reader detects a missing end is sent while it is read. Its last 128 KiB are
  ///     sent when all of it has been checked.
  ///   - checksFiles: whether to check an archive that can be read twice before sending it even so.
  package func sendArchive(
    _ entry: LedgerEntry, to sink: any ByteSink, isStaging: Bool, mayBeCut: Bool = false, checksFiles: Bool = false
  ) throws(Failure) {
    guard let signatures, try signatures.needsCopy(of: entry) else {
      try sendStored(entry, to: sink, isStaging: isStaging, mayBeCut: mayBeCut, checksFiles: checksFiles)
      return
    }
    let copy = try copy(of: entry)
    (sink as? FramedSink)?.length = copy.length
    try RegionSource(try DescriptorRegion(copy.file)).copy(to: sink)
  }

  /// A complete archive in an unnamed file.
  struct Copy {
    let file: Descriptor
    /// In bytes.
    let length: UInt64
    /// Whether it has the SHA-256 that the ledger names.
    let isVouched: Bool

    var bytes: PrivateCopy { PrivateCopy(adopting: file, length: length) }
  }

  /// Whether an archive was refused because of its signature.
  var hasInvalidSignature: Bool { signatures?.worth == .fails }

  /// Whether an archive must be served from a copy: its signature is checked first, or the ledger may name a different
  /// one.
  func needsCopy(of entry: LedgerEntry) throws(Failure) -> Bool {
    if try signatures?.needsCopy(of: entry) ?? false { return true }
    return unvouched == .sent && entry.isTermBackup6
  }

  /// A copy of the archive that can be read twice, checked against its signature if required. Throws as `sendArchive`.
  func copy(of entry: LedgerEntry) throws(Failure) -> Copy {
    let file = try TemporaryFile.anonymous()
    let spool = DescriptorSink(file, name: RawPath("the temporary file"))
    let counter = CountingSink(into: spool)
    let isVouched = try sendStored(entry, to: counter, isStaging: true)
    try spool.finish()
    let copy = Copy(file: file, length: counter.count, isVouched: isVouched)
    if let signatures, try signatures.needsCopy(of: entry) { try signatures.check(copy.bytes, of: entry) }
    return copy
  }

  /// Returns whether the bytes sent are the archive that the ledger names.
  @discardableResult
  private func sendStored(
    _ entry: LedgerEntry, to sink: any ByteSink, isStaging: Bool, mayBeCut: Bool = false, checksFiles: Bool = false
  ) throws(Failure) -> Bool {
    do throws(Failure) {
      try send(
        entry.archive, entry.archiveReference, to: sink, isStaging: isStaging, mayBeCut: mayBeCut,
        checksFiles: checksFiles)
      return true
    } catch {
      guard error.code == .inputMissing, entry.isTermBackup6,
        let name = ObjectName("new_\(entry.filename)"),
        let source = try? store.open(ObjectReference(ObjectPath(.backups, name)))
      else { throw error }
      try sendRenamed(source, name, of: entry, to: sink)
      return false
    }
  }

  /// TermBackup 6's rotate-key did not update the ledger, so nothing authenticates these bytes.
  private func sendRenamed(
    _ source: any ByteSource, _ name: ObjectName, of entry: LedgerEntry, to sink: any ByteSink
  ) throws(Failure) {
    let found =
      "backups/\(entry.filename) is missing, and backups/\(name) is in its place, as an interrupted "
      + "rotate-key of TermBackup 6 leaves it"
    switch unvouched {
    case .refused:
      throw Failure(.unavailable, "\(found): the ledger is signed, and does not vouch for it")
    case .withheld:
      throw Failure(
        .unavailable, "\(found): the ledger does not vouch for it",
        hint: "--unvouched accepts it anyway")
    case .sent:
      warn("\(found): the ledger does not vouch for it")
      let archive = try ArchiveInput(source, name: "backups/\(name)")
      guard let length = archive.length else {
        throw Failure(.integrity, "backups/\(name) is not an archive of TermBackup 6")
      }
      (sink as? FramedSink)?.length = length
      try sendWhole(archive, to: sink)
    }
  }

  /// Sends the sealed manifest of a backup. Throws `.unavailable` if it has none.
  package func sendManifest(
    _ entry: LedgerEntry, to sink: any ByteSink, isStaging: Bool, mayBeCut: Bool = false
  ) throws(Failure) {
    guard let manifest = entry.manifest, let reference = entry.manifestReference else {
      throw Failure(
        .unavailable, "backup \(entry.id.hex) has no sealed manifest",
        hint: "the archive holds the manifest as well: tbk-open --manifest shows it")
    }
    try send(manifest, reference, to: sink, isStaging: isStaging, mayBeCut: mayBeCut)
  }

  /// Sends an object of a group, if it matches the ledger. Returns its SHA-256.
  ///
  /// Throws `.inputMissing` if it is gone, `.integrity` if it does not match, and `.unavailable` if the ledger names
  /// none, unless a check that the ledger does not name may be sent, and exists.
  package func send(
    _ part: LedgerGroup.Part, of group: GroupID, in snapshot: LedgerSession.Snapshot, to sink: any ByteSink
  ) throws(Failure) -> Digest {
    let named = snapshot.ledger?.group(group)?.object(part)
    let isSent = unvouched == .sent && part == .check
    if named == nil, !isSent {
      throw Failure(
        .unavailable,
        "the ledger of the store \(store.address.display) names no \(part.noun) of the group \(group)",
        hint: unvouched == .withheld && part == .check ? "--unvouched sends an existing one anyway" : nil)
    }
    var path = try group.checkPath()
    if let named { path = ObjectPath(part.folder, named.name) }
    let what = "\(path) of the store \(store.address.display)"
    let bytes: [UInt8]
    do throws(Failure) {
      bytes = try store.open(ObjectReference(path)).readAll(limit: GroupID.objectLimit, what: what)
    } catch  where error.code == .inputMissing {
      // No ledger names one.
      guard named != nil else {
        throw Failure(.unavailable, error.message, httpStatus: error.httpStatus)
      }
      throw Failure(
        .inputMissing, "\(what), which the ledger names, is missing",
        hint: part == .check ? "'termbackup rotate-key' stores another one, with another password" : nil)
    }
    let hash = try SHA256.hash(bytes)
    if let named, named.sha256 != hash {
      throw wrong(what, "does not have the SHA-256 that the ledger names")
    }
    try sendWhole(try ArchiveInput(MemorySource(bytes), name: path.description), to: sink)
    return hash
  }

  // MARK: Sending

  private func send(
    _ object: LedgerEntry.Object, _ reference: ObjectReference, to sink: any ByteSink,
    isStaging: Bool, mayBeCut: Bool, checksFiles: Bool = false
  ) throws(Failure) {
    let what = "\(reference.path) of the store \(store.address.display)"
    // No sealed object is empty, and nothing would be held back until the check.
    guard object.size > 0 else { throw wrong(what, "is empty, as the ledger says") }
    let source: any ByteSource
    do throws(Failure) {
      source = try store.open(reference)
    } catch  where error.code == .inputMissing {
      throw Failure(
        .inputMissing, "\(error.message), though the ledger names it",
        hint: "the store has lost it; another copy of the store may still have it",
        httpStatus: error.httpStatus)
    }
    let start = (source as? DescriptorSource)?.descriptor.position
    let isChecked = !mayBeCut || checksFiles && start != nil
    let front = isStaging || isChecked ? [] : try source.read(upTo: ArchiveHeader.maximumLength)
    if isStaging || ArchiveInput.showsItsEnd(front) {
      try pass(front, source, object, what, to: sink)
    } else if let file = source as? DescriptorSource, let start {
      try pass(front, source, object, what, to: nil)
      try file.descriptor.seek(to: start)
      try pass([], source, object, what, to: sink)
    } else {
      let file = try TemporaryFile.anonymous()
      let spool = DescriptorSink(file, name: RawPath("the temporary file"))
      try pass(front, source, object, what, to: spool)
      try spool.finish()
      try file.seek(to: 0)
      try sendWhole(DescriptorSource(file, name: RawPath("the temporary file")), to: sink)
    }
  }

  /// How much is held back until everything has been checked, in bytes: more than two chunks of age.
  private static let heldBack = 128 << 10

  /// Sends bytes while checking that they are `object`; the end only when they are.
  ///
  /// - Parameters:
  ///   - front: bytes already read.
  ///   - sink: nil to check without sending.
  private func pass(
    _ front: [UInt8], _ source: any ByteSource, _ object: LedgerEntry.Object, _ what: String,
    to sink: (any ByteSink)?
  ) throws(Failure) {
    var hash = try SHA256()
    var left = object.size
    var held: [UInt8] = []
    var read = front
    while true {
      if read.isEmpty { read = try source.read(upTo: chunkSize) }
      if read.isEmpty { break }
      guard UInt64(read.count) <= left else {
        throw wrong(what, "is larger than the \(object.size) bytes that the ledger names")
      }
      left -= UInt64(read.count)
      try hash.update(read.span)
      if let sink {
        held += read
        let ready = max(0, held.count - Retrieval.heldBack)
        try deliver(Array(held[..<ready]), to: sink)
        held.removeFirst(ready)
      }
      read = []
    }
    guard left == 0 else {
      throw wrong(
        what, "has \(object.size - left) of the \(object.size) bytes that the ledger names")
    }
    guard try hash.finish() == object.sha256 else {
      throw wrong(what, "does not have the SHA-256 that the ledger names")
    }
    if let sink { try deliver(held, to: sink) }
  }

  private func wrong(_ what: String, _ problem: String) -> Failure {
    Failure(
      .integrity, "\(what) \(problem)",
      hint: "the store has lost or altered it; another copy of the store may still have it")
  }

  private func sendWhole(_ source: any ByteSource, to sink: any ByteSink) throws(Failure) {
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    while true {
      let count = try source.read(into: &buffer)
      if count == 0 { return }
      try sink.write(buffer.span.extracting(0..<count))
      progress(count)
    }
  }

  private func deliver(_ bytes: [UInt8], to sink: any ByteSink) throws(Failure) {
    if bytes.isEmpty { return }
    try sink.write(bytes.span)
    progress(bytes.count)
  }
}
