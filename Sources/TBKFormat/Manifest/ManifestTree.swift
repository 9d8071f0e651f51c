import TBKCore

/// How a manifest lists its tree, and what it proves.
///
/// There are two kinds of manifests: ours, and those of TermBackup 6 (tbk(5), "TermBackup 6"). Code that reads,
/// verifies or restores a backup depends on its tree, not on who wrote the manifest.
package protocol ManifestTree: Sendable {
  /// Whether every entry has a type. If not, only files are listed: directories follow from the paths, and a symbolic
  /// link has the metadata of its target.
  var listsTypes: Bool { get }

  /// Whether an incremental backup lists the whole tree. If not, it lists the changes since its parent, and its tree is
  /// known only after it is overlaid on all earlier backups.
  var listsWholeTree: Bool { get }

  /// Whether "manifest.json" in the tar is only the manifest. If not, a file of the tree may have that name too.
  var reservesManifestName: Bool { get }

  /// Whether such backups are only read: never created, consolidated, used as a parent, or sealed in suite 3 or age.
  var isReadOnly: Bool { get }

  /// Whether the id of a backup can be recomputed from its manifest.
  func provesID(of manifest: Manifest) -> Bool

  /// The backups that are needed to restore this one; the last of them may need others.
  func neededIDs(of manifest: Manifest) -> [String]

  /// Checks the order of the entries, and fields that are required or forbidden for this kind of tree. Throws
  /// `.malformed`.
  func checkEntries(of manifest: Manifest) throws(Failure)

  /// Compares an authenticated manifest with the ledger's claims about a backup of this kind. Throws `.integrity`.
  func check(_ manifest: Manifest, against facts: BackupClaims.Facts, id: String) throws(Failure)
}

extension Manifest {
  /// How this manifest lists its tree.
  package var tree: any ManifestTree { isTermBackup6 ? TermBackup6Tree() : WholeTree() }
}

/// The tree of our own manifests: every backup lists all entries, with their types.
package struct WholeTree: ManifestTree {
  package init() {}

  package var listsTypes: Bool { true }
  package var listsWholeTree: Bool { true }
  package var reservesManifestName: Bool { true }
  package var isReadOnly: Bool { false }

  package func provesID(of manifest: Manifest) -> Bool { true }
  package func neededIDs(of manifest: Manifest) -> [String] { manifest.dependsOn }

  package func checkEntries(of manifest: Manifest) throws(Failure) {
    guard manifest.files.isSorted() else {
      throw Failure(.malformed, "the manifest is not sorted by the bytes of its paths")
    }
    try manifest.checkStoredNames()
  }

  package func check(
    _ manifest: Manifest, against facts: BackupClaims.Facts, id: String
  ) throws(Failure) {
    guard facts.fileCount == UInt64(manifest.fileCount) else {
      throw facts.differ("file_count", String(facts.fileCount), String(manifest.fileCount), id: id)
    }
    let needed = Set(manifest.dependsOn)
    guard facts.dependsOn == needed else {
      func list(_ ids: Set<String>) -> String {
        ids.isEmpty ? "none" : ids.sorted().map { String($0.prefix(12)) }.joined(separator: ", ")
      }
      throw facts.differ("depends_on", list(facts.dependsOn), list(needed), id: id)
    }
  }
}

/// The tree of TermBackup 6's manifests: only files, and in an incremental backup only changed ones.
package struct TermBackup6Tree: ManifestTree {
  package init() {}

  package var listsTypes: Bool { false }
  package var listsWholeTree: Bool { false }
  package var reservesManifestName: Bool { false }
  package var isReadOnly: Bool { true }

  /// TermBackup 6 computed the id of an incremental backup over a list that is not stored.
  package func provesID(of manifest: Manifest) -> Bool { manifest.mode != "incremental" }

  package func neededIDs(of manifest: Manifest) -> [String] {
    manifest.parentBackupID.map { [$0] } ?? []
  }

  /// Its entries need not be sorted. They must be plain files, stored in this archive.
  package func checkEntries(of manifest: Manifest) throws(Failure) {
    let files = manifest.files
    for index in files.indices {
      let isPlain =
        !files.hasType(index) && files.storedIn(index) == nil
        && (!files.isRare(index)
          || files[index].hardLink == nil && files[index].linkTarget == nil
            && files[index].storedAs == nil)
      guard isPlain else {
        throw Failure(
          .malformed, "\(RawPath(files.path(index)).display) has a field that no manifest 1.0 has")
      }
    }
  }

  /// Its ledger counts other things and has no dependencies. But an entry of TermBackup 6 has no mode: with a mode, the
  /// ledger contradicts this manifest, which proves less than ours.
  package func check(
    _ manifest: Manifest, against facts: BackupClaims.Facts, id: String
  ) throws(Failure) {
    guard facts.mode == nil else {
      throw Failure(
        .integrity, "the ledger does not say that TermBackup 6 made backup \(id.prefix(12)), and the archive does",
        hint: "the store exchanged one backup for another")
    }
  }
}
