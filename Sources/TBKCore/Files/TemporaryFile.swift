import CSystem
import Glibc

/// Files that others do not see.
package enum TemporaryFile {
  /// An unnamed file, for data that is read twice: gone when it is closed or the process is killed.
  ///
  /// It is created in `TMPDIR`, else in `/var/tmp`, which unlike `/tmp` is rarely held in memory.
  package static func anonymous() throws(Failure) -> Descriptor {
    let directory = environment("TMPDIR").map { RawPath($0) } ?? RawPath("/var/tmp")
    let parent = try Descriptor.workingDirectory.open(
      directory, O_RDONLY | O_DIRECTORY, missing: .cannotCreate)
    if let file = try? parent.open(RawPath("."), O_RDWR | tbk_o_tmpfile) { return file }
    // Some file systems (overlays, network mounts) have no O_TMPFILE.
    let name = RawPath(".tbk-\(uniqueSuffix())")
    let file = try parent.open(name, O_RDWR | O_CREAT | O_EXCL, missing: .cannotCreate)
    try parent.unlink(name)
    return file
  }
}

/// The value of an environment variable; nil if it is unset or empty.
package func environment(_ name: String) -> [UInt8]? {
  guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
  return unsafe Array(UnsafeRawBufferPointer(start: value, count: strlen(value)))
}

/// The directory of the configuration and of state kept between runs: `TERMBACKUP_HOME`, else `.termbackup` in the
/// user's home directory; nil if that is unknown.
package func termbackupHome() -> RawPath? {
  if let path = environment("TERMBACKUP_HOME") { return RawPath(path) }
  if let user = environment("HOME"), user.first == UInt8(ascii: "/") {
    return RawPath(user).appending(".termbackup")
  }
  guard let entry = unsafe getpwuid(getuid()), let directory = unsafe entry.pointee.pw_dir else {
    return nil
  }
  let bytes = unsafe Array(UnsafeRawBufferPointer(start: directory, count: strlen(directory)))
  return RawPath(bytes).appending(".termbackup")
}

/// Sixteen hexadecimal digits that no other process will choose. Not a secret.
package func uniqueSuffix() -> String {
  var generator = SystemRandomNumberGenerator()
  var bytes: [UInt8] = []
  bytes.append(bigEndian: generator.next(), width: 8)
  return bytes.hex
}

/// A file that appears under its name only when it is complete and flushed to disk.
///
/// It is written under a temporary name in the same directory, by default with mode 0600 (less the umask), and removed
/// if this object is deinitialised before `commit()`.
package final class AtomicFile {
  package let descriptor: Descriptor
  private let directory: Descriptor
  private let target: RawPath
  private let temporary: RawPath
  private let unfinished: Unfinished
  private var pending = true

  /// - Parameters:
  ///   - path: relative to `directory`; its parent must exist. A replacement keeps the old file's owner.
  ///   - inherits: whether a new file gets the owner of its directory, as in a home or a store.
  package init(
    _ path: RawPath, in directory: Descriptor = .workingDirectory, mode: UInt32 = 0o600,
    inherits: Bool = false
  ) throws(Failure) {
    let parent = try directory.open(
      path.parent, O_RDONLY | O_DIRECTORY, missing: .cannotCreate)
    self.directory = parent
    target = path.lastComponent
    if target.isEmpty || target == RawPath(".") || target == RawPath("..") {
      throw Failure(.cannotCreate, "\(path.display) is not the name of a file")
    }
    // A rename would replace a device with a file: as root, even /dev/null.
    let replaced = try (try? parent.openIfPresent(target, tbk_o_path))??.status()
    if let replaced, replaced.st_mode & S_IFMT != S_IFREG {
      throw Failure(.cannotCreate, "\(path.display) exists and is not a regular file")
    }
    temporary = RawPath(".tbk-\(uniqueSuffix()).tmp")
    unfinished = try Unfinished(temporary: temporary, in: parent)
    descriptor = try parent.open(
      temporary, O_RDWR | O_CREAT | O_EXCL, mode: mode, missing: .cannotCreate)
    // In a shared directory, another user may have created the name first, and would then own the content.
    let isShared = try parent.status().st_mode & S_ISVTX != 0
    if let replaced, !isShared, let named = try parent.statusIfPresent(of: target), named.st_mode & S_IFMT == S_IFREG {
      try Ownership.keep(descriptor, of: replaced)
    } else if inherits {
      try Ownership.inherit(descriptor, from: parent)
    }
  }

  deinit {
    if pending { _ = try? directory.unlink(temporary) }
    unfinished.end()
  }

  /// Flushes the file, renames it to its name, and flushes the directory.
  ///
  /// - Parameter replacing: whether a file of that name may be replaced; otherwise throws `.cannotCreate`, and that
  ///   file stays.
  package func commit(replacing: Bool = true) throws(Failure) {
    try descriptor.synchronize()
    try takeName(replacing: replacing)
    try directory.synchronize()
  }

  private func takeName(replacing: Bool) throws(Failure) {
    if !replacing, try directory.statusIfPresent(of: target) != nil {
      throw Failure(.cannotCreate, "\(target.display) already exists")
    }
    try directory.rename(temporary, to: directory, target, replacing: replacing)
    pending = false
    unfinished.end()
  }

  /// Flushes two files and renames both, or neither if that fails. If killed in between, the first is in place and the
  /// second is not.
  ///
  /// - Parameter replacing: whether files of those names may be replaced.
  package static func commit(
    _ first: AtomicFile, _ second: AtomicFile, replacing: Bool
  ) throws(Failure) {
    let (one, other) = (try first.directory.status(), try second.directory.status())
    if first.target == second.target, one.st_ino == other.st_ino, one.st_dev == other.st_dev {
      throw Failure(.usage, "\(first.target.display) cannot be both files")
    }
    try first.descriptor.synchronize()
    try second.descriptor.synchronize()
    let old = replacing ? try first.linkOld() : nil
    do throws(Failure) {
      try first.takeName(replacing: replacing)
    } catch {
      if let old { _ = try? first.directory.unlink(old) }
      throw error
    }
    do throws(Failure) {
      try second.takeName(replacing: replacing)
    } catch {
      if let old {
        _ = try? first.directory.rename(old, to: first.directory, first.target)
      } else {
        _ = try? first.directory.unlink(first.target)
      }
      throw error
    }
    if let old { try first.directory.unlink(old) }
    try first.directory.synchronize()
    try second.directory.synchronize()
  }

  /// Gives the file to be replaced a second name; nil if there is no such file.
  private func linkOld() throws(Failure) -> RawPath? {
    let name = RawPath(".tbk-\(uniqueSuffix()).tmp")
    let result = try unsafe target.withCString { (old) throws(Failure) in
      try unsafe name.withCString { (new) throws(Failure) in
        unsafe linkat(directory.number, old, directory.number, new, 0)
      }
    }
    if result == 0 { return name }
    if errno == ENOENT { return nil }
    throw .system("cannot replace \(target.display)", missing: .cannotCreate)
  }

  /// Writes `bytes` to `path` atomically.
  package static func write(
    _ bytes: [UInt8], to path: RawPath, in directory: Descriptor = .workingDirectory,
    mode: UInt32 = 0o600, replacing: Bool = true, inherits: Bool = false
  ) throws(Failure) {
    let file = try AtomicFile(path, in: directory, mode: mode, inherits: inherits)
    try file.descriptor.write(bytes.span)
    try file.commit(replacing: replacing)
  }
}

/// Reads a regular file that another of our commands has written; nil if it does not exist. Never blocks: throws
/// `.cannotCreate` for a FIFO or anything else that is not a regular file.
///
/// - Parameters:
///   - limit: a longer file is `.malformed`; bytes.
///   - follows: whether to follow `path` if it is a symbolic link.
package func readKeptFile(_ path: RawPath, limit: Int, follows: Bool = true) throws(Failure) -> [UInt8]? {
  let flags = O_RDONLY | O_NONBLOCK | (follows ? 0 : O_NOFOLLOW)
  guard let file = try Descriptor.workingDirectory.openIfPresent(path, flags) else { return nil }
  guard try file.status().st_mode & S_IFMT == S_IFREG else {
    throw Failure(.cannotCreate, "\(path.display) is not a regular file")
  }
  return try DescriptorSource(file, name: path).readAll(limit: limit, what: path.display)
}

/// Reads a whole small file.
///
/// - Parameter limit: a longer file is `.malformed`; bytes.
package func readFile(
  _ path: RawPath, in directory: Descriptor = .workingDirectory, limit: Int,
  missing: Failure.Code = .inputMissing
) throws(Failure) -> [UInt8] {
  let file = try directory.open(path, O_RDONLY, missing: missing)
  return try DescriptorSource(file, name: path).readAll(limit: limit, what: path.display)
}
