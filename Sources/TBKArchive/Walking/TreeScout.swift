import Glibc
import TBKCore
import TBKFormat

/// Finds out what is in a tree: names and what the kernel says about them, in the order of the paths as raw bytes.
///
/// It makes no entries of that, so that it can go ahead on a thread of its own.
final class TreeScout {
  enum Finding {
    case name(Name)
    case remark(TreeWalker.Remark)
  }

  /// A name that is part of the backup.
  struct Name {
    let path: [UInt8]
    /// The directory that holds it, and its last component.
    let directory: Descriptor
    let name: RawPath
    let type: EntryType
    let facts: stat
    /// Of a directory: one whose attributes cannot be read is left out, and all that is below it. Those of others are read
    /// when an entry is made, which is half of the work.
    let attributes: [ExtendedAttribute]?
    /// Of a symbolic link.
    let target: [UInt8]?
  }

  private let options: WalkOptions
  private let wantsAttributes: Bool
  private let root: Descriptor
  private let rootDevice: UInt64
  /// The directories on the way to where it is; nil before it has begun.
  private var levels: [Level]?
  private var found: [Finding] = []
  /// In how many directories `found` is, at most.
  private var directories = 0
  private var ineffective: Set<[UInt8]> = []
  private var excluded: ExcludedDirectories

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

  init(
    _ root: Descriptor, _ options: WalkOptions, wantsAttributes: Bool
  ) throws(Failure) {
    self.root = root
    self.options = options
    self.wantsAttributes = wantsAttributes
    rootDevice = UInt64(try root.status().st_dev)
    excluded = ExcludedDirectories(options)
  }

  /// What a batch holds at most: each directory in it is an open one.
  private static let (mostFindings, mostDirectories) = (64, 4)

  /// Some of what is below the root; nil when that was all.
  func next() throws(Failure) -> [Finding]? {
    if levels == nil { levels = [Level(directory: root, path: [], steps: try steps(of: root, path: []))] }
    found = []
    directories = 1
    while found.count < Self.mostFindings, directories <= Self.mostDirectories {
      guard try advance() else { return found.isEmpty ? nil : found }
    }
    return found
  }

  /// Does what is next; false if that was all.
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

  /// What a name is; nil if it is left out.
  private func look(
    at step: Step, in directory: Descriptor, path: [UInt8]
  ) throws(Failure) -> Name? {
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
