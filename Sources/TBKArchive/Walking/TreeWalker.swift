import Glibc
import TBKCore
import TBKFormat

/// What a walk leaves out.
package struct WalkOptions: Sendable {
  package var rules = IgnoreRules()
  /// Leaves out what is in directories with a valid CACHEDIR.TAG, except the tag itself.
  package var excludesCaches = false
  /// Stays on the file system of the root; mount points are kept as empty directories.
  package var oneFileSystem = false
  /// Leaves out regular files of more bytes.
  package var largestFile: UInt64 = .max

  package init() {}
}

/// Visits a tree in the order of its paths as raw bytes, following no link.
package final class TreeWalker {
  /// An entry, and where its file can be opened.
  package struct Visit {
    package var entry: ManifestEntry
    /// The directory that holds it.
    package let directory: Descriptor
    package let name: RawPath
    /// Whether the file has more names than this one.
    package let isLinked: Bool
  }

  /// Something that is not part of the backup, and why.
  package enum Remark: Sendable {
    /// It could not be read, so the backup is not complete.
    case unreadable(UnreadableEntry)
    /// It is of a kind that is not backed up.
    case skipped(path: [UInt8], what: String)
    /// A pattern that would take back something below a directory that an earlier one excludes, which
    /// it cannot with git's meaning. Said once of each pattern.
    case ineffective(pattern: [UInt8], directory: [UInt8])
  }

  private let options: WalkOptions
  private let names = AccountNames()
  private let remark: (Remark) -> Void
  /// Asked for the attributes of an entry that is known from before, to save a look at them: they
  /// cannot change without its `ctime`.
  private let knownAttributes: (ManifestEntry) -> [ExtendedAttribute]?
  private var rootDevice: UInt64 = 0
  private var hardLinks: [FileIdentity: [UInt8]] = [:]
  private var ineffective: Set<[UInt8]> = []
  private var excluded: ExcludedDirectories

  /// What names of one file share.
  struct FileIdentity: Hashable {
    let device: UInt64
    let inode: UInt64

    init(_ facts: stat) { (device, inode) = (UInt64(facts.st_dev), UInt64(facts.st_ino)) }
  }

  /// One thing to do in a directory: emit a name, or go into it. Going into "a" comes where "a/"
  /// sorts: the paths below it follow "a.b".
  private struct Step: Comparable {
    let name: RawPath
    let type: UInt8
    let descends: Bool

    static func < (one: Step, other: Step) -> Bool {
      let (left, right) = (one.name.bytes, other.name.bytes)
      for index in 0..<min(left.count, right.count) where left[index] != right[index] {
        return left[index] < right[index]
      }
      func next(_ step: Step, _ index: Int) -> Int {
        index < step.name.bytes.count
          ? Int(step.name.bytes[index]) : step.descends && index == step.name.bytes.count ? 47 : -1
      }
      let end = min(left.count, right.count)
      let (first, second) = (next(one, end), next(other, end))
      return first == second ? left.count < right.count : first < second
    }
  }

  private struct Level {
    let directory: Descriptor
    let path: [UInt8]
    var steps: ArraySlice<Step>
    /// The directories that have been visited and are still to be gone into.
    var entered: Set<RawPath> = []
  }

  package init(
    _ options: WalkOptions,
    knownAttributes: @escaping (ManifestEntry) -> [ExtendedAttribute]? = { _ in nil },
    remark: @escaping (Remark) -> Void
  ) {
    self.options = options
    self.knownAttributes = knownAttributes
    self.remark = remark
    excluded = ExcludedDirectories(options)
  }

  /// The root's own metadata, as the manifest's `root`.
  package func rootEntry(_ root: Descriptor) throws(Failure) -> ManifestEntry {
    let facts = try root.status()
    var entry = try ManifestEntry(path: [], type: .directory, facts: facts, names: names)
    entry.xattrs = try FileFacts.attributes(of: RawPath([]), in: root)
    return entry
  }

  /// Visits everything below `root`. The walk stops at what `visit` throws.
  package func walk(
    _ root: Descriptor, visit: (Visit) throws(Failure) -> Void
  ) throws(Failure) {
    rootDevice = UInt64(try root.status().st_dev)
    var levels = [Level(directory: root, path: [], steps: try steps(of: root, path: []))]
    while var level = levels.popLast() {
      guard let step = level.steps.popFirst() else { continue }
      try Interruption.check()
      let path =
        level.path.isEmpty
        ? step.name.bytes : level.path + [UInt8(ascii: "/")] + step.name.bytes
      if step.descends {
        let wanted = level.entered.remove(step.name) != nil
        levels.append(level)
        if wanted, let below = try enter(step.name, in: level.directory, path: path) {
          levels.append(below)
        }
        continue
      }
      if let visited = try look(at: step, in: level.directory, path: path) {
        try visit(visited)
        if visited.entry.type == .directory { level.entered.insert(step.name) }
      }
      levels.append(level)
    }
  }

  private func unreadable(_ path: [UInt8], _ failure: Failure) {
    // Only the reason: the path is beside it.
    remark(.unreadable(UnreadableEntry(path: path, reason: failure.reason)))
  }

  private func enter(
    _ name: RawPath, in directory: Descriptor, path: [UInt8]
  ) throws(Failure) -> Level? {
    do throws(Failure) {
      guard let below = try directory.openIfPresent(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) else {
        throw Failure(.inputMissing, "it is gone")
      }
      if options.oneFileSystem, UInt64(try below.status().st_dev) != rootDevice { return nil }
      return Level(directory: below, path: path, steps: try steps(of: below, path: path))
    } catch {
      if error.isOfProcess { throw error }
      unreadable(path, error)
      return nil
    }
  }

  private func steps(of directory: Descriptor, path: [UInt8]) throws(Failure) -> ArraySlice<Step> {
    var names = try directory.names()
    if options.excludesCaches, try CacheTag.marks(directory, names) {
      names.removeAll { $0.name != CacheTag.name }
    }
    var steps = names.map { Step(name: $0.name, type: $0.type, descends: false) }
    for (name, type) in names where type == UInt8(DT_DIR) || type == UInt8(DT_UNKNOWN) {
      steps.append(Step(name: name, type: type, descends: true))
    }
    steps.sort()
    return steps[...]
  }

  /// The entry for a name; nil if it is left out.
  private func look(
    at step: Step, in directory: Descriptor, path: [UInt8]
  ) throws(Failure) -> Visit? {
    // The kernel mostly says what a name is, so that most exclusions cost no further call.
    if step.type != UInt8(DT_UNKNOWN),
      try leavesOut(step.name, in: directory, path: path, isDirectory: step.type == UInt8(DT_DIR))
    {
      return nil
    }
    do throws(Failure) {
      try EntryName.check(path.span)
      guard let facts = try directory.statusIfPresent(of: step.name) else { return nil }
      if RestoreLeftovers.isOurs(step.name, facts) {
        remark(.skipped(path: path, what: "temporary, of a command that was killed or is running"))
        return nil
      }
      guard let type = FileFacts.type(ofMode: facts.st_mode) else {
        remarkSkipped(facts.st_mode, path)
        return nil
      }
      if step.type == UInt8(DT_UNKNOWN),
        try leavesOut(step.name, in: directory, path: path, isDirectory: type == .directory)
      {
        return nil
      }
      if type == .file, UInt64(clamping: facts.st_size) > options.largestFile { return nil }
      var entry = try ManifestEntry(path: path, type: type, facts: facts, names: names)
      if let known = knownAttributes(entry) {
        entry.xattrs = known
      } else {
        entry.xattrs = try FileFacts.attributes(of: step.name, in: directory)
      }
      if type == .symlink { entry.linkTarget = try directory.readLink(step.name).bytes }
      if type == .file, facts.st_nlink > 1 {
        let identity = FileIdentity(facts)
        if let first = hardLinks[identity] {
          entry.hardLink = first
        } else {
          hardLinks[identity] = path
        }
      }
      return Visit(
        entry: entry, directory: directory, name: step.name,
        isLinked: type == .file && facts.st_nlink > 1)
    } catch {
      if error.isOfProcess { throw error }
      unreadable(path, error)
      return nil
    }
  }

  /// Whether the rules leave out a name, and all that is below it.
  private func leavesOut(
    _ name: RawPath, in directory: Descriptor, path: [UInt8], isDirectory: Bool
  ) throws(Failure) -> Bool {
    let rules = options.rules
    if rules.isEmpty || !rules.excludes(path.span, isDirectory: isDirectory) { return false }
    if !isDirectory { return true }
    if let pattern = rules.ineffective(below: path.span, but: ineffective) {
      ineffective.insert(pattern)
      remark(.ineffective(pattern: pattern, directory: path))
    }
    if rules.excludesAllBelow(path.span) { return true }
    return try !excluded.holdsIncluded(name, in: directory, path: path, device: rootDevice)
  }

  private func remarkSkipped(_ mode: UInt32, _ path: [UInt8]) {
    switch mode & FileFacts.typeBits {
    case 0o010000: remark(.skipped(path: path, what: "a FIFO"))
    case 0o020000: remark(.skipped(path: path, what: "a character device"))
    case 0o060000: remark(.skipped(path: path, what: "a block device"))
    default: break  // Sockets belong to running programs.
    }
  }
}

/// The file that says that a directory holds a cache (bford.info/cachedir).
package enum CacheTag {
  package static let name = RawPath("CACHEDIR.TAG")
  private static let signature = Array("Signature: 8a477f597d28d172789f06886806bc55".utf8)

  /// Whether a directory with these names has a valid tag.
  package static func marks(
    _ directory: Descriptor, _ names: [(name: RawPath, type: UInt8)]
  ) throws(Failure) -> Bool {
    if names.contains(where: { $0.name == name }) { return try marks(directory) }
    return false
  }

  /// Whether `directory` has a valid tag; an unreadable one does not count.
  package static func marks(_ directory: Descriptor) throws(Failure) -> Bool {
    do throws(Failure) {
      let tag = try directory.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
      return try DescriptorSource(tag).read(upTo: signature.count) == signature
    } catch {
      if error.isOfProcess { throw error }
      return false
    }
  }
}
