import TBKCore
import TBKCrypto
import TBKFormat

/// What opens archives. Each is asked for when a header has been found good.
package protocol ArchiveKeys: AnyObject {
  /// What derives keys from the password.
  func ring() throws(Failure) -> KeyRing
  /// The key of an age file.
  func key(of header: AgeHeader) throws(Failure) -> AgeFileKey
}

/// The clear front of an archive, of whatever kind. Nothing in it has been verified.
package enum ArchiveFront {
  /// One tag over all of it: suite 1, and TBK1.
  case whole(ArchiveHeader)
  /// Suite 3.
  case chunked(ChunkedHeader)
  /// - Parameter binary: whether the file is not armored.
  case age(AgeHeader, binary: Bool)

  /// Reads the front of an archive, and nothing behind it; checks the costs it asks for.
  ///
  /// - Returns: the front, and what to read on from: the source, or what its armor says.
  package static func read(
    _ source: PeekingSource, limits: OpenLimits
  ) throws(Failure) -> (ArchiveFront, PeekingSource) {
    if let age = try AgeReader.source(source) {
      return (.age(try AgeHeader(reading: age), binary: age === source), age)
    }
    let bytes = try source.peek(ArchiveHeader.maximumLength)
    guard ChunkedHeader.isBegun(by: bytes.span) == true else {
      return (.whole(try AuthenticatedArchive.header(of: source, limits: limits)), source)
    }
    let header = try ChunkedHeader(parsing: bytes.span)
    try limits.argon2.check(header.cost)
    _ = try source.read(upTo: header.length)
    return (.chunked(header), source)
  }
}

/// Opens archives of every kind but packages of mbu.
package struct ArchiveOpener {
  private let keys: any ArchiveKeys
  private let limits: OpenLimits

  package init(_ keys: any ArchiveKeys, limits: OpenLimits) {
    self.keys = keys
    self.limits = limits
  }

  /// Opens the archive that lies in a seekable file, from `start` to the file's end.
  package func open(file: Descriptor, start: UInt64) throws(Failure) -> any OpenedArchive {
    let region = try DescriptorRegion(file, from: start)
    let (front, source) = try ArchiveFront.read(PeekingSource(RegionSource(region)), limits: limits)
    switch front {
    case .whole(let header):
      return try AuthenticatedArchive.verify(
        file: file, header: header, start: start, keys: try keys.ring())
    case .chunked(let header):
      return try StreamedArchive.open(header, key: try keys.ring().key(header), region: region)
    case .age(let header, let isBinary):
      let key = try keys.key(of: header)
      guard isBinary else { return try StreamedArchive.open(key, stream: source) }
      return try StreamedArchive.open(key, region: region, headerLength: header.bytes.count)
    }
  }

  /// Opens the archive that a stream begins with.
  ///
  /// - Parameter isFramed: whether it ends where the stream does. Suite 3 and age have no other end.
  package func open(
    stream: PeekingSource, isFramed: Bool
  ) throws(Failure) -> any OpenedArchive {
    let (front, source) = try ArchiveFront.read(stream, limits: limits)
    if case .whole(let header) = front {
      return try AuthenticatedArchive.verify(
        stream: source, header: header, keys: try keys.ring(), alone: isFramed)
    }
    guard isFramed else {
      throw Failure(
        .malformed, "an archive of suite 3 or age in a chain does not say how long it is",
        hint: "TBKCHAIN and its length stand before it, as tbk(5) says")
    }
    switch front {
    case .chunked(let header):
      return try StreamedArchive.open(header, key: try keys.ring().key(header), stream: source)
    case .age(let header, _):
      return try StreamedArchive.open(try keys.key(of: header), stream: source)
    case .whole: throw Failure(.library, "an archive of no kind")
    }
  }
}

/// A chain of archives in a stream (tbk(5), "Chains").
package enum ArchiveChain {
  private static let magic = Array("TBKCHAIN".utf8)

  /// What comes before an archive of so many bytes.
  package static func frame(length: UInt64) -> [UInt8] {
    var bytes = magic
    bytes.append(bigEndian: length, width: 8)
    return bytes
  }

  /// The next archive, without its frame; nil at the end of the stream.
  ///
  /// An archive without a frame is the source itself: it has to know its own end.
  package static func next(
    in source: PeekingSource
  ) throws(Failure) -> (archive: PeekingSource, isFramed: Bool)? {
    let front = try source.peek(magic.count)
    if front.isEmpty { return nil }
    guard front == magic else { return (source, false) }
    let bytes = try source.read(upTo: magic.count + 8)
    guard bytes.count == magic.count + 8 else {
      throw Failure(.truncated, "the chain of archives ends early")
    }
    let length = bytes.dropFirst(magic.count).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return (PeekingSource(LimitedSource(source, length)), true)
  }

  /// The next `length` bytes of a source, which have to be there.
  private final class LimitedSource: ByteSource {
    private let whole: any ByteSource
    private var left: UInt64

    init(_ whole: any ByteSource, _ length: UInt64) {
      self.whole = whole
      left = length
    }

    func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
      if left == 0 { return 0 }
      let count: Int
      if UInt64(buffer.count) <= left {
        count = try whole.read(into: &buffer)
      } else {
        var piece = [UInt8](repeating: 0, count: Int(left))
        count = try whole.read(into: &piece)
        buffer.replaceFront(with: piece.span.extracting(0..<count))
      }
      guard count > 0 else {
        throw Failure(
          .truncated, "the chain of archives ends early: \(left) bytes are missing",
          hint: "the command that sends it failed, or the copy is incomplete")
      }
      left -= UInt64(count)
      return count
    }
  }
}
