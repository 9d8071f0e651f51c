import CSystem
import Glibc
import TBKCore

/// Directories of ours that are opened to ourselves for a while, because something is put into them:
/// one of mode 0555 is as much the user's own as any other.
final class Loosening {
  private struct Entry {
    let identity: TreeWalker.FileIdentity
    /// What it has afterwards.
    var mode: UInt32
  }

  private let root: Descriptor
  private var entries: [[UInt8]: Entry] = [:]

  init(root: Descriptor) { self.root = root }

  deinit { putBack() }

  /// A chain through the tree that opens what it has to.
  func chain() -> DirectoryChain {
    DirectoryChain(root: root) { [self] (parent, name, path) throws(Failure) in
      let flags = tbk_o_path | O_DIRECTORY | O_NOFOLLOW
      guard let directory = try parent.openIfPresent(name, flags) else { return false }
      return try loosen(directory, path)
    }
  }

  /// Whether we may give ourselves what the directory does not.
  static func canLoosen(_ facts: stat) -> Bool {
    facts.st_uid == geteuid() && facts.st_mode & 0o700 != 0o700
  }

  /// Lets us read and change a directory; false if it is not ours, or its mode is not what forbids it.
  ///
  /// - Parameter path: below the root; empty for the root itself.
  func loosen(_ directory: Descriptor, _ path: [UInt8]) throws(Failure) -> Bool {
    let facts = try directory.status()
    guard Loosening.canLoosen(facts) else { return false }
    let mode = facts.st_mode & 0o7777
    guard tbk_change_mode(directory.number, mode | 0o700) == 0 else { return false }
    if entries[path] == nil {
      entries[path] = Entry(identity: TreeWalker.FileIdentity(facts), mode: mode)
    }
    return true
  }

  /// The paths of what is open for a while.
  var paths: [[UInt8]] { Array(entries.keys) }

  /// Whether a directory is, and then no more.
  func forget(_ path: [UInt8]) { entries[path] = nil }

  /// Gives a directory its mode back, if it is still the same.
  func putBack(_ path: [UInt8], _ directory: Descriptor) throws(Failure) {
    guard let entry = entries.removeValue(forKey: path) else { return }
    let facts = try directory.status()
    guard entry.identity == TreeWalker.FileIdentity(facts) else { return }
    if facts.st_mode & 0o7777 != entry.mode, fchmod(directory.number, entry.mode) != 0 {
      throw .system("cannot set the mode of \(RawPath(path).display)")
    }
  }

  /// Gives all of them their modes back, from the deepest up, as far as that can be done.
  func putBack() {
    let chain = DirectoryChain(root: root)
    for path in entries.keys.sorted(by: { $1.lexicographicallyPrecedes($0) }) {
      guard let directory = try? chain.directory(path) else { continue }
      try? putBack(path, directory)
    }
    entries = [:]
  }
}
