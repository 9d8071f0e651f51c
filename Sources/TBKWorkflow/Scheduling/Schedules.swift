import Glibc
import TBKCommand
import TBKCore
import TBKSettings

/// The schedules of a home's profiles in cron and systemd.
struct Schedules {
  enum Keeper: String { case cron, systemd }

  private let home: Home
  private let units: UserUnits

  init(of home: Home) {
    self.home = home
    units = UserUnits(of: home.path)
  }

  /// All scheduled profiles, by name.
  func all() throws(Failure) -> [ScheduledProfile] {
    let found = try (crontab()?.scheduled(of: home.path) ?? []) + units.scheduled()
    return found.enumerated().sorted { ($0.element.profile, $0.offset) < ($1.element.profile, $1.offset) }
      .map(\.element)
  }

  /// The lines of the crontab and of our services, as far as they can be read: they contain the scheduled commands.
  func commandLines() -> [UInt8] {
    ((try? crontab())??.bytes ?? []) + units.services()
  }

  /// Schedules a profile with one scheduler, and removes it from the other.
  func enable(
    _ command: ScheduledCommand, at timetable: Timetable, for profile: String, by keeper: Keeper
  ) throws(Failure) {
    let lock = try lock()
    defer { withExtendedLifetime(lock) {} }
    switch keeper {
    case .systemd:
      do throws(Failure) {
        try units.enable(command.systemd, at: timetable, for: profile)
      } catch {
        guard error.code == .tryAgain else { throw error }
        Messages.warning(error.message)
      }
      _ = try changeCrontab(profile, nil)
    case .cron:
      let line = try Array("\(timetable.text) ".utf8) + command.cron
      guard try changeCrontab(profile, line) != nil else {
        throw Failure(
          .unavailable, "the command 'crontab' is not installed", hint: "install cron, or use --systemd")
      }
      _ = try units.disable(profile)
    }
    // Nothing was due before now.
    do throws(Failure) {
      let now = Timestamp.now().ofLog
      try AtomicFile.write(Array("\(now)\n".utf8), to: try since(profile), inherits: true)
    } catch {
      Messages.warning(error.message)
    }
  }

  /// False if the profile was not scheduled.
  func disable(_ profile: String) throws(Failure) -> Bool {
    let lock = try lock()
    defer { withExtendedLifetime(lock) {} }
    let wasInCrontab = try changeCrontab(profile, nil) == true
    let wasTimer = try units.disable(profile)
    _ = try Descriptor.workingDirectory.unlink(try since(profile))
    return wasInCrontab || wasTimer
  }

  /// Renames a profile's schedule and the records of its runs. Returns whether it had a schedule.
  func rename(_ profile: String, to name: String) throws(Failure) -> Bool {
    let lock = try lock()
    defer { withExtendedLifetime(lock) {} }
    var isScheduled = false
    if let tool = try StockTool("crontab"), var table = try crontab(),
      try table.rename(profile, to: name, of: home.path)
    {
      try write(table, by: tool)
      isScheduled = true
    }
    if try units.rename(profile, to: name) { isScheduled = true }
    let kept = [
      (try since(profile), try since(name)),
      (try RunLog(of: profile, in: home).path, try RunLog(of: name, in: home).path),
    ]
    let here = Descriptor.workingDirectory
    for (old, new) in kept where try here.statusIfPresent(of: old) != nil { try here.rename(old, to: here, new) }
    return isScheduled
  }

  private func since(_ profile: String) throws(Failure) -> RawPath {
    try home.stateDirectory().appending("schedule-\(profile).since")
  }

  /// Locks the schedules of this home while the returned descriptor is open.
  private func lock() throws(Failure) -> Descriptor {
    let path = try home.stateDirectory().appending("schedule.lock")
    let file = try Descriptor.workingDirectory.openOwned(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK)
    while flock(file.number, LOCK_EX | LOCK_NB) != 0 {
      if errno == EINTR { try Interruption.check(); continue }
      guard errno == EWOULDBLOCK else { throw .system("cannot lock \(path.display)") }
      throw Failure(
        .tryAgain, "another process changes the schedules", hint: "try again when it has finished")
    }
    return file
  }

  // MARK: crontab(1)

  /// The user's crontab; nil without cron.
  func crontab() throws(Failure) -> Crontab? {
    guard let tool = try StockTool("crontab") else { return nil }
    let outcome = try tool.run(["-l"], limit: 4 << 20)
    if outcome.status == 0 { return Crontab(outcome.output) }
    let isEmpty =
      outcome.errors.contains("no crontab for")
      || outcome.errors.contains("can't open") && outcome.errors.contains("': No such file or directory")
    if isEmpty { return Crontab([]) }
    throw Failure(.unavailable, "cannot read the crontab: \(outcome.complaint)")
  }

  /// Replaces the profile's block with a line. Returns whether anything changed; nil without cron.
  private func changeCrontab(_ profile: String, _ line: [UInt8]?) throws(Failure) -> Bool? {
    guard let tool = try StockTool("crontab"), var table = try crontab() else { return nil }
    guard try table.set(line, for: profile, of: home.path) else { return false }
    try write(table, by: tool)
    return true
  }

  private func write(_ table: Crontab, by tool: StockTool) throws(Failure) {
    // Use standard input: Debian's crontab truncates file names at 100 bytes.
    let bytes = table.bytes
    let outcome = try tool.run(bytes.isEmpty ? ["-r"] : ["-"], input: bytes, limit: 1 << 20)
    guard outcome.status == 0 else {
      throw Failure(.cannotCreate, "crontab rejects the schedule: \(outcome.complaint)")
    }
  }
}
