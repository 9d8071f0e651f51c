import CSystem
import Glibc
import TBKArchive
import TBKCore
import TBKFormat

/// A source of changes to a tree.
protocol ChangeSource: AnyObject {
  /// Readable when something has changed; nil for a source that polls.
  var descriptor: Descriptor? { get }
  /// When to poll next, in monotonic nanoseconds, if there is no descriptor.
  var nextLook: Int64 { get }
  /// Set once the source cannot continue: the reason, and a hint.
  var exhausted: (reason: String, hint: String?)? { get }

  /// Starts watching; returns the number of watched directories or entries.
  func start() throws(Failure) -> Int
  /// Records what has changed. Returns whether anything has.
  func collect(_ pending: inout PendingChanges) throws(Failure) -> Bool
}

/// The watched directory. It is reopened each time, because an open directory prevents unmounting.
struct WatchedRoot {
  let path: RawPath
  private let device: UInt64
  private let inode: UInt64

  init(_ path: RawPath) throws(Failure) {
    self.path = path
    let root = try Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY)
    let facts = try root.status()
    device = UInt64(facts.st_dev)
    inode = UInt64(facts.st_ino)
  }

  /// Throws `.inputMissing` if the path no longer leads to the directory.
  func open() throws(Failure) -> Descriptor {
    guard let root = try Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_DIRECTORY)
    else { throw gone }
    let facts = try root.status()
    guard UInt64(facts.st_dev) == device, UInt64(facts.st_ino) == inode, facts.st_nlink > 0 else {
      throw gone
    }
    return root
  }

  var gone: Failure {
    Failure(
      .inputMissing, "\(path.display) was removed, moved or unmounted",
      hint: "start again when it is back")
  }
}

/// Reports changes through inotify(7), with one watch per directory.
final class InotifySource: ChangeSource {
  private let root: WatchedRoot
  private let options: WalkOptions
  private let unreadable: ([UInt8], Failure) -> Void
  private var inotify: Inotify?
  private var tree = WatchedTree()
  private var rootDevice: UInt64 = 0
  private(set) var exhausted: (reason: String, hint: String?)?

  /// - Parameter unreadable: called with each directory that cannot be watched, and the reason.
  init(
    _ root: WatchedRoot, _ options: WalkOptions, unreadable: @escaping ([UInt8], Failure) -> Void
  ) {
    self.root = root
    self.options = options
    self.unreadable = unreadable
  }

  var descriptor: Descriptor? { inotify?.descriptor }
  var nextLook: Int64 { .max }

  func start() throws(Failure) -> Int {
    // Releasing the old instance removes all of its watches.
    inotify = nil
    tree = WatchedTree()
    guard let fresh = Inotify() else {
      exhaust(errno)
      return 0
    }
    inotify = fresh
    let top = try root.open()
    rootDevice = UInt64(try top.status().st_dev)
    guard let watch = fresh.add(top) else {
      exhaust(errno)
      return 0
    }
    tree.insertRoot(watch)
    var nothing = PendingChanges()
    try explore(top, watch, path: [], noting: nil, &nothing)
    return tree.count
  }

  private func exhaust(_ number: Int32) {
    switch number {
    case ENOSPC:
      exhausted = (
        "the limit of inotify watches, fs.inotify.max_user_watches, is reached",
        "raise it, with sysctl fs.inotify.max_user_watches=1048576"
      )
    case EMFILE:
      exhausted = (
        "the limit of inotify instances, fs.inotify.max_user_instances, is reached",
        "raise it, with sysctl fs.inotify.max_user_instances=1024"
      )
    default:
      exhausted = (Failure.system("inotify", errno: number).message, nil)
    }
    inotify = nil
  }

  func collect(_ pending: inout PendingChanges) throws(Failure) -> Bool {
    var happened = false
    for event in try inotify?.events() ?? [] {
      if event.has(Int(IN_Q_OVERFLOW)) {
        // The lost events may have been for new directories.
        pending.noteUnknown()
        _ = try start()
        return true
      }
      if try take(event, &pending) { happened = true }
      if exhausted != nil {
        pending.noteUnknown()
        return true
      }
    }
    return happened
  }

  private func take(
    _ event: Inotify.Event, _ pending: inout PendingChanges
  ) throws(Failure) -> Bool {
    guard tree.has(event.watch) else { return false }
    let isRoot = event.watch == tree.root
    if event.name.isEmpty { return try takeOwn(event, isRoot: isRoot, &pending) }
    let name = RawPath(event.name)
    if tree[isCache: event.watch], name != CacheTag.name { return false }
    let parent = tree.path(of: event.watch)
    let path = parent.isEmpty ? event.name : parent + [UInt8(ascii: "/")] + event.name
    let isDirectory = event.has(Int(IN_ISDIR))
    let isExcluded = options.rules.excludes(path.span, isDirectory: isDirectory)
    if isExcluded, !isDirectory || options.rules.excludesAllBelow(path.span) { return false }
    let isNew = event.has(Int(IN_CREATE))
    // Moving an excluded directory away may take with it something that is not excluded.
    if !isExcluded || event.has(Int(IN_MOVED_FROM)) { pending.note(path, isNew: isNew) }
    if isDirectory {
      if event.has(Int(IN_CREATE), Int(IN_MOVED_TO)) {
        try enter(name, under: event.watch, path: path, isNew: isNew, &pending)
      } else if event.has(Int(IN_DELETE), Int(IN_MOVED_FROM)),
        let child = tree.child(name, of: event.watch)
      {
        drop(tree.remove(child))
      }
    } else if options.excludesCaches, name == CacheTag.name {
      try reconsider(event.watch, path: parent, &pending)
    }
    return true
  }

  /// Handles an event about a watched directory itself.
  private func takeOwn(
    _ event: Inotify.Event, isRoot: Bool, _ pending: inout PendingChanges
  ) throws(Failure) -> Bool {
    if event.has(Int(IN_IGNORED), Int(IN_UNMOUNT)) || isRoot && event.has(Int(IN_DELETE_SELF), Int(IN_MOVE_SELF)) {
      if isRoot { throw root.gone }
      let path = tree.path(of: event.watch)
      drop(tree.remove(event.watch))
      guard event.has(Int(IN_UNMOUNT)) else { return false }
      pending.note(path)
      // The directory that the mount had hidden.
      let name = RawPath(path).lastComponent
      if let above = watch(at: path.dropLast(name.bytes.count)) {
        try enter(name, under: above, path: path, isNew: false, &pending)
      }
      return true
    }
    guard isRoot, event.has(Int(IN_ATTRIB)) else { return false }
    _ = try root.open()
    pending.note([])
    return true
  }

  private func watch(at path: ArraySlice<UInt8>) -> Int32? {
    var current = tree.root
    for component in path.split(separator: UInt8(ascii: "/")) {
      guard let next = tree.child(RawPath(Array(component)), of: current) else { return nil }
      current = next
    }
    return current
  }

  private func drop(_ watches: [Int32]) {
    for watch in watches { inotify?.remove(watch) }
  }

  /// Watches a directory that has appeared, and records everything in it: some entries may be older than the watch.
  private func enter(
    _ name: RawPath, under parent: Int32, path: [UInt8], isNew: Bool,
    _ pending: inout PendingChanges
  ) throws(Failure) {
    let top = try root.open()
    let directory: Descriptor
    do throws(Failure) {
      directory = try DirectoryChain(root: top).directory(path)
    } catch {
      if error.isOfProcess { throw error }
      // It is gone again, or was replaced, which causes events of its own.
      if error.code != .inputMissing, error.code != .malformed { unreadable(path, error) }
      return
    }
    let known = tree.child(name, of: parent)
    // If the scan of its parent has already found it, all its watches exist.
    if let watch = add(directory, name, under: parent, path: path), watch != known {
      try explore(directory, watch, path: path, noting: isNew, &pending)
    }
  }

  /// Adds a watch for a directory; nil if it cannot have or does not need one.
  private func add(
    _ directory: Descriptor, _ name: RawPath, under parent: Int32, path: [UInt8]
  ) -> Int32? {
    if options.oneFileSystem, let facts = try? directory.status(),
      UInt64(facts.st_dev) != rootDevice
    {
      return nil
    }
    guard let inotify else { return nil }
    guard let watch = inotify.add(directory) else {
      switch errno {
      case ENOSPC, ENOMEM: exhaust(errno)
      default: unreadable(path, .system("cannot watch"))
      }
      return nil
    }
    guard let replaced = tree.insert(watch, name, under: parent) else { return nil }
    drop(replaced)
    return watch
  }

  private struct Level {
    let directory: Descriptor
    let watch: Int32
    let path: [UInt8]
    var names: ArraySlice<(name: RawPath, type: UInt8)>
  }

  /// Watches everything below a watched directory.
  ///
  /// - Parameter noting: whether entries found count as new; nil to record none.
  private func explore(
    _ top: Descriptor, _ watch: Int32, path: [UInt8], noting: Bool?,
    _ pending: inout PendingChanges
  ) throws(Failure) {
    var levels = [try level(top, watch, path)]
    while var level = levels.popLast() {
      guard let (name, type) = level.names.popLast() else { continue }
      try Interruption.check()
      levels.append(level)
      let path =
        level.path.isEmpty ? name.bytes : level.path + [UInt8(ascii: "/")] + name.bytes
      do throws(Failure) {
        var isDirectory = type == UInt8(DT_DIR)
        if type == UInt8(DT_UNKNOWN) {
          let facts = try level.directory.statusIfPresent(of: name)
          isDirectory = facts.map { $0.st_mode & FileFacts.typeBits == 0o040000 } ?? false
        }
        let isExcluded = options.rules.excludes(path.span, isDirectory: isDirectory)
        if isExcluded, !isDirectory || options.rules.excludesAllBelow(path.span) { continue }
        if !isExcluded, let isNew = noting { pending.note(path, isNew: isNew) }
        guard isDirectory,
          let below = try level.directory.openIfPresent(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
          let watch = add(below, name, under: level.watch, path: path)
        else {
          if exhausted != nil { return }
          continue
        }
        levels.append(try self.level(below, watch, path))
      } catch {
        if error.isOfProcess { throw error }
        unreadable(path, error)
      }
    }
  }

  /// The watch is added before the names are read, so that no change is missed.
  private func level(
    _ directory: Descriptor, _ watch: Int32, _ path: [UInt8]
  ) throws(Failure) -> Level {
    var names = try directory.names()
    if options.excludesCaches, try CacheTag.marks(directory, names) {
      tree[isCache: watch] = true
      names.removeAll { $0.name != CacheTag.name }
    }
    return Level(directory: directory, watch: watch, path: path, names: names[...])
  }

  /// A tag was added, changed or removed: decide again what counts in its directory.
  private func reconsider(
    _ watch: Int32, path: [UInt8], _ pending: inout PendingChanges
  ) throws(Failure) {
    let top = try root.open()
    guard let directory = try? DirectoryChain(root: top).directory(path) else { return }
    let isCache = try CacheTag.marks(directory)
    if isCache == tree[isCache: watch] { return }
    tree[isCache: watch] = isCache
    drop(tree.removeChildren(of: watch))
    if isCache {
      pending.forget(below: path, but: CacheTag.name)
    } else {
      try explore(directory, watch, path: path, noting: false, &pending)
    }
  }
}
