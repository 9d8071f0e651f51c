import Glibc
import TBKCore
import TBKFormat

/// What a walk excludes.
package struct WalkOptions: Sendable {
  package var rules = IgnoreRules()
  /// Excludes the content of directories with a valid CACHEDIR.TAG, except the tag itself.
  package var excludesCaches = false
  /// Stays on the file system of the root; mount points are kept as empty directories.
  package var oneFileSystem = false
  /// Excludes regular files larger than this, in bytes.
  package var largestFile: UInt64 = .max

  package init() {}
}

/// Visits a tree in the order of its paths as raw bytes, without following links.
package final class TreeWalker {
  /// An entry, and where its file can be opened.
  package struct Visit {
    package var entry: ManifestEntry
    /// Its directory.
    package let directory: Descriptor
    package let name: RawPath
    /// Whether the file has more names than this one.
    package let isLinked: Bool
  }

  /// Something that is not part of the backup, and why.
  package enum Remark: Sendable {
    /// It could not be read, so the backup is not complete.
    case unreadable(UnreadableEntry)
    /// It is of a kind that is not backed up.
    case skipped(path: [UInt8], what: String)
    /// A pattern that would re-include something below an excluded directory, which has no effect with git's semantics.
    /// Reported once per pattern.
    case ineffective(pattern: [UInt8], directory: [UInt8])
  }

  private let options: WalkOptions
  private let names = AccountNames()
  private let remark: (Remark) -> Void
  private let wantsAttributes: Bool
  /// Returns the attributes of an entry that are already known, to avoid reading them: they cannot change without its
  /// `ctime`.
  private let knownAttributes: (ManifestEntry) -> [ExtendedAttribute]?
  private var hardLinks: [FileIdentity: [UInt8]] = [:]

  /// Identifies a file, whatever its name.
  struct FileIdentity: Hashable {
    let device: UInt64
    let inode: UInt64

    init(_ facts: stat) { (device, inode) = (UInt64(facts.st_dev), UInt64(facts.st_ino)) }
  }

  /// - Parameter wantsAttributes: whether to read extended attributes.
  package init(
    _ options: WalkOptions, wantsAttributes: Bool = true,
    knownAttributes: @escaping (ManifestEntry) -> [ExtendedAttribute]? = { _ in nil },
    remark: @escaping (Remark) -> Void
  ) {
    self.options = options
    self.wantsAttributes = wantsAttributes
    self.knownAttributes = knownAttributes
    self.remark = remark
  }

  /// The root's own metadata, as the manifest's `root`.
  package func rootEntry(_ root: Descriptor) throws(Failure) -> ManifestEntry {
    let facts = try root.status()
    var entry = try ManifestEntry(path: [], type: .directory, facts: facts, names: names)
    entry.xattrs = try FileFacts.attributes(of: RawPath([]), in: root)
    return entry
  }

  /// Visits everything below `root`. An error of `visit` ends the walk.
  ///
  /// - Parameter ahead: whether a second thread walks ahead.
  package func walk(
    _ root: Descriptor, ahead: Bool = false, visit: (Visit) throws(Failure) -> Void
  ) throws(Failure) {
    let scout = try TreeScout(root, options, wantsAttributes: wantsAttributes)
    guard ahead else {
      while let findings = try scout.next() { try pass(findings, to: visit) }
      return
    }
    let findings = try Ahead(depth: 3) { () throws(Failure) in try scout.next() }
    while let some = try findings.next() { try pass(some, to: visit) }
  }

  private func pass(
    _ findings: [TreeScout.Finding], to visit: (Visit) throws(Failure) -> Void
  ) throws(Failure) {
    for finding in findings {
      switch finding {
      case .remark(let what): remark(what)
      case .name(let name):
        if let seen = try entry(name) { try visit(seen) }
      }
    }
  }

  /// The entry for a name; nil if it cannot be read.
  private func entry(_ name: TreeScout.Name) throws(Failure) -> Visit? {
    var entry = try ManifestEntry(path: name.path, type: name.type, facts: name.facts, names: names)
    entry.linkTarget = name.target
    do throws(Failure) {
      if let known = name.attributes ?? knownAttributes(entry) {
        entry.xattrs = known
      } else if wantsAttributes {
        entry.xattrs = try FileFacts.attributes(of: name.name, in: name.directory)
      }
    } catch {
      if error.isOfProcess { throw error }
      remark(.unreadable(UnreadableEntry(path: name.path, reason: error.reason)))
      return nil
    }
    let isLinked = name.type == .file && name.facts.st_nlink > 1
    if isLinked {
      let identity = FileIdentity(name.facts)
      if let first = hardLinks[identity] {
        entry.hardLink = first
      } else {
        hardLinks[identity] = name.path
      }
    }
    return Visit(entry: entry, directory: name.directory, name: name.name, isLinked: isLinked)
  }
}
