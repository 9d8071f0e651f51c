import Glibc

/// Whose a new file or directory is that we make in somebody else's home or store.
///
/// Root who works there would lock its owner out: files are 0600, and what replaces a file has the
/// owner of whoever made it.
package enum Ownership {
  /// Gives what we have just made the owner and group of the directory that it is in. Does nothing
  /// unless we are root.
  ///
  /// - Parameters:
  ///   - made: made by this process in `directory`, through that descriptor.
  package static func inherit(_ made: Descriptor, from directory: Descriptor) throws(Failure) {
    guard geteuid() == 0 else { return }
    try give(made, to: try directory.status())
  }

  /// Likewise, of what takes the place of a file with these facts.
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
  /// Makes a directory that belongs to whom this one belongs to, 0700 less the umask. Throws
  /// `.cannotCreate` if there is something of that name.
  package func makeOwnedDirectory(_ path: RawPath) throws(Failure) {
    try makeDirectory(path)
    guard geteuid() == 0 else { return }
    let parent = try open(path.parent, O_RDONLY | O_DIRECTORY)
    let made = try parent.open(path.lastComponent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    // Whoever owns the parent could have put another one there: an empty one of our own is ours to give.
    guard try made.status().st_uid == 0, try made.names().isEmpty else { return }
    try Ownership.inherit(made, from: parent)
  }

  /// Opens a file, or makes it: 0600 whatever the umask, and of whom its directory belongs to.
  /// Throws `.cannotCreate` for what cannot be made.
  package func openOwned(_ path: RawPath, _ flags: Int32) throws(Failure) -> Descriptor {
    while true {
      if let there = try openIfPresent(path, flags) { return there }
      // One descriptor for both: whoever owns the path could exchange it in between.
      let parent = try open(path.parent, O_RDONLY | O_DIRECTORY, missing: .cannotCreate)
      let made: Descriptor
      do throws(Failure) {
        made = try parent.open(
          path.lastComponent, flags | O_CREAT | O_EXCL, mode: 0o600, missing: .cannotCreate, name: path)
      } catch {
        // Another process was faster; a link that leads nowhere is nobody's file.
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
