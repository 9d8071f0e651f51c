import Glibc
import TBKCore
import TBKFormat

/// The archives of one backup, newest first, each opened on demand.
package final class ArchiveSources {
  private var operands: [RawPath]
  private let isChain: Bool
  private let limits: OpenLimits
  private let keys: OpeningKeys
  /// The chain that archives are currently read from.
  private var chain: ChainReader?
  /// Whether an archive other than the first may be missing or damaged.
  private let isPartial: Bool
  private var hasBegun = false
  private let warn: (String) -> Void
  /// The archive returned last: on a pipe, the next one follows it.
  private var last: (any OpenedArchive)?
  /// The settings for an mbu package, if the operand is one.
  private let mbu: MbuSettings?

  /// - Parameters:
  ///   - operands: oldest first; standard input if there are none.
  ///   - mbu: the settings of the mbu that created the operand, if that is an mbu package.
  ///   - keys: gets `inputIsData` set if standard input is an archive.
  ///   - warn: reports an archive that is skipped.
  package init(
    _ operands: [RawPath], isChain: Bool, isPartial: Bool = false, limits: OpenLimits,
    mbu: MbuSettings? = nil, keys: OpeningKeys, warn: @escaping (String) -> Void
  ) {
    self.warn = warn
    self.mbu = mbu
    self.operands = operands.isEmpty ? [RawPath("-")] : operands
    self.isChain = isChain
    self.isPartial = isPartial
    self.limits = limits
    self.keys = keys
    keys.inputIsData = self.operands.contains { $0.isStandardStream }
  }

  /// The front of the newest archive, unverified.
  package func firstFront() throws(Failure) -> ArchiveFront {
    guard let path = operands.last else { throw Failure(.usage, "no archive is given") }
    var source = PeekingSource(DescriptorSource(try open(path)))
    if isChain, let archive = try ChainReader(source).next()?.archive { source = archive }
    return try ArchiveFront.read(source, limits: .unlimited).0
  }

  /// Whether the archive returned last is chunked: suite 3 or age, which have the same payload.
  package private(set) var isChunked = false

  /// The next archive; nil when there are no more.
  package func next() throws(Failure) -> (any OpenedArchive)? {
    // On a pipe, all of an archive must be read before the next one.
    if chain != nil { try last?.proveRest() }
    last = try following()
    if let last { isChunked = last is StreamedArchive }
    return last
  }

  private func following() throws(Failure) -> (any OpenedArchive)? {
    if let chain { return try nextOfChain(chain) }
    while let path = operands.popLast() {
      let isFirst = !hasBegun
      hasBegun = hasBegun || !isChain
      do throws(Failure) {
        let archive = try open(operand: path)
        if !isFirst { try prove(archive) }
        return archive
      } catch {
        guard isPartial, !isFirst, isFault(error) else { throw error }
        warn("\(error.message): skipped")
      }
    }
    return nil
  }

  /// With `isPartial`, verifies the whole archive before anything is taken from it: a chunked one shows damage only
  /// where it is.
  private func prove(_ archive: (any OpenedArchive)?) throws(Failure) {
    guard isPartial, let archive else { return }
    try archive.keep()
    try archive.proveRest()
  }

  /// Whether the failure is the archive's fault.
  private func isFault(_ failure: Failure) -> Bool {
    switch failure.code {
    case .malformed, .truncated, .integrity, .authentication: failure != keys.failure
    default: false
    }
  }

  private func open(operand path: RawPath) throws(Failure) -> (any OpenedArchive)? {
    do throws(Failure) {
      let file = try open(path)
      let source = DescriptorSource(file, name: path.isStandardStream ? nil : path)
      if isChain {
        let reader = ChainReader(source)
        chain = reader
        return try nextOfChain(reader)
      }
      if let mbu { return try package(file, source, mbu) }
      let opener = ArchiveOpener(keys, limits: limits)
      guard try file.status().st_mode & S_IFMT == S_IFREG, let start = file.position else {
        return try opener.open(stream: PeekingSource(source), isFramed: true)
      }
      return try opener.open(file: file, start: start)
    } catch {
      throw path.isStandardStream || error == keys.failure ? error : error.within(path.display)
    }
  }

  private func package(
    _ file: Descriptor, _ source: DescriptorSource, _ settings: MbuSettings
  ) throws(Failure) -> AuthenticatedArchive {
    let ring = try keys.ring()
    guard try file.status().st_mode & S_IFMT == S_IFREG, let start = file.position else {
      return try AuthenticatedArchive.verify(package: source, settings: settings, keys: ring)
    }
    return try AuthenticatedArchive.verify(
      package: file, settings: settings, start: start, keys: ring)
  }

  /// The next archive of a chain, or of the next operand; nil at the end.
  private func nextOfChain(_ chain: ChainReader) throws(Failure) -> (any OpenedArchive)? {
    while let link = try chain.next() {
      let isFirst = !hasBegun
      hasBegun = true
      guard let source = link.archive else {
        guard isFirst else { continue }  // The caller that needs it reports it.
        throw Failure(.inputMissing, "the archive of the backup itself is missing")
      }
      do throws(Failure) {
        let archive = try ArchiveOpener(keys, limits: limits).open(
          stream: source, isFramed: link.isFramed)
        archive.claims = link.claims
        if !isFirst { try prove(archive) }
        return archive
      } catch {
        guard isPartial, !isFirst, link.isFramed, isFault(error) else { throw error }
        let name = link.claims.map { "the archive of backup \($0.id)" } ?? "an archive"
        warn("\(name): \(error.message): skipped")
      }
    }
    self.chain = nil
    guard hasBegun else { throw Failure.emptyArchive }
    return operands.isEmpty ? nil : try following()
  }

  /// Verifies the archives that were not needed: the input is read to its end, and must contain nothing but archives.
  package func finish() throws(Failure) {
    while let archive = try next() { try archive.proveRest() }
  }

  private func open(_ path: RawPath) throws(Failure) -> Descriptor {
    if !path.isStandardStream { return try Descriptor.openForReading(path) }
    if Descriptor.standardInput.isTerminal {
      throw Failure(.usage, "standard input is a terminal", hint: "give an archive")
    }
    return .standardInput
  }
}

extension OpenLimits {
  /// For showing a header, which derives no key.
  fileprivate static var unlimited: OpenLimits {
    var limits = OpenLimits()
    (limits.argon2.memory, limits.argon2.passes, limits.argon2.lanes) = (.max, .max, .max)
    limits.pbkdf2 = .max
    return limits
  }
}
