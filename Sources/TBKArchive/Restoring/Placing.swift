import Glibc
import TBKCore
import TBKFormat

// Carrying out the plan.
extension Placement {
  /// Gives everything staged its metadata and moves it into place.
  ///
  /// The hint of a failure includes how much was placed.
  func place(from staging: Staging) throws(Failure) {
    var progress = Progress()
    do throws(Failure) {
      try staging.settle()
      try dress(staging)
      try prepare()
      try move(staging, &progress)
      try adjust()
    } catch {
      if error.code == .interrupted { throw error }
      throw Failure(
        error.code == .denied ? .cannotCreate : error.code, error.message,
        hint: progress.hint(error.hint))
    }
  }

  /// How much has been moved.
  private struct Progress {
    var made = 0
    var replaced = 0
    var last: [UInt8] = []

    func hint(_ other: String?) -> String? {
      if made + replaced == 0 { return other ?? "no file was changed" }
      let text =
        "before that, \(replaced) \(replaced == 1 ? "entry was" : "entries were") replaced and \(made) new, "
        + "the last \(RawPath(last).display): run it again with --overwrite if-changed to continue"
      return other.map { "\($0); \(text)" } ?? text
    }
  }

  // MARK: In the staging directory

  /// Sets the metadata of staged entries while no one else can reach them. Directories that are moved individually get
  /// theirs again after the move, because moving a directory requires write permission on it.
  private func dress(_ staging: Staging) throws(Failure) {
    var linked: Set<TreeWalker.FileIdentity> = []
    for index in manifest.files.indices
    where isStaged(index) && manifest.files.type(index) != .directory {
      try Interruption.check()
      let entry = manifest.files[index]
      let (directory, name) = try staging.chain.parent(of: entry.tarName)
      guard let facts = try directory.statusIfPresent(of: name) else { throw vanished(entry) }
      if facts.st_mode & S_IFMT == S_IFLNK {
        try setter.applyToLink(entry, name, in: directory)
      } else if facts.st_nlink == 1 || linked.insert(TreeWalker.FileIdentity(facts)).inserted {
        let file = try directory.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
        try setter.apply(entry, to: file, wasThere: false)
      }
    }
    // A directory after its content: its mode may lock us out.
    var directories = implied.map { (path: $0, index: nil as Int?) }
    for index in manifest.files.indices
    where isStaged(index) && manifest.files.type(index) == .directory {
      directories.append((manifest.files[index].tarName, index))
    }
    directories.sort { $1.path.lexicographicallyPrecedes($0.path) }
    for (path, index) in directories {
      try Interruption.check()
      let directory = try staging.chain.directory(path)
      if let index {
        let extent: MetadataSetter.Extent = actions[index] == .within ? .whole : .whileOpen
        try setter.apply(manifest.files[index], to: directory, wasThere: false, extent)
      } else {
        try setter.apply(unlisted(path), to: directory, wasThere: false)
      }
    }
    staging.chain.forget()
  }

  private func isStaged(_ index: Int) -> Bool {
    switch actions[index] {
    case .create, .replace, .within: true
    case .skip, .keep, .adjust, .conflict, .merge: false
    }
  }

  /// A directory that no manifest lists gets the default mode, less the umask.
  private func unlisted(_ path: [UInt8]) -> ManifestEntry {
    ManifestEntry(
      path: path, type: .directory, size: 0, sha256: .ofNothing,
      mode: S_IFDIR | 0o777 & ~currentMask(), modifiedAt: .infinity)
  }

  private func vanished(_ entry: ManifestEntry) -> Failure {
    Failure(.io, "\(RawPath(entry.path).display) has vanished")
  }

  // MARK: In the destination

  /// Whether the destination existed and keeps a mode or owner other than the backup's root.
  var keepsRoot: Bool {
    get throws(Failure) {
      guard rootEntry == nil, let entry = manifest.root else { return false }
      return try setter.isOpenDifferently(entry, destination.directory)
    }
  }

  /// Whether an existing directory gets metadata from the backup.
  private func adjusts(_ index: Int) -> Bool { actions[index] == .merge && policy != .never }

  /// The entry applied to the destination itself; nil if it stays as it is.
  private var rootEntry: ManifestEntry? {
    if destination.isNew { return manifest.root ?? unlisted([]) }
    return setsRoot ? manifest.root : nil
  }

  /// Before anything is moved into existing directories, closes them to everyone who could not enter them in the
  /// backup, and opens them to us.
  private func prepare() throws(Failure) {
    let chain = loosening.chain()
    if !destination.isNew, let entry = rootEntry {
      try setter.apply(
        entry, to: destination.directory, wasThere: true, .whileOpen, name: destination.name)
    }
    for index in manifest.files.indices where adjusts(index) {
      try Interruption.check()
      guard let directory = try existing(index, chain) else { continue }
      try setter.apply(manifest.files[index], to: directory, wasThere: true, .whileOpen)
    }
    for path in targets { _ = try loosening.loosen(try chain.directory(path), path) }
  }

  /// Opens an existing entry that stays; reports it and returns nil if it was replaced since, or we may not open it.
  private func existing(_ index: Int, _ chain: DirectoryChain) throws(Failure) -> Descriptor? {
    let path = manifest.files.path(index)
    let found: Descriptor?
    do throws(Failure) {
      if manifest.files.type(index) == .directory {
        found = try chain.directory(path)
      } else {
        let (directory, name) = try chain.parent(of: path)
        found = try openRegularFile(name, in: directory).file
      }
    } catch {
      guard [.inputMissing, .malformed, .denied].contains(error.code) else { throw error }
      setter.complain("metadata", RawPath(path), because: error.reason)
      return nil
    }
    guard let found, TreeWalker.FileIdentity(try found.status()) == identities[index] else {
      setter.complain("metadata", RawPath(path), because: "it was replaced in the meantime")
      return nil
    }
    return found
  }

  private func move(_ staging: Staging, _ progress: inout Progress) throws(Failure) {
    let target = loosening.chain()
    for path in impliedTops.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
      let (from, staged) = try staging.chain.parent(of: path)
      let (to, name) = try target.parent(of: path)
      do throws(Failure) {
        try from.rename(staged, to: to, name, replacing: false)
      } catch {
        throw error.within(RawPath(path).display)
      }
      staging.chain.forget()
      progress.made += 1
      progress.last = path
    }
    for index in manifest.files.indices {
      guard actions[index] == .create || actions[index] == .replace else { continue }
      try Interruption.check()
      let entry = manifest.files[index]
      do throws(Failure) {
        try move(entry, staging, target, replacing: actions[index] == .replace)
      } catch {
        throw error.within(RawPath(entry.path).display)
      }
      if actions[index] == .replace { progress.replaced += 1 } else { progress.made += 1 }
      progress.last = entry.path
    }
  }

  private func move(
    _ entry: ManifestEntry, _ staging: Staging, _ target: DirectoryChain, replacing: Bool
  ) throws(Failure) {
    let (from, staged) = try staging.chain.parent(of: entry.tarName)
    let (to, name) = try target.parent(of: entry.path)
    var moved: Descriptor?
    if entry.type == .directory {
      moved = try from.open(staged, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    }
    if replacing, let facts = try to.statusIfPresent(of: name) {
      // A rename does not replace a directory with a file, or the other way round.
      let isDirectory = facts.st_mode & S_IFMT == S_IFDIR
      if isDirectory || moved != nil { try to.unlink(name, directory: isDirectory) }
    }
    try from.rename(staged, to: to, name, replacing: replacing && moved == nil)
    if let moved {
      staging.chain.forget()
      try setter.apply(entry, to: moved, wasThere: false)
    }
  }

  /// Sets the metadata of files that stay.
  private func adjust() throws(Failure) {
    let chain = loosening.chain()
    for index in manifest.files.indices where actions[index] == .adjust {
      try Interruption.check()
      guard let file = try existing(index, chain) else { continue }
      // It may already have its metadata, through another hard link.
      let entry = manifest.files[index]
      if try setter.differs(entry, from: file) {
        try setter.apply(entry, to: file, wasThere: true)
      }
    }
  }

  /// Sets the metadata of existing directories and restores loosened modes, the deepest first and the destination last.
  /// Nothing may be moved into them after that.
  func finish() throws(Failure) {
    let chain = DirectoryChain(root: destination.directory)
    var directories: [(path: [UInt8], index: Int?)] = []
    var opened = Set(loosening.paths)
    opened.remove([])
    for index in manifest.files.indices where adjusts(index) {
      let path = manifest.files.path(index)
      directories.append((path, index))
      opened.remove(path)
    }
    for path in opened { directories.append((path, nil)) }
    directories.sort { $1.path.lexicographicallyPrecedes($0.path) }
    for (path, index) in directories {
      try Interruption.check()
      if let index {
        guard let directory = try existing(index, chain) else { continue }
        loosening.forget(path)
        try setter.apply(manifest.files[index], to: directory, wasThere: true)
      } else if let directory = try? chain.directory(path) {
        try loosening.putBack(path, directory)
      }
    }
    let root = destination.directory
    if let entry = rootEntry {
      loosening.forget([])
      try setter.apply(entry, to: root, wasThere: !destination.isNew, name: destination.name)
    } else {
      try loosening.putBack([], root)
      if setsRootTime, let entry = manifest.root {
        try setter.applyTime(entry, to: root, name: destination.name)
      }
    }
  }
}

/// The current umask.
private func currentMask() -> UInt32 {
  let mask = umask(0o077)
  umask(mask)
  return mask
}
