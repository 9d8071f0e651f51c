import TBKCore

/// Describes a backup and the tree it was made from (tbk(5), "Manifest").
package struct Manifest: Sendable {
  /// "2.0" from us, "1.0" from TermBackup 6.
  package var version: String
  package var osName: String
  package var architecture: String
  /// UTC, microseconds, `+00:00`.
  package var createdAt: String
  /// "full" or "incremental".
  package var mode: String
  package var parentBackupID: String?
  /// Null in the output of tbk-manifest; set by tbk-seal.
  package var backupID: String?
  /// 16 random bytes in hex, so that the public id reveals nothing about guessable content.
  package var nonce: String?
  /// The group in the store that the backup was made for; nil if unknown.
  package var group: String?
  /// The absolute path of the directory that tbk-seal reads.
  package var sourceDirectory: [UInt8]?
  /// The source directory's own metadata, which is not in the tar.
  package var root: ManifestEntry?
  /// Entries that could not be read; nil if the manifest does not record them.
  package var unreadable: [UnreadableEntry]?
  package var extras: [ManifestEntry.Extra] = []
  package var files = EntryTable()

  package init(
    version: String = Manifest.currentVersion, osName: String, architecture: String,
    createdAt: String, mode: String
  ) {
    self.version = version
    self.osName = osName
    self.architecture = architecture
    self.createdAt = createdAt
    self.mode = mode
  }

  package static let currentVersion = "2.0"
  package static let fileName = Array("manifest.json".utf8)

  /// Whether TermBackup 6 wrote it; see `tree` for the differences.
  package var isTermBackup6: Bool { version == "1.0" }

  /// Whether the id cannot be recomputed.
  package var hasUnprovenID: Bool { !tree.provesID(of: self) }

  /// Whether the tree is known only after this backup is overlaid on its parents.
  package var isOverlay: Bool { !tree.listsWholeTree && parentBackupID != nil }

  /// The other backups that hold content of this one, in order of first use.
  package var dependsOn: [String] {
    var seen: Set<String> = []
    var order: [String] = []
    for index in files.indices {
      if let id = files.storedIn(index), seen.insert(id).inserted { order.append(id) }
    }
    return order
  }

  /// The backup that holds the content of a path; nil if it is this one, or there is no such path.
  package func holder(of path: [UInt8]) -> String? {
    let order = files.isSorted() ? nil : files.sortedIndices()
    guard let index = files.find(path, order: order) else { return nil }
    if let id = files.storedIn(index) { return id }
    guard files.isHardLink(index), let first = files[index].hardLink,
      let target = files.find(first, order: order)
    else { return nil }
    return files.storedIn(target)
  }

  /// The backups that are needed to restore this one; the last of them may need others.
  package var neededIDs: [String] { tree.neededIDs(of: self) }

  /// Entries of type file, hard links included.
  package var fileCount: Int { files.indices.count { files.type($0) == .file } }

  /// The bytes of all files, each hard link counted once.
  package var totalSize: UInt64 {
    var total: UInt64 = 0
    for index in files.indices where !files.isHardLink(index) {
      total = total.addingReportingOverflow(files.size(index)).partialValue
    }
    return total
  }

  /// Checks the relations between entries; each single entry was checked when it was parsed.
  ///
  /// The rules of its `tree`, no path twice, nothing below something that is not a directory, and hard links only to
  /// earlier regular files with the same content. Throws `.malformed`.
  package func validate() throws(Failure) {
    try tree.checkEntries(of: self)
    let order = files.isSorted() ? nil : files.sortedIndices()
    var nesting = PathNesting()
    for position in files.indices {
      if position % 1024 == 0 { try Interruption.check() }
      let index = order.map { Int($0[position]) } ?? position
      let path = files.path(index)
      let above = nesting.add(path, index)
      if above?.relation == .same {
        throw Failure(.malformed, "the manifest lists \(RawPath(path).display) twice")
      }
      if let above, above.relation == .below, files.type(above.index) != .directory {
        throw Failure(
          .malformed, "the manifest lists \(RawPath(path).display) below something that is not a directory")
      }
      try checkHardLink(index, path, order: order)
    }
  }

  private func checkHardLink(
    _ index: Int, _ path: [UInt8], order: [UInt32]?
  ) throws(Failure) {
    guard files.isHardLink(index) else { return }
    let entry = files[index]
    guard let target = entry.hardLink, let found = files.find(target, order: order), found < index
    else {
      throw Failure(
        .malformed, "\(RawPath(path).display) is a hard link to something that does not come before it")
    }
    let first = files[found]
    guard first.type == .file, first.hardLink == nil, entry.type == .file,
      first.sha256 == entry.sha256, first.size == entry.size
    else {
      throw Failure(
        .malformed, "\(RawPath(path).display) is a hard link to something that differs from it")
    }
  }
}
