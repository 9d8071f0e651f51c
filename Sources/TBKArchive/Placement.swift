import Glibc
import TBKCore
import TBKFormat

/// What to do where something is already.
package enum OverwritePolicy: String, CaseIterable, Sendable {
  /// Refuse before anything is changed.
  case never
  /// Keep files whose content is what it should be, replace the others.
  case ifChanged = "if-changed"
  case always
}

/// How metadata is restored.
package struct MetadataOptions: Sendable {
  /// Owner and group; only root can.
  package var owner = true
  /// Ids as stored, whatever the names are here.
  package var numericOwner = false
  /// Set-user-id and set-group-id bits.
  package var setID = false

  package init() {}
}

/// Moves verified entries out of the staging directory to where they belong.
final class Placement {
  /// What becomes of one path.
  enum Action: UInt8 {
    case skip, create, replace, keep, conflict
    /// Came along when the directory above it was moved.
    case within
    /// A directory that is there already and stays.
    case merge
  }

  private let manifest: Manifest
  private let wanted: (Int) -> Bool
  private let destination: Descriptor
  private let policy: OverwritePolicy
  private let metadata: MetadataOptions
  private let warn: (String) -> Void
  private let accounts = AccountNames()
  private let isRoot = geteuid() == 0
  private(set) var actions: [Action] = []
  /// Whether everything that was asked for could be set.
  private(set) var isExact = true
  private var warned: Set<String> = []

  init(
    _ manifest: Manifest, wanted: @escaping (Int) -> Bool, destination: Descriptor,
    policy: OverwritePolicy, metadata: MetadataOptions, warn: @escaping (String) -> Void
  ) {
    self.manifest = manifest
    self.wanted = wanted
    self.destination = destination
    self.policy = policy
    self.metadata = metadata
    self.warn = warn
  }

  // MARK: Planning

  /// Looks at the destination and decides what will happen, without changing anything.
  func plan() throws(Failure) {
    let chain = DirectoryChain(root: destination)
    // The directories that are in both trees; only below them can anything be in the way.
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
        actions.append(movesWhole(parent) ? .within : .create)
        continue
      }
      let name = RawPath(slash.map { Array(path[($0 + 1)...]) } ?? path)
      let action = try decide(index, try chain.directory(parent), name)
      if action == .merge { shared.insert(path) }
      actions.append(action)
    }
    if policy == .ifChanged { try keepLinksTogether(chain) }
  }

  /// The names of one file stay only if all that are wanted do, as names of one file: a part of
  /// them, replaced, would come off the rest.
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
      for index in names where actions[index] == .keep {
        let (directory, name) = try chain.parent(of: manifest.files.path(index))
        guard let facts = try directory.statusIfPresent(of: name) else { continue }
        found.insert(TreeWalker.FileIdentity(facts))
      }
      if found.count == 1, names.allSatisfy({ actions[$0] == .keep }) { continue }
      for index in names where actions[index] == .keep { actions[index] = .replace }
    }
  }

  /// Whether a directory exists in the destination. TermBackup 6's manifests do not list
  /// directories: those are looked up.
  private func isShared(
    _ path: [UInt8], _ shared: inout Set<[UInt8]>, _ chain: DirectoryChain
  ) throws(Failure) -> Bool {
    if shared.contains(path) { return true }
    if isListed(path) { return false }
    do throws(Failure) {
      _ = try chain.directory(path)
      shared.insert(path)
      return true
    } catch {
      if error.code == .inputMissing { return false }
      throw Failure(
        .cannotCreate, "\(RawPath(path).display) in the destination is not a directory")
    }
  }

  private func isListed(_ path: [UInt8]) -> Bool {
    !manifest.isTermBackup6 && manifest.files.find(path) != nil
  }

  /// Whether a directory on the way to `path`, or `path` itself, is listed: it is moved with
  /// everything below it.
  private func movesWhole(_ path: [UInt8]) -> Bool {
    var above = path[...]
    while !above.isEmpty {
      if isListed(Array(above)) { return true }
      above = above[..<(above.lastIndex(of: UInt8(ascii: "/")) ?? 0)]
    }
    return false
  }

  private func decide(
    _ index: Int, _ directory: Descriptor, _ name: RawPath
  ) throws(Failure) -> Action {
    guard let facts = try directory.statusIfPresent(of: name) else { return .create }
    let isDirectory = facts.st_mode & S_IFMT == S_IFDIR
    if manifest.files.type(index) == .directory {
      if isDirectory { return .merge }
    } else if isDirectory {
      return .conflict
    }
    switch policy {
    case .never: return .conflict
    case .always: return .replace
    case .ifChanged: return try isSame(index, directory, name, facts) ? .keep : .replace
    }
  }

  private func isSame(
    _ index: Int, _ directory: Descriptor, _ name: RawPath, _ facts: stat
  ) throws(Failure) -> Bool {
    let entry = manifest.files[index]
    guard FileFacts.type(ofMode: facts.st_mode) == entry.type else { return false }
    switch entry.type {
    case .directory: return true
    case .symlink: return try directory.readLink(name).bytes == entry.linkTarget
    case .file:
      guard UInt64(clamping: facts.st_size) == entry.size,
        let (file, _) = try? openRegularFile(name, in: directory)
      else { return false }
      return try hashOfFile(file) == entry.sha256
    }
  }

  /// The first path that is in the way, if there is one.
  var conflict: [UInt8]? {
    actions.firstIndex(of: .conflict).map { manifest.files.path($0) }
  }

  // MARK: Moving

  /// Gives every staged file its metadata and moves everything into place.
  func place(from staging: Staging) throws(Failure) {
    for index in manifest.files.indices
    where isStaged(index) && manifest.files.type(index) != .directory {
      try Interruption.check()
      let entry = manifest.files[index]
      let (directory, name) = try staging.chain.parent(of: stagedName(entry))
      try apply(entry, to: name, in: directory)
    }
    // Directories that no manifest lists are made as any program would make them.
    let target = DirectoryChain(root: destination, missing: .create(mode: 0o777))
    for index in manifest.files.indices {
      let action = actions[index]
      guard action == .create || action == .replace else { continue }
      let entry = manifest.files[index]
      if entry.type == .directory, action == .replace {
        let (directory, name) = try target.parent(of: entry.path)
        try directory.unlink(name)
      }
      let (from, staged) = try staging.chain.parent(of: stagedName(entry))
      let (to, name) = try target.parent(of: entry.path)
      do throws(Failure) {
        try from.rename(staged, to: to, name, replacing: action == .replace)
      } catch {
        throw error.within(RawPath(entry.path).display)
      }
      if entry.type == .directory { staging.chain.forget() }
    }
  }

  /// Sets the metadata of kept files, and of directories from the deepest up.
  ///
  /// - Parameter root: whether the destination itself gets the metadata of the backup's root.
  func setMetadataInPlace(root: Bool) throws(Failure) {
    let chain = DirectoryChain(root: destination)
    for index in manifest.files.indices.reversed() {
      let isDirectory = manifest.files.type(index) == .directory
      switch actions[index] {
      case .keep: break
      case .create, .replace, .within, .merge: if !isDirectory { continue }
      case .skip, .conflict: continue
      }
      try Interruption.check()
      let entry = manifest.files[index]
      let (directory, name) = try chain.parent(of: entry.path)
      try apply(entry, to: name, in: directory)
    }
    if root, let entry = manifest.root { try apply(entry, to: RawPath("."), in: destination) }
  }

  private func isStaged(_ index: Int) -> Bool {
    switch actions[index] {
    case .create, .replace, .within: true
    case .skip, .keep, .conflict, .merge: false
    }
  }

  private func stagedName(_ entry: ManifestEntry) -> [UInt8] {
    manifest.isTermBackup6 ? entry.path : entry.tarName
  }

  // MARK: Metadata

  /// Owner first, because changing it clears set-id bits and capabilities; times last.
  private func apply(
    _ entry: ManifestEntry, to name: RawPath, in directory: Descriptor
  ) throws(Failure) {
    guard let facts = try directory.statusIfPresent(of: name) else {
      throw Failure(.io, "\(RawPath(entry.path).display) has vanished from the destination")
    }
    // TermBackup 6 lists the target of a link: its metadata is not the link's.
    let isLink = facts.st_mode & S_IFMT == S_IFLNK
    if manifest.isTermBackup6, isLink { return }
    try unsafe name.withCString { (text) throws(Failure) in
      if isRoot, metadata.owner, let owner = owner(of: entry) {
        let result = unsafe fchownat(
          directory.number, text, owner.user, owner.group, AT_SYMLINK_NOFOLLOW)
        if result != 0 { complain("owner", entry.path) }
      }
      for attribute in entry.xattrs {
        do throws(Failure) {
          try FileFacts.setAttribute(attribute, of: name, in: directory)
        } catch {
          complain("attribute \(RawPath(attribute.name).display)", entry.path)
        }
      }
      if !isLink {
        let bits = entry.mode & (metadata.setID ? 0o7777 : 0o1777)
        if try FileFacts.setMode(bits, of: name, in: directory) != 0 { complain("mode", entry.path) }
      }
      if let modification = entry.modification {
        var (seconds, rest) = modification.quotientAndRemainder(dividingBy: 1_000_000_000)
        if rest < 0 { (seconds, rest) = (seconds - 1, rest + 1_000_000_000) }
        let time = timespec(tv_sec: Int(seconds), tv_nsec: Int(rest))
        let times = [timespec(tv_sec: 0, tv_nsec: 0x3fff_ffff /* UTIME_NOW */), time]
        if unsafe utimensat(directory.number, text, times, AT_SYMLINK_NOFOLLOW) != 0 {
          complain("time", entry.path)
        }
      }
    }
  }

  /// By name where this system knows it, else by id.
  private func owner(of entry: ManifestEntry) -> (user: UInt32, group: UInt32)? {
    guard entry.uid != nil || entry.gid != nil else { return nil }
    var user = entry.uid ?? .max
    var group = entry.gid ?? .max
    if !metadata.numericOwner {
      if let name = entry.user, let id = accounts.userID(name) { user = id }
      if let name = entry.group, let id = accounts.groupID(name) { group = id }
    }
    return (user, group)
  }

  /// Each kind of trouble is told once: a file system without attributes has none for any file.
  private func complain(_ what: String, _ path: [UInt8]) {
    let reason = unsafe String(cString: strerror(errno))
    isExact = false
    if warned.insert("\(what)\(reason)").inserted {
      warn("cannot set the \(what) of \(RawPath(path).display): \(reason) (and maybe of others)")
    }
  }
}
