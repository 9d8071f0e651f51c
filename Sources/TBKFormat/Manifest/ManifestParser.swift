import TBKCore

/// Parses a manifest from a stream, entry by entry, so that its whole text is never in memory.
///
/// Checks single entries; `Manifest.validate()` checks the relations between them. Failures are `.malformed`, or
/// `.truncated` if the object does not end.
package final class ManifestParser: ByteSink {
  /// Far more than a backup has; at 600 bytes each, below 40 GB of text.
  private static let entryLimit = 1 << 26

  /// Splitting the text into entries is a sixth of the work.
  private static let mostThreads = 6

  private let allowsDeferred: Bool
  private let threads: Int
  /// Moved to a local variable while scanning, which is several times as fast.
  private var scanner = Scanner()
  private var seen: Set<String> = []
  private var files = EntryTable()
  private var top: [ManifestEntry.Extra] = []
  /// Entries that have been split off but not parsed, and the number of all entries so far.
  private var batch = EntryBatch()
  private var entryCount = 0
  /// Created with the first full batch, which most manifests do not have.
  private var pool: OrderedPool<EntryReader>?

  /// - Parameters:
  ///   - allowsDeferred: whether files may have a null hash, as in the output of tbk-manifest --defer-hash.
  ///   - entryLength: the maximum length of an entry in bytes.
  ///   - memberLength: the maximum length of everything else in bytes.
  ///   - threads: how many threads parse the entries of a large manifest, besides the one that splits them off.
  package init(
    allowsDeferred: Bool = false, entryLength: Int = 8 << 20, memberLength: Int = 64 << 20,
    threads: Int = processorCount()
  ) {
    self.allowsDeferred = allowsDeferred
    self.threads = min(max(threads, 1), ManifestParser.mostThreads)
    (scanner.entryLength, scanner.memberLength) = (entryLength, memberLength)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    do throws(Failure) {
      try scan(bytes)
    } catch {
      // An error in an earlier entry comes first.
      try parseRest()
      throw error
    }
  }

  private func scan(_ bytes: Span<UInt8>) throws(Failure) {
    var local = Scanner()
    swap(&local, &scanner)
    defer { swap(&local, &scanner) }
    var position = 0
    while position < bytes.count {
      switch try local.scan(bytes, &position) {
      case .more: break
      case .member: try endMember(&local)
      case .entry: try endEntry(&local)
      case .files:
        guard seen.insert("files").inserted else { throw local.malformed("\"files\" appears twice") }
      }
    }
  }

  package func finish() throws(Failure) {
    try parseRest()
    guard scanner.place == .end else {
      throw Failure(
        .truncated, scanner.offset == 0 ? "the manifest is empty" : "the manifest ends early",
        hint: "the command that writes it failed; see its message above")
    }
  }

  private func endEntry(_ scanner: inout Scanner) throws(Failure) {
    guard entryCount < ManifestParser.entryLimit else {
      throw scanner.malformed("too many entries")
    }
    entryCount += 1
    batch.add(scanner.unit, endingAt: scanner.offset)
    scanner.unit.removeAll(keepingCapacity: true)
    if batch.isFull { try parse(batch) }
  }

  /// Submits a full batch for parsing, and takes finished ones.
  private func parse(_ full: EntryBatch) throws(Failure) {
    batch = EntryBatch()
    if pool == nil {
      pool = try OrderedPool(
        workers: (0..<threads).map { _ in EntryReader(allowsDeferred: allowsDeferred) }, window: threads * 2)
    }
    guard let pool else { return }
    while pool.inFlight >= pool.window, let done = pool.takeOldest(waiting: true) { try take(done) }
    pool.submit(full)
    while let done = pool.takeOldest(waiting: false) { try take(done) }
  }

  private func parseRest() throws(Failure) {
    while let done = pool?.takeOldest(waiting: true) { try take(done) }
    let last = batch
    batch = EntryBatch()
    EntryReader(allowsDeferred: allowsDeferred).run(last)
    try take(last)
  }

  private func take(_ done: EntryBatch) throws(Failure) {
    for entry in done.entries { files.append(entry) }
    if let failure = done.failure { throw failure }
  }

  private func endMember(_ scanner: inout Scanner) throws(Failure) {
    do throws(Failure) {
      let member = try JSONReader.rawMember(of: scanner.unit)
      if member.key == "files" {
        throw Failure(.malformed, "\"files\" is not an array, or is spelt oddly")
      }
      scanner.memberLength -= scanner.unit.count
      guard seen.insert(member.key).inserted else {
        throw Failure(.malformed, "\"\(member.key)\" appears twice")
      }
      top.append(member)
    } catch {
      throw error.within("manifest, before offset \(scanner.offset)")
    }
    scanner.unit.removeAll(keepingCapacity: true)
  }

  /// The manifest, after `finish()`.
  package func manifest() throws(Failure) -> Manifest {
    guard scanner.place == .end else { throw Failure(.truncated, "the manifest ends early") }
    do throws(Failure) {
      var manifest = try Manifest(members: top, hasFiles: seen.contains("files"))
      swap(&manifest.files, &files)
      if manifest.tree.listsTypes {
        for index in manifest.files.indices where !manifest.files.hasType(index) {
          throw Failure(
            .malformed, "entry \(RawPath(manifest.files.path(index)).display) has no type")
        }
      }
      return manifest
    } catch {
      throw error.within("manifest")
    }
  }
}

/// The texts of consecutive entries, and then the parsed entries.
private final class EntryBatch {
  private static let size = 1 << 15
  private static let mostEntries = 256

  private(set) var texts: [(text: [UInt8], end: UInt64)] = []
  private var length = 0
  /// Up to the first invalid one.
  var entries: [ManifestEntry] = []
  var failure: Failure?

  var isFull: Bool { length >= EntryBatch.size || texts.count >= EntryBatch.mostEntries }

  /// - Parameter end: where it ends in the manifest, as a byte offset.
  func add(_ text: [UInt8], endingAt end: UInt64) {
    texts.append((Array(text), end))
    length += text.count
  }
}

/// Parses entries.
private final class EntryReader: PoolWorker {
  private let allowsDeferred: Bool

  init(allowsDeferred: Bool) { self.allowsDeferred = allowsDeferred }

  func run(_ batch: EntryBatch) {
    batch.entries.reserveCapacity(batch.texts.count)
    for (text, end) in batch.texts {
      do throws(Failure) {
        batch.entries.append(try ManifestEntry(parsing: text, allowsDeferred: allowsDeferred))
      } catch {
        batch.failure = error.within("manifest, before offset \(end)")
        return
      }
    }
  }
}

/// Splits the text of a manifest into its entries and the other members of its top object, each of which is parsed
/// separately. Knows only strings and brackets of JSON.
private struct Scanner {
  enum Place { case start, members, files, end }

  /// What has just been completed; its text is in `unit`.
  enum Event { case more, member, entry, files }

  /// The maximum length of an entry in bytes.
  var entryLength = 8 << 20
  /// The maximum length of all further members of the top object except `files`, in bytes.
  var memberLength = 64 << 20

  private(set) var place = Place.start
  /// The offset of the current byte.
  private(set) var offset: UInt64 = 0
  var unit: [UInt8] = []
  /// The bracket depth at the next byte.
  private var depth = 0
  private var inString = false
  private var escaped = false
  /// Whether the last token was a comma, so that something must follow.
  private var expectsMore = false
  /// Whether the `files` array has just ended, so that only a comma or the end may follow.
  private var filesDone = false

  func malformed(_ message: String) -> Failure {
    Failure(.malformed, "manifest: \(message) at offset \(offset)")
  }

  /// Processes the byte at `position`, or a whole run of bytes that need no decision.
  mutating func scan(_ bytes: Span<UInt8>, _ position: inout Int) throws(Failure) -> Event {
    let start = position
    // Most bytes are inside a unit and have no meaning here.
    if depth > (place == .files ? 2 : 1) {
      position = inside(bytes, from: position)
    } else if inString {
      while position < bytes.count, bytes[position] != UInt8(ascii: "\""),
        bytes[position] != UInt8(ascii: "\\"), !escaped
      { position += 1 }
    } else if !unit.isEmpty {
      while position < bytes.count, Scanner.isPlain(bytes[position]) { position += 1 }
    }
    if position > start {
      unit.append(bytes.extracting(start..<position))
      offset += UInt64(position - start)
      try checkLength()
      return .more
    }
    let byte = bytes[position]
    position += 1
    let event = try decide(byte)
    offset += 1
    return event
  }

  /// The position where a unit's object or array ends, or where white space outside a string begins; or the end of
  /// `bytes` or of the maximum length, if that comes first.
  private mutating func inside(_ bytes: Span<UInt8>, from start: Int) -> Int {
    let limit = (place == .files ? entryLength : memberLength) - unit.count + 1
    let end = min(bytes.count, start + max(limit, 0))
    let base = place == .files ? 2 : 1
    var (inString, escaped, depth) = (inString, escaped, depth)
    var position = start
    walk: while position < end {
      let byte = bytes[position]
      if inString {
        if escaped {
          escaped = false
        } else if byte == UInt8(ascii: "\\") {
          escaped = true
        } else if byte == UInt8(ascii: "\"") {
          inString = false
        }
      } else {
        switch byte {
        case UInt8(ascii: "\""): inString = true
        case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
        case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
        case 0x20, 0x0a, 0x0d, 0x09: break walk
        default: break
        }
      }
      position += 1
      if depth == base { break }
    }
    (self.inString, self.escaped, self.depth) = (inString, escaped, depth)
    return position
  }

  /// Letters, digits, signs and colons: part of a value wherever one may be.
  private static func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: ":"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "+"):
      true
    default: false
    }
  }

  private func checkLength() throws(Failure) {
    if unit.count > (place == .files ? entryLength : memberLength) {
      throw malformed("a value is too long")
    }
  }

  private mutating func decide(_ byte: UInt8) throws(Failure) -> Event {
    if inString {
      unit.append(byte)
      if escaped {
        escaped = false
      } else if byte == UInt8(ascii: "\\") {
        escaped = true
      } else if byte == UInt8(ascii: "\"") {
        inString = false
      }
      try checkLength()
      return .more
    }
    switch byte {
    case 0x20, 0x0a, 0x0d, 0x09:
      // One space replaces many: it only separates tokens.
      if let last = unit.last, last != 0x20 { unit.append(0x20) }
      return .more
    case _ where place == .start:
      guard byte == UInt8(ascii: "{") else { throw malformed("it is not a JSON object") }
      place = .members
      depth = 1
      return .more
    case _ where place == .end: throw malformed("something follows it")
    default: break
    }
    let base = place == .files ? 2 : 1
    switch byte {
    case UInt8(ascii: "\""): inString = true
    case UInt8(ascii: "["), UInt8(ascii: "{"):
      if place == .members, depth == 1, byte == UInt8(ascii: "["), opensFiles() {
        place = .files
        depth = 2
        unit.removeAll(keepingCapacity: true)
        expectsMore = false
        return .more
      }
      depth += 1
    case UInt8(ascii: ",") where depth == base:
      let event = try endUnit(required: true)
      expectsMore = true
      return event
    case UInt8(ascii: "]") where depth == base && place == .files:
      let event = try endUnit(required: expectsMore)
      place = .members
      depth = 1
      filesDone = true
      expectsMore = false
      return event
    case UInt8(ascii: "}") where depth == base && place == .members:
      let event = try endUnit(required: expectsMore)
      place = .end
      return event
    case UInt8(ascii: "]"), UInt8(ascii: "}"):
      guard depth > base else { throw malformed("unexpected bracket") }
      depth -= 1
    default: break
    }
    if filesDone { throw malformed("a comma is expected") }
    unit.append(byte)
    try checkLength()
    return .more
  }

  /// Whether the current member is `"files":`.
  private func opensFiles() -> Bool {
    let (key, colon) = (Array("\"files\"".utf8), UInt8(ascii: ":"))
    guard unit.starts(with: key) else { return false }
    return unit[key.count...].filter { $0 != 0x20 } == [colon]
  }

  private mutating func endUnit(required: Bool) throws(Failure) -> Event {
    expectsMore = false
    if filesDone {
      filesDone = false
      return .files
    }
    if unit.isEmpty {
      if required { throw malformed("a value is missing") }
      return .more
    }
    return place == .files ? .entry : .member
  }
}

extension Manifest {
  fileprivate init(members: [ManifestEntry.Extra], hasFiles: Bool) throws(Failure) {
    guard hasFiles, !members.contains(where: { $0.key == "files" }) else {
      throw Failure(.malformed, "\"files\" is missing or is not an array")
    }
    var known: [String: [UInt8]] = [:]
    for member in members { known[member.key] = member.value }

    func value(_ key: String) throws(Failure) -> JSON? {
      guard let text = known.removeValue(forKey: key) else { return nil }
      return try JSON.parse(text, what: "\"\(key)\"")
    }
    func text(_ key: String) throws(Failure) -> String {
      guard let text = try value(key)?.text else {
        throw Failure(.malformed, "\"\(key)\" is missing or is not a string")
      }
      return text
    }
    func textOrNull(_ key: String) throws(Failure) -> String? {
      guard let value = try value(key) else {
        throw Failure(.malformed, "\"\(key)\" is missing")
      }
      if value.isNull { return nil }
      guard let text = value.text else {
        throw Failure(.malformed, "\"\(key)\" is not a string")
      }
      return text
    }

    let version = try text("version")
    guard version == "1.0" || version == Manifest.currentVersion else {
      throw Failure(
        .malformed, "version \"\(version)\" is not known",
        hint: "a newer TermBackup may be able to read it")
    }
    self.init(
      version: version, osName: try text("os_name"), architecture: try text("architecture"),
      createdAt: try text("created_at"), mode: try text("backup_mode"))
    guard mode == "full" || mode == "incremental" else {
      throw Failure(.malformed, "\"backup_mode\" is \"\(mode)\"")
    }
    parentBackupID = try textOrNull("parent_backup_id")
    backupID = try textOrNull("backup_id")
    for id in [parentBackupID, backupID] {
      if let id, Digest(hex: id) == nil {
        throw Failure(.malformed, "a backup id is not 64 hexadecimal digits")
      }
    }
    if isTermBackup6 {
      extras = members.filter { known[$0.key] != nil }
      return
    }
    if known["nonce"] != nil { nonce = try text("nonce") }
    if known["group"] != nil {
      let name = try text("group")
      guard GroupID(name) != nil else { throw Failure(.malformed, "\"group\" is not a name") }
      group = name
    }
    if let source = try value("source_dir") {
      guard let bytes = source.bytes, bytes.first == UInt8(ascii: "/"), !bytes.contains(0) else {
        throw Failure(.malformed, "\"source_dir\" is not an absolute path")
      }
      sourceDirectory = bytes
    }
    if let text = known.removeValue(forKey: "root") {
      root = try ManifestEntry(parsing: text, allowsDeferred: false, isRoot: true)
    }
    if let list = try value("unreadable") {
      guard let elements = list.elements else {
        throw Failure(.malformed, "\"unreadable\" is not an array")
      }
      unreadable = []
      for element in elements {
        guard let path = element["relative_path"]?.bytes, let reason = element["reason"]?.text,
          element.members?.count == 2
        else { throw Failure(.malformed, "\"unreadable\" has an invalid entry") }
        unreadable?.append(UnreadableEntry(path: path, reason: reason))
      }
    }
    extras = members.filter { known[$0.key] != nil }
  }
}
