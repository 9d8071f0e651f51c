import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKFormat

/// The archives of one backup, the newest first, each opened when it is asked for.
final class ArchiveSources {
  private var operands: [RawPath]
  private let isChain: Bool
  private let limits: OpenLimits
  private let keys: OpeningKeys
  /// What archives are read from back to back.
  private var stream: PeekingSource?
  /// The archive that was given last: on a pipe, the next one comes behind it.
  private var last: (any OpenedArchive)?
  /// With what mbu packages are opened, if the operand is one.
  private let mbu: MbuSettings?

  /// - Parameters:
  ///   - operands: oldest first; standard input if there are none.
  ///   - mbu: the settings of an mbu whose package the one operand is.
  ///   - keys: told whether standard input is an archive.
  init(
    _ operands: [RawPath], isChain: Bool, limits: OpenLimits, mbu: MbuSettings? = nil,
    keys: OpeningKeys
  ) {
    self.mbu = mbu
    self.operands = operands.isEmpty ? [RawPath("-")] : operands
    self.isChain = isChain
    self.limits = limits
    self.keys = keys
    keys.inputIsData = self.operands.contains { $0.isStandardStream }
  }

  /// The front of the newest archive, unverified.
  func firstFront() throws(Failure) -> ArchiveFront {
    guard let path = operands.last else { throw Failure(.usage, "no archive is given") }
    var source = PeekingSource(DescriptorSource(try open(path)))
    if isChain, let next = try ArchiveChain.next(in: source) { source = next.archive }
    return try ArchiveFront.read(source, limits: .unlimited).0
  }

  /// The next archive; nil when there are no more.
  func next() throws(Failure) -> (any OpenedArchive)? {
    // Of one on a pipe, all has to pass before the next one comes.
    if stream != nil { try last?.proveRest() }
    last = try following()
    return last
  }

  private func following() throws(Failure) -> (any OpenedArchive)? {
    if let stream, isChain { return try nextOfChain(stream) }
    guard let path = operands.popLast() else { return nil }
    do throws(Failure) {
      let file = try open(path)
      let source = DescriptorSource(file, name: path.isStandardStream ? nil : path)
      if isChain {
        let stream = PeekingSource(source)
        self.stream = stream
        return try nextOfChain(stream)
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

  /// The archive at the position of a stream; nil at its end, or when the next operand's turn is.
  private func nextOfChain(_ source: PeekingSource) throws(Failure) -> (any OpenedArchive)? {
    guard let (archive, isFramed) = try ArchiveChain.next(in: source) else {
      stream = nil
      if last == nil { throw Failure(.truncated, "the archive is empty") }
      return operands.isEmpty ? nil : try following()
    }
    return try ArchiveOpener(keys, limits: limits).open(stream: archive, isFramed: isFramed)
  }

  /// Verifies the archives that were not needed: what was given is read to its end, and nothing
  /// but archives may be in it.
  func finish() throws(Failure) {
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

/// The directory that is extracted into: made if it is not there, closed to others, and removed again
/// on failure.
final class Destination {
  let directory: Descriptor
  let isNew: Bool
  private let parent: Descriptor
  private let name: RawPath
  private var kept = false

  init(_ path: RawPath) throws(Failure) {
    var bytes = path.bytes
    while bytes.count > 1, bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
    let trimmed = RawPath(bytes)
    name = trimmed.lastComponent
    let flags = O_RDONLY | O_DIRECTORY
    do throws(Failure) {
      if let there = try Descriptor.workingDirectory.openIfPresent(path, flags) {
        (directory, parent, isNew) = (there, there, false)
        return
      }
      parent = try Descriptor.workingDirectory.open(trimmed.parent, flags)
      directory = try PrivateDirectory(making: name, in: parent).directory
      isNew = true
    } catch {
      // A file stands there, or it is not ours: it is not the input that is missing, nor a password.
      let isRefused = error.code == .inputMissing || error.code == .denied
      throw isRefused ? Failure(.cannotCreate, error.message) : error
    }
  }

  deinit {
    if isNew, !kept { _ = try? parent.unlink(name, directory: true) }
  }

  func keep() { kept = true }
}

/// What `--expect-id` takes.
func validateExpectedID(_ id: String?) throws {
  guard let id else { return }
  let isHex = id.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
  guard isHex, (8...64).contains(id.utf8.count) else {
    throw ValidationError("--expect-id takes 8 to 64 lower-case hexadecimal digits")
  }
}
