import CSystem
import Glibc
import TBKArchive
import TBKCore
import TBKSettings

/// What interrupted runs left on this machine: temporary files, and caches of groups that belong to no profile.
struct LocalLeftovers {
  private let home: Home
  private let dryRun: Bool
  /// A directory in use, which is kept.
  private let kept: RawPath?

  private(set) var found: [Leftover] = []
  /// Whether something could not be removed or read.
  private(set) var hasFailed = false
  /// Messages for the user.
  private(set) var notes: [String] = []

  /// Removes leftovers, unless it is a dry run.
  init(of home: Home, dryRun: Bool, but kept: RawPath? = nil) throws(Failure) {
    self.home = home
    self.dryRun = dryRun
    self.kept = kept
    try cleanTemporary()
    try cleanRestored()
    try cleanCache()
  }

  private func names(in folder: RawPath) throws(Failure) -> [RawPath] {
    let opened = try Descriptor.workingDirectory.openIfPresent(folder, O_RDONLY | O_DIRECTORY)
    return try (opened?.names() ?? []).map(\.name).sorted()
  }

  private mutating func remove(_ kind: String, _ path: RawPath) throws(Failure) {
    let size = FileTree.size(of: path)
    if !dryRun {
      do throws(Failure) {
        try FileTree.remove(path)
      } catch {
        if error.isOfProcess { throw error }
        hasFailed = true
        notes.append(error.message)
        return
      }
    }
    found.append(Leftover(kind: kind, size: size, name: path))
  }

  private mutating func cleanTemporary() throws(Failure) {
    let folder = home.path.appending("tmp")
    for name in try names(in: folder) {
      let path = folder.appending(name)
      guard path != kept, let facts = try Descriptor.workingDirectory.statusIfPresent(of: path),
        Self.isStale(name, modified: Int64(facts.st_mtim.tv_sec), now: Int64(time(nil)))
      else { continue }
      try remove("temporary", path)
    }
  }

  /// Whether the process in the second field of its name has ended. Without a process id it is stale after a day.
  static func isStale(_ name: RawPath, modified: Int64, now: Int64) -> Bool {
    let words = name.bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard words.count > 2, !words[1].isEmpty, words[1].allSatisfy({ (0x30...0x39).contains($0) }),
      let process = pid_t(String(decoding: words[1], as: UTF8.self))
    else { return now - modified >= 86_400 }
    return process > 0 && kill(process, 0) != 0 && errno == ESRCH
  }

  /// Removes what killed restores have left in the directories that profiles restore to.
  private mutating func cleanRestored() throws(Failure) {
    var places: Set<RawPath> = []
    if let bytes = try? home.configuration()["restore_dir"]?.bytes { places.insert(RawPath(bytes)) }
    for name in try home.profileNames() {
      guard let profile = try? home.profile(name) else { continue }
      places.insert(profile.source)
      if let bytes = profile["restore_dir"]?.bytes { places.insert(RawPath(bytes)) }
    }
    for place in places.sorted() where !place.isEmpty {
      do throws(Failure) {
        guard let facts = try Descriptor.workingDirectory.statusIfPresent(of: place.appending(".")),
          facts.st_mode & S_IFMT == S_IFDIR
        else { continue }
        let folder = try Descriptor.workingDirectory.open(place, O_RDONLY | O_DIRECTORY)
        for (name, size) in try RestoreLeftovers.collect(in: folder, dryRun: dryRun) {
          found.append(Leftover(kind: "temporary", size: size, name: place.appending(name)))
        }
      } catch {
        if error.isOfProcess { throw error }
        hasFailed = true
        notes.append(error.message)
      }
    }
  }

  /// Removes caches of groups that belong to no profile.
  private mutating func cleanCache() throws(Failure) {
    let folder = home.path.appending("cache")
    var groups: Set<String> = []
    for name in try names(in: home.path.appending("profiles")) where name.text.hasSuffix(".json") {
      guard let profile = try? home.profile(String(name.text.dropLast(5))) else {
        let place = home.path.appending("profiles").appending(name)
        notes.append("\(place.display) cannot be read, and may need what is in \(folder.display): that stays")
        return
      }
      if let group = profile.group { groups.insert(group) }
    }
    // Only groups have such names.
    func isForeign(_ name: ArraySlice<UInt8>) -> Bool {
      name.count == 32 && name.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
        && !groups.contains(String(decoding: name, as: UTF8.self))
    }
    for name in try names(in: folder) where isForeign(name.bytes[...]) {
      let path = folder.appending(name)
      guard let facts = try Descriptor.workingDirectory.statusIfPresent(of: path), facts.st_mode & S_IFMT == S_IFDIR
      else { continue }
      try remove("cache", path)
    }
    let state = home.path.appending("state")
    let prefix = Array(RecipientsMemory.prefix.utf8)
    for name in try names(in: state) where name.bytes.starts(with: prefix) && isForeign(name.bytes[prefix.count...]) {
      try remove("cache", state.appending(name))
    }
  }
}

/// A file, or a directory with its contents.
enum FileTree {
  /// The bytes that it takes on disk.
  static func size(of path: RawPath) -> UInt64 {
    guard let facts = (try? Descriptor.workingDirectory.statusIfPresent(of: path)) ?? nil else { return 0 }
    let own = UInt64(clamping: facts.st_blocks) * 512
    guard facts.st_mode & S_IFMT == S_IFDIR,
      let folder = try? Descriptor.workingDirectory.open(
        path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), let names = try? folder.names()
    else { return own }
    return names.reduce(own) { $0 &+ size(of: path.appending($1.name)) }
  }

  static func remove(_ path: RawPath) throws(Failure) {
    try Interruption.check()
    guard let facts = try Descriptor.workingDirectory.statusIfPresent(of: path) else { return }
    guard facts.st_mode & S_IFMT == S_IFDIR else {
      _ = try Descriptor.workingDirectory.unlink(path)
      return
    }
    // A trial restore has set its mode from the backup.
    if facts.st_mode & 0o700 != 0o700 {
      let closed = try Descriptor.workingDirectory.open(path, tbk_o_path | O_DIRECTORY | O_NOFOLLOW)
      _ = tbk_change_mode(closed.number, 0o700)
    }
    for (name, _) in try Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).names() {
      try remove(path.appending(name))
    }
    _ = try Descriptor.workingDirectory.unlink(path, directory: true)
  }
}
