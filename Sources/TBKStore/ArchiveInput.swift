import TBKCore
import TBKFormat

/// An archive on its way into a store: it ends well only if the archive is complete.
///
/// The header is read when this is made, so that the length is known; a pipe that broke upstream,
/// or anything after the payload, makes the last read fail instead of ending the stream.
package final class ArchiveInput: ByteSource {
  package let header: ArchiveHeader
  private let source: any ByteSource
  private let name: String
  private var front: [UInt8]
  private var left: UInt64

  /// - Parameter name: what messages call it, as in "standard input".
  package init(_ source: any ByteSource, name: String) throws(Failure) {
    self.source = source
    self.name = name
    front = try source.read(upTo: ArchiveHeader.maximumLength)
    if front.isEmpty {
      throw Failure(.truncated, "\(name) is empty", hint: ArchiveInput.cutHint)
    }
    do throws(Failure) {
      header = try ArchiveHeader(parsing: front.span)
    } catch {
      throw Failure(
        error.code, "\(name): \(error.message)",
        hint: error.code == .truncated ? ArchiveInput.cutHint : error.hint)
    }
    left = header.totalLength
  }

  private static let cutHint = "the command that makes the archive failed; see its message above"

  package var length: UInt64 { header.totalLength }

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
