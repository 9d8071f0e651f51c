import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// A store accessed through a helper program, `tbk-store-NAME`.
///
/// The program stores whole objects under names and swaps the ledger; everything else is done here. Its responses are
/// trusted no more than the contents of any store. Bytes to be stored are kept in a temporary file until a commit gives
/// them a name. Objects are stored before the ledger that names them, and removed after a ledger that does not: what a
/// killed commit leaves is named by no ledger.
package final class HelperStore: Store {
  /// How far a helper's `swap` can be trusted.
  enum Swapping: String {
    /// Of two swaps over the same version one is always refused.
    case atomic = "swap-atomic"
    /// Likewise while all writers use a lock, which may be broken when its holder seems dead.
    case locked = "swap-locked"
    /// It compares the version, and then writes.
    case checked = "swap-checked"
  }

  /// Default for the seconds to keep trying while the network fails.
  package static let standardWait = 900
  /// The least patience, in seconds: a program needs time to start.
  private static let leastPatience = 5
  /// The most lines of a listing.
  private static let listLimit = 1_000_000
  /// How much of an unwanted object is read and discarded, rather than starting the helper again; in bytes.
  private static let skipLimit: UInt64 = 1 << 20
  /// Where the first commit records the objects that it is about to store, one name per line.
  static let journalFolder = "journal"
  private static let journalLimit = 1 << 20
  /// A dummy object that reserves space. It is removed if a commit that only removes others has no space to swap the
  /// ledger.
  static let reserveName = "reserve"

  package let address: StoreAddress
  let helper: HelperAddress
  let context: StoreContext
  let maximumWait: Int
  private let throttles: StoreThrottles
  private var connection: HelperConnection?
  private(set) var swapping = Swapping.checked
  private var canCreate = false
  private var hasRanges = false
  private let wholes = WholeObjects()
  private var hasWarned = false
  /// The size of the ledger last read, in bytes.
  private var ledgerSize = 0

  package init(_ helper: HelperAddress, _ context: StoreContext) throws(Failure) {
    address = .helper(helper)
    self.helper = helper
    self.context = context
    throttles = StoreThrottles(context.rates)
    maximumWait = context.maximumWait ?? HelperStore.standardWait
    // Check that it exists before anything is read or sealed.
    _ = try helper.find()
  }

  // MARK: Speaking

  private func connect() throws(Failure) -> HelperConnection {
    if let connection {
      do throws(Failure) {
        if try connection.skip(upTo: HelperStore.skipLimit), connection.isUsable { return connection }
      } catch  where !error.isOfProcess {
        // Unwanted bytes were left, so it has ended: start another one.
      }
    }
    connection = nil
    let started = try HelperConnection(
      helper, patience: max(maximumWait, HelperStore.leastPatience), remark: context.remark)
    let answer = try started.ask(HelperConnection.greeting)
    if let failure = failure(answer) { throw failure }
    let words = answer.words
    guard words.count >= 3, words[0] == "ok", words[1] == "1" else {
      throw started.unexpected(answer)
    }
    let kinds = words.dropFirst(2).compactMap { Swapping(rawValue: $0) }
    guard kinds.count == 1 else { throw started.unexpected(answer) }
    swapping = kinds[0]
    canCreate = words.contains("create")
    hasRanges = words.contains("range")
    connection = started
    return started
  }

  /// The failure that an `error` means; nil for any other response.
  private func failure(_ answer: HelperAnswer) -> Failure? {
    guard answer.words[0] == "error" else { return nil }
    let code: Failure.Code =
      switch answer.words[1] {
      case "again": .tryAgain
      case "denied": .denied
      case "full": .io
      case "config": .configuration
      case "broken": .integrity
      default: .unavailable
      }
    return Failure(code, "the store \(address.display): \(answer.text)")
  }

  /// Sends a request, and again while the failure may be transient.
  ///
  /// - Parameter body: called for each attempt.
  private func ask(
    _ request: String, size: UInt64 = 0, body: (() throws(Failure) -> any ByteSource)? = nil,
    progress: @escaping (Int) -> Void = { _ in }
  ) throws(Failure) -> (HelperAnswer, HelperConnection) {
    let deadline = monotonicNanoseconds() + Int64(maximumWait) * 1_000_000_000
    var pause: useconds_t = 50_000
    while true {
      let connection = try connect()
      var sent = 0
      var source: (any ByteSource)?
      if let body { source = try body() }
      let answer = try connection.ask(
        request, body: source, size: size,
        progress: { count in
          sent += count
          progress(count)
        })
      let failure = failure(answer)
      let isBusy = answer.words == ["busy"]
      guard isBusy || failure?.code == .tryAgain else {
        if let failure { throw failure }
        return (answer, connection)
      }
      guard monotonicNanoseconds() < deadline else {
        throw failure
          ?? Failure(
            .tryAgain,
            "the store \(address.display) has been locked by another writer for \(maximumWait) s",
            hint: "try again when it has finished")
      }
      progress(-sent)
      try Interruption.check()
      usleep(useconds_t.random(in: pause / 2...pause))
      pause = min(pause * 2, 5_000_000)
    }
  }

  private func number(_ word: String) -> UInt64? {
    guard (1...18).contains(word.utf8.count), word == "0" || word.utf8.first != 0x30,
      word.utf8.allSatisfy({ (0x30...0x39).contains($0) })
    else { return nil }
    return UInt64(word)
  }

  private func isVersion(_ word: String) -> Bool { word.utf8.count <= 128 && word != "-" }

  /// The size and the version in a response; nil for `missing`.
  private func standing(
    _ answer: HelperAnswer, _ connection: HelperConnection
  ) throws(Failure) -> (size: UInt64, version: String)? {
    if answer.words == ["missing"] { return nil }
    guard answer.words.count == 3, answer.words[0] == "ok", let size = number(answer.words[1]),
      answer.words[2].utf8.count <= 128
    else { throw connection.unexpected(answer) }
    return (size, answer.words[2])
  }

  // MARK: Reading

  package func readLedger() throws(Failure) -> StoredLedger? {
    let (answer, connection) = try ask("get \(Ledger.fileName)")
    guard let (size, version) = try standing(answer, connection) else { return nil }
    guard isVersion(version) else { throw connection.unexpected(answer) }
    guard size <= Ledger.byteLimit else {
      throw Failure(
        .malformed,
        "the ledger of the store \(address.display) is larger than \(Ledger.byteLimit) bytes")
    }
    connection.expect(size, isWhole: true)
    let bytes = try HelperSource(connection, helper, size, { _ in })
      .readAll(limit: Ledger.byteLimit, what: "the ledger of the store \(address.display)")
    ledgerSize = bytes.count
    return StoredLedger(bytes: bytes, version: LedgerVersion(version))
  }

  package func open(_ object: ObjectReference) throws(Failure) -> any ByteSource {
    let (answer, connection) = try ask("get \(object.path)")
    guard let (size, _) = try standing(answer, connection) else {
      throw Failure(.inputMissing, "the store \(address.display) does not have \(object.path)")
    }
    connection.expect(size)
    return throttles.receiving(HelperSource(connection, helper, size, context.progress))
  }

  package func open(
    _ object: ObjectReference, size: UInt64, range: Range<UInt64>
  ) throws(Failure) -> any ByteSource {
    _ = try connect()
    guard hasRanges else {
      let region = try wholes.region(object.path.description) { () throws(Failure) in try open(object) }
      return RegionSource(region, from: range.lowerBound, to: range.upperBound)
    }
    let count = UInt64(range.count)
    let (answer, connection) = try ask("range \(object.path) \(range.lowerBound) \(count)")
    if answer.words == ["missing"] {
      throw Failure(.inputMissing, "the store \(address.display) does not have \(object.path)")
    }
    guard answer.words == ["ok", String(count)] else { throw connection.unexpected(answer) }
    connection.expect(count)
    return throttles.receiving(HelperSource(connection, helper, count, context.progress))
  }

  /// Up to this many objects of a folder are looked up one by one; for more, the folder is listed.
  private static let askedLimit = 4

  package func sizes(of files: [StoredFile]) throws(Failure) -> [StoredFile: UInt64] {
    var found: [StoredFile: UInt64] = [:]
    // Helper stores never split objects into parts.
    let wanted = Set(files.filter { $0.place == nil })
    for kind in ObjectPath.Folder.allCases {
      let group = wanted.filter { $0.path.folder == kind }
      if group.isEmpty { continue }
      if group.count <= HelperStore.askedLimit {
        for file in group {
          let (answer, connection) = try ask("stat \(file.path)")
          if let (size, _) = try standing(answer, connection) { found[file] = size }
        }
        continue
      }
      for entry in try list(kind.rawValue) {
        let file = StoredFile(ObjectPath(kind, entry.name))
        if group.contains(file) { found[file] = entry.size }
      }
    }
    return found
  }

  func ledgerVersion() throws(Failure) -> LedgerVersion? {
    let (answer, connection) = try ask("stat \(Ledger.fileName)")
    guard let (_, version) = try standing(answer, connection) else { return nil }
    guard isVersion(version) else { throw connection.unexpected(answer) }
    return LedgerVersion(version)
  }

  struct Listed {
    let name: ObjectName
    let size: UInt64
    /// Seconds since 1970; nil if the store does not know.
    let changedAt: Int64?
  }

  func list(_ folder: String) throws(Failure) -> [Listed] {
    let (first, connection) = try ask("list \(folder)")
    var answer = first
    var found: [Listed] = []
    var lines = 0
    while answer.words != ["ok"] {
      if let failure = failure(answer) { throw failure }
      guard answer.words.count == 4, answer.words[0] == "entry", let size = number(answer.words[1]),
        case let time = number(answer.words[2]), time != nil || answer.words[2] == "-"
      else { throw connection.unexpected(answer) }
      lines += 1
      guard lines <= HelperStore.listLimit else {
        throw Failure(.malformed, "the store \(address.display) lists too many objects")
      }
      // Anything that is not an object name is not ours.
      if let name = ObjectName(answer.words[3]) {
        found.append(Listed(name: name, size: size, changedAt: time.flatMap { Int64(exactly: $0) }))
      }
      answer = try connection.next()
    }
    return found
  }

  // MARK: Writing

  package func stage(
    _ source: any ByteSource, size: UInt64?, in folder: ObjectPath.Folder
  ) throws(Failure) -> any StagedObject {
    try HelperStaged(source, size: size)
  }

  package func commit(
    _ commit: Commit, over version: LedgerVersion?
  ) throws(Failure) -> CommitOutcome {
    _ = try connect()
    tellOfRaces()
    guard try ledgerVersion() == version else { return .conflict }
    var journal: String?
    if version == nil {
      try refuseLostLedger()
      journal = try writeJournal(commit)
    }
    for addition in commit.additions where !addition.replacing {
      let staged = try staged(addition)
      if staged.placed.contains(addition.path) { continue }
      switch try standing(at: addition.path, staged) {
      case .free: try put(addition.path.description, staged)
      case .same: break
      case .other: return .taken(addition.path)
      }
      staged.placed.insert(addition.path)
    }
    if version == nil
      || HelperStore.reserve(for: commit.ledger.count) > HelperStore.reserve(for: ledgerSize)
    {
      try keepReserve(for: commit.ledger.count)
    }
    var hasUsedReserve = false
    let swapped: LedgerVersion?
    do throws(Failure) {
      swapped = try swap(commit.ledger, over: version)
    } catch {
      // Freeing space must not need any.
      guard error.code == .io, commit.additions.isEmpty, !commit.removals.isEmpty else { throw error }
      try remove("\(HelperStore.journalFolder)/\(HelperStore.reserveName)")
      hasUsedReserve = true
      swapped = try swap(commit.ledger, over: version)
    }
    guard let next = swapped else { return .conflict }
    // From here on the new ledger is in place, and nothing is undone.
    for addition in commit.additions where addition.replacing {
      try put(addition.path.description, try staged(addition))
    }
    try replaceLost(commit)
    finish(commit, next, journal)
    // The commit is done, and there is space again.
    if hasUsedReserve { try? keepReserve(for: commit.ledger.count) }
    return .committed(next)
  }

  /// The size of the reserve for a ledger of this many bytes, which may be written twice.
  private static func reserve(for ledger: Int) -> Int {
    var size = 32 << 10
    while size < 2 * ledger { size *= 2 }
    return size
  }

  private func keepReserve(for ledger: Int) throws(Failure) {
    let name = "\(HelperStore.journalFolder)/\(HelperStore.reserveName)"
    try put(name, [UInt8](repeating: 0, count: HelperStore.reserve(for: ledger)))
  }

  private func tellOfRaces() {
    if swapping != .checked || hasWarned { return }
    hasWarned = true
    context.notice(
      "the store \(address.display) cannot keep two simultaneous writers apart: make sure that there is "
        + "only one")
  }

  private func staged(_ addition: Commit.Addition) throws(Failure) -> HelperStaged {
    guard let staged = addition.object as? HelperStaged else {
      throw Failure(.library, "\(addition.path) was not staged in this store")
    }
    return staged
  }

  private enum Standing { case free, same, other }

  /// What already has this name. Only a writer that was killed leaves a name that is in no ledger.
  private func standing(
    at path: ObjectPath, _ staged: HelperStaged
  ) throws(Failure) -> Standing {
    let (answer, connection) = try ask("stat \(path)")
    guard let (size, _) = try standing(answer, connection) else { return .free }
    guard size == staged.size else {
      // The name contains the hash of these bytes, and no ledger has it: an interrupted put left part of them.
      return path.isNamed(after: staged.sha256) ? .free : .other
    }
    let hashing = try HashingSink(into: CountingSink())
    try open(ObjectReference(path)).copy(to: hashing)
    return try hashing.digest() == staged.sha256 ? .same : .other
  }

  private func put(_ name: String, _ staged: HelperStaged) throws(Failure) {
    let (answer, connection) = try ask(
      "put \(name) \(staged.size)", size: staged.size,
      body: { [throttles] () throws(Failure) in throttles.sending(try staged.source()) }, progress: context.progress)
    guard answer.words == ["ok"] else { throw connection.unexpected(answer) }
  }

  func put(_ name: String, _ bytes: [UInt8]) throws(Failure) {
    let (answer, connection) = try ask(
      "put \(name) \(bytes.count)", size: UInt64(bytes.count),
      body: { () throws(Failure) in MemorySource(bytes) })
    guard answer.words == ["ok"] else { throw connection.unexpected(answer) }
  }

  /// The new version; nil for a conflict.
  private func swap(
    _ ledger: [UInt8], over version: LedgerVersion?
  ) throws(Failure) -> LedgerVersion? {
    let (answer, connection) = try ask(
      "swap \(Ledger.fileName) \(ledger.count) \(version?.token ?? "-")", size: UInt64(ledger.count),
      body: { () throws(Failure) in MemorySource(ledger) })
    if answer.words == ["conflict"] { return nil }
    guard answer.words.count == 2, answer.words[0] == "ok", isVersion(answer.words[1]) else {
      throw connection.unexpected(answer)
    }
    let next = LedgerVersion(answer.words[1])
    if swapping == .atomic { return next }
    // Another writer may have overwritten it without having seen it.
    guard let now = try readLedger() else { return nil }
    if now.bytes == ledger { return now.version }
    return isSuccessor(now.bytes, of: ledger) ? next : nil
  }

  /// Whether a ledger is based on `earlier`.
  private func isSuccessor(_ bytes: [UInt8], of earlier: [UInt8]) -> Bool {
    guard let ledger = try? Ledger(parsing: bytes), let before = try? Ledger(parsing: earlier),
      let canonical = try? before.canonical(), let hash = try? SHA256.hash(canonical)
    else { return false }
    return ledger.identity?.history.contains(hash) ?? false
  }

  /// Stores objects again that another writer removed as unnamed between our check and our ledger.
  private func replaceLost(_ commit: Commit) throws(Failure) {
    for addition in commit.additions where !addition.replacing {
      let (answer, connection) = try ask("stat \(addition.path)")
      if try standing(answer, connection) != nil { continue }
      try put(addition.path.description, try staged(addition))
    }
  }

  /// The commit is done; a later one retries whatever fails here.
  private func finish(_ commit: Commit, _ version: LedgerVersion, _ journal: String?) {
    let kept = Set(commit.additions.map(\.path))
    do throws(Failure) {
      var removals = commit.removals.map(\.path).filter { !kept.contains($0) }
      if !removals.isEmpty, try ledgerVersion() != version {
        // Another writer may have used one of the names again.
        guard let now = try readLedger() else { return }
        var named = NamedObjects()
        named.add(try Ledger(parsing: now.bytes))
        removals.removeAll { named.contains($0.description) }
      }
      for path in removals { try remove(path.description) }
      if let journal { try remove(journal) }
    } catch {
      // Not reported: the commit itself succeeded.
    }
  }

  func remove(_ name: String) throws(Failure) {
    let (answer, connection) = try ask("remove \(name)")
    guard answer.words == ["ok"] || answer.words == ["missing"] else {
      throw connection.unexpected(answer)
    }
  }

  // MARK: A new store

  /// Records the names that the first commit is about to store: if it is killed, they show that this is not a store
  /// that lost its ledger.
  private func writeJournal(_ commit: Commit) throws(Failure) -> String? {
    let names = commit.additions.filter { !$0.replacing }.map { "\($0.path)\n" }
    if names.isEmpty { return nil }
    let name = "\(HelperStore.journalFolder)/\(uniqueSuffix())"
    try put(name, Array(names.joined().utf8))
    return name
  }

  /// Throws if a store without a ledger contains backups: its ledger was lost, and no new one may replace it.
  private func refuseLostLedger() throws(Failure) {
    var found: [String] = []
    for kind in [ObjectPath.Folder.backups, .manifests] {
      found += try list(kind.rawValue).map { "\(kind.rawValue)/\($0.name)" }
    }
    if found.isEmpty { return }
    var expected: Set<String> = []
    for entry in try list(HelperStore.journalFolder)
    where entry.size <= HelperStore.journalLimit
      && entry.name.description != HelperStore.reserveName
    {
      let (answer, connection) = try ask("get \(HelperStore.journalFolder)/\(entry.name)")
      guard let (size, _) = try standing(answer, connection), size <= HelperStore.journalLimit
      else { continue }
      connection.expect(size)
      let bytes = try HelperSource(connection, helper, size, { _ in })
        .readAll(limit: HelperStore.journalLimit, what: "a journal")
      expected.formUnion(String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init))
    }
    guard let lost = found.first(where: { !expected.contains($0) }) else { return }
    // Another writer committed first: its journal is gone, and its ledger is there.
    if try ledgerVersion() != nil { return }
    throw Failure(
      .integrity, "the store \(address.display) holds \(lost) and has no \(Ledger.fileName)",
      hint: "put its \(Ledger.fileName) back, or use another place")
  }

  /// Creates the store, if the helper supports it.
  func create() throws(Failure) {
    let connection = try connect()
    guard canCreate else {
      throw Failure(
        .cannotCreate, "\(helper.program) cannot create stores",
        hint: "create \(address.display) by hand, and leave it empty")
    }
    let answer = try connection.ask("create")
    if let failure = failure(answer) { throw failure }
    if answer.words == ["exists"] {
      throw Failure(.cannotCreate, "the store \(address.display) already exists")
    }
    guard answer.words == ["ok"] else { throw connection.unexpected(answer) }
  }
}

/// Bytes of an object as a helper sends them.
final class HelperSource: ByteSource {
  private let connection: HelperConnection
  private let helper: HelperAddress
  private var left: UInt64
  private let progress: (Int) -> Void

  init(
    _ connection: HelperConnection, _ helper: HelperAddress, _ size: UInt64,
    _ progress: @escaping (Int) -> Void
  ) {
    self.connection = connection
    self.helper = helper
    left = size
    self.progress = progress
  }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    if left == 0 { return 0 }
    // Another object was requested meanwhile.
    guard connection.left == left else {
      throw Failure(.library, "\(helper.program): an object was not read to its end")
    }
    let count = try connection.read(into: &buffer)
    left -= UInt64(count)
    progress(count)
    return count
  }
}

/// Staged bytes, in the file that they come from or in an unnamed temporary one.
final class HelperStaged: StagedObject {
  let size: UInt64
  let sha256: Digest
  var parts: [LedgerEntry.Part] { [] }
  /// The names under which they are already in the store.
  var placed: Set<ObjectPath> = []
  private let input: FileStart?
  private let copy: Descriptor?

  init(_ source: any ByteSource, size: UInt64?) throws(Failure) {
    input = (source as? any RereadableSource)?.file
    let copy = input == nil ? try TemporaryFile.anonymous() : nil
    let sink: any ByteSink
    if let copy { sink = DescriptorSink(copy, name: RawPath("the temporary file")) } else { sink = CountingSink() }
    let hashing = try HashingSink(into: sink)
    self.copy = copy
    let count = try source.copy(to: hashing)
    try hashing.finish()
    if let size, count != size {
      throw Failure(.truncated, "\(count) bytes came where \(size) were announced")
    }
    self.size = count
    sha256 = try hashing.digest()
  }

  func source() throws(Failure) -> any ByteSource {
    if let input { return KnownRange(input, offset: 0, count: self.size, sha256: sha256) }
    guard let copy else { return MemorySource([]) }
    try copy.seek(to: 0)
    return DescriptorSource(copy, name: RawPath("the temporary file"))
  }
}
