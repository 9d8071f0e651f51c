import TBKCore
import TBKCrypto
import TBKFormat

/// Bytes to be uploaded to GitHub, stored so that they can be read again: one small part in memory, else the file that
/// they come from, or an unnamed temporary file for a few parts of a stream at a time. They are cut into parts whose
/// hashes are known before anything is sent.
final class GitHubSpool {
  /// The largest blob in a commit; GitHub has refused blobs larger than 40 MiB.
  static let gitPartSize: UInt64 = 24 << 20
  /// The largest release asset: below GitHub's 2 GiB, and small enough to be sent again.
  static let assetPartSize: UInt64 = 256 << 20

  struct Part {
    let offset: UInt64
    let size: UInt64
    let sha256: Digest
    let gitHash: String

    /// Derived from the content, so that a part that already exists is recognised by its name.
    var name: ObjectName { ObjectName("part_\(sha256.hex.prefix(32)).tbk")! }
  }

  /// How many parts of a stream are spooled at a time, and uploaded in parallel.
  static let streamedParts = 4

  private enum Place {
    case memory([UInt8])
    /// Our own file.
    case temporary(Descriptor)
    /// The caller's file, which others may write to.
    case input(FileStart)
  }

  private let place: Place
  let partSize: UInt64
  /// In order.
  let parts: [Part]
  /// The same without duplicates.
  let distinctParts: [Part]
  let sha256: Digest
  let size: UInt64

  /// Reads all of `source`, which stays in its file.
  ///
  /// - Parameters:
  ///   - size: the exact size; more or less is a failure.
  ///   - partSize: the size of all parts but the last.
  init(_ source: any ByteSource, in file: FileStart, size: UInt64, partSize: UInt64) throws(Failure) {
    let cutter = PartCutter(into: CountingSink(), size: size, partSize: partSize)
    try cutter.take(source)
    parts = cutter.parts
    distinctParts = cutter.distinctParts
    sha256 = cutter.sha256
    self.size = size
    self.partSize = partSize
    place = .input(file)
  }

  /// Keeps these bytes in memory.
  init(_ bytes: [UInt8], partSize: UInt64) throws(Failure) {
    let cutter = PartCutter(into: CountingSink(), size: UInt64(bytes.count), partSize: partSize)
    try cutter.take(MemorySource(bytes))
    parts = cutter.parts
    distinctParts = cutter.distinctParts
    sha256 = cutter.sha256
    size = UInt64(bytes.count)
    self.partSize = partSize
    place = .memory(bytes)
  }

  /// Reads the next few parts of a stream; nil at its end.
  ///
  /// - Parameter left: bytes that are still to come, if known.
  init?(next source: StreamedSource, partSize: UInt64, left: UInt64?) throws(Failure) {
    let file = try TemporaryFile.anonymous()
    let most = partSize * UInt64(GitHubSpool.streamedParts)
    let size: UInt64
    if let left, let free = file.freeBytes, free < min(left, most) {
      throw Failure(
        .io, "\(min(left, most)) bytes are needed for a temporary copy, and \(free) are free",
        hint: GitHubSpool.roomHint)
    }
    do throws(Failure) {
      size = try source.copy(upTo: most, to: DescriptorSink(file, name: RawPath("the temporary file")))
    } catch  where error.code == .io && error.hint == nil {
      throw Failure(.io, error.message, hint: GitHubSpool.roomHint)
    }
    if size == 0 { return nil }
    // A part's name and git hash begin with its size, which is known only now.
    let cutter = PartCutter(into: CountingSink(), size: size, partSize: partSize)
    try cutter.take(FileRange(file, offset: 0, count: size))
    parts = cutter.parts
    distinctParts = cutter.distinctParts
    sha256 = cutter.sha256
    self.size = size
    self.partSize = partSize
    place = .temporary(file)
  }

  private static let roomHint = "free some space, or name another directory in TMPDIR"

  /// The bytes of a part.
  func open(_ part: Part) -> any ByteSource {
    switch place {
    case .memory(let bytes): MemorySource(Array(bytes[Int(part.offset)..<Int(part.offset + part.size)]))
    case .temporary(let file): FileRange(file, offset: part.offset, count: part.size)
    case .input(let file): KnownRange(file, offset: part.offset, count: part.size, sha256: part.sha256)
    }
  }
}

/// Hashes the bytes that pass, as a whole and part by part.
private final class PartCutter {
  private let sink: any ByteSink
  private let size: UInt64
  private let partSize: UInt64
  private(set) var parts: [GitHubSpool.Part] = []
  /// The hash of the whole.
  private(set) var sha256 = Digest.ofNothing

  /// The parts without duplicates.
  var distinctParts: [GitHubSpool.Part] {
    var seen: Set<String> = []
    return parts.filter { seen.insert($0.gitHash).inserted }
  }

  init(into sink: any ByteSink, size: UInt64, partSize: UInt64) {
    self.sink = sink
    self.size = size
    self.partSize = partSize
  }

  func take(_ source: any ByteSource) throws(Failure) {
    var whole = try SHA256()
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    // Bytes already read that belong to the next part.
    var rest = 0..<0
    var offset: UInt64 = 0
    repeat {
      let partSize = min(self.partSize, size - offset)
      var hash = try SHA256()
      var gitHash = try GitBlobHash(size: partSize)
      var left = partSize
      while left > 0 {
        if rest.isEmpty {
          let count = try source.read(into: &buffer)
          if count == 0 {
            throw Failure(
              .truncated, "\(size - offset - left) bytes are missing of the \(size) announced")
          }
          rest = 0..<count
        }
        let count = Int(min(UInt64(rest.count), left))
        let piece = buffer.span.extracting(rest.lowerBound..<rest.lowerBound + count)
        try hash.update(piece)
        try gitHash.update(piece)
        try whole.update(piece)
        try sink.write(piece)
        rest = rest.lowerBound + count..<rest.upperBound
        left -= UInt64(count)
      }
      parts.append(
        GitHubSpool.Part(
          offset: offset, size: partSize, sha256: try hash.finish(),
          gitHash: try gitHash.finalize()))
      offset += partSize
    } while offset < size
    var more = rest.count
    if more == 0 { more = try source.read(into: &buffer) }
    guard more == 0 else {
      throw Failure(.truncated, "more bytes came than the \(size) announced")
    }
    try sink.finish()
    sha256 = try whole.finish()
  }
}

/// A stream whose start has already been read. Passes it on piece by piece, and hashes it.
final class StreamedSource {
  private var front: [UInt8]
  private let source: any ByteSource
  private var hash: SHA256
  private(set) var count: UInt64 = 0

  init(_ front: [UInt8], _ source: any ByteSource) throws(Failure) {
    hash = try SHA256()
    self.front = front
    self.source = source
  }

  /// Passes on up to `limit` bytes; fewer only at the end. Returns their number.
  func copy(upTo limit: UInt64, to sink: any ByteSink) throws(Failure) -> UInt64 {
    var left = limit
    while left > 0 {
      var bytes = front
      front = []
      if bytes.isEmpty { bytes = try source.read(upTo: Int(min(left, UInt64(chunkSize)))) }
      if bytes.isEmpty { break }
      if UInt64(bytes.count) > left {
        front = Array(bytes[Int(left)...])
        bytes.removeSubrange(Int(left)...)
      }
      try hash.update(bytes.span)
      try sink.write(bytes)
      left -= UInt64(bytes.count)
    }
    try sink.finish()
    count += limit - left
    return limit - left
  }

  /// The hash of all bytes passed on; call it once.
  func digest() throws(Failure) -> Digest { try hash.finish() }
}

/// A range of a file, read by position, so that several can be read at once.
final class FileRange: ByteSource {
  private let file: Descriptor
  private var offset: UInt64
  private var left: UInt64

  init(_ file: Descriptor, offset: UInt64, count: UInt64) {
    self.file = file
    self.offset = offset
    left = count
  }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    if left == 0 { return 0 }
    let count = min(UInt64(try file.read(into: &buffer, at: offset)), left)
    guard count > 0 else { throw Failure(.io, "the file has become shorter while it was being stored") }
    offset += count
    left -= count
    return Int(count)
  }
}

/// A range of a file that others may write to: its last bytes are passed on only if the whole range has the SHA-256
/// computed before.
final class KnownRange: ByteSource {
  private let range: FileRange
  private let sha256: Digest
  private var left: UInt64
  private var hash: SHA256?

  /// - Parameter offset: relative to where reading of the file began.
  init(_ file: FileStart, offset: UInt64, count: UInt64, sha256: Digest) {
    range = FileRange(file.descriptor, offset: file.offset + offset, count: count)
    self.sha256 = sha256
    left = count
  }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    let count = try range.read(into: &buffer)
    if count == 0 { return 0 }
    if hash == nil { hash = try SHA256() }
    try hash!.update(buffer.span.extracting(0..<count))
    left -= UInt64(count)
    if left == 0, try hash!.finish() != sha256 {
      throw Failure(.io, "the file has changed while it was being stored", hint: "store it again")
    }
    return count
  }
}

/// A part unencoded: the body of an asset's upload.
final class PartBody: HTTPBody {
  private let spool: GitHubSpool
  private let part: GitHubSpool.Part

  init(_ spool: GitHubSpool, _ part: GitHubSpool.Part) {
    self.spool = spool
    self.part = part
  }

  var length: UInt64 { part.size }
  func restart() -> any ByteSource { spool.open(part) }
}

/// A part as JSON for `POST git/blobs`, with its content in base64.
final class BlobBody: HTTPBody {
  private static let front = Array("{\"encoding\":\"base64\",\"content\":\"".utf8)
  private static let back = Array("\"}".utf8)

  private let size: UInt64
  private let content: () -> any ByteSource

  init(_ spool: GitHubSpool, _ part: GitHubSpool.Part) {
    size = part.size
    content = { spool.open(part) }
  }

  init(_ bytes: [UInt8]) {
    size = UInt64(bytes.count)
    content = { MemorySource(bytes) }
  }

  var length: UInt64 {
    UInt64(BlobBody.front.count + BlobBody.back.count) + Base64Encoding.length(of: size)
  }

  func restart() -> any ByteSource {
    Base64Source(content(), front: BlobBody.front, back: BlobBody.back)
  }
}

/// The base64 of a source between two pieces of text.
private final class Base64Source: ByteSource {
  private let source: any ByteSource
  private var back: [UInt8]
  /// Encoded and not yet passed on.
  private var ready: [UInt8]
  private var position = 0
  private var isAtEnd = false
  /// A multiple of three, so that padding comes only at the end.
  private static let piece = 192 << 10

  init(_ source: any ByteSource, front: [UInt8], back: [UInt8]) {
    self.source = source
    self.back = back
    ready = front
  }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    if position == ready.count {
      if isAtEnd { return 0 }
      ready.removeAll(keepingCapacity: true)
      position = 0
      let bytes = try source.read(upTo: Base64Source.piece)
      Base64Encoding.append(bytes.span, to: &ready)
      if bytes.count < Base64Source.piece {
        isAtEnd = true
        ready += back
      }
    }
    let count = min(buffer.count, ready.count - position)
    let ready = self.ready
    buffer.replaceFront(with: ready.span.extracting(position..<position + count))
    position += count
    return count
  }
}
