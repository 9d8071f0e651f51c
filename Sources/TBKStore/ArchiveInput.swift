import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// What a ledger records about the format of an archive: a hint, checked on opening.
package struct ArchiveVersion: Equatable, Sendable, ExpressibleByIntegerLiteral {
  /// `archive_version`: 2 for TBK2, 1 for TBK1, 0 for age.
  package let number: UInt8
  /// `suite`; nil where the number alone determines it: TBK2 in suite 1, and TBK1.
  package let suite: JSON?

  package static let suite3 = ArchiveVersion(number: 2, suite: .number(3))
  package static let age = ArchiveVersion(number: 0, suite: .string("age"))

  private init(number: UInt8, suite: JSON?) {
    self.number = number
    self.suite = suite
  }

  package init(integerLiteral number: UInt8) { self.init(number: number, suite: nil) }

  init(_ header: ArchiveHeader) { self.init(number: header.version, suite: nil) }

  /// The file name extension of such archives and of their sealed manifests.
  var nameExtension: String { self == .age ? "age" : "tbk" }
}

/// A regular file and the offset to read it from. It can be read again by position, so no copy is needed.
struct FileStart {
  let descriptor: Descriptor
  let offset: UInt64
  /// Bytes from the offset to the end of the file.
  let size: UInt64

  /// Nil for input that cannot be read again, such as a pipe.
  init?(_ descriptor: Descriptor) {
    guard let facts = try? descriptor.status(), facts.st_mode & S_IFMT == S_IFREG, let offset = descriptor.position,
      let end = UInt64(exactly: facts.st_size), end >= offset
    else { return nil }
    self.descriptor = descriptor
    self.offset = offset
    size = end - offset
  }
}

/// A source that may be a regular file.
protocol RereadableSource: ByteSource {
  /// Nil if the source can be read only once.
  var file: FileStart? { get }
}

/// An archive on its way into a store. Reading it ends without an error only if the archive is complete.
///
/// The initialiser reads the header. If a pipe broke upstream, or bytes follow the payload, the last read fails instead
/// of ending the stream: by the length in the header, or by the trailer of suite 3. An age file does not show that it
/// is complete: see `check`.
package final class ArchiveInput: RereadableSource {
  /// What the start of an archive shows.
  package struct Front: Sendable {
    package let version: ArchiveVersion
  }

  package let header: Front
  /// Bytes of the archive; nil for suite 3 and age, where only the end shows the length.
  package let length: UInt64?
  private let source: any ByteSource
  private let name: String
  private var front: [UInt8]
  /// The file that it is read from, if it is a regular file.
  let file: FileStart?
  /// Bytes passed on so far.
  private var count: UInt64 = 0
  /// Suite 3 only: the size of the header, and the last bytes passed on, at most a trailer's length.
  private var chunked: (headerLength: Int, tail: [UInt8])?

  /// - Parameter name: the name for messages, such as "standard input".
  package init(_ source: any ByteSource, name: String) throws(Failure) {
    self.name = name
    self.source = source
    file = (source as? DescriptorSource).flatMap { FileStart($0.descriptor) }
    front = try source.read(upTo: ArchiveHeader.maximumLength)
    if front.isEmpty {
      throw Failure(.truncated, "\(name) is empty", hint: ArchiveInput.cutHint)
    }
    do throws(Failure) {
      if front.starts(with: Array("-----BEGIN AGE ENCRYPTED FILE-----".utf8)) {
        throw Failure(
          .malformed, "an age file in armor is not stored", hint: "seal it without --armor")
      }
      if AgeHeader.isBegun(by: front) {
        header = Front(version: .age)
        length = nil
      } else if ChunkedHeader.isBegun(by: front.span) == true {
        chunked = (try ChunkedHeader(parsing: front.span).length, [])
        header = Front(version: .suite3)
        length = nil
      } else {
        let known = try ArchiveHeader(parsing: front.span)
        header = Front(version: ArchiveVersion(known))
        length = known.totalLength
      }
    } catch {
      throw ArchiveInput.named(error, name)
    }
  }

  private static let cutHint = "the command that makes the archive failed; see its message above"

  private static func named(_ error: Failure, _ name: String) -> Failure {
    Failure(
      error.code, "\(name): \(error.message)", hint: error.code == .truncated ? cutHint : error.hint)
  }

  /// Whether a reader of the archive that starts with these bytes detects by itself that the end is missing, and has
  /// put nothing in place by then. True for suite 3 and age.
  static func showsItsEnd(_ front: [UInt8]) -> Bool {
    AgeHeader.isBegun(by: front) || ChunkedHeader.isBegun(by: front.span) == true
  }

  /// Call before reading the archive. Throws `.malformed` for an age file of unannounced length: it may be truncated.
  ///
  /// - Parameter isAnnounced: whether there is a receipt or a SHA-256 to compare it with.
  package func requireAnnouncement(_ isAnnounced: Bool) throws(Failure) {
    if header.version == .age, !isAnnounced { throw unannounced }
  }

  private var unannounced: Failure {
    Failure(
      .malformed, "\(name) is an age file, which does not record its length",
      hint: "give --receipt FILE to tbk-seal and here, or --sha256")
  }

  /// Compares the archive with the receipt or --sha256. Throws `.integrity` if they differ, and `.malformed` for an age
  /// file with neither.
  ///
  /// - Parameters:
  ///   - staged: all bytes that were read.
  ///   - expected: the SHA-256 that the caller was given.
  package func check(
    _ staged: any StagedObject, _ receipt: Receipt?, sha256 expected: Digest? = nil
  ) throws(Failure) {
    if let size = receipt?.size, size != staged.size {
      throw Failure(
        .integrity, "\(name) has \(staged.size) bytes, and the receipt says \(size)",
        hint: ArchiveInput.cutHint)
    }
    for hash in [receipt?.sha256, expected] {
      if let hash, hash != staged.sha256 {
        throw Failure(
          .integrity, "\(name) does not have the SHA-256 that was announced",
          hint: "give the receipt that was written with this archive")
      }
    }
    try requireAnnouncement(receipt?.sha256 != nil || expected != nil)
  }

  package func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    let read: Int
    if front.isEmpty {
      read = try source.read(into: &buffer)
    } else {
      read = min(front.count, buffer.count)
      let front = self.front
      buffer.replaceFront(with: front.span.extracting(0..<read))
      self.front.removeFirst(read)
    }
    if read == 0 {
      try requireEnd()
      return 0
    }
    count += UInt64(read)
    if let length, count > length {
      throw Failure(.malformed, "\(name): something follows the archive's \(length) bytes")
    }
    if let (headerLength, tail) = chunked {
      let bytes = tail + buffer[max(0, read - ChunkedTrailer.length)..<read]
      chunked = (headerLength, bytes.suffix(ChunkedTrailer.length))
    }
    return read
  }

  /// Checks that the archive is complete when the source ends.
  private func requireEnd() throws(Failure) {
    if let length, count < length {
      throw Failure(
        .truncated,
        "\(name) ends \(length - count) bytes early: the header announces \(length) in all",
        hint: ArchiveInput.cutHint)
    }
    guard let (headerLength, tail) = chunked else { return }
    do throws(Failure) {
      let fixed = UInt64(headerLength + ChunkedTrailer.length)
      guard count >= fixed + UInt64(ChunkedEncryptionFront.length) else {
        throw Failure(.truncated, "the archive ends early")
      }
      _ = try ChunkedTrailer(parsing: tail.span, messageLength: count - fixed)
    } catch {
      throw ArchiveInput.named(error, name)
    }
  }
}
