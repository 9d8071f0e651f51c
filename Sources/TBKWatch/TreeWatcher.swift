import CSystem
import Glibc
import TBKArchive
import TBKCore

/// How to watch a tree. Times are in nanoseconds.
package struct WatchOptions {
  package var walk = WalkOptions()
  /// The time without changes before a report.
  package var quiet: Int64 = 2_000_000_000
  /// The longest time that a change waits for its report if changes continue.
  package var longest: Int64 = 60_000_000_000
  /// How often to check every entry; nil to use inotify.
  package var poll: Int64?
  /// The longest time without changes; nil for no limit.
  package var timeout: Int64?
  /// The output of reports: if it has no reader any more, `next` throws `.brokenPipe`.
  package var output: Descriptor?

  package init() {}
}

/// Waits for changes of a tree, without using CPU time meanwhile.
package final class TreeWatcher {
  package enum Remark {
    /// A directory cannot be watched, or an entry cannot be checked.
    case unreadable(path: [UInt8], reason: String)
    /// inotify cannot be used: the whole tree is checked at an interval, in seconds.
    case polling(reason: String, hint: String?, seconds: Int64)
    /// The tree is on a network: changes made by other machines are not noticed.
    case onNetwork
  }

  /// How often to check entries if inotify cannot be used.
  private static let fallbackInterval: Int64 = 30_000_000_000

  private let root: WatchedRoot
  private let options: WatchOptions
  private let remark: (Remark) -> Void
  private var source: any ChangeSource
  private var pending = PendingChanges()

  package init(
    _ path: RawPath, _ options: WatchOptions, remark: @escaping (Remark) -> Void
  ) throws(Failure) {
    self.options = options
    self.remark = remark
    root = try WatchedRoot(path)
    let unreadable = { (path: [UInt8], failure: Failure) in
      remark(.unreadable(path: path, reason: failure.reason))
    }
    if let interval = options.poll {
      source = StatSource(root, options.walk, interval: interval, unreadable: unreadable)
    } else {
      source = InotifySource(root, options.walk, unreadable: unreadable)
    }
  }

  /// Whether changes are reported by inotify rather than found by checking every entry.
  package var isNotified: Bool { source.descriptor != nil }

  /// Starts watching; changes from here on are reported. Returns the number of watched directories or entries.
  package func start() throws(Failure) -> Int {
    if options.poll == nil, tbk_is_on_network(try root.open().number) != 0 { remark(.onNetwork) }
    let count = try source.start()
    return source.exhausted == nil ? count : try fallBack()
  }

  private func fallBack() throws(Failure) -> Int {
    let interval = TreeWatcher.fallbackInterval
    remark(
      .polling(
        reason: source.exhausted?.reason ?? "", hint: source.exhausted?.hint,
        seconds: interval / 1_000_000_000))
    let remark = self.remark
    source = StatSource(root, options.walk, interval: interval) { path, failure in
      remark(.unreadable(path: path, reason: failure.reason))
    }
    return try source.start()
  }

  /// Waits for the next burst of changes to end; nil if none began before the timeout.
  package func next() throws(Failure) -> [TreeChange]? {
    let deadline = options.timeout.map { monotonicNanoseconds() + $0 } ?? .max
    var debounce = Debounce(quiet: options.quiet, longest: options.longest)
    while true {
      try Interruption.check()
      let now = monotonicNanoseconds()
      if let due = debounce.due, now >= due {
        // A polling source has not seen the latest changes.
        if source.descriptor == nil, try collect() {
          debounce.note(at: monotonicNanoseconds())
          if let later = debounce.due, later > now { continue }
        }
        let changes = try report()
        if !changes.isEmpty { return changes }
        debounce = Debounce(quiet: options.quiet, longest: options.longest)
        continue
      }
      if debounce.due == nil, now >= deadline { return nil }
      let isReady = try wait(until: min(debounce.due ?? deadline, source.nextLook))
      if isReady || monotonicNanoseconds() >= source.nextLook {
        if try collect() { debounce.note(at: monotonicNanoseconds()) }
      }
    }
  }

  private func collect() throws(Failure) -> Bool {
    let happened = try source.collect(&pending)
    if source.exhausted != nil { _ = try fallBack() }
    return happened
  }

  private func report() throws(Failure) -> [TreeChange] {
    let chain = DirectoryChain(root: try root.open())
    let changes = try pending.report { (path) throws(Failure) in
      do throws(Failure) {
        let (directory, name) = try chain.parent(of: path)
        guard let facts = try directory.statusIfPresent(of: name) else { return false }
        return FileFacts.type(ofMode: facts.st_mode) != nil
      } catch {
        switch error.code {
        case .interrupted, .exhausted: throw error
        case .inputMissing, .malformed: return false
        default: return true
        }
      }
    }
    pending = PendingChanges()
    return changes
  }

  /// Whether the source has something to report before the deadline.
  private func wait(until deadline: Int64) throws(Failure) -> Bool {
    var entries = [
      pollfd(fd: source.descriptor?.number ?? -1, events: Int16(POLLIN), revents: 0),
      pollfd(fd: options.output?.number ?? -1, events: 0, revents: 0),
    ]
    let left = deadline == .max ? -1 : max(0, deadline - monotonicNanoseconds() + 999_999) / 1_000_000
    let ready = unsafe poll(&entries, 2, Int32(clamping: left))
    try Interruption.check()
    if ready < 0, errno != EINTR { throw .system("cannot wait for changes") }
    if ready <= 0 { return false }
    // A closed pipe reports POLLERR; a socket, POLLHUP.
    if entries[1].revents & Int16(POLLERR | POLLHUP | POLLNVAL) != 0 {
      throw Failure(.brokenPipe, "nobody reads the reports")
    }
    return entries[0].revents != 0
  }
}
