import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// Compares a tree with a manifest, for example after a restore.
package struct ManifestCheck {
  /// What is wrong with an entry; one entry can have several problems.
  package enum Problem: String, Sendable {
    case missing, extra, content, type, mode, mtime, owner, link, xattr, hardlink
  }

  package var walk = WalkOptions()
  package var comparesOwner = true
  /// Whether set-id bits and privileged attributes must match the manifest.
  package var comparesPrivileges = true
  package var threads = 1
  package var progress: (Int) -> Void = { _ in }
  package var remark: (TreeWalker.Remark) -> Void = { _ in }

  package init() {}

  /// Reports each problem in path order, the directory itself first, as ".". Returns whether the whole tree could be
  /// read.
  package func run(
    _ manifest: Manifest, against directory: RawPath,
    report: (Problem, [UInt8]) throws(Failure) -> Void
  ) throws(Failure) -> Bool {
    // Creates a manifest of the tree, with hashes, and compares the two by merging sorted lists.
    var creation = ManifestCreation()
    creation.walk = walk
    creation.threads = threads
    creation.walksAhead = threads > 1
    creation.progress = progress
    creation.remark = remark
    let found = try creation.manifest(of: directory)
    let listed = SortedEntries(manifest.files)
    let present = SortedEntries(found.files)
    if let top = manifest.root, let here = found.root {
      for problem in problems(top, here) { try report(problem, [UInt8(ascii: ".")]) }
    }
    var (i, j) = (0, 0)
    while i < listed.count || j < present.count {
      let order = i == listed.count ? 1 : j == present.count ? -1 : listed.compare(i, present.path(j))
      if order < 0 {
        let path = listed.path(i)
        if !walk.rules.excludesPart(of: path, isDirectory: listed[i].type == .directory) {
          try report(.missing, path)
        }
        i += 1
      } else if order > 0 {
        // A directory that this manifest cannot list may still contain listed files.
        if manifest.tree.listsTypes || present[j].type != .directory {
          try report(.extra, present.path(j))
        }
        j += 1
      } else {
        for problem in problems(listed[i], present[j]) { try report(problem, listed.path(i)) }
        i += 1
        j += 1
      }
    }
    return (found.unreadable ?? []).isEmpty
  }

  private func problems(_ listed: ManifestEntry, _ found: ManifestEntry) -> [Problem] {
    if !listed.hasType, found.type == .symlink { return [] }
    guard listed.type == found.type else { return [.type] }
    var problems: [Problem] = []
    if listed.sha256 != nil, listed.size != found.size || listed.sha256 != found.sha256 {
      problems.append(.content)
    }
    if listed.linkTarget != found.linkTarget { problems.append(.link) }
    if listed.hardLink != found.hardLink, listed.hasType { problems.append(.hardlink) }
    let bits: UInt32 = comparesPrivileges ? 0o7777 : 0o1777
    if listed.type != .symlink, listed.mode & bits != found.mode & bits {
      problems.append(.mode)
    }
    if listed.mtime == nil ? listed.modifiedAt != found.modifiedAt : listed.mtime != found.mtime {
      problems.append(.mtime)
    }
    if comparesOwner, listed.hasType, listed.uid != found.uid || listed.gid != found.gid {
      problems.append(.owner)
    }
    if listed.hasType, compared(listed.xattrs) != compared(found.xattrs) { problems.append(.xattr) }
    return problems
  }

  /// The attributes that must match.
  private func compared(_ attributes: [ExtendedAttribute]) -> [ExtendedAttribute] {
    guard !comparesPrivileges else { return attributes }
    let privileged = ["security.", "trusted."].map { Array($0.utf8) }
    return attributes.filter { attribute in !privileged.contains { attribute.name.starts(with: $0) } }
  }
}
