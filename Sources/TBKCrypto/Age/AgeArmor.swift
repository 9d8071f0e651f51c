import TBKCore

/// Reads an armored age file (age-encryption.org/v1, "ASCII armor"): strict PEM in lines of 64 characters. White space
/// may surround it, and lines may end in CRLF.
package final class AgeArmorReader: ByteSource {
  private enum State { case before, within, ended }

  static let begin = Array("-----BEGIN AGE ENCRYPTED FILE-----".utf8)
  static let end = Array("-----END AGE ENCRYPTED FILE-----".utf8)
  static let columns = 64
  /// The maximum white space before and after, in bytes.
  private static let spaceLimit = 1024

  private let text: PeekingSource
  private var state = State.before
  private var decoded: [UInt8] = []
  private var first = 0
  /// Whether a line was short or padded, so that only the end may follow.
  private var isLast = false

  package init(_ text: PeekingSource) { self.text = text }

  /// Whether `text` begins like armor. Nothing is consumed.
  package static func isNext(in text: PeekingSource) throws(Failure) -> Bool {
    let front = try text.peek(spaceLimit + begin.count)
    return front.drop(while: isSpace).starts(with: begin)
  }

  package func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    if state == .before { try readBegin() }
    while first == decoded.count {
      if state == .ended { return 0 }
      try readLine()
    }
    // Fill the buffer: otherwise every later stage would run once per line.
    while state == .within, decoded.count - first < buffer.count { try readLine() }
    let count = min(buffer.count, decoded.count - first)
    let ready = decoded
    buffer.replaceFront(with: ready.span.extracting(first..<first + count))
    first += count
    if first == decoded.count {
      decoded.removeAll(keepingCapacity: true)
      first = 0
    }
    return count
  }

  private func readBegin() throws(Failure) {
    var spaces = 0
    while let next = try text.peek(1).first, isSpace(next) {
      var one: [UInt8] = [0]
      _ = try text.read(into: &one)
      spaces += 1
      if spaces > Self.spaceLimit { throw Failure(.malformed, "this is not an armored age file") }
    }
    guard try line() == Self.begin else { throw Failure(.malformed, "this is not an armored age file") }
    state = .within
  }

  private func readLine() throws(Failure) {
    let line = try line()
    if line == Self.end { return try readEnd() }
    guard !isLast, !line.isEmpty, line.count <= Self.columns, let bytes = [UInt8](base64: line)
    else { throw Failure(.malformed, "a line of the armor is not base64 in lines of 64") }
    if line.count < Self.columns || line.last == UInt8(ascii: "=") { isLast = true }
    decoded += bytes
  }

  private func readEnd() throws(Failure) {
    state = .ended
    var spaces = 0
    var one: [UInt8] = [0]
    while try text.read(into: &one) == 1 {
      spaces += 1
      guard isSpace(one[0]), spaces <= Self.spaceLimit else {
        throw Failure(.malformed, "something follows the armor")
      }
    }
  }

  /// A line without its line ending, which the last line of the file may lack.
  private func line() throws(Failure) -> [UInt8] {
    let limit = Self.columns + 1
    var line: [UInt8]
    do throws(Failure) {
      guard let whole = try text.line(limit: limit) else { throw Self.truncated }
      line = whole
    } catch {
      if error.code == .malformed {
        throw Failure(.malformed, "a line of the armor is longer than 64 characters")
      }
      guard error.code == .truncated else { throw error }
      line = try text.peek(limit)
      guard line == Self.end else { throw Self.truncated }
      var rest = [UInt8](repeating: 0, count: line.count)
      _ = try text.read(into: &rest)
      return line
    }
    if line.last == UInt8(ascii: "\r") { line.removeLast() }
    return line
  }

  private static let truncated = Failure(.truncated, "the armored file ends early")
}

private func isSpace(_ byte: UInt8) -> Bool {
  byte == UInt8(ascii: " ") || (9...13).contains(byte)
}

/// Writes an armored age file.
package final class AgeArmorWriter: ByteSink {
  private let next: any ByteSink
  private var held: [UInt8] = []
  private var begun = false
  private static let bytesPerLine = AgeArmorReader.columns / 4 * 3

  package init(into next: any ByteSink) { self.next = next }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    held.append(bytes)
    try flush(keeping: Self.bytesPerLine - 1)
  }

  package func finish() throws(Failure) {
    try flush(keeping: 0)
    try next.write(AgeArmorReader.end + [UInt8(ascii: "\n")])
    try next.finish()
  }

  private func flush(keeping limit: Int) throws(Failure) {
    var text: [UInt8] = []
    if !begun { text += AgeArmorReader.begin + [UInt8(ascii: "\n")] }
    begun = true
    var start = 0
    while held.count - start > limit {
      let end = min(start + Self.bytesPerLine, held.count)
      text.appendBase64(Array(held[start..<end]))
      text.append(UInt8(ascii: "\n"))
      start = end
    }
    held.removeFirst(start)
    try next.write(text)
  }
}
