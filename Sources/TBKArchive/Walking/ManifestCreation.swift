import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// Creates a manifest of a tree.
package struct ManifestCreation {
  package var walk = WalkOptions()
  /// An earlier manifest of the same tree, whose hashes are used for unchanged files.
  package var previous: Manifest?
  /// Whether unchanged content refers to the backups that hold it. Needs `previous`, with its backup id.
  package var incremental = false
  /// Leaves hashing of files that will be packed to tbk-seal.
  package var defersHash = false
  /// Whether a tree without any regular file throws `.inputMissing`, leaving the manifest unfinished.
  package var needsFiles = false
  package var threads = 1
  /// Whether a second thread walks ahead in the tree.
  package var walksAhead = false
  /// Called for each difference from `previous`, in path order.
  package var change: ((EntryChange, [UInt8]) throws(Failure) -> Void)?
  /// Called for each entry, with the number of bytes read.
  package var progress: (Int) -> Void = { _ in }
  /// Called for each entry that is skipped or could not be read.
  package var remark: (TreeWalker.Remark) -> Void = { _ in }

  package init() {}

  package struct Summary {
    package var entries = 0
    package var unreadable = 0
  }

  /// Walks `source` and writes its manifest entry by entry; the sink is not finished.
  package func run(_ source: RawPath, to sink: any ByteSink) throws(Failure) -> Summary {
    var result: Summary?
    try produce(source) { (header) throws(Failure) in
      let writer = ManifestStream(try ManifestWriter(header, backupID: nil, to: sink))
      return (
        { (entry) throws(Failure) in
          try writer.writer.append(entry)
          writer.count += 1
          if entry.type == .file { writer.hasFiles = true }
        },
        { (unreadable) throws(Failure) in
          if needsFiles, !writer.hasFiles {
            throw Failure(
              .inputMissing, "there is no file in \(source.display), or all are left out",
              hint: "mount its disk; if it is to be empty, 'termbackup run --allow-empty' stores it")
          }
          try writer.writer.finish(unreadable: unreadable)
          result = Summary(entries: writer.count, unreadable: unreadable.count)
        }
      )
    }
    return result ?? Summary()
  }

  /// Walks `source` and returns its manifest.
  package func manifest(of source: RawPath) throws(Failure) -> Manifest {
    var result: Manifest?
    try produce(source) { (header) throws(Failure) in
      let collector = Collector(header)
      return (
        { (entry) throws(Failure) in collector.manifest.files.append(entry) },
        { (unreadable) throws(Failure) in
          collector.manifest.unreadable = unreadable
          result = collector.manifest
        }
      )
    }
    guard let result else { throw Failure(.library, "the walk did not end") }
    return result
  }

  private final class ManifestStream {
    var writer: ManifestWriter
    var count = 0
    var hasFiles = false
    init(_ writer: ManifestWriter) { self.writer = writer }
  }

  private final class Collector {
    var manifest: Manifest
    init(_ manifest: Manifest) { self.manifest = manifest }
  }

  package typealias Consumer = (
    entry: (ManifestEntry) throws(Failure) -> Void,
    end: ([UnreadableEntry]) throws(Failure) -> Void
  )

  private func produce(
    _ source: RawPath, _ begin: (Manifest) throws(Failure) -> Consumer
  ) throws(Failure) {
    let (root, path) = try openDirectory(source)
    let unreadable = UnreadableList(remark)
    let earlier = previous.map { EarlierEntries($0) }
    let walker = TreeWalker(walk) { entry in
      guard let earlier, let old = earlier.find(entry.path), earlier.files.isUnchanged(old, entry) else { return nil }
      return earlier.files.xattrs(old)
    } remark: {
      unreadable.note($0)
    }
    let consumer = try begin(try header(of: root, path: path, walker))
    let linked = LinkedDigests()
    var tracker: ChangeTracker?
    if let previous, let change { tracker = ChangeTracker(previous, report: change) }
    let hashing = try HashingPool(threads: threads) { (job) throws(Failure) in
      var entry = job.visit.entry
      if let failure = job.failure {
        if failure.isOfProcess { throw failure }
        // Gone since its directory was listed: as if it had never been there.
        if failure.code == .inputMissing { return }
        unreadable.note(.unreadable(UnreadableEntry(path: entry.path, reason: failure.reason)))
        return
      }
      if let first = entry.hardLink {
        guard let known = linked.content[first] else {
          unreadable.note(
            .unreadable(UnreadableEntry(path: entry.path, reason: "its first name is not readable"))
          )
          return
        }
        (entry.sha256, entry.size) = (known.sha256, known.size)
      } else if entry.type == .file {
        settle(&entry, job.stored)
        if job.visit.isLinked {
          linked.content[entry.path] = (entry.sha256, entry.size)
        }
      }
      try consumer.entry(entry)
      try tracker?.note(entry)
      progress(job.reads ? Int(clamping: entry.size) : 0)
    }
    try walker.walk(root, ahead: walksAhead) { (visit) throws(Failure) in
      var visit = visit
      var (reads, stored): (Bool, Digest?) = (false, nil)
      if visit.entry.type == .file, visit.entry.hardLink == nil {
        (reads, stored) = prepare(&visit.entry, earlier)
        // A file that will be packed must be readable: find out now, not when the archive is written.
        if !reads, visit.entry.storedIn == nil, let reason = refusal(visit) {
          unreadable.note(
            .unreadable(UnreadableEntry(path: visit.entry.path, reason: reason)))
          return
        }
      }
      try hashing.add(HashingPool.Job(visit, reads: reads, stored: stored))
    }
    try hashing.finish()
    try tracker?.finish()
    try consumer.end(unreadable.entries)
  }

  /// Why a file that is not read now will not be readable later; nil if it will.
  private func refusal(_ visit: TreeWalker.Visit) -> String? {
    if isRoot { return nil }
    let result = try? unsafe visit.name.withCString { (name) throws(Failure) in
      unsafe faccessat(visit.directory.number, name, R_OK, AT_EACCESS)
    }
    if result == 0 || errno == ENOENT { return nil }
    return Failure.system("cannot read").reason
  }

  /// Decides from an earlier entry whether to read a file now.
  ///
  /// - Returns: whether to read it, and the hash of stored content to compare it with, if any.
  private func prepare(
    _ entry: inout ManifestEntry, _ earlier: EarlierEntries?
  ) -> (reads: Bool, stored: Digest?) {
    guard let earlier, let old = earlier.find(entry.path) else { return (!defersHash, nil) }
    guard earlier.files.type(old) == .file, let known = earlier.files.sha256(old) else { return (!defersHash, nil) }
    let sameSize = earlier.files.size(old) == entry.size
    if sameSize, entry.mtime != nil, earlier.files.mtime(old) == entry.mtime, earlier.files.isUnchanged(old, entry) {
      entry.sha256 = known
      guard incremental else { return (false, nil) }
      if let place = place(of: old, in: earlier.files) {
        entry.storedIn = place
        entry.offset = earlier.files.offset(old)
      } else if defersHash {
        entry.sha256 = nil
      }
      return (false, nil)
    }
    // With the same size but another time, the content may be the same: read the file, because stored content need not
    // be packed again.
    if incremental, sameSize, let place = place(of: old, in: earlier.files) {
      entry.storedIn = place
      entry.offset = earlier.files.offset(old)
      return (true, known)
    }
    return (!defersHash, nil)
  }

  /// The backup that holds an earlier entry's content under its path; nil for a hard link, whose content is stored
  /// under its first name.
  private func place(of old: Int, in files: EntryTable) -> String? {
    files.isHardLink(old) ? nil : files.storedIn(old) ?? previous?.backupID
  }

  /// Completes `prepare`: content that differs from the earlier one is stored in this backup.
  private func settle(_ entry: inout ManifestEntry, _ stored: Digest?) {
    guard let stored else { return }
    if entry.sha256 != stored {
      entry.storedIn = nil
      entry.offset = nil
      if defersHash { entry.sha256 = nil }
    }
  }

  private func header(
    of root: Descriptor, path: RawPath, _ walker: TreeWalker
  ) throws(Failure) -> Manifest {
    var manifest = try newManifest(mode: incremental ? "incremental" : "full")
    manifest.sourceDirectory = path.bytes
    manifest.root = try walker.rootEntry(root)
    manifest.unreadable = []
    if incremental {
      guard let id = previous?.backupID else {
        throw Failure(
          .usage, "the previous manifest has no backup id, so nothing can be stored in it",
          hint: "give the manifest that tbk-seal stored, as tbk-open --manifest prints it")
      }
      if previous?.tree.isReadOnly == true {
        throw Failure(
          .usage, "the previous manifest is TermBackup 6's, which may list what it did not store",
          hint: "make a full backup first")
      }
      manifest.parentBackupID = id
    }
    return manifest
  }
}

/// Root can read everything.
private let isRoot = geteuid() == 0

/// Opens a source directory and finds its absolute path.
package func openDirectory(
  _ path: RawPath
) throws(Failure) -> (directory: Descriptor, path: RawPath) {
  let directory = try Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY)
  let real = try unsafe path.withCString { (text) throws(Failure) -> [UInt8]? in
    guard let resolved = unsafe realpath(text, nil) else { return nil }
    defer { unsafe free(resolved) }
    return unsafe Array(UnsafeRawBufferPointer(start: resolved, count: strlen(resolved)))
  }
  guard let real else { throw .system("cannot resolve \(path.display)") }
  return (directory, RawPath(real))
}

/// A manifest without entries, with the current time, this system and a new nonce.
func newManifest(mode: String = "full") throws(Failure) -> Manifest {
  let system = systemName()
  var manifest = Manifest(
    osName: system.os, architecture: system.machine, createdAt: Timestamp.now().iso8601(),
    mode: mode)
  manifest.nonce = try randomBytes(16).hex
  return manifest
}

/// Like Python's `platform.system()` and `platform.machine()`.
private func systemName() -> (os: String, machine: String) {
  var names = utsname()
  unsafe uname(&names)
  func text<Tuple>(_ field: Tuple) -> String {
    unsafe withUnsafeBytes(of: field) { raw in
      unsafe String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
  return (text(names.sysname), text(names.machine))
}

/// Collects what could not be read, and passes on all remarks.
private final class UnreadableList {
  private(set) var entries: [UnreadableEntry] = []
  private let remark: (TreeWalker.Remark) -> Void

  init(_ remark: @escaping (TreeWalker.Remark) -> Void) { self.remark = remark }

  func note(_ what: TreeWalker.Remark) {
    if case .unreadable(let entry) = what { entries.append(entry) }
    remark(what)
  }
}

/// The content of files that have more than one name, by their first name.
private final class LinkedDigests {
  var content: [[UInt8]: (sha256: Digest?, size: UInt64)] = [:]
}

/// Looks up entries of an earlier manifest in walk order, usually its own. Entries that it lists as unreadable or
/// changed while read are not found: their hash may be of zeros.
package final class EarlierEntries {
  package let files: EntryTable
  private let order: [UInt32]?
  private let unreadable: Set<[UInt8]>
  private var next = 0
  private var last: (path: [UInt8], index: Int?)?

  package init(_ manifest: Manifest) {
    files = manifest.files
    order = manifest.files.isSorted() ? nil : manifest.files.sortedIndices()
    unreadable = Set((manifest.unreadable ?? []).map(\.path))
  }

  /// The index in `files` of the entry at `path`. Remembers the last result.
  package func find(_ path: [UInt8]) -> Int? {
    if let last, last.path == path { return last.index }
    let index = !unreadable.isEmpty && unreadable.contains(path) ? nil : look(path)
    last = (path, index)
    return index
  }

  private func look(_ path: [UInt8]) -> Int? {
    guard order == nil else { return files.find(path, order: order) }
    while next < files.count, files.compare(next, path) < 0 { next += 1 }
    return next < files.count && files.compare(next, path) == 0 ? next : nil
  }
}
