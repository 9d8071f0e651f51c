import Glibc
import TBKCore
import TBKFormat
import TBKSettings

/// The output of scheduled runs: one file of limited size for each profile. Each run begins with `== TIME status STATUS
/// after TIME`.
struct RunLog {
  /// The most bytes for one run.
  static let runLimit = 65_536
  /// The most bytes for the whole log.
  static let limit = 262_144

  let path: RawPath

  init(of profile: String, in home: Home) throws(Failure) {
    let name = "schedule-\(try Profile.checkedName(Array(profile.utf8))).log"
    path = try home.stateDirectory().appending(name)
  }

  /// Creates the file if it does not exist. Throws `.cannotCreate` if it is a symbolic link.
  func open() throws(Failure) -> Descriptor {
    if let facts = try Descriptor.workingDirectory.statusIfPresent(of: path), facts.st_mode & S_IFMT == S_IFLNK {
      throw Failure(.cannotCreate, "\(path.display) is a symbolic link")
    }
    return try Descriptor.workingDirectory.openOwned(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK)
  }

  /// Adds a run, and drops the oldest if the log is too long. The file is overwritten in place, not replaced, so that
  /// its owner stays the same.
  func add(_ said: [UInt8], status: Int32, seconds: UInt64) throws(Failure) {
    let file = try open()
    let before = try DescriptorSource(file, name: path).readAll(limit: 64 << 20, what: path.display)
    let entry = Self.entry(said, status: status, seconds: seconds, at: .now())
    let whole = Self.kept(before + entry)
    if whole.count == before.count + entry.count {
      try file.write(entry.span, at: UInt64(before.count))
    } else {
      try file.truncate(to: 0)
      try file.write(whole.span, at: 0)
    }
  }

  static func entry(_ said: [UInt8], status: Int32, seconds: UInt64, at time: Timestamp) -> [UInt8] {
    let header = "== \(time.ofLog) status \(status) after \(humanDuration(seconds))\n"
    return Array(header.utf8) + said.suffix(runLimit)
  }

  /// What to keep of a log: if it is too long, its last half from the first complete run on.
  static func kept(_ log: [UInt8]) -> [UInt8] {
    if log.count <= limit { return log }
    let end = log.suffix(limit / 2)
    let mark = Array("== ".utf8)
    if end.starts(with: mark) { return Array(end) }
    for index in end.indices where end[index] == 0x0a && end[(index + 1)...].starts(with: mark) {
      return Array(end[(index + 1)...])
    }
    return []
  }
}

extension Timestamp {
  /// As in logs: ISO 8601, whole seconds, with a Z.
  var ofLog: String { String(iso8601(microseconds: false).prefix(19)) + "Z" }
}

extension Home {
  /// The directory of data kept from run to run, created if missing. Throws `.cannotCreate` if that fails.
  func stateDirectory() throws(Failure) -> RawPath {
    let name = RawPath("state")
    let home = try open()
    guard let facts = try home.statusIfPresent(of: name) else {
      try home.makeOwnedDirectory(name)
      return path.appending(name)
    }
    // A symbolic link to a directory is accepted.
    if facts.st_mode & S_IFMT == S_IFREG {
      throw Failure(.cannotCreate, "cannot create the directory \(path.appending(name).display)")
    }
    return path.appending(name)
  }
}
