import Glibc
import TBKCore
import TBKFormat

/// The archives of one backup, the newest first, each opened when it is asked for.
package final class ArchiveSources {
  private var operands: [RawPath]
  private let isChain: Bool
  private let limits: OpenLimits
  private let keys: OpeningKeys
  /// What archives are read from one after the other.
  private var chain: ChainReader?
  /// Whether an archive other than the first may be missing or damaged.
  private let isPartial: Bool
  private var hasBegun = false
  private let warn: (String) -> Void
  /// The archive that was given last: on a pipe, the next one comes after it.
  private var last: (any OpenedArchive)?
  /// With what mbu packages are opened, if the operand is one.
  private let mbu: MbuSettings?

  /// - Parameters:
  ///   - operands: oldest first; standard input if there are none.
  ///   - mbu: the settings of an mbu whose package the one operand is.
  ///   - keys: set to whether standard input is an archive.
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

  /// Whether the archive that was given last is in chunks: of suite 3, or an age file, which has the same payload.
  package private(set) var isChunked = false

  /// The next archive; nil when there are no more.
  package func next() throws(Failure) -> (any OpenedArchive)? {
    // Of one on a pipe, all has to pass before the next one comes.
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

  /// With `isPartial`, finds out whether an archive is whole before anything is taken from it: one in chunks
  /// shows a fault only where it is.
  private func prove(_ archive: (any OpenedArchive)?) throws(Failure) {
    guard isPartial, let archive else { return }
    try archive.keep()
    try archive.proveRest()
  }

  /// Whether it is the archive that does not hold, and nothing else.
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

  /// The next archive of a chain; nil at its end, or what the next operand has.
  private func nextOfChain(_ chain: ChainReader) throws(Failure) -> (any OpenedArchive)? {
    while let link = try chain.next() {
      let isFirst = !hasBegun
      hasBegun = true
      guard let source = link.archive else {
        guard isFirst else { continue }  // Whoever needs it says so.
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

  /// Verifies the archives that were not needed: what was given is read to its end, and nothing
  /// but archives may be in it.
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
  /// For showing a header, which costs nothing.
  fileprivate static var unlimited: OpenLimits {
    var limits = OpenLimits()
    (limits.argon2.memory, limits.argon2.passes, limits.argon2.lanes) = (.max, .max, .max)
    limits.pbkdf2 = .max
    return limits
  }
}
