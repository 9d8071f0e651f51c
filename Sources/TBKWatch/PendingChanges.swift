import TBKCore

/// A name that changed.
package struct TreeChange: Equatable, Sendable {
  package enum Kind: String, Sendable {
    /// It exists, and is new or different.
    case changed
    /// It was deleted, with everything below it.
    case deleted
    /// The changes below it are unknown.
    case unknown
  }

  package let kind: Kind
  /// Relative to the watched directory, which is "." itself.
  package let path: [UInt8]

  /// Everything may have changed.
  package static let everything = TreeChange(kind: .unknown, path: [UInt8(ascii: ".")])
}

/// The names that have changed since the last report.
package struct PendingChanges {
  /// The most names to record; with more, everything may have changed.
  package static let limit = 100_000
  /// By name, whether it was created since the last report.
  private var names: [[UInt8]: Bool] = [:]
  package private(set) var isUnknown = false

  package init() {}

  package var isEmpty: Bool { names.isEmpty && !isUnknown }

  /// - Parameters:
  ///   - path: empty for the watched directory.
  ///   - isNew: whether the name certainly did not exist before.
  package mutating func note(_ path: [UInt8], isNew: Bool = false) {
    if isUnknown { return }
    if names[path] == nil { names[path] = isNew }
    if names.count > PendingChanges.limit { noteUnknown() }
  }

  /// Everything may have changed.
  package mutating func noteUnknown() {
    isUnknown = true
    names = [:]
  }

  /// Drops the names below a directory, except one of them.
  package mutating func forget(below path: [UInt8], but name: RawPath) {
    let prefix = path.isEmpty ? [] : path + [UInt8(ascii: "/")]
    names = names.filter {
      !$0.key.starts(with: prefix) || $0.key == path || $0.key == prefix + name.bytes
    }
  }

  /// The changes to report, in path order. A name that was created and deleted again is left out.
  ///
  /// - Parameter isThere: whether a path exists and would be in a backup.
  package func report(
    isThere: ([UInt8]) throws(Failure) -> Bool
  ) throws(Failure) -> [TreeChange] {
    if isUnknown { return [.everything] }
    var changes: [TreeChange] = []
    for path in names.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
      if path.isEmpty {
        changes.append(TreeChange(kind: .changed, path: [UInt8(ascii: ".")]))
      } else if try isThere(path) {
        changes.append(TreeChange(kind: .changed, path: path))
      } else if names[path] == false {
        changes.append(TreeChange(kind: .deleted, path: path))
      }
    }
    return changes
  }
}

/// Decides when a burst of changes is over. Times are monotonic nanoseconds.
package struct Debounce {
  private let quiet: Int64
  private let longest: Int64
  private var first: Int64?
  private var last: Int64 = 0

  /// - Parameters:
  ///   - quiet: the time without changes that ends a burst.
  ///   - longest: the longest time that the first change waits.
  package init(quiet: Int64, longest: Int64) {
    self.quiet = quiet
    self.longest = longest
  }

  package mutating func note(at now: Int64) {
    if first == nil { first = now }
    last = now
  }

  /// When to report; nil if there is nothing to report.
  package var due: Int64? { first.map { min(last + quiet, $0 + longest) } }
}
