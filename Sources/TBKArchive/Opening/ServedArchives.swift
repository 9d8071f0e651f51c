import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// A command that answers one-line requests for parts of archives: `tbk-pull --serve` (tbk-pull(1)).
///
/// Its answers are not trusted: the result is compared with the ids of backups.
package final class ServedArchives {
  /// What the command reports about an archive.
  package struct Facts {
    /// In bytes.
    package let size: UInt64
    /// The hash of the whole archive.
    package let sha256: Digest
  }

  /// The maximum length of a line, in bytes without the line feed.
  private static let lineLimit = 4096

  private let process: ChildProcess
  private let name: String
  private let answers: PeekingSource
  /// Bytes of the last answer that have not been read yet.
  fileprivate var left: UInt64 = 0
  /// Requests that have not been answered yet: answers come in the same order.
  private var asked: [(id: Digest, range: Range<UInt64>)] = []
  private var hasAnswered = false

  /// Starts the command, which gets the store's tokens but no other secret, and sends it "hello".
  package init(_ command: [[UInt8]]) throws(Failure) {
    let token = ["TERMBACKUP_TOKEN", "TERMBACKUP_TOKEN_FILE", "TERMBACKUP_TOKEN_COMMAND"]
    process = try ChildProcess(
      command,
      environment: SecretVariables.environmentWithout(keeping: token + SecretVariables.shared),
      isSpokenTo: true)
    name = RawPath(command.first ?? []).lastComponent.display
    answers = PeekingSource(DescriptorSource(process.output))
    guard try ask("hello 1") == ["ok", "1"] else { throw nonsense("hello 1") }
  }

  deinit { end() }

  /// Ends the command.
  package func end() { _ = process.end(milliseconds: 2000) }

  // MARK: Requests

  /// The size and the hash of an archive; nil if there is no such backup.
  package func facts(of id: Digest) throws(Failure) -> Facts? {
    let request = "stat \(id.hex)"
    let words = try ask(request)
    if words == ["missing"] { return nil }
    guard words.count == 3, words[0] == "ok", let size = number(words[1]), let sha256 = Digest(hex: words[2])
    else { throw nonsense(request) }
    return Facts(size: size, sha256: sha256)
  }

  /// The sealed manifest of a backup, to be read before the next request; nil if it has none.
  package func manifest(of id: Digest) throws(Failure) -> (any ByteSource)? {
    let request = "manifest \(id.hex)"
    let words = try ask(request)
    if words == ["missing"] { return nil }
    guard words.count == 2, words[0] == "ok", let size = number(words[1]) else { throw nonsense(request) }
    guard size <= UInt64(Ledger.byteLimit) else {
      // Do not skip that much either.
      end()
      throw nonsense(request)
    }
    left = size
    return AnswerSource(self)
  }

  /// Requests part of an archive to be read later: the command can fetch it meanwhile.
  fileprivate func request(_ id: Digest, _ range: Range<UInt64>) throws(Failure) {
    try passRest()
    try send(ServedArchives.line(id, range))
    asked.append((id, range))
  }

  /// Reads part of an archive. Drops answers to earlier requests.
  fileprivate func read(_ id: Digest, _ range: Range<UInt64>) throws(Failure) -> [UInt8] {
    if !asked.contains(where: { $0.id == id && $0.range == range }) { try request(id, range) }
    while let next = asked.first, next.id != id || next.range != range { try dropFirst() }
    asked.removeFirst()
    return try answer(id, range)
  }

  /// Skips the answer to the first request, even if it is an error.
  private func dropFirst() throws(Failure) {
    let (id, range) = asked.removeFirst()
    let words = try line()
    if ["error", "missing"].contains(words[0]) { return }
    guard words == ["ok", String(range.count)] else { throw nonsense(ServedArchives.line(id, range)) }
    left = UInt64(range.count)
    try passRest()
  }

  private static func line(_ id: Digest, _ range: Range<UInt64>) -> String {
    "range \(id.hex) \(range.lowerBound) \(range.count)"
  }

  private func answer(_ id: Digest, _ range: Range<UInt64>) throws(Failure) -> [UInt8] {
    let count = range.count
    let request = ServedArchives.line(id, range)
    let words = try words()
    if words == ["missing"] {
      throw Failure(
        .inputMissing, "the store does not have the archive of backup \(id.hex)",
        hint: "the store has lost it; another copy of the store may still have it")
    }
    guard words == ["ok", String(count)] else { throw nonsense(request) }
    left = UInt64(count)
    let bytes = try AnswerSource(self).read(upTo: count)
    guard bytes.count == count else { throw gone() }
    return bytes
  }

  private func ask(_ request: String) throws(Failure) -> [String] {
    while !asked.isEmpty { try dropFirst() }
    try passRest()
    try send(request)
    return try words()
  }

  /// Skips the rest of the last answer.
  private func passRest() throws(Failure) {
    let rest = AnswerSource(self)
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while left > 0 { _ = try rest.read(into: &buffer) }
  }

  private func send(_ request: String) throws(Failure) {
    do throws(Failure) {
      try process.input?.write(Array("\(request)\n".utf8).span)
    } catch {
      throw error.code == .brokenPipe ? gone() : error
    }
  }

  /// The words of an answer's first line.
  private func line() throws(Failure) -> [String] {
    let line: [UInt8]?
    do throws(Failure) {
      line = try answers.line(limit: ServedArchives.lineLimit)
    } catch {
      throw error.code == .truncated ? gone() : error
    }
    guard let line else { throw gone() }
    hasAnswered = true
    let words = line.split(separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
    return words
  }

  /// Likewise, but throws if the answer is an error.
  private func words() throws(Failure) -> [String] {
    let words = try line()
    guard words[0] == "error", words.count == 3 else { return words }
    let code: Failure.Code =
      switch words[1] {
      case "again": .tryAgain
      case "denied": .denied
      case "full": .io
      case "config": .configuration
      case "broken": .integrity
      default: .unavailable
      }
    throw Failure(code, printable(words[2]))
  }

  fileprivate func receive(into buffer: inout [UInt8]) throws(Failure) -> Int {
    if left == 0 { return 0 }
    let count: Int
    if left < UInt64(buffer.count) {
      var rest = [UInt8](repeating: 0, count: Int(left))
      count = try answers.read(into: &rest)
      buffer.replaceFront(with: rest.span.extracting(0..<count))
    } else {
      count = try answers.read(into: &buffer)
    }
    if count == 0 { throw gone() }
    left -= UInt64(count)
    return count
  }

  /// Text without control characters, for a terminal.
  private func printable(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { $0.value >= 0x20 && $0.value != 0x7f && !(0x80...0x9f).contains($0.value) ? $0 : "?" }
      ))
  }

  private func number(_ word: String) -> UInt64? {
    guard (1...18).contains(word.utf8.count), word == "0" || word.utf8.first != 0x30,
      word.utf8.allSatisfy({ (0x30...0x39).contains($0) })
    else { return nil }
    return UInt64(word)
  }

  // MARK: Failures

  private func nonsense(_ request: String) -> Failure {
    Failure(.malformed, "\(name), asked to '\(request)', gave an invalid answer")
  }

  /// The command ended instead of answering.
  private func gone() -> Failure {
    left = 0
    let status = process.end(milliseconds: 2000)
    let code: Failure.Code =
      switch status {
      case 64: .usage
      case 65: .integrity
      case 66: .inputMissing
      case 74: .io
      case 75: .tryAgain
      case 77: .denied
      case 78: .configuration
      case 69: .unavailable
      default: hasAnswered ? .tryAgain : .unavailable
      }
    let how =
      switch status {
      case .some(129...): "was ended by signal \((status ?? 128) - 128)"
      case .some(let status): "ended with status \(status)"
      case nil: "closed its output"
      }
    return Failure(code, "\(name), which serves the archives, \(how)", hint: "see its message above")
  }
}

/// The bytes of an answer.
private final class AnswerSource: ByteSource {
  private let archives: ServedArchives

  init(_ archives: ServedArchives) { self.archives = archives }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int { try archives.receive(into: &buffer) }
}

/// An archive whose parts are requested when they are needed, or a little before if `expect` announced them.
package final class ServedRegion: ByteRegion {
  /// Bytes requested from the start: the header, and the front of the message.
  private static let frontLength: UInt64 = 16 << 10
  /// Bytes requested from the end: the trailer, the last chunk, and usually the seek table.
  private static let tailLength: UInt64 = 128 << 10
  /// The maximum bytes of one request, which are a few encrypted frames, and of all requests ahead together.
  private static let windowLength: UInt64 = 16 << 20
  /// The maximum number of requests sent ahead.
  private static let requestsAhead = 7

  private let archives: ServedArchives
  private let id: Digest
  package let length: UInt64
  private var front: Piece?
  private var tail: Piece?
  private var window: Piece?
  private var expected: UInt64 = 0
  /// The announced ranges, and how many of them are done.
  private var plan: [Range<UInt64>] = []
  private var planned = 0
  /// Ranges that were requested and not yet read.
  private var ahead: [Range<UInt64>] = []
  /// The ciphertext received so far, if parts are read more than once.
  private var spool: Spool?

  /// Bytes, and their offset in the archive.
  private struct Piece {
    let start: UInt64
    let bytes: [UInt8]

    var end: UInt64 { start + UInt64(bytes.count) }
    func holds(_ offset: UInt64) -> Bool { start <= offset && offset < end }
  }

  /// - Parameter keeping: whether to keep received bytes on disk, so that nothing is requested twice.
  package init(
    _ archives: ServedArchives, _ id: Digest, length: UInt64, keeping: Bool
  ) throws(Failure) {
    self.archives = archives
    self.id = id
    self.length = length
    if keeping { spool = Spool() }
  }

  package func expect(upTo end: UInt64) { expected = end }

  package func expect(_ ranges: [Range<UInt64>]) { (plan, planned) = (ranges, 0) }

  package func read(into buffer: inout [UInt8], at offset: UInt64) throws(Failure) -> Int {
    guard offset < length else { return 0 }
    let wanted = Int(min(UInt64(buffer.count), length - offset))
    var done = 0
    while done < wanted {
      let place = offset + UInt64(done)
      let piece = try piece(at: place, count: UInt64(wanted - done))
      let start = Int(place - piece.start)
      let count = min(wanted - done, piece.bytes.count - start)
      buffer.replaceSubrange(done..<done + count, with: piece.bytes[start..<start + count])
      done += count
    }
    return wanted
  }

  private func piece(at offset: UInt64, count: UInt64) throws(Failure) -> Piece {
    for known in [window, front, tail] {
      if let known, known.holds(offset) { return known }
    }
    if offset < frontEnd {
      // The tail is read next.
      let piece = try fetch(0..<frontEnd, before: tail == nil && frontEnd < length ? tailStart..<length : nil)
      front = piece
      return piece
    }
    if offset >= tailStart {
      let piece = try fetch(tailStart..<length)
      tail = piece
      return piece
    }
    if let bytes = try spool?.read(at: offset, limit: Self.windowLength) {
      let piece = Piece(start: offset, bytes: bytes)
      window = piece
      return piece
    }
    var end = max(offset + min(count, Self.windowLength), min(expected, offset + Self.windowLength))
    end = min(end, tailStart)
    if let known = spool?.next(after: offset) { end = min(end, known) }
    if let first = ahead.first, first.lowerBound == offset { end = first.upperBound }
    let piece = try fetch(offset..<end)
    window = piece
    try spool?.keep(piece.bytes, at: offset)
    return piece
  }

  /// Where the front ends: a short archive is all front.
  private var frontEnd: UInt64 { length <= Self.frontLength + Self.tailLength ? length : Self.frontLength }
  private var tailStart: UInt64 { length - min(length, Self.tailLength) }

  /// - Parameter next: a range to request ahead of the announced ones.
  private func fetch(_ range: Range<UInt64>, before next: Range<UInt64>? = nil) throws(Failure) -> Piece {
    while let first = ahead.first, first != range {
      ahead.removeFirst()
      // Keep the tail if it comes early; anything else was not needed.
      if first == tailStart..<length { tail = Piece(start: tailStart, bytes: try archives.read(id, first)) }
    }
    if ahead.isEmpty { try archives.request(id, range) } else { ahead.removeFirst() }
    if let next {
      try archives.request(id, next)
      ahead.append(next)
    }
    try askAhead(after: max(range.upperBound, ahead.last?.upperBound ?? 0))
    return Piece(start: range.lowerBound, bytes: try archives.read(id, range))
  }

  /// Requests announced ranges after `place`, the end of what has been requested.
  private func askAhead(after place: UInt64) throws(Failure) {
    var (place, bytes) = (place, ahead.reduce(0) { $0 + $1.count })
    while ahead.count < Self.requestsAhead, let next = planned(after: place) {
      bytes += next.count
      if bytes > Self.windowLength { return }
      try archives.request(id, next)
      ahead.append(next)
      place = next.upperBound
    }
  }

  /// The next announced range after a position, if it must be requested.
  private func planned(after place: UInt64) -> Range<UInt64>? {
    let place = max(place, frontEnd)
    while planned < plan.count, plan[planned].upperBound <= place { planned += 1 }
    guard planned < plan.count else { return nil }
    let start = max(plan[planned].lowerBound, place)
    guard start < tailStart, spool?.holds(start) != true else { return nil }
    var end = min(plan[planned].upperBound, start + Self.windowLength, tailStart)
    if let known = spool?.next(after: start) { end = min(end, known) }
    return start..<end
  }

  /// Pieces of an archive in an unnamed file.
  private final class Spool {
    private var file: Descriptor?
    private var pieces: [(start: UInt64, end: UInt64, place: UInt64)] = []
    private var length: UInt64 = 0

    func keep(_ bytes: [UInt8], at offset: UInt64) throws(Failure) {
      if file == nil { file = try TemporaryFile.anonymous() }
      guard let file else { return }
      try file.write(bytes.span, at: length)
      pieces.append((offset, offset + UInt64(bytes.count), length))
      length += UInt64(bytes.count)
    }

    func read(at offset: UInt64, limit: UInt64) throws(Failure) -> [UInt8]? {
      guard let file, let piece = pieces.first(where: { $0.start <= offset && offset < $0.end }) else {
        return nil
      }
      let count = min(limit, piece.end - offset)
      let source = RegionSource(try DescriptorRegion(file), from: piece.place + offset - piece.start)
      return try source.read(upTo: Int(count))
    }

    func holds(_ offset: UInt64) -> Bool { pieces.contains { $0.start <= offset && offset < $0.end } }

    /// Where the next piece begins.
    func next(after offset: UInt64) -> UInt64? { pieces.map(\.start).filter { $0 > offset }.min() }
  }
}
