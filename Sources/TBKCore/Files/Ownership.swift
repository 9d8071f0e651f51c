import Glibc

/// Who owns a new file or directory that we create in another user's home or store.
///
/// Root would otherwise lock that user out: files are 0600, and a replaced file would belong to root.
package enum Ownership {
  /// Gives a file that we have just created the owner and group of its directory. Does nothing unless we are root.
  ///
  /// - Parameters:
  ///   - made: created by this process in `directory`.
  package static func inherit(_ made: Descriptor, from directory: Descriptor) throws(Failure) {
    guard geteuid() == 0 else { return }
    try give(made, to: try directory.status())
  }

  /// Likewise, with the owner and group of the file that `made` replaces.
  package static func keep(_ made: Descriptor, of replaced: stat) throws(Failure) {
    guard geteuid() == 0 else { return }
    try give(made, to: replaced)
  }

  private static func give(_ made: Descriptor, to owner: stat) throws(Failure) {
    let facts = try made.status()
    if facts.st_uid == owner.st_uid, facts.st_gid == owner.st_gid { return }
    if fchown(made.number, owner.st_uid, owner.st_gid) != 0 {
      throw .system("cannot give a new file its owner", missing: .cannotCreate)
    }
  }
}

extension Descriptor {
  /// Creates a directory with the owner of its parent, 0700 less the umask. Throws `.cannotCreate` if the name exists.
  package func makeOwnedDirectory(_ path: RawPath) throws(Failure) {
    try makeDirectory(path)
    guard geteuid() == 0 else { return }
    let parent = try open(path.parent, O_RDONLY | O_DIRECTORY)
    let made = try parent.open(path.lastComponent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    // The owner of the parent could have put another directory there: chown only an empty one of our own.
    guard try made.status().st_uid == 0, try made.names().isEmpty else { return }
    try Ownership.inherit(made, from: parent)
  }

  /// Opens a file, or creates it with mode 0600 whatever the umask, and with the owner of its directory. Throws
  /// `.cannotCreate` if it cannot be created.
  package func openOwned(_ path: RawPath, _ flags: Int32) throws(Failure) -> Descriptor {
    while true {
      if let there = try openIfPresent(path, flags) { return there }
      // One descriptor for both: the owner of the path could replace the directory in between.
      let parent = try open(path.parent, O_RDONLY | O_DIRECTORY, missing: .cannotCreate)
      let made: Descriptor
      do throws(Failure) {
        made = try parent.open(
          path.lastComponent, flags | O_CREAT | O_EXCL, mode: 0o600, missing: .cannotCreate, name: path)
      } catch {
        // Another process was faster. A dangling link, on the other hand, is an error.
        guard error.code == .cannotCreate, let there = try statusIfPresent(of: path), there.st_mode & S_IFMT == S_IFREG
        else { throw error }
        continue
      }
      if fchmod(made.number, 0o600) != 0 { throw .system("cannot set the mode of \(path.display)") }
      try Ownership.inherit(made, from: parent)
      return made
    }
  }
}
