import Glibc
import TBKCore

/// Our units in the user's systemd directory.
struct UserUnits {
  private let home: RawPath
  private let folder: RawPath
  private let user: RawPath

  /// - Parameter home: the home whose timers count.
  init(of home: RawPath) {
    self.home = home
    user = RawPath(environment("HOME") ?? [])
    let configuration = environment("XDG_CONFIG_HOME").map { RawPath($0) } ?? user.appending(".config")
    folder = configuration.appending("systemd/user")
  }

  /// The timers of this home, with their file names.
  private func timers() throws(Failure) -> [(name: String, unit: TimerUnit)] {
    guard let place = try? Descriptor.workingDirectory.openIfPresent(folder, O_RDONLY | O_DIRECTORY) else { return [] }
    var found: [(String, TimerUnit)] = []
    for name in try place.names().map(\.name.text).sorted()
    where name.hasPrefix("termbackup-") && name.hasSuffix(".timer") {
      if let unit = try read(name), unit.home == home { found.append((String(name.dropLast(6)), unit)) }
    }
    return found
  }

  private func read(_ name: String) throws(Failure) -> TimerUnit? {
    let path = folder.appending(name)
    guard let file = try? Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_NONBLOCK),
      try file.status().st_mode & S_IFMT == S_IFREG
    else { return nil }
    return TimerUnit(try DescriptorSource(file, name: path).readAll(limit: 1 << 20, what: path.display))
  }

  /// The text of all our services, of any home.
  func services() -> [UInt8] {
    guard let place = try? Descriptor.workingDirectory.openIfPresent(folder, O_RDONLY | O_DIRECTORY),
      let names = try? place.names()
    else { return [] }
    return names.map(\.name).filter { $0.text.hasPrefix("termbackup-") && $0.text.hasSuffix(".service") }
      .flatMap { ((try? readFile(folder.appending($0), limit: 1 << 20)) ?? []) + [0x0a] }
  }

  func scheduled() throws(Failure) -> [ScheduledProfile] {
    try timers().map {
      ScheduledProfile(profile: $0.unit.profile, keeper: "systemd", timetable: $0.unit.timetable)
    }
  }

  /// Renames the units of a profile. Returns whether there are any. Throws `.configuration` for a command that does not
  /// end as we write it; otherwise as `enable`.
  func rename(_ profile: String, to name: String) throws(Failure) -> Bool {
    guard let found = try timers().first(where: { $0.unit.profile == profile }) else { return false }
    let place = folder.appending("\(found.name).service")
    let old = ScheduledCommand.end(of: profile, for: .systemd)
    guard let command = TimerUnit.command(of: try readFile(place, limit: 1 << 20)),
      command.suffix(old.count).elementsEqual(old)
    else {
      throw Failure(
        .configuration, "the command in \(place.display) was changed by hand",
        hint: "remove it with 'termbackup schedule-disable \(profile)', and schedule it again afterwards")
    }
    let renamed = command.dropLast(old.count) + ScheduledCommand.end(of: name, for: .systemd)
    do throws(Failure) {
      try enable(Array(renamed), at: try Timetable(found.unit.timetable), for: name)
    } catch {
      // The units are written, and take effect at the next login.
      guard error.code == .tryAgain else { throw error }
    }
    return try disable(profile)
  }

  /// Writes the units of a profile, and removes its other units. Throws `.tryAgain`, after writing them, if no systemd
  /// of the user is running.
  ///
  /// - Parameter command: quoted for systemd.
  func enable(_ command: [UInt8], at timetable: Timetable, for profile: String) throws(Failure) {
    let plain = "termbackup-\(profile).timer"
    let isFree: Bool
    if let unit = try read(plain) {
      isFree = unit.home == home && unit.profile == profile
    } else {
      isFree = try Descriptor.workingDirectory.statusIfPresent(of: folder.appending(plain)) == nil
    }
    let name = try TimerUnit.name(profile, of: home, user: user, isFree: isFree)
    let timer = folder.appending("\(name).timer")
    if let other = try read("\(name).timer"), other.home != home || other.profile != profile {
      throw Failure(
        .cannotCreate, "\(timer.display) is not of this profile",
        hint: "it belongs to another TERMBACKUP_HOME: disable it there, or rename the profile")
    }
    let wants = folder.appending("timers.target.wants")
    do throws(Failure) {
      try makeDirectories(wants)
      try AtomicFile.write(
        TimerUnit.service(command, for: profile, of: home), to: folder.appending("\(name).service"), mode: 0o644)
      try AtomicFile.write(TimerUnit.timer(timetable, for: profile, of: home), to: timer, mode: 0o644)
      try link(timer, from: wants.appending("\(name).timer"))
    } catch {
      if error.isOfProcess { throw error }
      throw Failure(.cannotCreate, "cannot write \(timer.display): \(error.reason)")
    }
    // Units of an earlier version have another name.
    _ = try disable(profile, but: name)
    if try systemctl(["daemon-reload"]) == nil {
      if let complaint = try systemctl(["restart", "\(name).timer"]) {
        throw Failure(.unavailable, "systemd did not start the timer" + (complaint.isEmpty ? "" : ": \(complaint)"))
      }
    } else {
      throw Failure(.tryAgain, "no systemd of this user is running: the timer starts at the next login")
    }
  }

  /// Removes the units of a profile, under any name that earlier versions used; false if there are none.
  ///
  /// - Parameter kept: the name of the units to keep.
  func disable(_ profile: String, but kept: String? = nil) throws(Failure) -> Bool {
    let gone = try timers().filter { $0.unit.profile == profile && $0.name != kept }
    for (name, _) in gone {
      _ = try systemctl(["stop", "\(name).timer"])
      for file in ["\(name).timer", "\(name).service", "timers.target.wants/\(name).timer"] {
        do throws(Failure) {
          _ = try Descriptor.workingDirectory.unlink(folder.appending(file))
        } catch {
          throw Failure(.cannotCreate, "cannot remove \(folder.appending("\(name).timer").display): \(error.reason)")
        }
      }
    }
    if !gone.isEmpty { _ = try systemctl(["daemon-reload"]) }
    return !gone.isEmpty
  }

  /// The error message of systemctl, possibly empty; nil on success.
  private func systemctl(_ arguments: [String]) throws(Failure) -> String? {
    guard let tool = try StockTool("systemctl") else { return "systemctl is not installed" }
    let outcome = try tool.run(["--user"] + arguments, limit: 1 << 20)
    return outcome.status == 0 ? nil : outcome.complaint
  }

  private func makeDirectories(_ path: RawPath) throws(Failure) {
    if try Descriptor.workingDirectory.statusIfPresent(of: path) != nil { return }
    if path.parent != path { try makeDirectories(path.parent) }
    try Descriptor.workingDirectory.makeDirectory(path, mode: 0o755)
  }

  private func link(_ target: RawPath, from path: RawPath) throws(Failure) {
    _ = try Descriptor.workingDirectory.unlink(path)
    let result = try unsafe target.withCString { (target) throws(Failure) in
      try unsafe path.withCString { (path) throws(Failure) in unsafe symlink(target, path) }
    }
    if result != 0 { throw .system("cannot create \(path.display)", missing: .cannotCreate) }
  }
}
