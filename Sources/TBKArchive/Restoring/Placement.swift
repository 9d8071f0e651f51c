import CSystem
import Glibc
import TBKCore
import TBKFormat

/// What to do if something exists at the destination.
package enum OverwritePolicy: String, CaseIterable, Sendable {
  /// Refuse before anything is changed.
  case never
  /// Keep files whose content already matches, replace the others.
  case ifChanged = "if-changed"
  case always
}

/// Moves verified entries from the staging directory to the destination.
final class Placement {
  /// What happens to one path.
  enum Action: UInt8 {
    case skip, create, replace, conflict
    /// Exists and stays unchanged.
    case keep
    /// Exists and stays, but gets its metadata.
    case adjust
    /// Moved together with a directory above it.
    case within
    /// A directory that already exists and stays.
    case merge
  }

  /// Where entries are placed.
  struct Destination {
    let directory: Descriptor
    /// Its name in messages.
    let name: RawPath
    /// Whether it was created for this, and no one else can enter it yet.
    let isNew: Bool
  }

  let manifest: Manifest
  let destination: Destination
  let policy: OverwritePolicy
  let setter: MetadataSetter
  let loosening: Loosening
  private let wanted: (Int) -> Bool
  /// Whether an existing destination gets the metadata of the backup's root.
  let setsRoot: Bool
  /// Whether it gets at least the root's time: it was empty, so all its content is the backup's.
  let setsRootTime: Bool

  var actions: [Action] = []
  /// Directories that no manifest lists (TermBackup 6) and that do not exist: the topmost ones, which are moved as a
  /// whole, and all of them.
  var impliedTops: Set<[UInt8]> = []
  var implied: Set<[UInt8]> = []
  /// Directories in the destination that entries are moved into.
  var targets: Set<[UInt8]> = []
  /// Existing entries that stay, as they were when that was decided.
  var identities: [Int: TreeWalker.FileIdentity] = [:]
  /// The number of names of a file in the manifest, by the index of its first name.
  private var linkCounts: [Int: UInt64] = [:]
  /// Why the first conflicting entry cannot be replaced.
  private(set) var refusal: Failure?

  init(
    _ manifest: Manifest, wanted: @escaping (Int) -> Bool, destination: Destination,
    policy: OverwritePolicy, setsRoot: Bool, setsRootTime: Bool, setter: MetadataSetter,
    loosening: Loosening
  ) {
    self.manifest = manifest
    self.wanted = wanted
    self.destination = destination
    self.policy = policy
    self.setsRoot = setsRoot
    self.setsRootTime = setsRootTime
    self.setter = setter
    self.loosening = loosening
  }

  // MARK: Planning

  /// Examines the destination and decides what to do. Changes nothing except modes, which `loosening` restores.
  ///
  /// - Parameter looksOnly: whether not even modes may be changed.
  func plan(looksOnly: Bool = false) throws(Failure) {
    let chain = looksOnly ? DirectoryChain(root: destination.directory) : loosening.chain()
    countLinks()
    // The directories that exist in both trees; only in them can an entry conflict.
    var shared: Set<[UInt8]> = [[]]
    actions = []
    actions.reserveCapacity(manifest.files.count)
    for index in manifest.files.indices {
      guard wanted(index) else {
        actions.append(.skip)
        continue
      }
      let path = manifest.files.path(index)
      let slash = path.lastIndex(of: UInt8(ascii: "/"))
      let parent = slash.map { Array(path[..<$0]) } ?? []
      guard try isShared(parent, &shared, chain) else {
        try moveWhole(parent, &shared, chain)
        actions.append(.within)
        continue
      }
      let name = RawPath(slash.map { Array(path[($0 + 1)...]) } ?? path)
      let action = try decide(index, try directory(parent, chain), name)
      if action == .merge { shared.insert(path) }
      if action == .create || action == .replace { targets.insert(parent) }
      actions.append(action)
    }
    if policy == .ifChanged { try keepLinksTogether(chain) }
    try refuseClosed(chain)
  }

  private func countLinks() {
    for index in manifest.files.indices where manifest.files.isHardLink(index) {
      guard let first = manifest.files[index].hardLink, let target = manifest.files.find(first)
      else { continue }
      linkCounts[target, default: 1] += 1
    }
  }

  /// Hard links stay only if all wanted names of the file stay and are one file: replacing only some of them would
  /// separate them.
  private func keepLinksTogether(_ chain: DirectoryChain) throws(Failure) {
    var groups: [Int: [Int]] = [:]
    for index in manifest.files.indices where manifest.files.isHardLink(index) {
      guard let first = manifest.files[index].hardLink, let target = manifest.files.find(first)
      else { continue }
      groups[target, default: [target]].append(index)
    }
    for group in groups.values {
      let names = group.filter { actions[$0] != .skip }
      var found: Set<TreeWalker.FileIdentity> = []
      for index in names where stays(index) {
        let (directory, name) = try chain.parent(of: manifest.files.path(index))
        guard let facts = try directory.statusIfPresent(of: name) else { continue }
        found.insert(TreeWalker.FileIdentity(facts))
      }
      if found.count == 1, names.allSatisfy({ stays($0) }) { continue }
      for index in names where stays(index) {
        actions[index] = .replace
        targets.insert(RawPath(manifest.files.path(index)).parentInTree)
      }
    }
  }

  private func stays(_ index: Int) -> Bool { actions[index] == .keep || actions[index] == .adjust }

  /// Whether a directory exists in the destination. Looks it up only if the manifest does not list it.
  private func isShared(
    _ path: [UInt8], _ shared: inout Set<[UInt8]>, _ chain: DirectoryChain
  ) throws(Failure) -> Bool {
    if shared.contains(path) { return true }
    if implied.contains(path) || isListed(path) { return false }
    do throws(Failure) {
      _ = try chain.directory(path)
      shared.insert(path)
      return true
    } catch {
      if error.code == .inputMissing { return false }
      throw error.code == .denied
        ? refused(path, error)
        : Failure(
          .cannotCreate, "\(RawPath(path).display) in the destination is not a directory",
          hint: "nothing was changed; move it away")
    }
  }

  private func isListed(_ path: [UInt8]) -> Bool {
    manifest.tree.listsTypes && manifest.files.find(path) != nil
  }

  /// Records which missing directory will be moved as a whole, for an entry in the directory `path`.
  private func moveWhole(
    _ path: [UInt8], _ shared: inout Set<[UInt8]>, _ chain: DirectoryChain
  ) throws(Failure) {
    var path = path
    while !implied.contains(path) {
      let isListed = isListed(path)
      if !isListed { implied.insert(path) }
      let above = RawPath(path).parentInTree
      if try isShared(above, &shared, chain) {
        if !isListed {
          impliedTops.insert(path)
          targets.insert(above)
        }
        return
      }
      // The parents of a listed directory are listed, or were recorded in its own turn.
      if isListed { return }
      path = above
    }
  }

  private func directory(_ path: [UInt8], _ chain: DirectoryChain) throws(Failure) -> Descriptor {
    do throws(Failure) {
      return try chain.directory(path)
    } catch {
      throw error.code == .denied ? refused(path, error) : error
    }
  }

  /// The failure for a directory of the destination that may not be opened.
  private func refused(_ path: [UInt8], _ failure: Failure) -> Failure {
    Failure(
      .cannotCreate, "cannot open the directory \(shown(path)): \(failure.reason)",
      hint: "nothing was changed")
  }

  /// The name of a directory of the destination in messages.
  func shown(_ path: [UInt8]) -> String {
    path.isEmpty ? destination.name.display : RawPath(path).display
  }

  private func decide(
    _ index: Int, _ directory: Descriptor, _ name: RawPath
  ) throws(Failure) -> Action {
    guard let facts = try directory.statusIfPresent(of: name) else { return .create }
    let isDirectory = facts.st_mode & S_IFMT == S_IFDIR
    if manifest.files.type(index) == .directory, isDirectory {
      identities[index] = TreeWalker.FileIdentity(facts)
      return .merge
    }
    switch policy {
    case .never: return conflict(index, "exists in the destination", "--overwrite if-changed replaces what differs")
    case .always: break
    case .ifChanged:
      if !isDirectory, let action = try compare(index, directory, name) { return action }
    }
    if isDirectory, !isEmpty(name, in: directory) {
      return conflict(
        index, "is a directory in the destination that is not empty", "move it away")
    }
    if let reason = try whatHolds(facts, name, in: directory) {
      return conflict(index, "cannot be replaced: \(reason)", nil)
    }
    return .replace
  }

  private func conflict(_ index: Int, _ what: String, _ hint: String?) -> Action {
    if refusal == nil {
      refusal = Failure(
        .cannotCreate, "\(RawPath(manifest.files.path(index)).display) \(what)",
        hint: "nothing was changed" + (hint.map { "; \($0)" } ?? ""))
    }
    return .conflict
  }

  private func isEmpty(_ name: RawPath, in directory: Descriptor) -> Bool {
    let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
    guard let found = try? directory.openIfPresent(name, flags) else { return false }
    return (try? found.names().isEmpty) ?? false
  }

  /// Why a name cannot be replaced, as far as that can be known in advance.
  private func whatHolds(
    _ facts: stat, _ name: RawPath, in directory: Descriptor
  ) throws(Failure) -> String? {
    let above = try directory.status()
    let user = geteuid()
    if above.st_mode & S_ISVTX != 0, user != 0, above.st_uid != user, facts.st_uid != user {
      return "it belongs to somebody else"
    }
    let what = try unsafe name.withCString { (text) throws(Failure) in
      unsafe tbk_what_holds(directory.number, text)
    }
    return what == 1 ? "it is immutable" : what == 2 ? "it is a mount point" : nil
  }

  /// What happens to an existing entry that is replaced only if it differs; nil if it differs.
  private func compare(
    _ index: Int, _ directory: Descriptor, _ name: RawPath
  ) throws(Failure) -> Action? {
    let entry = manifest.files[index]
    guard let facts = try directory.statusIfPresent(of: name),
      FileFacts.type(ofMode: facts.st_mode) == entry.type
    else { return nil }
    switch entry.type {
    case .directory: return nil
    case .symlink:
      let isSame = try directory.readLink(name).bytes == entry.linkTarget
      return isSame && !setter.differs(entry, fromLink: facts) ? .keep : nil
    case .file:
      guard UInt64(clamping: facts.st_size) == entry.size,
        let (file, opened) = try? openRegularFile(name, in: directory),
        try hashOfFile(file) == entry.sha256
      else { return nil }
      guard try setter.differs(entry, from: file) else { return .keep }
      // A file that gets another owner or a privilege is replaced, because other processes may have the old one open.
      // So is a file with other names outside the backup, which keep their metadata.
      let names = linkCounts[entry.hardLink.flatMap { manifest.files.find($0) } ?? index] ?? 1
      if try setter.isReplaced(entry, file) || UInt64(opened.st_nlink) != names { return nil }
      identities[index] = TreeWalker.FileIdentity(opened)
      return .adjust
    }
  }

  /// Throws, before anything is changed, if the destination does not let us write.
  private func refuseClosed(_ chain: DirectoryChain) throws(Failure) {
    for path in targets.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
      let directory = try directory(path, chain)
      var number: Int32 = 0
      if unsafe tbk_what_holds(directory.number, "") == 1 {
        number = EPERM
      } else if tbk_may_write(directory.number) != 0 {
        number = errno
        if number == EACCES, Loosening.canLoosen(try directory.status()) { number = 0 }
      }
      if number != 0 {
        let reason = unsafe String(cString: strerror(number))
        throw Failure(
          .cannotCreate, "cannot write to the directory \(shown(path)): \(reason)",
          hint: "nothing was changed")
      }
    }
  }
}

extension RawPath {
  /// The path of its parent directory in the tree; empty for the root.
  fileprivate var parentInTree: [UInt8] {
    bytes.lastIndex(of: UInt8(ascii: "/")).map { Array(bytes[..<$0]) } ?? []
  }
}
