import TBKCore

/// How an entry differs between two manifests.
package enum EntryChange: String, Sendable {
  case added, deleted
  /// Different content, or a different link target.
  case modified
  /// A file became a directory, a link a file, and so on.
  case type
  /// Different permissions.
  case mode
  /// A different time, owner or attribute, and none of the above.
  case metadata
}

/// Counts differing entries by kind.
package final class ChangeTally {
  private var added = 0
  private var modified = 0
  private var deleted = 0
  private var metadata = 0

  package init() {}

  package func count(_ change: EntryChange) {
    switch change {
    case .added: added += 1
    case .deleted: deleted += 1
    case .modified, .type, .mode: modified += 1
    case .metadata: metadata += 1
    }
  }

  /// For scripts: the numbers of added, modified (in content, type or permissions), deleted, and otherwise changed
  /// entries, separated by tabs.
  package var line: String { "\(added)\t\(modified)\t\(deleted)\t\(metadata)\n" }
}

package enum ManifestDiff {
  /// The sizes of a file before and after, in bytes; nil if it does not exist or is not a file.
  package typealias Sizes = (old: UInt64?, new: UInt64?)

  /// Reports each difference, in path order.
  package static func compare(
    _ old: Manifest, _ new: Manifest, _ report: (EntryChange, [UInt8]) throws(Failure) -> Void
  ) throws(Failure) {
    try compareSizes(old, new) { (change, path, _) throws(Failure) in try report(change, path) }
  }

  /// Likewise, with the sizes.
  package static func compareSizes(
    _ old: Manifest, _ new: Manifest, _ report: (EntryChange, [UInt8], Sizes) throws(Failure) -> Void
  ) throws(Failure) {
    // The tracker keeps its closure; it does not outlive this call.
    try withoutActuallyEscaping(report) { (report) throws(Failure) in
      let tracker = ChangeTracker(old, reportingSizes: report)
      let entries = SortedEntries(new.files)
      for position in 0..<entries.count { try tracker.note(entries[position]) }
      try tracker.finish()
    }
  }

  /// The most important difference between two entries with the same path, or nil.
  package static func change(_ old: ManifestEntry, _ new: ManifestEntry) -> EntryChange? {
    if old.type != new.type { return .type }
    if old.size != new.size || old.sha256 != new.sha256 || old.linkTarget != new.linkTarget
      || old.hardLink != new.hardLink
    {
      return .modified
    }
    if old.mode != new.mode { return .mode }
    if old.mtime != new.mtime || old.uid != new.uid || old.gid != new.gid || old.xattrs != new.xattrs {
      return .metadata
    }
    return nil
  }
}

/// Compares entries, added in path order, with an earlier manifest.
package final class ChangeTracker {
  private let old: SortedEntries
  private var next = 0
  private let report: (EntryChange, [UInt8], ManifestDiff.Sizes) throws(Failure) -> Void

  package convenience init(
    _ old: Manifest, report: @escaping (EntryChange, [UInt8]) throws(Failure) -> Void
  ) {
    self.init(old) { (change, path, _) throws(Failure) in try report(change, path) }
  }

  package init(
    _ old: Manifest,
    reportingSizes report: @escaping (EntryChange, [UInt8], ManifestDiff.Sizes) throws(Failure) -> Void
  ) {
    self.old = SortedEntries(old.files)
    self.report = report
  }

  package func note(_ entry: ManifestEntry) throws(Failure) {
    while next < old.count, old.compare(next, entry.path) < 0 { try passOver() }
    if next < old.count, old.compare(next, entry.path) == 0 {
      if !old.isPlainlyEqual(next, entry) {
        let former = old[next]
        if let change = ManifestDiff.change(former, entry) {
          try report(change, entry.path, (former.fileSize, entry.fileSize))
        }
      }
      next += 1
    } else {
      try report(.added, entry.path, (nil, entry.fileSize))
    }
  }

  /// Reports the rest of the earlier manifest as deleted.
  package func finish() throws(Failure) {
    while next < old.count { try passOver() }
  }

  private func passOver() throws(Failure) {
    try report(.deleted, old.path(next), (old[next].fileSize, nil))
    next += 1
  }
}

/// Entries in path order, whatever their order in the manifest.
package struct SortedEntries {
  private let files: EntryTable
  private let order: [UInt32]?

  package init(_ files: EntryTable) {
    self.files = files
    order = files.isSorted() ? nil : files.sortedIndices()
  }

  package var count: Int { files.count }
  private func index(_ position: Int) -> Int { order.map { Int($0[position]) } ?? position }
  package subscript(position: Int) -> ManifestEntry { files[index(position)] }
  package func path(_ position: Int) -> [UInt8] { files.path(index(position)) }
  func isPlainlyEqual(_ position: Int, _ entry: ManifestEntry) -> Bool {
    files.isPlainlyEqual(index(position), entry)
  }
  package func compare(_ position: Int, _ path: [UInt8]) -> Int {
    files.compare(index(position), path)
  }
}

extension ManifestEntry {
  fileprivate var fileSize: UInt64? { type == .file ? size : nil }
}
