import CSystem
import Glibc
import TBKCore

/// Directories of ours whose mode is loosened for a while so that we can write into them: a directory of mode 0555 may
/// be the user's own.
final class Loosening {
  private struct Entry {
    let identity: TreeWalker.FileIdentity
    /// The mode to put back.
    var mode: UInt32
  }

  private let root: Descriptor
  private var entries: [[UInt8]: Entry] = [:]

  init(root: Descriptor) { self.root = root }

  deinit { putBack() }

  /// A directory chain that loosens directories as needed.
  func chain() -> DirectoryChain {
    DirectoryChain(root: root) { [self] (parent, name, path) throws(Failure) in
      let flags = tbk_o_path | O_DIRECTORY | O_NOFOLLOW
      guard let directory = try parent.openIfPresent(name, flags) else { return false }
      return try loosen(directory, path)
    }
  }

  /// Whether the directory is ours and its mode denies us something.
  static func canLoosen(_ facts: stat) -> Bool {
    facts.st_uid == geteuid() && facts.st_mode & 0o700 != 0o700
  }

  /// Lets us read and change a directory; false if it is not ours, already allows that, or cannot be changed.
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

  /// The paths of the loosened directories.
  var paths: [[UInt8]] { Array(entries.keys) }

  /// Keeps the directory's current mode.
  func forget(_ path: [UInt8]) { entries[path] = nil }

  /// Restores the mode of a directory, if it is still the same directory.
  func putBack(_ path: [UInt8], _ directory: Descriptor) throws(Failure) {
    guard let entry = entries.removeValue(forKey: path) else { return }
    let facts = try directory.status()
    guard entry.identity == TreeWalker.FileIdentity(facts) else { return }
    if facts.st_mode & 0o7777 != entry.mode, fchmod(directory.number, entry.mode) != 0 {
      throw .system("cannot set the mode of \(RawPath(path).display)")
    }
  }

  /// Restores all modes, the deepest first, ignoring errors.
  func putBack() {
    let chain = DirectoryChain(root: root)
    for path in entries.keys.sorted(by: { $1.lexicographicallyPrecedes($0) }) {
      guard let directory = try? chain.directory(path) else { continue }
      try? putBack(path, directory)
    }
    entries = [:]
  }
}
