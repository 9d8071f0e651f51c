import TBKCore
import TBKCrypto
import TBKFormat

/// What a ledger says of the format of an archive: a hint, checked on opening.
package struct ArchiveVersion: Equatable, Sendable, ExpressibleByIntegerLiteral {
  /// `archive_version`: 2 for TBK2, 1 for TBK1, 0 for age.
  package let number: UInt8
  /// `suite`; nil where the number says it all: TBK2 in suite 1, and TBK1.
  package let suite: JSON?

  package static let suite3 = ArchiveVersion(number: 2, suite: .number(3))
  package static let age = ArchiveVersion(number: 0, suite: .string("age"))

  private init(number: UInt8, suite: JSON?) {
    self.number = number
    self.suite = suite
  }

  package init(integerLiteral number: UInt8) { self.init(number: number, suite: nil) }

  init(_ header: ArchiveHeader) { self.init(number: header.version, suite: nil) }

  /// How names of such archives end, and of their sealed manifests.
  var nameExtension: String { self == .age ? "age" : "tbk" }
}

/// An archive on its way into a store: it ends well only if the archive is complete.
///
/// A header that says how long the archive is is read when this is made; a pipe that broke upstream, or
/// anything after the payload, makes the last read fail instead of ending the stream. Of suite 3 and age all
/// is read at once, the greater part into an unnamed file: only its end shows how long it is. An age file
/// does not say that it is whole: see `check`.
package final class ArchiveInput: ByteSource {
  /// What the front of an archive says.
  package struct Front: Sendable {
    package let version: ArchiveVersion
  }

  package let header: Front
  /// Bytes of the archive.
  package let length: UInt64
  private var source: any ByteSource
  private let name: String
  private var front: [UInt8]
  private var left: UInt64
  /// Of all that came, where that had to come first.
  private let sha256: Digest?

  /// - Parameter name: what messages call it, as in "standard input".
  package init(_ source: any ByteSource, name: String) throws(Failure) {
    self.name = name
    let front = try source.read(upTo: ArchiveHeader.maximumLength)
    if front.isEmpty {
      throw Failure(.truncated, "\(name) is empty", hint: ArchiveInput.cutHint)
    }
    do throws(Failure) {
      if front.starts(with: Array("-----BEGIN AGE ENCRYPTED FILE-----".utf8)) {
        throw Failure(
          .malformed, "an age file in armor is not stored", hint: "seal it without --armor")
      }
      if AgeHeader.isBegun(by: front) {
        let arrived = try Arrived(front, source)
        header = Front(version: .age)
        self.source = arrived.source
        length = arrived.length
        sha256 = arrived.sha256
        self.front = []
      } else if ChunkedHeader.isBegun(by: front.span) == true {
        let known = try ChunkedHeader(parsing: front.span)
        let arrived = try Arrived(front, source)
        try arrived.checkTrailer(headerLength: known.length)
        header = Front(version: .suite3)
        self.source = arrived.source
        length = arrived.length
        sha256 = arrived.sha256
        self.front = []
      } else {
        let known = try ArchiveHeader(parsing: front.span)
        header = Front(version: ArchiveVersion(known))
        self.source = source
        length = known.totalLength
        sha256 = nil
        self.front = front
      }
    } catch {
      throw Failure(
        error.code, "\(name): \(error.message)",
        hint: error.code == .truncated ? ArchiveInput.cutHint : error.hint)
    }
    left = length
  }

  private static let cutHint = "the command that makes the archive failed; see its message above"

  /// Compares what came with the receipt or --sha256. Throws `.integrity` if that is something else, and
  /// `.malformed` for an age file without either: it may have been cut.
  ///
  /// - Parameter expected: the SHA-256 that somebody else names.
  package func check(_ receipt: Receipt?, sha256 expected: Digest? = nil) throws(Failure) {
    guard let sha256 else { return }
    if let size = receipt?.size, size != length {
      throw Failure(
        .integrity, "\(name) has \(length) bytes, and the receipt says \(size)",
        hint: ArchiveInput.cutHint)
    }
    for hash in [receipt?.sha256, expected] {
      if let hash, hash != sha256 {
        throw Failure(
          .integrity, "\(name) does not have the SHA-256 that was announced",
          hint: "give the receipt that was written with this archive")
      }
    }
    if header.version == .age, receipt?.sha256 == nil, expected == nil {
      throw Failure(
        .malformed, "\(name) is an age file, which does not record its length",
        hint: "give --receipt FILE to tbk-seal and here, or --sha256")
    }
  }

  package func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    let count: Int
    if front.isEmpty {
      count = try source.read(into: &buffer)
    } else {
      count = min(front.count, buffer.count)
      let front = self.front
      buffer.replaceFront(with: front.span.extracting(0..<count))
      self.front.removeFirst(count)
    }
    if count == 0, left > 0 {
      throw Failure(
        .truncated,
        "\(name) ends \(left) bytes early: the header announces \(length) in all",
        hint: ArchiveInput.cutHint)
    }
    guard UInt64(count) <= left else {
      throw Failure(.malformed, "\(name): something follows the archive's \(length) bytes")
    }
    left -= UInt64(count)
    return count
  }
}

/// All of an archive: in memory, or, as ciphertext, in an unnamed file.
private struct Arrived {
  let source: any ByteSource
  let length: UInt64
  let sha256: Digest
  /// The last bytes, as many as a trailer has.
  private let tail: [UInt8]

  private static let memoryLimit = 1 << 20

  init(_ front: [UInt8], _ rest: any ByteSource) throws(Failure) {
    let memory = front + (try rest.read(upTo: Arrived.memoryLimit))
    if memory.count < Arrived.memoryLimit {
      source = MemorySource(memory)
      length = UInt64(memory.count)
      sha256 = try SHA256.hash(memory)
      tail = Array(memory.suffix(ChunkedTrailer.length))
      return
    }
    let file = try TemporaryFile.anonymous()
    let name = RawPath("the temporary file")
    let hashing = try HashingSink(into: DescriptorSink(file, name: name))
    try hashing.write(memory)
    try rest.copy(to: hashing)
    try hashing.finish()
    length = hashing.count
    sha256 = try hashing.digest()
    tail = try DescriptorRegion(file).read(
      ChunkedTrailer.length, at: length - UInt64(ChunkedTrailer.length))
    try file.seek(to: 0)
    source = DescriptorSource(file, name: name)
  }

  func checkTrailer(headerLength: Int) throws(Failure) {
    let fixed = UInt64(headerLength + ChunkedTrailer.length)
    guard length >= fixed + UInt64(ChunkedEncryptionFront.length) else {
      throw Failure(.truncated, "the archive ends early")
    }
    _ = try ChunkedTrailer(parsing: tail.span, messageLength: length - fixed)
  }
}
