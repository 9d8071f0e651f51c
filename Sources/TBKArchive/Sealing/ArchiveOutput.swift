import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// Where an archive is written. It is not valid before `commit()`: until then its header says that the payload is
/// empty, the file has no name, or nothing has been sent.
package final class ArchiveOutput: ByteSink {
  private enum Place {
    /// A seekable file that the caller opened, from an offset on.
    case inPlace(Descriptor, start: UInt64)
    /// An unnamed file, copied to `destination` when it is complete.
    case spooled(Descriptor, destination: Descriptor)
    /// A file that gets its name when it is complete.
    case file(AtomicFile)
    /// Sent on at once: only if the header is complete from the start.
    case direct
  }

  private let place: Place
  private let start: UInt64
  private let descriptor: Descriptor
  private let buffer: DescriptorSink
  private let unfinished: Unfinished?
  private var done = false
  /// Whether an existing file may be replaced; otherwise `commit()` throws `.cannotCreate`, and that file stays.
  package var replaces = true

  /// Writes to an open descriptor: in place if its header can be patched afterwards, otherwise through an unnamed
  /// temporary file, because the header contains the length.
  ///
  /// - Parameter lengthIsKnown: whether the header contains the right length from the start.
  package init(to destination: Descriptor, lengthIsKnown: Bool = false) throws(Failure) {
    let facts = try destination.status()
    let appends = fcntl(destination.number, F_GETFL) & O_APPEND != 0
    if facts.st_mode & S_IFMT == S_IFREG, !appends, let position = destination.position {
      place = .inPlace(destination, start: position)
      start = position
      descriptor = destination
      unfinished = Unfinished(output: destination, start: position)
    } else if lengthIsKnown {
      descriptor = destination
      place = .direct
      start = 0
      unfinished = nil
    } else {
      descriptor = try TemporaryFile.anonymous()
      place = .spooled(descriptor, destination: destination)
      start = 0
      unfinished = nil
    }
    buffer = DescriptorSink(descriptor)
  }

  /// Writes to a new file at `path`, which appears on `commit()`.
  package init(path: RawPath) throws(Failure) {
    let file = try AtomicFile(path)
    place = .file(file)
    start = 0
    descriptor = file.descriptor
    buffer = DescriptorSink(descriptor, name: path)
    unfinished = nil
  }

  deinit {
    unfinished?.end()
    guard !done, case .inPlace(let file, let start) = place else { return }
    // Failed: what was written is not an archive, and must not look like one.
    _ = ftruncate(file.number, off_t(start))
    _ = lseek(file.number, off_t(start), SEEK_SET)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) { try buffer.write(bytes) }

  package func finish() throws(Failure) { try buffer.finish() }

  /// Writes the payload's length into the header, and commits the archive.
  ///
  /// - Parameter lengthOffset: offset of the eight length bytes from the start of the archive.
  package func commit(payloadLength: UInt64, lengthOffset: Int) throws(Failure) {
    if case .direct = place {
      done = true
      return
    }
    var field: [UInt8] = []
    field.append(bigEndian: payloadLength, width: 8)
    try descriptor.write(field.span, at: start + UInt64(lengthOffset))
    try commit()
  }

  /// Commits an archive whose header has been right from the start. One that is sent on at once has been valid since
  /// `finish()`.
  package func commit() throws(Failure) {
    switch place {
    case .inPlace:
      // The file may not have been truncated when it was opened: remove what is left of its old content.
      if let end = descriptor.position { try descriptor.truncate(to: end) }
    case .spooled(let spool, let destination):
      try spool.seek(to: 0)
      try DescriptorSource(spool).copy(to: DescriptorSink(destination).unbuffered)
    case .file(let file): try file.commit(replacing: replaces)
    case .direct: break
    }
    done = true
    unfinished?.end()
  }
}

extension DescriptorSink {
  /// A sink without a buffer.
  fileprivate var unbuffered: any ByteSink { DirectSink(descriptor) }
}

/// Writes to a descriptor without a buffer.
private final class DirectSink: ByteSink {
  private let descriptor: Descriptor
  init(_ descriptor: Descriptor) { self.descriptor = descriptor }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    do throws(Failure) {
      try descriptor.write(bytes)
    } catch {
      throw error.within("standard output")
    }
  }

  func finish() {}
}

/// The key of one backup: derived once, used with a fresh nonce for the archive and for its
/// sealed manifest.
package final class SealingKey {
  fileprivate let key: Secret
  fileprivate let salt: [UInt8]
  fileprivate let cost: Argon2Cost

  /// Derives a key with a new salt.
  package convenience init(password: borrowing Secret, cost: Argon2Cost) throws(Failure) {
    var limits = Argon2Limits()
    (limits.memory, limits.passes, limits.lanes) = (.max, UInt32(UInt16.max), 255)
    try limits.check(cost)
    let salt = try randomBytes(32)
    self.init(
      try KeyDerivation.argon2id(password, salt: salt, cost: cost), salt: salt, cost: cost)
  }

  private init(_ key: consuming Secret, salt: [UInt8], cost: Argon2Cost) {
    self.key = key
    self.salt = salt
    self.cost = cost
  }

  /// The key of an existing archive of suite 3 if its cost is at least `cost`; otherwise a key with a new salt.
  /// Archives that share a salt are opened with one derivation. A salt of suite 1 is never shared: a key that has
  /// sealed with suite 1 is used for nothing else.
  ///
  /// Throws `.authentication` if the archive has another password.
  package static func sharing(
    _ archive: any ByteSource, password: borrowing Secret, cost: Argon2Cost
  ) throws(Failure) -> SealingKey {
    let (front, source) = try ArchiveFront.read(PeekingSource(archive), limits: OpenLimits())
    guard case .chunked(let header) = front else {
      return try SealingKey(password: password, cost: cost)
    }
    let key = try KeyDerivation.argon2id(password, salt: header.salt, cost: header.cost)
    _ = try ChunkedArchive.cipher(header, key: key, front: try ChunkedArchive.front(of: source))
    guard header.cost.isAtLeast(cost) else { return try SealingKey(password: password, cost: cost) }
    return SealingKey(key, salt: header.salt, cost: header.cost)
  }

  /// Writes the front of an archive of suite 3 to `sink`. Returns the stage that takes the payload; finishing it
  /// finishes `sink`.
  func beginChunked(into sink: any ByteSink) throws(Failure) -> any ByteSink {
    let header = try ChunkedHeader(
      memory: cost.memory, passes: UInt16(cost.passes), lanes: UInt8(cost.lanes), salt: salt)
    try sink.write(header.bytes)
    return try ChunkedEncryptionFront.begin(
      key: key, context: header.context, into: TrailingSink(into: sink))
  }

  /// The header's length in bytes, the same for every archive with this key.
  func headerLength() throws(Failure) -> Int { try header().headerLength }

  fileprivate func header(payloadLength: UInt64 = 0) throws(Failure) -> TBK2Header {
    try TBK2Header(
      memory: cost.memory, passes: UInt16(cost.passes), lanes: UInt8(cost.lanes), salt: salt,
      nonce: try randomBytes(12), payloadLength: payloadLength)
  }
}

extension Argon2Cost {
  /// Whether none of its parameters is lower than in `other`.
  fileprivate func isAtLeast(_ other: Argon2Cost) -> Bool {
    memory >= other.memory && passes >= other.passes && lanes >= other.lanes
  }
}

/// Counts the bytes of a chunked message, and writes its trailer.
private final class TrailingSink: ByteSink {
  private let next: any ByteSink
  private var length: UInt64 = 0

  init(into next: any ByteSink) { self.next = next }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    try next.write(bytes)
    length += UInt64(bytes.count)
  }

  func finish() throws(Failure) {
    try next.write(ChunkedTrailer(messageLength: length).bytes)
    try next.finish()
  }
}

/// Encrypts a gzip stream into a TBK2 archive (tbk(5), "TBK2").
package final class Sealer: ByteSink {
  private let output: ArchiveOutput
  private let header: TBK2Header
  private let encryptor: GCMEncryptor
  /// The payload length that the header announces; nil if the header is patched at the end.
  private let announced: UInt64?

  /// Writes the header.
  ///
  /// - Parameter length: bytes that will be written, if known in advance; then nothing is spooled.
  package init(_ key: SealingKey, length: UInt64? = nil, to output: ArchiveOutput) throws(Failure) {
    if let length, length > gcmMaximumLength {
      throw Failure(
        .usage, "one archive holds at most \(gcmMaximumLength) bytes of compressed data")
    }
    self.output = output
    announced = length
    header = try key.header(payloadLength: length.map { $0 + UInt64(gcmTagLength) } ?? 0)
    encryptor = try GCMEncryptor(key: key.key, nonce: header.nonce, into: output)
    try output.write(header.bytes)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    if let announced, UInt64(bytes.count) > announced - encryptor.count {
      throw Failure(.library, "more was sealed than was announced")
    }
    try encryptor.write(bytes)
  }

  /// Writes the tag. The archive is complete, but not valid until `commit()`.
  package func finish() throws(Failure) {
    if let announced, encryptor.count < announced {
      throw Failure(.library, "less was sealed than was announced")
    }
    try encryptor.finish()
    try output.write(encryptor.tag)
    try output.finish()
  }

  /// Commits the archive; see `ArchiveOutput.commit`.
  package func commit() throws(Failure) {
    try output.commit(payloadLength: payloadLength, lengthOffset: header.payloadLengthOffset)
  }

  /// Bytes of ciphertext and tag.
  private var payloadLength: UInt64 { encryptor.count + UInt64(encryptor.tag.count) }

  /// Bytes of the whole archive.
  package var archiveLength: UInt64 { UInt64(header.headerLength) + payloadLength }

  /// The length in bytes of an archive with `content` bytes of compressed data.
  package static func archiveLength(of key: SealingKey, content: UInt64) throws(Failure) -> UInt64 {
    let (sum, overflow) = content.addingReportingOverflow(
      UInt64(try key.headerLength() + gcmTagLength))
    if overflow { throw Failure(.malformed, "the archive is too long") }
    return sum
  }
}
