import TBKCore
import TBKFormat

/// Reads the archives of a chain one after the other, each preceded by its frames or, without frames, back to back
/// (tbk(5), "Chains").
package final class ChainReader {
  /// One backup of a chain.
  package struct Link {
    /// What the ledger says about it; nil if the sender sent no claims.
    package let claims: BackupClaims?
    /// Its archive; nil if the sender does not have it.
    package let archive: PeekingSource?
    /// Whether the frame gives the end of the archive. Then nothing may follow it in `archive`, and the rest of it is
    /// skipped.
    package let isFramed: Bool
  }

  private let source: PeekingSource
  /// The part of the source that a frame has announced.
  private var open: FramedSource?
  private var hasEnded = false
  /// Whether the sender reported, after sending the last archive, that it is damaged.
  package private(set) var lastIsDamaged = false

  package init(_ source: any ByteSource) {
    self.source = source as? PeekingSource ?? PeekingSource(source)
  }

  /// The next backup; nil at the end. Skips the rest of the previous one.
  ///
  /// Throws `.truncated` or `.malformed` if the source is not a valid chain.
  ///
  /// - Parameter manifest: called with the claims and the sealed manifest of the backup, if that is sent; what it does
  ///   not read is skipped.
  package func next(
    manifest: (BackupClaims?, any ByteSource) throws(Failure) -> Void = { _, _ in }
  ) throws(Failure) -> Link? {
    try passRest()
    if hasEnded { return nil }
    var claims: BackupClaims?
    var isBegun = false
    var hasManifest = false
    while true {
      let prefix = try source.peek(ChainFrame.prefixSize)
      if prefix.isEmpty {
        guard !isBegun else {
          throw Failure(.truncated, "the chain ends before an archive that it announces")
        }
        hasEnded = true
        return nil
      }
      guard ChainFrame.begins(prefix) else {
        guard !isBegun else {
          if prefix.count < ChainFrame.prefixSize {
            throw Failure(.truncated, "the chain ends inside a frame")
          }
          throw Failure(.malformed, "the chain holds an archive without its frame")
        }
        return Link(claims: nil, archive: source, isFramed: false)
      }
      let frame = try ChainFrame(parsing: source.read(upTo: ChainFrame.size))
      switch frame {
      case .entry(let length):
        guard !isBegun else {
          throw Failure(.malformed, "the chain holds two entries and no archive between them")
        }
        let text = try source.read(upTo: Int(length))
        guard UInt64(text.count) == length else {
          throw Failure(.truncated, "the chain ends inside an entry")
        }
        claims = try BackupClaims(parsing: text)
      case .manifest(let length):
        guard !hasManifest else {
          throw Failure(.malformed, "the chain holds two manifests and no archive between them")
        }
        hasManifest = true
        let part = FramedSource(source, length: length)
        try manifest(claims, part)
        try part.skip()
      case .archive(let length):
        let part = FramedSource(source, length: length)
        open = part
        return Link(claims: claims, archive: length == 0 ? nil : PeekingSource(part), isFramed: true)
      }
      isBegun = true
    }
  }
}

extension ChainReader {
  /// Skips the rest of the last archive, if it has a frame. Throws `.truncated` if the source ends inside it.
  package func passRest() throws(Failure) {
    try open?.skip()
    lastIsDamaged = open?.tail == ChainFrame.damaged
    open = nil
  }
}

/// The next `length` bytes of a source.
private final class FramedSource: ByteSource {
  private let source: any ByteSource
  private var left: UInt64
  /// The last bytes read, at most the size of a frame.
  private(set) var tail: [UInt8] = []

  init(_ source: any ByteSource, length: UInt64) {
    self.source = source
    left = length
  }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    let count = try next(into: &buffer)
    tail = Array((tail + buffer[max(0, count - ChainFrame.size)..<count]).suffix(ChainFrame.size))
    return count
  }

  private func next(into buffer: inout [UInt8]) throws(Failure) -> Int {
    if left == 0 { return 0 }
    guard left < UInt64(buffer.count) else {
      let count = try source.read(into: &buffer)
      left -= UInt64(count)
      return count
    }
    var rest = [UInt8](repeating: 0, count: Int(left))
    let count = try source.read(into: &rest)
    buffer.replaceFront(with: rest.span.extracting(0..<count))
    left -= UInt64(count)
    return count
  }

  /// Skips the rest. Throws `.truncated` if the source ends early.
  func skip() throws(Failure) {
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    while left > 0 {
      guard try read(into: &buffer) > 0 else {
        throw Failure(
          .truncated, "the chain ends early: \(left) bytes of an archive are missing",
          hint: "the command that sends it failed, or the copy is incomplete")
      }
    }
  }
}
