import TBKCore

/// What a backup says of itself and of the tree it was made from (tbk(5), "Manifest").
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
  /// Null in what tbk-manifest prints; set by tbk-seal.
  package var backupID: String?
  /// 16 random bytes in hex, so that the public id tells nothing about guessable content.
  package var nonce: String?
  /// The group of the store that the backup was made for; nil where it is not known.
  package var group: String?
  /// Absolute; where tbk-seal reads.
  package var sourceDirectory: [UInt8]?
  /// The source directory's own metadata, which is not in the tar.
  package var root: ManifestEntry?
  /// What could not be read; nil where a manifest does not say.
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

  /// Whether TermBackup 6 wrote it, whose manifests differ (tbk(5), "TermBackup 6").
  package var isTermBackup6: Bool { version == "1.0" }

  /// Whether the id cannot be computed again: TermBackup 6 computed that of an increment over a list that is not stored.
  package var hasUnprovenID: Bool { isTermBackup6 && mode == "incremental" }

  /// The distinct backups that hold content of this one, in order of first use.
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

  /// The backups that have to be at hand to restore this one: of an increment of TermBackup 6 the
  /// one that it was made over, which may need another.
  package var neededIDs: [String] {
    isTermBackup6 ? parentBackupID.map { [$0] } ?? [] : dependsOn
  }

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

  /// Checks what holds between the entries; each entry alone has been checked when it was parsed.
  ///
  /// Sorted (but TermBackup 6's need not be), no path twice, nothing below what is not a directory,
  /// hard links to earlier regular files of the same content only; the names in the tar likewise.
  /// Throws `.malformed`.
  package func validate() throws(Failure) {
    guard isTermBackup6 || files.isSorted() else {
      throw Failure(.malformed, "the manifest is not sorted by the bytes of its paths")
    }
    let order = files.isSorted() ? nil : files.sortedIndices()
    if isTermBackup6 { try refuseForeignFields() } else { try checkStoredNames() }
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
