import CSystem
import Glibc
import TBKCore

/// What a killed command leaves among a user's files, and what a running one has there: a staging directory
/// `.tbk-restore-` or a file `.tbk-….tmp`, each with 16 random hexadecimal digits, closed to others.
package enum RestoreLeftovers {
  private static let stagingPrefix = Array(".tbk-restore-".utf8)
  private static let filePrefix = Array(".tbk-".utf8)
  private static let fileSuffix = Array(".tmp".utf8)
  /// Age in seconds after which a file, which has no lock, counts as abandoned.
  private static let fileAge = 24 * 3600

  static func stagingName() -> RawPath { RawPath(stagingPrefix + Array(uniqueSuffix().utf8)) }

  private static func isSuffix(_ bytes: some Collection<UInt8>) -> Bool {
    bytes.count == 16 && bytes.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
  }

  private static func isStagingName(_ name: [UInt8]) -> Bool {
    name.starts(with: stagingPrefix) && isSuffix(name.dropFirst(stagingPrefix.count))
  }

  private static func isFileName(_ name: [UInt8]) -> Bool {
    name.starts(with: filePrefix) && name.suffix(fileSuffix.count) == fileSuffix[...]
      && isSuffix(name.dropFirst(filePrefix.count).dropLast(fileSuffix.count))
  }

  /// Whether a name in a tree is one of these, and so is not backed up.
  static func isOurs(_ name: RawPath, _ facts: stat) -> Bool {
    guard facts.st_mode & 0o077 == 0 else { return false }
    switch facts.st_mode & S_IFMT {
    case S_IFDIR: return isStagingName(name.bytes)
    case S_IFREG: return isFileName(name.bytes)
    default: return false
    }
  }

  /// Removes leftovers of this user directly in a directory, and returns their names and sizes in bytes. Keeps those
  /// that a living process may use: locked directories, and files less than a day old.
  ///
  /// - Parameter dryRun: whether to list them and remove nothing.
  package static func collect(
    in directory: Descriptor, dryRun: Bool = false
  ) throws(Failure) -> [(name: RawPath, bytes: UInt64)] {
    var found: [(name: RawPath, bytes: UInt64)] = []
    for (name, _) in try directory.names().sorted(by: { $0.name.bytes.lexicographicallyPrecedes($1.name.bytes) }) {
      guard isStagingName(name.bytes) || isFileName(name.bytes),
        let facts = try directory.statusIfPresent(of: name), isOurs(name, facts),
        facts.st_uid == geteuid()
      else { continue }
      if facts.st_mode & S_IFMT == S_IFREG {
        // By its mtime, even if someone set it.
        guard facts.st_mtim.tv_sec < time(nil) - fileAge else { continue }
        if !dryRun { try directory.unlink(name) }
        found.append((name, UInt64(clamping: facts.st_size)))
      } else if let bytes = try collectStaging(name, in: directory, dryRun: dryRun) {
        found.append((name, bytes))
      }
    }
    return found
  }

  /// Removes an abandoned staging directory and returns its size in bytes; nil if it is not one.
  private static func collectStaging(
    _ name: RawPath, in parent: Descriptor, dryRun: Bool
  ) throws(Failure) -> UInt64? {
    guard let staging = try? parent.openIfPresent(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) else {
      return nil
    }
    let facts = try staging.status()
    guard isOurs(name, facts), facts.st_uid == geteuid(), lock(staging) else { return nil }
    let bytes = contents(of: staging, removing: !dryRun)
    if !dryRun { try parent.unlink(name, directory: true) }
    return bytes
  }

  /// Takes the lock that a working process holds on its directory; false if another process has it, or the file system
  /// does not support locks.
  static func lock(_ directory: Descriptor) -> Bool {
    flock(directory.number, LOCK_EX | LOCK_NB) == 0
  }
}

/// The total size in bytes of the files below a directory of ours. With `removing`, also removes files and directories.
/// Follows no links and stays on the file system; ignores what cannot be removed.
///
/// Uses an explicit stack, because a tree can be too deep for recursion.
@discardableResult
func contents(of directory: Descriptor, removing: Bool) -> UInt64 {
  struct Level {
    let name: RawPath
    let directory: Descriptor
    var names: [(name: RawPath, type: UInt8)]
  }
  var device: dev_t?
  func enter(_ name: RawPath, _ directory: Descriptor?) -> Level? {
    guard let directory, let facts = try? directory.status() else { return nil }
    if let device, facts.st_dev != device { return nil }
    device = facts.st_dev
    // Its restored mode may lock us out.
    if removing, facts.st_mode & 0o700 != 0o700 {
      _ = fchmod(directory.number, 0o700)
    }
    guard let names = try? directory.names() else { return nil }
    return Level(name: name, directory: directory, names: names)
  }
  func open(_ name: RawPath, in parent: Descriptor) -> Descriptor? {
    let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
    if let directory = try? parent.openIfPresent(name, flags) { return directory }
    guard removing else { return nil }
    guard let closed = try? parent.openIfPresent(name, tbk_o_path | O_NOFOLLOW | O_DIRECTORY) else {
      return nil
    }
    _ = tbk_change_mode(closed.number, 0o700)
    return try? parent.openIfPresent(name, flags)
  }
  guard let top = enter(RawPath([]), directory) else { return 0 }
  var levels = [top]
  var bytes: UInt64 = 0
  while var level = levels.popLast() {
    guard let (name, type) = level.names.popLast() else {
      if removing, let above = levels.last { _ = try? above.directory.unlink(level.name, directory: true) }
      continue
    }
    let directory = level.directory
    levels.append(level)
    if type != UInt8(DT_DIR) {
      let facts = (try? directory.statusIfPresent(of: name)) ?? nil
      if let facts { bytes &+= UInt64(clamping: facts.st_size) }
      if !removing || (try? directory.unlink(name)) != nil { continue }
    }
    if let below = enter(name, open(name, in: directory)) { levels.append(below) }
  }
  return bytes
}
