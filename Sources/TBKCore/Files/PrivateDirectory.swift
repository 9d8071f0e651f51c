import CSystem
import Glibc

// Directories to work in, below directories that others may own.

/// A directory that was just made, held by its descriptor: nobody else can enter it, whatever becomes
/// of its name.
package struct PrivateDirectory: Sendable {
  package let directory: Descriptor
  /// False on a file system that keeps no owners and modes (vfat, some network mounts): what is in
  /// the directory is as open to others as the file system makes everything.
  package let isClosed: Bool

  /// Makes `name` in `parent`, opens it, and looks at what was opened: whoever owns `parent` can have
  /// put another directory there in between.
  ///
  /// An access list that `parent` hands down is taken off. Throws `.cannotCreate` if the name is
  /// taken, and for a directory that is not the one that was made.
  package init(making name: RawPath, in parent: Descriptor) throws(Failure) {
    try parent.makeDirectory(name)
    do throws(Failure) {
      directory = try PrivateDirectory.open(name, parent)
      isClosed = try PrivateDirectory.look(at: directory, name, parent)
    } catch {
      // No more than an empty directory can go, whoever's it is.
      _ = try? parent.unlink(name, directory: true)
      throw error
    }
  }

  private static func open(_ name: RawPath, _ parent: Descriptor) throws(Failure) -> Descriptor {
    do throws(Failure) {
      return try parent.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    } catch {
      let isExchange = [ENOENT, ENOTDIR, ELOOP, EACCES].contains(errno)
      throw isExchange ? exchanged(name) : error
    }
  }

  /// Whether the directory is closed to others; throws if it is not the one that was made.
  private static func look(
    at directory: Descriptor, _ name: RawPath, _ parent: Descriptor
  ) throws(Failure) -> Bool {
    let facts = try directory.status()
    guard try directory.names().isEmpty else { throw exchanged(name) }
    guard facts.st_uid == geteuid(), facts.st_mode & 0o077 == 0 else {
      try compare(facts, name, parent)
      return false
    }
    for list in ["system.posix_acl_default", "system.posix_acl_access"] {
      try directory.removeAttribute(RawPath(list))
    }
    // The umask may have taken bits of ours.
    if facts.st_mode & 0o700 != 0o700, fchmod(directory.number, 0o700) != 0 {
      throw .system("cannot open \(name.display)")
    }
    return true
  }

  /// A directory that others may enter is taken only where nothing else can be had: a file that we
  /// make, which nobody can exchange before we have it open, is as open as that, and no more ours.
  private static func compare(
    _ facts: stat, _ name: RawPath, _ parent: Descriptor
  ) throws(Failure) {
    let probe = RawPath(".tbk-\(uniqueSuffix())")
    let file = try parent.open(probe, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
    let made = try file.status()
    try parent.unlink(probe)
    let isOurs = made.st_uid == geteuid() && made.st_mode & 0o077 == 0
    guard !isOurs, made.st_uid == facts.st_uid else { throw exchanged(name) }
  }

  private static func exchanged(_ name: RawPath) -> Failure {
    Failure(
      .cannotCreate, "\(name.display) was replaced by somebody else while it was being created",
      hint: "choose a directory that nobody else can write to")
  }
}

extension Descriptor {
  /// Takes an extended attribute off; false if it was not there, or the file system has none.
  @discardableResult
  package func removeAttribute(_ name: RawPath) throws(Failure) -> Bool {
    let result = try unsafe name.withCString { (name) throws(Failure) in
      unsafe tbk_remove_attribute_of(number, name)
    }
    if result == 0 { return true }
    if [ENODATA, ENOTSUP, ENOSYS].contains(errno) { return false }
    throw .system("cannot remove attribute \(name.display)")
  }
}
