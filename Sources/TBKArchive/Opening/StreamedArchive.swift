import TBKCore
import TBKCrypto
import TBKFormat

/// An archive of suite 3 or age: decrypted as a stream, chunk by verified chunk, without a copy.
///
/// An archive on a pipe can be read once, unless it is first kept as ciphertext. For a file, opening verifies that its
/// end is there, and then any part can be read.
package final class StreamedArchive: OpenedArchive {
  private enum Place {
    /// The stream after the front of the message.
    case stream(any ByteSource)
    /// The archive from the front of the message on.
    case region(any ByteRegion)
    case used
  }

  private let key: any MessageKey
  private var place: Place
  private var isProved = false
  private var seekable: SeekablePayload?
  package private(set) var locator: ManifestLocator?

  package var claims: BackupClaims?
  package var isSealedManifest = false
  package let kind: ArchiveKind

  private init(_ key: any MessageKey, _ place: Place, _ kind: ArchiveKind) {
    self.key = key
    self.place = place
    self.kind = kind
  }

  // MARK: Opening

  /// An archive of suite 3.
  ///
  /// - Parameter source: the archive after its header.
  package static func open(
    _ header: ChunkedHeader, key: consuming Secret, stream source: any ByteSource
  ) throws(Failure) -> StreamedArchive {
    let key = PasswordKey(header, key, front: try ChunkedArchive.front(of: source))
    _ = try key.cipher()
    return StreamedArchive(key, .stream(source), .chunked)
  }

  /// An archive of suite 3 that fills a region, its header included.
  package static func open(
    _ header: ChunkedHeader, key: consuming Secret, region: any ByteRegion
  ) throws(Failure) -> StreamedArchive {
    let rest = TailRegion(region, from: UInt64(header.length))
    // An archive without its trailer is corrupt, whatever the password.
    try PasswordKey.checkTrailer(rest)
    let front = try ChunkedArchive.front(of: RegionSource(rest))
    let archive = StreamedArchive(
      PasswordKey(header, key, front: front), .region(rest), .chunked)
    _ = try archive.message(in: rest)
    return archive
  }

  /// An age file.
  ///
  /// - Parameter source: the archive after its header.
  static func open(
    _ key: consuming AgeFileKey, stream source: any ByteSource
  ) throws(Failure) -> StreamedArchive {
    let key = FileKey(key, nonce: try FileKey.nonce(of: source))
    return StreamedArchive(key, .stream(source), .age)
  }

  /// An age file that is not armored and fills a region, its header of `headerLength` bytes included.
  static func open(
    _ key: consuming AgeFileKey, region: any ByteRegion, headerLength: Int
  ) throws(Failure) -> StreamedArchive {
    let rest = TailRegion(region, from: UInt64(headerLength))
    let key = FileKey(key, nonce: try FileKey.nonce(of: RegionSource(rest)))
    let archive = StreamedArchive(key, .region(rest), .age)
    _ = try archive.message(in: rest)
    return archive
  }

  private func message(in region: any ByteRegion) throws(Failure) -> ChunkedMessage {
    let trailer = UInt64(key.trailerLength)
    let front = UInt64(key.frontLength)
    guard region.length >= front + trailer else { throw ChunkedArchive.truncated }
    return try ChunkedMessage(
      try key.cipher(), in: region, from: front, to: region.length - trailer)
  }

  // MARK: Reading

  package var hasNoManifest: Bool { false }

  package var maximumContentLength: UInt64 { UInt64(Int64.max) }

  package func replay(into sink: any ByteSink) throws(Failure) {
    switch place {
    case .stream(let source):
      place = .used
      try key.decrypt(source, into: sink)
    case .region(let region):
      region.expect(upTo: region.length)
      region.expect([0..<region.length])
      try key.decrypt(RegionSource(region, from: UInt64(key.frontLength)), into: sink)
    case .used: throw Failure(.library, "an archive on a pipe is read twice")
    }
    isProved = true
  }

  /// Unless the payload is known to be small, decryption, decompression and `sink` run on separate threads.
  package func replayTar(into sink: any ByteSink) throws(Failure) {
    var isSmall = false
    if case .region(let region) = place { isSmall = region.length < 1 << 20 }
    let frames: ZstdDecompressor
    if isSmall {
      frames = try ZstdDecompressor(threads: 1, into: sink)
      try replay(into: frames)
    } else {
      frames = try ZstdDecompressor(threads: min(processorCount(), 1024), into: PipelinedSink(into: sink))
      try replay(into: PipelinedSink(into: frames))
    }
    locator = frames.locator
  }

  package func keep() throws(Failure) {
    guard case .stream(let source) = place else { return }
    let spool = try TemporaryFile.anonymous()
    let sink = DescriptorSink(spool, name: RawPath("temporary file"))
    try sink.write(key.front)
    try source.copy(to: sink)
    try sink.finish()
    let region = try DescriptorRegion(spool)
    try key.checkEnd(region)
    _ = try message(in: region)
    place = .region(region)
  }

  package func proveRest() throws(Failure) {
    if isProved { return }
    if case .used = place { return }
    try replay(into: CountingSink())
  }

  package func parts() throws(Failure) -> SeekablePayload? {
    guard case .region(let region) = place else { return nil }
    if let seekable { return seekable }
    let payload = try SeekablePayload(try message(in: region))
    seekable = payload
    return payload
  }
}

/// The key of one message.
private protocol MessageKey: AnyObject {
  /// The bytes before the first chunk.
  var front: [UInt8] { get }
  var frontLength: Int { get }
  /// Bytes after the last chunk.
  var trailerLength: Int { get }
  /// `.authentication` if the message was made with another key.
  func cipher() throws(Failure) -> ChunkCipher
  /// Decrypts what follows the front into `sink`, which is finished only if the end is valid.
  func decrypt(_ source: any ByteSource, into sink: any ByteSink) throws(Failure)
  /// Checks, without a key, that the message is complete.
  ///
  /// - Parameter region: starts with the front of the message.
  func checkEnd(_ region: any ByteRegion) throws(Failure)
}

/// The key of a suite 3 message.
private final class PasswordKey: MessageKey {
  private let header: ChunkedHeader
  private let key: Secret
  private let parsed: ChunkedEncryptionFront

  init(_ header: ChunkedHeader, _ key: consuming Secret, front: ChunkedEncryptionFront) {
    self.header = header
    self.key = key
    parsed = front
  }

  var front: [UInt8] { parsed.bytes }
  var frontLength: Int { ChunkedEncryptionFront.length }
  var trailerLength: Int { ChunkedTrailer.length }

  func cipher() throws(Failure) -> ChunkCipher {
    try ChunkedArchive.cipher(header, key: key, front: parsed)
  }

  func decrypt(_ source: any ByteSource, into sink: any ByteSink) throws(Failure) {
    try ChunkedArchive.decrypt(try cipher(), from: source, into: sink)
  }

  func checkEnd(_ region: any ByteRegion) throws(Failure) { try Self.checkTrailer(region) }

  static func checkTrailer(_ region: any ByteRegion) throws(Failure) {
    let length = region.length - min(region.length, UInt64(ChunkedTrailer.length))
    let bytes = try region.read(Int(region.length - length), at: length)
    _ = try ChunkedTrailer(parsing: bytes.span, messageLength: length)
  }
}

/// The key of an age file.
private final class FileKey: MessageKey {
  private let key: AgeFileKey
  let front: [UInt8]

  init(_ key: consuming AgeFileKey, nonce: [UInt8]) {
    self.key = key
    front = nonce
  }

  static func nonce(of source: any ByteSource) throws(Failure) -> [UInt8] {
    let nonce = try source.read(upTo: AgeFileKey.payloadNonceLength)
    guard nonce.count == AgeFileKey.payloadNonceLength else {
      throw Failure(.truncated, "the age file ends before its payload")
    }
    return nonce
  }

  var frontLength: Int { AgeFileKey.payloadNonceLength }
  var trailerLength: Int { 0 }

  func cipher() throws(Failure) -> ChunkCipher {
    try key.payloadCipher(nonce: front, encrypting: false)
  }

  func decrypt(_ source: any ByteSource, into sink: any ByteSink) throws(Failure) {
    let decryptor = ChunkDecryptor(try cipher(), into: sink)
    try source.copy(to: decryptor)
    try decryptor.finish()
  }

  func checkEnd(_ region: any ByteRegion) {}
}

/// A region without its beginning.
private final class TailRegion: ByteRegion {
  private let whole: any ByteRegion
  private let start: UInt64

  init(_ whole: any ByteRegion, from start: UInt64) {
    self.whole = whole
    self.start = min(start, whole.length)
  }

  var length: UInt64 { whole.length - start }

  func read(into buffer: inout [UInt8], at offset: UInt64) throws(Failure) -> Int {
    if offset >= length { return 0 }
    return try whole.read(into: &buffer, at: start + offset)
  }

  func expect(upTo end: UInt64) { whole.expect(upTo: start + min(end, length)) }

  func expect(_ ranges: [Range<UInt64>]) {
    whole.expect(
      ranges.filter { $0.upperBound <= length }.map { start + $0.lowerBound..<start + $0.upperBound })
  }
}
