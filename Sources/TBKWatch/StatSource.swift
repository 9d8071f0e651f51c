import Glibc
import TBKArchive
import TBKCore
import TBKFormat

/// The entries seen by a walk, in path order: for each, the part of the path that differs from the one before, and a
/// mark of its metadata.
struct TreeSnapshot {
  private var shared: [UInt16] = []
  private var ends: [Int] = []
  private var suffixes: [UInt8] = []
  private var marks: [UInt64] = []
  private var last: [UInt8] = []

  var count: Int { marks.count }

  /// Paths must be appended in order.
  mutating func append(_ path: [UInt8], mark: UInt64) {
    var common = 0
    while common < min(path.count, last.count, Int(UInt16.max)), path[common] == last[common] {
      common += 1
    }
    shared.append(UInt16(common))
    suffixes += path[common...]
    ends.append(suffixes.count)
    marks.append(mark)
    last = path
  }

  /// Iterates over a snapshot once.
  struct Cursor {
    private let snapshot: TreeSnapshot
    private var index = 0
    /// The current entry, while `isAtEnd` is false.
    private(set) var path: [UInt8] = []
    private(set) var mark: UInt64 = 0

    init(_ snapshot: TreeSnapshot) {
      self.snapshot = snapshot
      load()
    }

    var isAtEnd: Bool { index >= snapshot.count }

    mutating func advance() {
      index += 1
      load()
    }

    private mutating func load() {
      if isAtEnd { return }
      let start = index == 0 ? 0 : snapshot.ends[index - 1]
      path.removeSubrange(Int(snapshot.shared[index])...)
      path += snapshot.suffixes[start..<snapshot.ends[index]]
      mark = snapshot.marks[index]
    }
  }
}

/// Finds changes by walking the tree at intervals.
final class StatSource: ChangeSource {
  private let root: WatchedRoot
  private let options: WalkOptions
  private let interval: Int64
  private let unreadable: ([UInt8], Failure) -> Void
  private var snapshot = TreeSnapshot()
  private var told: Set<[UInt8]> = []
  private(set) var nextLook: Int64 = 0

  /// - Parameters:
  ///   - interval: nanoseconds from the end of one walk to the start of the next.
  ///   - unreadable: called once for each name that cannot be read, with the reason.
  init(
    _ root: WatchedRoot, _ options: WalkOptions, interval: Int64,
    unreadable: @escaping ([UInt8], Failure) -> Void
  ) {
    self.root = root
    self.options = options
    self.interval = interval
    self.unreadable = unreadable
  }

  var descriptor: Descriptor? { nil }
  var exhausted: (reason: String, hint: String?)? { nil }

  func start() throws(Failure) -> Int {
    var nothing = PendingChanges()
    _ = try look(&nothing, isFirst: true)
    return snapshot.count
  }

  func collect(_ pending: inout PendingChanges) throws(Failure) -> Bool {
    try look(&pending, isFirst: false)
  }

  private func look(_ pending: inout PendingChanges, isFirst: Bool) throws(Failure) -> Bool {
    let started = monotonicNanoseconds()
    let walker = TreeWalker(options, wantsAttributes: false) { remark in
      if case .unreadable(let entry) = remark, self.told.insert(entry.path).inserted {
        self.unreadable(entry.path, Failure(.io, entry.reason))
      }
    }
    var fresh = TreeSnapshot()
    var happened = false
    do {
      let top = try root.open()
      // The cursor keeps the old snapshot; the new one replaces it at the end.
      var old = TreeSnapshot.Cursor(snapshot)
      let facts = try top.status()
      var mark = Mark()
      mark.add(UInt64(facts.st_mode), UInt64(facts.st_uid), UInt64(facts.st_gid))
      func take(_ path: [UInt8], _ mark: UInt64) {
        while !old.isAtEnd, old.path.lexicographicallyPrecedes(path) {
          pending.note(old.path)
          happened = true
          old.advance()
        }
        if !old.isAtEnd, old.path == path {
          if old.mark != mark {
            pending.note(path)
            happened = true
          }
          old.advance()
        } else if !isFirst {
          pending.note(path, isNew: true)
          happened = true
        }
        fresh.append(path, mark: mark)
      }
      take([], mark.value)
      try walker.walk(top) { (visit) throws(Failure) in
        take(visit.entry.path, Mark.of(visit.entry))
      }
      while !old.isAtEnd {
        pending.note(old.path)
        happened = true
        old.advance()
      }
    }
    snapshot = fresh
    let ended = monotonicNanoseconds()
    // Spend at most half of the time walking.
    nextLook = ended + max(interval, ended - started)
    return happened
  }
}

/// A 64-bit hash of metadata (FNV-1a), to detect changes.
private struct Mark {
  private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

  mutating func add(_ numbers: UInt64...) {
    for number in numbers {
      for shift in stride(from: 0, to: 64, by: 8) {
        value = (value ^ (number >> UInt64(shift) & 0xff)) &* 0x100_0000_01b3
      }
    }
  }

  static func of(_ entry: ManifestEntry) -> UInt64 {
    var mark = Mark()
    mark.add(UInt64(entry.mode), UInt64(entry.uid ?? 0), UInt64(entry.gid ?? 0))
    // The times of a directory change when names are added or removed, which is detected by itself.
    if entry.type == .directory { return mark.value }
    mark.add(entry.size)
    for time in [entry.mtime, entry.ctime] {
      mark.add(UInt64(bitPattern: time?.seconds ?? 0), UInt64(time?.nanoseconds ?? 0))
    }
    return mark.value
  }
}
