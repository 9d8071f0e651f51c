import Glibc
import TBKCommand
import TBKCore
import TBKSettings

/// What cron and systemd run of the profiles of a home.
struct Schedules {
  enum Keeper: String { case cron, systemd }

  private let home: Home
  private let units: UserUnits

  init(of home: Home) {
    self.home = home
    units = UserUnits(of: home.path)
  }

  /// All that are scheduled, by name.
  func all() throws(Failure) -> [ScheduledProfile] {
    let found = try (crontab()?.scheduled(of: home.path) ?? []) + units.scheduled()
    return found.enumerated().sorted { ($0.element.profile, $0.offset) < ($1.element.profile, $1.offset) }
      .map(\.element)
  }

  /// The lines in which commands stand, and others; of what can be read.
  func commandLines() -> [UInt8] {
    ((try? crontab())??.bytes ?? []) + units.services()
  }

  /// Schedules a profile with only one keeper.
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
    // Nothing was due before.
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

  /// Lets a profile's timetable, and what is kept of its runs, go to another name. Returns whether there is a
  /// timetable.
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

  /// One change of timetables at a time, of this home; as long as what is returned is open.
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

  /// The crontab of this user; nil without cron.
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

  /// Puts a line in the place of the profile's block. Returns whether that changed anything; nil without cron.
  private func changeCrontab(_ profile: String, _ line: [UInt8]?) throws(Failure) -> Bool? {
    guard let tool = try StockTool("crontab"), var table = try crontab() else { return nil }
    guard try table.set(line, for: profile, of: home.path) else { return false }
    try write(table, by: tool)
    return true
  }

  private func write(_ table: Crontab, by tool: StockTool) throws(Failure) {
    // By standard input: Debian's crontab cuts the name of a file at 100 bytes.
    let bytes = table.bytes
    let outcome = try tool.run(bytes.isEmpty ? ["-r"] : ["-"], input: bytes, limit: 1 << 20)
    guard outcome.status == 0 else {
      throw Failure(.cannotCreate, "crontab rejects the schedule: \(outcome.complaint)")
    }
  }
}
