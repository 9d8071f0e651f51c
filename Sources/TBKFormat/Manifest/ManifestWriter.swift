import TBKCore

/// Writes a manifest in canonical form, entry by entry: keys sorted, no white space, ASCII.
///
/// With a null `backup_id`, the hash of the output is the id.
package struct ManifestWriter {
  /// Writing to the sink, a disk or hash, is a third of the work.
  private static let mostThreads = 3

  private let sink: any ByteSink
  private let threads: Int
  private var buffer: [UInt8] = []
  private var hasEntries = false
  /// Entries that are not formatted yet.
  private var batch = TextBatch()
  /// Created with the first full batch, which most manifests do not have.
  private var pool: OrderedPool<EntryFormatter>?
  /// The formatted members after `files`.
  private var tail: [ManifestEntry.Extra] = []

  /// Writes everything up to the first entry.
  ///
  /// - Parameters:
  ///   - backupID: the id to write, instead of the manifest's own.
  ///   - threads: how many threads format a large manifest, besides the one that writes it.
  package init(
    _ manifest: Manifest, backupID: String?, to sink: any ByteSink, threads: Int = processorCount()
  ) throws(Failure) {
    self.sink = sink
    self.threads = min(max(threads, 1), ManifestWriter.mostThreads)
    let members = ManifestWriter.members(manifest, backupID: backupID)
    buffer.append(UInt8(ascii: "{"))
    let split = members.firstIndex { !$0.key.utf8.lexicographicallyPrecedes("files".utf8) }
    for member in members[..<(split ?? members.count)] {
      if buffer.count > 1 { buffer.append(UInt8(ascii: ",")) }
      buffer.appendMember(member)
    }
    tail = Array(members[(split ?? members.count)...])
    if buffer.count > 1 { buffer.append(UInt8(ascii: ",")) }
    buffer += "\"files\":[".utf8
  }

  /// Appends an entry. Entries must be added in path order.
  package mutating func append(_ entry: ManifestEntry) throws(Failure) {
    batch.add(entry)
    if batch.isFull { try format(batch) }
  }

  /// Appends all entries of a table; plain ones without creating a `ManifestEntry`.
  private mutating func append(_ table: EntryTable) throws(Failure) {
    for index in table.indices {
      batch.add(index, of: table)
      if batch.isFull { try format(batch) }
    }
  }

  /// Submits a full batch for formatting, and takes finished ones.
  private mutating func format(_ full: TextBatch) throws(Failure) {
    batch = TextBatch()
    if pool == nil {
      pool = try OrderedPool(workers: (0..<threads).map { _ in EntryFormatter() }, window: threads * 2)
    }
    guard let pool else { return }
    while pool.inFlight >= pool.window, let done = pool.takeOldest(waiting: true) { try take(done) }
    pool.submit(full)
    while let done = pool.takeOldest(waiting: false) { try take(done) }
  }

  private mutating func formatRest() throws(Failure) {
    while let done = pool?.takeOldest(waiting: true) { try take(done) }
    let last = batch
    batch = TextBatch()
    EntryFormatter().run(last)
    try take(last)
  }

  private mutating func take(_ done: TextBatch) throws(Failure) {
    if done.text.isEmpty { return }
    if hasEntries { buffer.append(UInt8(ascii: ",")) }
    hasEntries = true
    buffer += done.text
    if buffer.count >= chunkSize { try flush() }
  }

  /// Ends the object, without finishing the sink.
  ///
  /// - Parameter unreadable: replaces the manifest's own, which a walk knows only at its end.
  package mutating func finish(unreadable: [UnreadableEntry]? = nil) throws(Failure) {
    try formatRest()
    buffer.append(UInt8(ascii: "]"))
    if let unreadable, let index = tail.firstIndex(where: { $0.key == "unreadable" }) {
      tail[index].value = ManifestWriter.text(unreadable)
    }
    for member in tail {
      buffer.append(UInt8(ascii: ","))
      buffer.appendMember(member)
    }
    buffer.append(UInt8(ascii: "}"))
    try flush()
  }

  private mutating func flush() throws(Failure) {
    try sink.write(buffer.span)
    buffer.removeAll(keepingCapacity: true)
  }

  /// Writes a whole manifest.
  package static func write(
    _ manifest: Manifest, backupID: String?, to sink: any ByteSink
  ) throws(Failure) {
    var writer = try ManifestWriter(manifest, backupID: backupID, to: sink)
    try writer.append(manifest.files)
    try writer.finish()
  }

  private static func text(_ unreadable: [UnreadableEntry]) -> [UInt8] {
    JSON.array(
      unreadable.map {
        .object(["relative_path": .string($0.path), "reason": .string($0.reason)])
      }
    ).canonical()
  }

  /// The members of the top object except `files`, sorted by key.
  private static func members(_ manifest: Manifest, backupID: String?) -> [ManifestEntry.Extra] {
    func orNull(_ text: String?) -> JSON { text.map { .string($0) } ?? .null }
    var known: [(String, JSON)] = [
      ("architecture", .string(manifest.architecture)), ("backup_id", orNull(backupID)),
      ("backup_mode", .string(manifest.mode)), ("created_at", .string(manifest.createdAt)),
      ("os_name", .string(manifest.osName)),
      ("parent_backup_id", orNull(manifest.parentBackupID)),
      ("version", .string(manifest.version)),
    ]
    if let nonce = manifest.nonce { known.append(("nonce", .string(nonce))) }
    if let group = manifest.group { known.append(("group", .string(group))) }
    if let source = manifest.sourceDirectory { known.append(("source_dir", .string(source))) }
    var members = known.map { ManifestEntry.Extra(key: $0.0, value: $0.1.canonical()) }
    if let root = manifest.root {
      var value: [UInt8] = []
      value.append(entry: root, isRoot: true)
      members.append(ManifestEntry.Extra(key: "root", value: value))
    }
    if let unreadable = manifest.unreadable {
      members.append(ManifestEntry.Extra(key: "unreadable", value: text(unreadable)))
    }
    return merge(members, manifest.extras)
  }
}

/// Consecutive entries, and their text.
private final class TextBatch {
  private static let mostEntries = 256
  /// In bytes: rare fields can be long.
  private static let mostBytes = 1 << 17

  private(set) var entries: [ManifestEntry] = []
  /// Or the entries of a table.
  private(set) var table = EntryTable()
  private(set) var indices = 0..<0
  private var rareBytes = 0
  /// The entries' text, separated by commas.
  var text: [UInt8] = []

  var count: Int { entries.count + indices.count }
  var isFull: Bool { count >= TextBatch.mostEntries || rareBytes >= TextBatch.mostBytes }

  func add(_ entry: ManifestEntry) {
    rareBytes += entry.rareLength
    entries.append(entry)
  }

  /// - Parameter index: follows that of the previous call.
  func add(_ index: Int, of table: EntryTable) {
    if indices.isEmpty {
      self.table = table
      indices = index..<index
    }
    indices = indices.lowerBound..<index + 1
    if table.isRare(index) { rareBytes += table[index].rareLength }
  }
}

extension ManifestEntry {
  /// Length of the attributes and extras in bytes.
  fileprivate var rareLength: Int {
    if xattrs.isEmpty, extras.isEmpty { return 0 }
    return xattrs.reduce(0) { $0 + $1.name.count + $1.value.count } + extras.reduce(0) { $0 + $1.value.count }
  }
}

/// Formats entries.
private final class EntryFormatter: PoolWorker {
  func run(_ batch: TextBatch) {
    var text: [UInt8] = []
    text.reserveCapacity(batch.count * 512)
    for entry in batch.entries {
      text.append(entry: entry)
      text.append(UInt8(ascii: ","))
    }
    let table = batch.table
    for index in batch.indices {
      table.write(index, to: &text)
      text.append(UInt8(ascii: ","))
    }
    if !text.isEmpty { text.removeLast() }
    batch.text = text
  }
}

/// Known members and extras, sorted by key; an extra replaces the member with its key.
private func merge(
  _ known: [ManifestEntry.Extra], _ extras: [ManifestEntry.Extra]
) -> [ManifestEntry.Extra] {
  let replaced = Set(extras.map(\.key))
  return (known.filter { !replaced.contains($0.key) } + extras)
    .sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
}

extension Array where Element == UInt8 {
  fileprivate mutating func appendMember(_ member: ManifestEntry.Extra) {
    appendJSONString(Array(member.key.utf8).span)
    append(UInt8(ascii: ":"))
    self += member.value
  }

  /// Appends an entry as canonical JSON.
  ///
  /// - Parameter isRoot: omits path, size and hash, which the root does not have.
  package mutating func append(entry: ManifestEntry, isRoot: Bool = false) {
    if !entry.extras.isEmpty {
      var plain = entry
      plain.extras = []
      var text: [UInt8] = []
      text.append(entry: plain, isRoot: isRoot)
      guard let members = try? JSONReader.rawMembers(of: text) else { return }
      append(UInt8(ascii: "{"))
      for (index, member) in merge(members, entry.extras).enumerated() {
        if index > 0 { append(UInt8(ascii: ",")) }
        appendMember(member)
      }
      append(UInt8(ascii: "}"))
      return
    }
    append(UInt8(ascii: "{"))
    appendTime("\"ctime_ns\":", entry.ctime)
    appendNumber("\"device\":", entry.device)
    appendNumber("\"gid\":", entry.gid)
    appendText("\"group\":", entry.group)
    appendText("\"hard_link\":", entry.hardLink)
    appendNumber("\"inode\":", entry.inode)
    appendText("\"link_target\":", entry.linkTarget)
    appendKey("\"modified_at\":")
    self += pythonRepresentation(entry.modifiedAt).utf8
    append(UInt8(ascii: ","))
    appendTime("\"mtime_ns\":", entry.mtime)
    appendNumber("\"offset\":", entry.offset)
    appendNumber("\"permissions\":", entry.mode)
    if !isRoot {
      appendText("\"relative_path\":", entry.path)
      appendKey("\"sha256\":")
      if let digest = entry.sha256 {
        append(UInt8(ascii: "\""))
        appendHex(digest)
        append(UInt8(ascii: "\""))
      } else {
        self += "null".utf8
      }
      append(UInt8(ascii: ","))
      appendNumber("\"size\":", entry.size)
    }
    appendText("\"stored_as\":", entry.storedAs)
    appendText("\"stored_in\":", entry.storedIn.map { Array($0.utf8) })
    if entry.hasType { appendText("\"type\":", Array(entry.type.rawValue.utf8)) }
    appendNumber("\"uid\":", entry.uid)
    appendText("\"user\":", entry.user)
    if !entry.xattrs.isEmpty {
      appendKey("\"xattrs\":{")
      let sorted = entry.xattrs.sorted { codePointsPrecede($0.name, $1.name) }
      for (index, attribute) in sorted.enumerated() {
        if index > 0 { append(UInt8(ascii: ",")) }
        appendJSONString(attribute.name.span)
        self += ":\"".utf8
        appendBase64(attribute.value)
        append(UInt8(ascii: "\""))
      }
      self += "},".utf8
    }
    self[count - 1] = UInt8(ascii: "}")  // In place of the last comma.
  }

  mutating func appendKey(_ key: StaticString) {
    unsafe append(contentsOf: UnsafeBufferPointer(start: key.utf8Start, count: key.utf8CodeUnitCount))
  }

  mutating func appendNumber(_ key: StaticString, _ value: (some BinaryInteger)?) {
    guard let value else { return }
    appendKey(key)
    appendDecimal(value)
    append(UInt8(ascii: ","))
  }

  /// Appends nanoseconds since 1970, of any size.
  mutating func appendTime(_ key: StaticString, _ time: FileTime?) {
    guard let time else { return }
    if let nanoseconds = time.inNanoseconds { return appendNumber(key, nanoseconds) }
    appendKey(key)
    self += time.description.utf8
    append(UInt8(ascii: ","))
  }

  /// Appends an integer of at most 64 bits; several times as fast as through a String.
  private mutating func appendDecimal(_ value: some BinaryInteger) {
    if value < 0 { append(UInt8(ascii: "-")) }
    var rest = UInt64(value.magnitude)
    var digits: InlineArray<20, UInt8> = .init(repeating: 0)
    var start = 20
    repeat {
      start -= 1
      digits[start] = UInt8(ascii: "0") + UInt8(rest % 10)
      rest /= 10
    } while rest > 0
    append(digits.span.extracting(start..<20))
  }

  mutating func appendText(_ key: StaticString, _ value: [UInt8]?) {
    guard let value else { return }
    appendKey(key)
    appendJSONString(value.span)
    append(UInt8(ascii: ","))
  }

  mutating func appendHex(_ digest: Digest) {
    let digits = digest.hexDigits
    append(digits.span)
  }
}

/// Python's order of keys: by code point, with bytes that are not UTF-8 as lone surrogates.
func codePointsPrecede(_ one: [UInt8], _ other: [UInt8]) -> Bool {
  func scalars(_ bytes: [UInt8]) -> [UInt32] {
    var output: [UInt32] = []
    var index = 0
    while index < bytes.count {
      let (scalar, length) = decodeUTF8(bytes.span, at: index)
      output.append(scalar ?? 0xdc00 + UInt32(bytes[index]))
      index += length
    }
    return output
  }
  return scalars(one).lexicographicallyPrecedes(scalars(other))
}
