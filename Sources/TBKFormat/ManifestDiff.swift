import TBKCore

/// How an entry of one manifest differs from that of another.
package enum EntryChange: String, Sendable {
  case added, deleted
  /// Other content, or another target of a link.
  case modified
  /// A file became a directory, a link a file, and so on.
  case type
  /// Other permissions.
  case mode
  /// Another time, owner or attribute, and nothing of the above.
  case metadata
}

package enum ManifestDiff {
  /// Tells of each difference, in the order of the paths.
  package static func compare(
    _ old: Manifest, _ new: Manifest, _ tell: (EntryChange, [UInt8]) throws(Failure) -> Void
  ) throws(Failure) {
    let left = SortedEntries(old.files)
    let right = SortedEntries(new.files)
    var (i, j) = (0, 0)
    while i < left.count || j < right.count {
      let order = i == left.count ? 1 : j == right.count ? -1 : left.compare(i, right.path(j))
      if order < 0 {
        try tell(.deleted, left.path(i))
        i += 1
      } else if order > 0 {
        try tell(.added, right.path(j))
        j += 1
      } else {
        if let change = change(left[i], right[j]) { try tell(change, left.path(i)) }
        i += 1
        j += 1
      }
    }
  }

  /// The weightiest difference between two entries of one path.
  private static func change(_ old: ManifestEntry, _ new: ManifestEntry) -> EntryChange? {
    if old.type != new.type { return .type }
    if old.size != new.size || old.sha256 != new.sha256 || old.linkTarget != new.linkTarget
      || old.hardLink != new.hardLink
    {
      return .modified
    }
    if old.mode != new.mode { return .mode }
    if old.mtime != new.mtime || old.uid != new.uid || old.gid != new.gid || old.xattrs != new.xattrs
    {
      return .metadata
    }
    return nil
  }
}

/// Entries in the order of their paths, whatever order the manifest has them in.
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
  package func compare(_ position: Int, _ path: [UInt8]) -> Int {
    files.compare(index(position), path)
  }
}
