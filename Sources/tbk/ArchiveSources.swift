import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKFormat

/// The archives of one backup, the newest first, each verified when it is asked for.
final class ArchiveSources {
  private var operands: [RawPath]
  private let isChain: Bool
  /// Whether standard input is one of the archives, and so has no password in it.
  private let readsInput: Bool
  private let limits: OpenLimits
  /// Asked for the password; told whether standard input is an archive.
  private let password: (_ inputIsData: Bool) throws(Failure) -> Secret
  private var keys: KeyRing?
  /// Why there is no password, which is no fault of an archive.
  private var noPassword: Failure?
  /// What archives are read from back to back.
  private var stream: DescriptorSource?
  /// With what mbu packages are opened, if the operand is one.
  private let mbu: MbuSettings?

  /// - Parameters:
  ///   - operands: oldest first; standard input if there are none.
  ///   - mbu: the settings of an mbu whose package the one operand is.
  init(
    _ operands: [RawPath], isChain: Bool, limits: OpenLimits, mbu: MbuSettings? = nil,
    password: @escaping (_ inputIsData: Bool) throws(Failure) -> Secret
  ) {
    self.mbu = mbu
    self.operands = operands.isEmpty ? [RawPath("-")] : operands
    readsInput = self.operands.contains { $0.isStandardStream }
    self.isChain = isChain
    self.limits = limits
    self.password = password
  }

  /// The header of the newest archive, unverified.
  func firstHeader() throws(Failure) -> ArchiveHeader {
    guard let path = operands.last else { throw Failure(.usage, "no archive is given") }
    return try AuthenticatedArchive.header(of: DescriptorSource(try open(path)), limits: .unlimited)
  }

  /// The next archive; nil when there are no more.
  func next() throws(Failure) -> AuthenticatedArchive? {
    if let stream, isChain { return try nextOfChain(stream) }
    guard let path = operands.popLast() else { return nil }
    do throws(Failure) {
      let file = try open(path)
      let source = DescriptorSource(file, name: path.isStandardStream ? nil : path)
      if isChain {
        stream = source
        return try nextOfChain(source)
      }
      if let mbu { return try package(file, source, mbu) }
      let facts = try file.status()
      guard facts.st_mode & S_IFMT == S_IFREG, let start = file.position else {
        let header = try AuthenticatedArchive.header(of: source, limits: limits)
        return try AuthenticatedArchive.verify(
          stream: source, header: header, keys: try keyRing(), alone: true)
      }
      let header = try AuthenticatedArchive.header(of: source, limits: limits)
      return try AuthenticatedArchive.verify(
        file: file, header: header, start: start, keys: try keyRing())
    } catch {
      throw path.isStandardStream || error == noPassword ? error : error.within(path.display)
    }
  }

  private func package(
    _ file: Descriptor, _ source: DescriptorSource, _ settings: MbuSettings
  ) throws(Failure) -> AuthenticatedArchive {
    let keys = try keyRing()
    guard try file.status().st_mode & S_IFMT == S_IFREG, let start = file.position else {
      return try AuthenticatedArchive.verify(package: source, settings: settings, keys: keys)
    }
    return try AuthenticatedArchive.verify(
      package: file, settings: settings, start: start, keys: keys)
  }

  /// The archive at the position of a stream; nil at its end, or when the next operand's turn is.
  private func nextOfChain(_ source: DescriptorSource) throws(Failure) -> AuthenticatedArchive? {
    let first = try source.read(upTo: 1)
    if first.isEmpty {
      stream = nil
      if keys == nil { throw Failure(.truncated, "the archive is empty") }
      return operands.isEmpty ? nil : try next()
    }
    let whole = PrefixedSource(first, source)
    let header = try AuthenticatedArchive.header(of: whole, limits: limits)
    return try AuthenticatedArchive.verify(
      stream: whole, header: header, keys: try keyRing(), alone: false)
  }

  /// Verifies the archives that were not needed: what was given is read to its end, and nothing
  /// but archives may be in it.
  func finish() throws(Failure) {
    while try next() != nil {}
  }

  private func open(_ path: RawPath) throws(Failure) -> Descriptor {
    if !path.isStandardStream { return try Descriptor.openForReading(path) }
    if Descriptor.standardInput.isTerminal {
      throw Failure(.usage, "standard input is a terminal", hint: "give an archive")
    }
    return .standardInput
  }

  /// The password is asked for when the first header has been found good.
  private func keyRing() throws(Failure) -> KeyRing {
    if let keys { return keys }
    do throws(Failure) {
      let ring = KeyRing(try password(readsInput))
      keys = ring
      return ring
    } catch {
      noPassword = error
      throw error
    }
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

/// Bytes that were read too early, then the rest.
private final class PrefixedSource: ByteSource {
  private var prefix: [UInt8]
  private let rest: any ByteSource

  init(_ prefix: [UInt8], _ rest: any ByteSource) {
    self.prefix = prefix
    self.rest = rest
  }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    if prefix.isEmpty { return try rest.read(into: &buffer) }
    let count = min(prefix.count, buffer.count)
    buffer.replaceFront(with: Array(prefix[..<count]).span)
    prefix.removeFirst(count)
    return count
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
