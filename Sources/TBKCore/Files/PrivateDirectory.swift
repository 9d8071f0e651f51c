import CSystem
import Glibc

// Work directories inside directories that others may own.

/// A newly created directory, held by its descriptor: no one else can enter it, whatever happens to its name.
package struct PrivateDirectory: Sendable {
  package let directory: Descriptor
  /// False on a file system without owners and modes (vfat, some network mounts): there the directory is as open to
  /// others as everything else.
  package let isClosed: Bool

  /// Creates `name` in `parent`, opens it, and checks what was opened: the owner of `parent` can have put another
  /// directory there in between.
  ///
  /// Removes an inherited ACL. Throws `.cannotCreate` if the name is taken, and if the opened directory is not the one
  /// that was created.
  package init(making name: RawPath, in parent: Descriptor) throws(Failure) {
    try parent.makeDirectory(name)
    do throws(Failure) {
      directory = try PrivateDirectory.open(name, parent)
      isClosed = try PrivateDirectory.look(at: directory, name, parent)
    } catch {
      // This removes at most an empty directory.
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

  /// Whether the directory is closed to others; throws if it is not the one that was created.
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
    // The umask may have cleared our own bits.
    if facts.st_mode & 0o700 != 0o700, fchmod(directory.number, 0o700) != 0 {
      throw .system("cannot open \(name.display)")
    }
    return true
  }

  /// Accepts a directory that others may enter only if the file system allows nothing stricter: then a file that we
  /// create, which cannot be replaced before it is open, gets the same owner and is as open.
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
  /// Removes an extended attribute; false if it is not set or the file system does not support them.
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
