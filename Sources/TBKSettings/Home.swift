import Glibc
import TBKCore
import TBKFormat

/// The directory of the configuration: `TERMBACKUP_HOME`, else `~/.termbackup`.
///
/// Directories are 0700, files 0600. Files are replaced atomically.
package final class Home {
  package let path: RawPath
  /// Problems found so far that the user should know about, in order.
  package private(set) var concerns: [String] = []

  package static let directories = ["profiles", "tmp", "cache", "state", "trusted_keys"]
  /// In bytes; far more than a configuration needs.
  private static let fileLimit = 1 << 20

  /// - Parameter path: absolute, or relative to the working directory.
  package init(_ path: RawPath) throws(Failure) {
    self.path = try absolutePath(path)
  }

  /// The home of this process. Throws `.configuration` if its path is unknown.
  package static func ofProcess() throws(Failure) -> Home {
    guard let path = termbackupHome() else {
      throw Failure(
        .configuration, "neither TERMBACKUP_HOME nor HOME is set",
        hint: "set TERMBACKUP_HOME to the directory of the configuration")
    }
    return try Home(path)
  }

  /// The name of a file of this directory in messages.
  package func place(_ name: RawPath) -> String { path.appending(name).display }

  /// The default store, which needs no account.
  package var defaultStore: RawPath { path.appending("store") }

  // MARK: Directories

  /// Opens the directory. Throws `.configuration` if it does not exist.
  package func open() throws(Failure) -> Descriptor {
    let opened = try Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_DIRECTORY)
    guard let opened else {
      throw Failure(
        .configuration, "\(path.display) does not exist", hint: "make it with 'termbackup init'")
    }
    try look(at: opened.status(), path.display)
    return opened
  }

  /// Creates this directory and its missing subdirectories, makes them private, and returns the created paths.
  package func make() throws(Failure) -> [RawPath] {
    var made: [RawPath] = []
    if try Descriptor.workingDirectory.statusIfPresent(of: path) == nil {
      try Descriptor.workingDirectory.makeOwnedDirectory(path)
      made.append(path)
    }
    let home = try Descriptor.workingDirectory.open(
      path, O_RDONLY | O_DIRECTORY, missing: .cannotCreate)
    let facts = try home.status()
    if facts.st_mode & 0o077 != 0, facts.st_uid == geteuid() {
      if fchmod(home.number, 0o700) != 0 { throw .system("cannot restrict access to \(path.display)") }
    }
    for name in Home.directories where try home.statusIfPresent(of: RawPath(name)) == nil {
      try home.makeOwnedDirectory(RawPath(name))
      made.append(path.appending(name))
    }
    return made
  }

  // MARK: Files

  /// Reads a file of this directory; nil if it does not exist.
  private func read(_ name: RawPath) throws(Failure) -> [UInt8]? {
    let home = try open()
    guard let facts = try home.statusIfPresent(of: name) else { return nil }
    if facts.st_mode & S_IFMT == S_IFLNK { concern("\(place(name)) is a symbolic link") }
    // Opening a FIFO must not block.
    guard let file = try home.openIfPresent(name, O_RDONLY | O_NONBLOCK, name: path.appending(name))
    else { return nil }
    let opened = try file.status()
    guard opened.st_mode & S_IFMT == S_IFREG else {
      throw Failure(.configuration, "\(place(name)) is not a regular file")
    }
    look(at: opened, place(name))
    return try DescriptorSource(file, name: path.appending(name)).readAll(
      limit: Home.fileLimit, what: place(name))
  }

  private func write(_ bytes: [UInt8], to name: RawPath, replacing: Bool) throws(Failure) {
    let home = try open()
    if let facts = try home.statusIfPresent(of: name), facts.st_mode & S_IFMT == S_IFLNK {
      throw Failure(
        .configuration, "\(place(name)) is a symbolic link, and is not replaced by a file",
        hint: "edit the file it points to, or remove the link")
    }
    try AtomicFile.write(bytes, to: name, in: home, replacing: replacing, inherits: true)
  }

  private func look(at facts: stat, _ place: String) {
    if facts.st_mode & 0o022 != 0 {
      concern("\(place) can be changed by other users: 'chmod go-w' it")
    }
    if facts.st_uid != geteuid(), facts.st_uid != 0 {
      concern("\(place) belongs to another user")
    }
  }

  private func concern(_ text: String) {
    if !concerns.contains(text) { concerns.append(text) }
  }

  // MARK: config.json

  private static let configurationName = RawPath("config.json")

  package var configurationPlace: String { place(Home.configurationName) }

  /// The configuration; nil if there is no file yet.
  ///
  /// - Parameter checking: see `Configuration.init`.
  package func storedConfiguration(checking: Bool = true) throws(Failure) -> Configuration? {
    guard let bytes = try read(Home.configurationName) else { return nil }
    var configuration = try Configuration(bytes, place: configurationPlace, checking: checking)
    if configuration.object["signing_enabled"] == nil { try goOnSigning(&configuration) }
    if configuration["github_token"] != .null,
      let facts = try open().statusIfPresent(of: Home.configurationName),
      facts.st_mode & S_IFMT == S_IFREG, facts.st_mode & 0o044 != 0
    {
      concern("\(configurationPlace) holds a token and can be read by others: 'chmod 600' it")
    }
    return configuration
  }

  /// The configuration, or the defaults without a file.
  package func configuration(checking: Bool = true) throws(Failure) -> Configuration {
    if let stored = try storedConfiguration(checking: checking) { return stored }
    return try newConfiguration()
  }

  /// The defaults if nothing is configured yet.
  package func newConfiguration() throws(Failure) -> Configuration {
    var configuration = Configuration()
    try goOnSigning(&configuration)
    return configuration
  }

  /// TermBackup 6 has no setting for signing: it signs if there is a key. Its homes continue to sign.
  private func goOnSigning(_ configuration: inout Configuration) throws(Failure) {
    if try open().statusIfPresent(of: RawPath("signing_key.pem")) != nil {
      configuration.set("signing_enabled", .bool(true))
    }
  }

  package func write(_ configuration: Configuration) throws(Failure) {
    try write(configuration.bytes, to: Home.configurationName, replacing: true)
  }

  /// The store of new profiles that name none.
  package func defaultStoreReference() throws(Failure) -> [UInt8] {
    try configuration()["default_repo"]?.bytes ?? defaultStore.bytes
  }

  // MARK: Profiles

  private func profileName(_ name: String) -> RawPath { RawPath("profiles/\(name).json") }

  package func profilePlace(_ name: String) -> String { place(profileName(name)) }

  /// The names of all profiles, sorted; files that cannot be profiles add a concern.
  package func profileNames() throws(Failure) -> [String] {
    let directory = try open().openIfPresent(RawPath("profiles"), O_RDONLY | O_DIRECTORY)
    guard let directory else { return [] }
    var names: [String] = []
    for (name, _) in try directory.names() {
      guard name.bytes.first != UInt8(ascii: "."), name.bytes.suffix(5).elementsEqual(".json".utf8)
      else { continue }
      let stem = Array(name.bytes.dropLast(5))
      if Profile.isName(stem) {
        names.append(String(decoding: stem, as: UTF8.self))
      } else {
        concern("\(place(RawPath("profiles").appending(name))) has no name of a profile")
      }
    }
    return names.sorted()
  }

  /// Whether there is a file for this profile, valid or not.
  package func hasProfile(_ name: String) throws(Failure) -> Bool {
    try open().statusIfPresent(of: profileName(name)) != nil
  }

  /// Throws `.profile` if it is missing or invalid.
  package func profile(_ name: String) throws(Failure) -> Profile {
    // A missing home is another failure than a missing profile.
    _ = try open()
    let found: [UInt8]?
    do throws(Failure) {
      found = try read(profileName(name))
    } catch {
      switch error.code {
      case .exhausted, .interrupted, .tryAgain: throw error
      // Such as a directory, or another user's file: other profiles can still be read.
      default: throw Failure(.profile, error.message, hint: error.hint)
      }
    }
    guard let bytes = found else {
      throw Failure(
        .profile, "there is no profile '\(name)'",
        hint: "'termbackup profile list' lists the profiles")
    }
    return try Profile(bytes, place: profilePlace(name), name: name)
  }

  /// Checks the profile, and writes it under its name.
  ///
  /// - Parameter replacing: whether it may already exist; otherwise throws `.cannotCreate`.
  package func write(_ profile: Profile, replacing: Bool) throws(Failure) {
    try profile.check(place: profilePlace(profile.name))
    if !replacing, try hasProfile(profile.name) {
      throw Failure(
        .cannotCreate, "the profile '\(profile.name)' exists already",
        hint: "change it with 'termbackup profile edit \(profile.name)'")
    }
    _ = try make()
    try write(profile.bytes, to: profileName(profile.name), replacing: replacing)
  }

  package func removeProfile(_ name: String) throws(Failure) {
    guard try open().unlink(profileName(name)) else {
      throw Failure(.profile, "there is no profile '\(name)'")
    }
  }
}

/// The absolute form of `path`, without `.` and doubled slashes; `..` and symbolic links stay, as only the file system
/// can resolve them.
package func absolutePath(_ path: RawPath) throws(Failure) -> RawPath {
  if path.isEmpty { throw Failure(.usage, "a path is empty") }
  var start = RawPath([])
  if !path.isAbsolute {
    guard let current = unsafe getcwd(nil, 0) else {
      throw .system("cannot determine the working directory")
    }
    defer { unsafe free(current) }
    start = unsafe RawPath(Array(UnsafeRawBufferPointer(start: current, count: strlen(current))))
  }
  let parts = start.appending(path).bytes.split(separator: UInt8(ascii: "/")).filter {
    !$0.elementsEqual(".".utf8)
  }
  return RawPath([UInt8(ascii: "/")] + parts.joined(separator: [UInt8(ascii: "/")]))
}

/// Sixteen random bytes in hexadecimal.
package func newGroup() -> String { uniqueSuffix() + uniqueSuffix() }
