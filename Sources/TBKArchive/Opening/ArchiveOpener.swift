import TBKCore
import TBKCrypto
import TBKFormat

/// Provides the keys of archives. Called only after a header has been parsed and checked.
package protocol ArchiveKeys: AnyObject {
  /// Derives keys from the password.
  func ring() throws(Failure) -> KeyRing
  /// The key of an age file.
  func key(of header: AgeHeader) throws(Failure) -> AgeFileKey
  /// Why the password or identity could not be obtained, which is not the archive's fault; nil if it could.
  var failure: Failure? { get }
}

/// The unencrypted header of an archive of any kind. Nothing in it has been verified.
package enum ArchiveFront {
  /// One tag over the whole archive: suite 1 and TBK1.
  case whole(ArchiveHeader)
  /// Suite 3.
  case chunked(ChunkedHeader)
  /// - Parameter binary: whether the file is not armored.
  case age(AgeHeader, binary: Bool)

  /// Reads the front of an archive and nothing after it; checks its key derivation costs.
  ///
  /// - Returns: the front, and the source of the rest: `source`, or its decoded armor.
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

/// Opens archives of every kind except mbu packages.
package struct ArchiveOpener {
  private let keys: any ArchiveKeys
  private let limits: OpenLimits

  package init(_ keys: any ArchiveKeys, limits: OpenLimits) {
    self.keys = keys
    self.limits = limits
  }

  /// Opens the archive in a seekable file, from `start` to the file's end.
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

  /// Opens the archive that fills a region; if it must be read as a whole, from the file that `whole` returns.
  package func open(
    region: any ByteRegion, whole: () throws(Failure) -> Descriptor
  ) throws(Failure) -> any OpenedArchive {
    let (front, _) = try ArchiveFront.read(PeekingSource(RegionSource(region)), limits: limits)
    switch front {
    case .chunked(let header):
      return try StreamedArchive.open(header, key: try keys.ring().key(header), region: region)
    case .age(let header, binary: true):
      return try StreamedArchive.open(
        try keys.key(of: header), region: region, headerLength: header.bytes.count)
    case .whole, .age: return try open(file: try whole(), start: 0)
    }
  }

  /// Opens the archive at the start of a stream.
  ///
  /// - Parameter isFramed: whether it ends with the stream. Required for suite 3 and age, which do not record their
  ///   end.
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
        .malformed, "a suite 3 or age archive in a chain has no length before it",
        hint: "put a TBKCHAIN frame before it: see tbk(5)")
    }
    switch front {
    case .chunked(let header):
      return try StreamedArchive.open(header, key: try keys.ring().key(header), stream: source)
    case .age(let header, _):
      return try StreamedArchive.open(try keys.key(of: header), stream: source)
    case .whole: throw Failure(.library, "an archive of an unknown kind")
    }
  }
}
