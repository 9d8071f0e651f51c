import TBKCore
import TBKCrypto
import TBKFormat

/// Answers requests for ranges of archives, one per line, as `tbk-pull --serve` does (tbk-pull(1)).
///
/// The bytes are unchecked: the client checks the result against the backup's id.
package final class RangeServer {
  /// The longest line that is read, in bytes without its end.
  private static let lineLimit = 4096
  /// Ranges up to this size, in bytes, are read before they are announced, so that a failure can still be an answer.
  private static let heldLimit: UInt64 = 8 << 20
  /// How many waiting requests are looked at ahead, and for how many bytes in total.
  private static let aheadLimit = 8
  private static let aheadBytes: UInt64 = 16 << 20

  private let store: any Store
  private let entries: [Digest: LedgerEntry]
  private let retrieval: Retrieval
  /// The last archive served from a copy, and its backup.
  private var copied: (id: Digest, copy: Retrieval.Copy)?
  /// Whether an announced answer has not been sent completely: a failure then ends the conversation.
  private var isSending = false

  /// - Parameter entries: the backups that can be requested.
  package init(_ retrieval: Retrieval, entries: [LedgerEntry]) {
    store = retrieval.store
    self.retrieval = retrieval
    self.entries = Dictionary(entries.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// A request that was read but not answered yet.
  private struct Request {
    let words: [String]
    /// The source of its range and the length, if the transfer was started ahead.
    var source: (any ByteSource)?
    var length: UInt64 = 0

    init(_ line: [UInt8]) {
      words = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        .map { String(decoding: $0, as: UTF8.self) }
    }
  }

  /// Answers requests in order until they end. Throws failures in the middle of an answer, and failures of this
  /// process.
  ///
  /// - Parameter isReady: whether more requests, or their end, can be read without waiting.
  package func run(
    _ requests: any ByteSource, _ answers: DescriptorSink, isReady: () -> Bool
  ) throws(Failure) {
    let requests = PeekingSource(requests)
    var queue: [Request] = []
    while true {
      if queue.isEmpty {
        guard let line = try requests.line(limit: RangeServer.lineLimit) else { return }
        queue.append(Request(line))
      }
      while queue.count < RangeServer.aheadLimit,
        let line = try requests.lineAtHand(limit: RangeServer.lineLimit, isReady: isReady)
      {
        queue.append(Request(line))
      }
      try Interruption.check()
      if queue.count > 1 { startAhead(&queue) }
      let request = queue.removeFirst()
      do throws(Failure) {
        try answer(request.words, request.source, to: answers)
      } catch {
        // The failure may have ended the transfers started ahead.
        for index in queue.indices { queue[index].source = nil }
        guard !isSending, let refusal = RangeServer.refusal(error) else { throw error }
        try answers.write(Array("\(refusal)\n".utf8))
      }
      try answers.flush()
    }
  }

  /// Starts the transfers for the waiting requests, if the store supports it. A failure here is repeated when the
  /// request's turn comes.
  private func startAhead(_ queue: inout [Request]) {
    var bytes: UInt64 = 0
    for index in queue.indices {
      if queue[index].source == nil {
        guard let (entry, range) = try? range(queue[index].words), range.count > 0,
          (try? retrieval.needsCopy(of: entry)) == false
        else { continue }
        queue[index].length = UInt64(range.count)
        guard index == 0 || bytes + queue[index].length <= RangeServer.aheadBytes else { return }
        queue[index].source = try? store.openAhead(entry.archiveReference, size: entry.size, range: range)
        if queue[index].source == nil { continue }
      }
      if index > 0 { bytes += queue[index].length }
    }
  }

  /// The backup and range that a request asks for; nil for other requests, or if the backup is missing.
  private func range(_ words: [String]) throws(Failure) -> (LedgerEntry, Range<UInt64>)? {
    guard words[0] == "range", words.count == 4 else { return nil }
    guard let offset = RangeServer.number(words[2]), let length = RangeServer.number(words[3]) else {
      throw RangeServer.unknown
    }
    guard let entry = try entry(words[1]) else { return nil }
    let size = copied?.id == entry.id ? copied?.copy.length ?? entry.size : entry.size
    guard offset <= size, length <= size - offset else {
      throw Failure(.malformed, "the archive of backup \(entry.id.hex) has \(size) bytes")
    }
    return (entry, offset..<offset + length)
  }

  /// - Parameter source: the bytes of a range, if the transfer was started ahead.
  private func answer(
    _ words: [String], _ source: (any ByteSource)?, to answers: DescriptorSink
  ) throws(Failure) {
    func say(_ text: String) throws(Failure) { try answers.write(Array("\(text)\n".utf8)) }
    switch (words[0], words.count) {
    case ("hello", 2):
      guard words[1] == "1" else { throw RangeServer.unknown }
      try say("ok 1")
    case ("stat", 2):
      guard let entry = try entry(words[1]) else { return try say("missing") }
      guard let copy = try copyIfWhole(of: entry), !copy.isVouched else {
        return try say("ok \(entry.size) \(entry.sha256.hex)")
      }
      let hash = try copy.bytes.withBytes { (bytes) throws(Failure) in try SHA256.hash(bytes) }
      try say("ok \(copy.length) \(hash.hex)")
    case ("manifest", 2):
      guard let entry = try entry(words[1]), let manifest = entry.manifest else {
        return try say("missing")
      }
      guard manifest.size <= UInt64(Ledger.byteLimit) else {
        throw Failure(.malformed, "the sealed manifest of backup \(entry.id.hex) is too large")
      }
      let memory = MemorySink()
      try retrieval.sendManifest(entry, to: memory, isStaging: true)
      try say("ok \(memory.bytes.count)")
      try answers.write(memory.bytes)
    case ("range", 4):
      // For a backup served from a copy, the size is that of the copy.
      if let entry = try entry(words[1]) { _ = try copy(of: entry) }
      guard let (entry, range) = try range(words) else { return try say("missing") }
      try send(entry, range, source, to: answers)
    default: throw RangeServer.unknown
    }
  }

  private func send(
    _ entry: LedgerEntry, _ range: Range<UInt64>, _ begun: (any ByteSource)?, to answers: DescriptorSink
  ) throws(Failure) {
    let announcement = Array("ok \(range.count)\n".utf8)
    if range.isEmpty { return try answers.write(announcement) }
    var left = UInt64(range.count)
    var (source, held) = try begin(entry, range, begun)
    left -= UInt64(held.count)
    func short() -> Failure {
      Failure(.integrity, "the archive of backup \(entry.id.hex) is shorter in the store than the ledger says")
    }
    if left > 0, UInt64(held.count) < RangeServer.heldLimit { throw short() }
    isSending = true
    try answers.write(announcement)
    try answers.write(held)
    held = []
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    while left > 0 {
      if left < UInt64(buffer.count) { buffer.removeLast(buffer.count - Int(left)) }
      let count = try source.read(into: &buffer)
      if count == 0 { throw short() }
      try answers.write(buffer.span.extracting(0..<count))
      left -= UInt64(count)
    }
    isSending = false
  }

  /// The source of the bytes, and the bytes of it already read.
  ///
  /// - Parameter begun: the source, if the transfer was started ahead.
  private func begin(
    _ entry: LedgerEntry, _ range: Range<UInt64>, _ begun: (any ByteSource)?
  ) throws(Failure) -> (any ByteSource, held: [UInt8]) {
    let count = Int(min(UInt64(range.count), RangeServer.heldLimit))
    if let copy = try copy(of: entry) {
      let source = RegionSource(try DescriptorRegion(copy.file), from: range.lowerBound)
      return (source, try source.read(upTo: count))
    }
    do throws(Failure) {
      let source: any ByteSource
      if let begun {
        source = begun
      } else {
        source = try store.open(entry.archiveReference, size: entry.size, range: range)
      }
      return (source, try source.read(upTo: count))
    } catch  where error.code == .inputMissing && entry.isTermBackup6 {
      // It may have another name, which gets an answer of its own.
      _ = try retrieval.copy(of: entry)
      throw error
    }
  }

  /// The copy; nil if it is damaged, which shows on reading. An invalid signature throws.
  private func copyIfWhole(of entry: LedgerEntry) throws(Failure) -> Retrieval.Copy? {
    do throws(Failure) {
      return try copy(of: entry)
    } catch  where error.code == .integrity && !retrieval.hasInvalidSignature {
      return nil
    }
  }

  /// A copy of the archive, if it is served from one. The last copy is kept.
  private func copy(of entry: LedgerEntry) throws(Failure) -> Retrieval.Copy? {
    guard try retrieval.needsCopy(of: entry) else { return nil }
    if let copied, copied.id == entry.id { return copied.copy }
    copied = nil
    let copy = try retrieval.copy(of: entry)
    copied = (entry.id, copy)
    return copy
  }

  private func entry(_ word: String) throws(Failure) -> LedgerEntry? {
    guard let id = Digest(hex: word) else { throw RangeServer.unknown }
    return entries[id]
  }

  /// Decimal, without sign or leading zeros, at most 18 digits.
  private static func number(_ word: String) -> UInt64? {
    guard (1...18).contains(word.utf8.count), word == "0" || word.utf8.first != 0x30,
      word.utf8.allSatisfy({ (0x30...0x39).contains($0) })
    else { return nil }
    return UInt64(word)
  }

  private static let unknown = Failure(.usage, "an unknown request")

  /// The line to answer with; nil for failures that end the conversation.
  private static func refusal(_ failure: Failure) -> String? {
    let kind: String
    switch failure.code {
    case .interrupted, .brokenPipe, .exhausted, .library: return nil
    case .inputMissing: return "missing"
    case .tryAgain: kind = "again"
    case .denied, .token, .authentication: kind = "denied"
    case .io, .cannotCreate: kind = "full"
    case .configuration, .profile: kind = "config"
    case .malformed, .truncated, .integrity: kind = "broken"
    case .usage, .unavailable, .webhook: kind = "unavailable"
    }
    let text = [failure.message, failure.hint].compactMap(\.self).joined(separator: "; ")
    return "error \(kind) \(HelperConnection.readable(Array(text.utf8.prefix(2000))))"
  }
}
