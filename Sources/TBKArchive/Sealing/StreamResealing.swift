import TBKCore
import TBKCrypto
import TBKFormat

extension Sealing {
  /// Seals an archive of suite 3 or age again, in either of them, while it is verified. The payload is copied byte for
  /// byte, so that id, manifest, content and offsets stay the same.
  ///
  /// If this throws, `output` has no last chunk and no trailer.
  ///
  /// - Parameters:
  ///   - verify: reads the whole archive that it is given, and throws if verification fails.
  ///   - output: gets the new archive; it is finished.
  /// - Returns: the length of the new archive in bytes.
  package static func again(
    _ archive: StreamedArchive, sealing: StreamSealing, into output: any ByteSink,
    progress: @escaping (Int) -> Void, verify: (any OpenedArchive) throws(Failure) -> Void
  ) throws(Failure) -> UInt64 {
    let counted = CountingSink(into: output)
    let payload = try sealing.begin(into: counted)
    let copying = CopiedArchive(archive, to: TickingSink(into: payload, progress))
    try verify(copying)
    guard copying.isCopied else { throw Failure(.library, "the archive was not read") }
    try payload.finish()
    return counted.count
  }

  /// Seals the tar of an archive of suite 1 or TBK1 in suite 3 or age, byte for byte.
  ///
  /// - Parameters:
  ///   - archive: authenticated, and verified.
  ///   - output: gets the new archive; it is finished.
  /// - Returns: the length of the new archive in bytes.
  package static func again(
    _ archive: AuthenticatedArchive, sealing: StreamSealing, into output: any ByteSink,
    progress: @escaping (Int) -> Void
  ) throws(Failure) -> UInt64 {
    let framed = try FramedArchive(sealing, into: output)
    let framer = TarFramer(
      framed.frames, limits: TarLimits(maximumSize: archive.maximumContentLength))
    try archive.replayTar(into: TickingSink(into: framer, progress))
    return try framed.finish()
  }
}

/// An archive that copies its payload while it is read.
private final class CopiedArchive: OpenedArchive {
  private let archive: StreamedArchive
  private let copy: any ByteSink
  private(set) var isCopied = false
  private(set) var locator: ManifestLocator?
  var claims: BackupClaims?
  var isSealedManifest = false

  /// - Parameter copy: gets the payload; it is not finished.
  init(_ archive: StreamedArchive, to copy: any ByteSink) {
    self.archive = archive
    self.copy = copy
    claims = archive.claims
  }

  var kind: ArchiveKind { archive.kind }
  var hasNoManifest: Bool { false }
  var maximumContentLength: UInt64 { archive.maximumContentLength }

  func replay(into sink: any ByteSink) throws(Failure) { try archive.replay(into: sink) }

  func replayTar(into sink: any ByteSink) throws(Failure) {
    guard !isCopied else { throw Failure(.library, "an archive is copied twice") }
    let frames = try ZstdDecompressor(
      threads: min(processorCount(), 1024), into: PipelinedSink(into: sink))
    try archive.replay(into: ForkedSink(into: frames, and: copy))
    locator = frames.locator
    isCopied = true
  }
}

/// Writes to two sinks; `finish()` finishes only the first.
private final class ForkedSink: ByteSink {
  private let one: any ByteSink
  private let other: any ByteSink

  init(into one: any ByteSink, and other: any ByteSink) {
    self.one = one
    self.other = other
  }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    try one.write(bytes)
    try other.write(bytes)
  }

  func finish() throws(Failure) { try one.finish() }
}

/// Passes a tar on unchanged, and informs the compressor where members and the manifest begin.
private final class TarFramer: ByteSink {
  private let frames: ZstdCompressor
  private let watcher: Watcher
  private let parser: TarParser
  /// The headers of the current member so far.
  private var held: [UInt8] = []
  private var hasManifest = false

  init(_ frames: ZstdCompressor, limits: TarLimits) {
    let watcher = Watcher()
    self.frames = frames
    self.watcher = watcher
    parser = TarParser(handler: watcher, limits: limits)
  }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    var done = 0
    while done < bytes.count {
      // A body passes at once; headers are held one block at a time, until the member is known.
      let isBody = watcher.member != nil
      let body = isBody ? parser.untilHeader : 0
      if isBody, body == 0 { watcher.member = nil }
      let isHeader = !isBody || body == 0
      let limit = isHeader ? TarBlock.size - held.count % TarBlock.size : Int(clamping: body)
      let piece = bytes.extracting(done..<done + min(limit, bytes.count - done))
      done += piece.count
      try parser.write(piece)
      guard isHeader else {
        try frames.write(piece)
        continue
      }
      held.append(piece)
      if let member = watcher.member { try begin(member) } else if parser.isPastMembers { try flush() }
    }
  }

  func finish() throws(Failure) {
    try parser.finish()
    try flush()
  }

  /// In TermBackup 6 archives, the tree's own `manifest.json` follows the manifest.
  private func begin(_ member: TarMember) throws(Failure) {
    if !hasManifest, member.kind == .file, EntryName.normalised(member.name) == Manifest.fileName {
      hasManifest = true
      try frames.beginManifest(length: member.size)
    } else {
      try frames.beginMember(header: held.count, content: member.kind == .file ? member.size : 0)
    }
    try flush()
  }

  private func flush() throws(Failure) {
    try frames.write(held)
    held.removeAll(keepingCapacity: true)
  }

  private final class Watcher: TarHandler {
    /// The member whose headers came last; its body may not have begun yet.
    var member: TarMember?

    func begin(_ member: TarMember) { self.member = member }
    func body(_ bytes: Span<UInt8>) {}
    func end() {}
  }
}
