import Glibc
import TBKCore
import TBKFormat

/// Lists a tree: names and their stat data, in the order of the paths as raw bytes.
///
/// It creates no entries, so that it can run ahead on its own thread.
final class TreeScout {
  enum Finding {
    case name(Name)
    case remark(TreeWalker.Remark)
  }

  /// A name that is part of the backup.
  struct Name {
    let path: [UInt8]
    /// Its directory, and its last component.
    let directory: Descriptor
    let name: RawPath
    let type: EntryType
    let facts: stat
    /// Set for a directory: one whose attributes cannot be read is left out, with everything below it. Those of other
    /// entries are read when the entry is created, which is half of the work.
    let attributes: [ExtendedAttribute]?
    /// Set for a symbolic link.
    let target: [UInt8]?
  }

  private let options: WalkOptions
  private let wantsAttributes: Bool
  private let root: Descriptor
  private let rootDevice: UInt64
  /// The directories from the root to the current position; nil before the start.
  private var levels: [Level]?
  private var found: [Finding] = []
  /// An upper bound for the number of directories that `found` refers to.
  private var directories = 0
  private var ineffective: Set<[UInt8]> = []
  private var excluded: ExcludedDirectories

  /// One step in a directory: emit a name, or descend into it. Descending into "a" sorts as "a/", so the paths below it
  /// follow "a.b".
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
    /// Directories that have been emitted and not yet entered.
    var entered: Set<RawPath> = []
  }

  init(
    _ root: Descriptor, _ options: WalkOptions, wantsAttributes: Bool
  ) throws(Failure) {
    self.root = root
    self.options = options
    self.wantsAttributes = wantsAttributes
    rootDevice = UInt64(try root.status().st_dev)
    excluded = ExcludedDirectories(options)
  }

  /// The limits of a batch: each directory in it is open.
  private static let (mostFindings, mostDirectories) = (64, 4)

  /// The next batch of findings; nil at the end.
  func next() throws(Failure) -> [Finding]? {
    if levels == nil { levels = [Level(directory: root, path: [], steps: try steps(of: root, path: []))] }
    found = []
    directories = 1
    while found.count < Self.mostFindings, directories <= Self.mostDirectories {
      guard try advance() else { return found.isEmpty ? nil : found }
    }
    return found
  }

  /// Does the next step; false at the end.
  private func advance() throws(Failure) -> Bool {
    guard var level = levels?.popLast() else { return false }
    guard let step = level.steps.popFirst() else {
      directories += 1
      return true
    }
    try Interruption.check()
    let path =
      level.path.isEmpty
      ? step.name.bytes : level.path + [UInt8(ascii: "/")] + step.name.bytes
    if step.descends {
      let wanted = level.entered.remove(step.name) != nil
      levels?.append(level)
      if wanted, let below = try enter(step.name, in: level.directory, path: path) {
        directories += 1
        levels?.append(below)
      }
      return true
    }
    if let name = try look(at: step, in: level.directory, path: path) {
      found.append(.name(name))
      if name.type == .directory { level.entered.insert(step.name) }
    }
    levels?.append(level)
    return true
  }

  private func remark(_ remark: TreeWalker.Remark) { found.append(.remark(remark)) }

  private func remark(_ path: [UInt8], unreadable failure: Failure) {
    // Only the reason: the entry already has the path.
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
      remark(path, unreadable: error)
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

  /// Examines a name; nil if it is left out.
  private func look(
    at step: Step, in directory: Descriptor, path: [UInt8]
  ) throws(Failure) -> Name? {
    // The kernel usually reports the type of a name, so most exclusions need no further call.
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
      return Name(
        path: path, directory: directory, name: step.name, type: type, facts: facts,
        attributes: wantsAttributes && type == .directory
          ? try FileFacts.attributes(of: step.name, in: directory) : nil,
        target: type == .symlink ? try directory.readLink(step.name).bytes : nil)
    } catch {
      if error.isOfProcess { throw error }
      remark(path, unreadable: error)
      return nil
    }
  }

  /// Whether the rules exclude a name and everything below it.
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
