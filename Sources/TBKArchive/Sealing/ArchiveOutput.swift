import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// Where an archive goes. Nothing counts as an archive before `commit()`: until then the header
/// says that the payload is empty, the bytes have no name, or nothing has been sent at all.
package final class ArchiveOutput: ByteSink {
  private enum Place {
    /// A seekable file of somebody else's, from an offset on.
    case inPlace(Descriptor, start: UInt64)
    /// A file without a name, which is sent on when it is complete.
    case spooled(Descriptor, destination: Descriptor)
    /// A file that gets its name when it is complete.
    case file(AtomicFile)
    /// Sent on at once: only where the header is complete from the start.
    case direct
  }

  private let place: Place
  private let start: UInt64
  private let descriptor: Descriptor
  private let buffer: DescriptorSink
  private let unfinished: Unfinished?
  private var done = false
  /// Whether a file that has the name already may be replaced; else `commit()` throws
  /// `.cannotCreate`, and it stays.
  package var replaces = true

  /// Writes to an open descriptor: in place if it can be patched afterwards, else by way of an
  /// anonymous temporary file, because the header carries the length.
  ///
  /// - Parameter lengthIsKnown: whether what is written has its length in it from the start.
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

  /// Writes to a new file at `path`, which appears when it is complete.
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
    // Failed: whatever was there in our place is not an archive, and must not look like one.
    _ = ftruncate(file.number, off_t(start))
    _ = lseek(file.number, off_t(start), SEEK_SET)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) { try buffer.write(bytes) }

  package func finish() throws(Failure) { try buffer.finish() }

  /// Puts the payload's length into the header and makes the archive one.
  ///
  /// - Parameter lengthOffset: where the eight bytes stand, from the start of the archive.
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

  /// Makes it an archive where its header has been right from the start. What is sent on at once has been
  /// one since `finish()`.
  package func commit() throws(Failure) {
    switch place {
    case .inPlace:
      // What a file that was opened without being emptied held further on is no part of this.
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
  /// A sink that hands on at once.
  fileprivate var unbuffered: any ByteSink { DirectSink(descriptor) }
}

/// Writes through to a descriptor.
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

/// The key of one backup: derived once, used under a fresh nonce for the archive and for its
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

  /// The key of an archive in suite 3, if it costs no less than `cost`; else one with a new salt. Archives
  /// with one salt are opened with one derivation. A salt of suite 1 is never shared: a key that has sealed
  /// there is not used for anything else.
  ///
  /// Throws `.authentication` if the archive is under another password.
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

  /// Writes the front of an archive of suite 3 to `sink`; what is then written to the stage that comes
  /// back is its payload. Ending it ends `sink`.
  func beginChunked(into sink: any ByteSink) throws(Failure) -> any ByteSink {
    let header = try ChunkedHeader(
      memory: cost.memory, passes: UInt16(cost.passes), lanes: UInt8(cost.lanes), salt: salt)
    try sink.write(header.bytes)
    return try ChunkedEncryptionFront.begin(
      key: key, context: header.context, into: TrailingSink(into: sink))
  }

  /// Bytes of the header of every archive under this key.
  func headerLength() throws(Failure) -> Int { try header().headerLength }

  fileprivate func header(payloadLength: UInt64 = 0) throws(Failure) -> TBK2Header {
    try TBK2Header(
      memory: cost.memory, passes: UInt16(cost.passes), lanes: UInt8(cost.lanes), salt: salt,
      nonce: try randomBytes(12), payloadLength: payloadLength)
  }
}

extension Argon2Cost {
  /// Whether none of it is less than another's.
  fileprivate func isAtLeast(_ other: Argon2Cost) -> Bool {
    memory >= other.memory && passes >= other.passes && lanes >= other.lanes
  }
}

/// Counts a chunked message, and writes the trailer behind it.
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
  private var cipher: AESGCM?
  private var ciphertext: [UInt8] = []
  /// Bytes of ciphertext and tag.
  private var payloadLength: UInt64 = 0

  package init(_ key: SealingKey, to output: ArchiveOutput) throws(Failure) {
    self.output = output
    header = try key.header()
    cipher = try AESGCM(key: key.key, nonce: header.nonce, encrypting: true)
    try output.write(header.bytes)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    guard cipher != nil else { throw Failure(.library, "the archive has ended") }
    var piece: [UInt8] = []
    swap(&piece, &ciphertext)
    defer { swap(&piece, &ciphertext) }
    try cipher!.update(bytes, into: &piece)
    try output.write(piece.span.extracting(0..<bytes.count))
    payloadLength += UInt64(bytes.count)
  }

  /// Writes the tag. The archive is complete, and not one yet: see `commit()`.
  package func finish() throws(Failure) {
    guard let running = cipher.take() else { throw Failure(.library, "the archive has ended") }
    let tag = try running.finish()
    try output.write(tag)
    payloadLength += UInt64(tag.count)
    try output.finish()
  }

  /// Makes it an archive; see `ArchiveOutput.commit`.
  package func commit() throws(Failure) {
    try output.commit(payloadLength: payloadLength, lengthOffset: header.payloadLengthOffset)
  }

  /// Bytes of the whole archive.
  package var archiveLength: UInt64 { UInt64(header.headerLength) + payloadLength }
}

/// Seals a payload whose length is known before its first byte, so that nothing is spooled.
package final class KnownLengthSealer: ByteSink {
  private let next: ArchiveOutput
  private let header: TBK2Header
  private var cipher: AESGCM?
  private var ciphertext: [UInt8] = []
  private var remaining: UInt64

  /// - Parameter length: bytes that will be written, the tag not counted.
  package init(_ key: SealingKey, length: UInt64, into next: ArchiveOutput) throws(Failure) {
    guard length <= gcmMaximumLength else {
      throw Failure(
        .usage, "one archive holds at most \(gcmMaximumLength) bytes of compressed data")
    }
    header = try key.header(payloadLength: length + UInt64(gcmTagLength))
    self.next = next
    remaining = length
    cipher = try AESGCM(key: key.key, nonce: header.nonce, encrypting: true)
    try next.write(header.bytes)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    guard cipher != nil, UInt64(bytes.count) <= remaining else {
      throw Failure(.library, "more was sealed than was announced")
    }
    remaining -= UInt64(bytes.count)
    var piece: [UInt8] = []
    swap(&piece, &ciphertext)
    defer { swap(&piece, &ciphertext) }
    try cipher!.update(bytes, into: &piece)
    try next.write(piece.span.extracting(0..<bytes.count))
  }

  package func finish() throws(Failure) {
    guard remaining == 0, let running = cipher.take() else {
      throw Failure(.library, "less was sealed than was announced")
    }
    try next.write(try running.finish())
    try next.finish()
    try next.commit(
      payloadLength: header.payloadLength, lengthOffset: header.payloadLengthOffset)
  }
}

/// A place for a compressed stream whose length is not known yet: a file without a name, encrypted
/// under a key that never leaves this object.
package final class EncryptedSpool: ByteSink {
  private let file: Descriptor
  private let buffer: DescriptorSink
  private let key: Secret
  private let nonce: [UInt8]
  private var cipher: AESGCM?
  private var ciphertext: [UInt8] = []
  private var tag: [UInt8] = []
  /// Bytes written.
  package private(set) var count: UInt64 = 0

  package init() throws(Failure) {
    file = try TemporaryFile.anonymous()
    buffer = DescriptorSink(file, name: RawPath("temporary file"))
    var bytes = try randomBytes(32)
    defer { wipe(&bytes) }
    key = try Secret(copying: bytes.span)
    nonce = try randomBytes(12)
    cipher = try AESGCM(key: key, nonce: nonce, encrypting: true)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    guard cipher != nil else { throw Failure(.library, "the spool has ended") }
    var piece: [UInt8] = []
    swap(&piece, &ciphertext)
    defer { swap(&piece, &ciphertext) }
    try cipher!.update(bytes, into: &piece)
    try buffer.write(piece.span.extracting(0..<bytes.count))
    count += UInt64(bytes.count)
  }

  package func finish() throws(Failure) {
    guard let running = cipher.take() else { throw Failure(.library, "the spool has ended") }
    tag = try running.finish()
    try buffer.finish()
  }

  /// Writes everything to `sink`, which must not use it for good before this returns.
  package func replay(into sink: any ByteSink) throws(Failure) {
    try file.seek(to: 0)
    var decryption = try AESGCM(key: key, nonce: nonce, encrypting: false)
    var input = [UInt8](repeating: 0, count: chunkSize)
    var output: [UInt8] = []
    while true {
      let more = try file.read(into: &input)
      if more == 0 { break }
      try decryption.update(input.span.extracting(0..<more), into: &output)
      try sink.write(output.span.extracting(0..<more))
    }
    guard decryption.verify(tag: tag) else {
      throw Failure(.io, "the temporary file changed while it was in use")
    }
  }
}
