import Glibc
import TBKCore
import TBKFormat
import TBKSettings

/// A profile that cron or systemd runs: scheduler, name and schedule.
struct ScheduledProfile {
  let profile: String
  /// `cron` or `systemd`.
  let keeper: String
  let timetable: String

  /// - Parameter rows: scheduler, name and schedule of each.
  static func all(_ rows: [[String]]) -> [ScheduledProfile] {
    rows.map { ScheduledProfile(profile: $0[1], keeper: $0[0], timetable: $0[2]) }
  }

  var json: JSON { .object(["backend": .string(keeper), "schedule": .string(timetable)]) }
}

/// When a profile's backups were made and are due, as far as this machine knows.
struct ProfileTimes {
  /// A scheduled run that has ended.
  struct Run {
    /// As in the log: ISO 8601.
    let endedAt: String
    let status: Int32
  }

  /// The log of scheduled runs.
  let log: RawPath
  let lastRun: Run?
  let lateness: Lateness

  /// - Parameters:
  ///   - timetables: all timetables of the profile. One that a user has edited in a crontab so that it cannot be parsed
  ///     is ignored.
  ///   - maxAge: overrides the profile's `max_age`, in seconds.
  ///   - stored: when the last backup in the store was started.
  init(
    of profile: String, in home: Home, timetables: [String], maxAge: Int64? = nil,
    stored: Timestamp? = nil, now: Timestamp = .now()
  ) throws(Failure) {
    let name = "schedule-" + (try Profile.checkedName(Array(profile.utf8)))
    log = home.path.appending("state").appending(RawPath(name + ".log"))
    lastRun = Self.lastRun(try Self.read(log) ?? [])
    let since = try Self.read(home.path.appending("state").appending(RawPath(name + ".since")))
    var seen = [stored, try Self.lastSuccess(of: profile, in: home)]
    if let lastRun, lastRun.status == 0 { seen.append(Timestamp(iso8601: lastRun.endedAt)) }
    lateness = Lateness(
      timetables.compactMap { try? Timetable($0) },
      since: since.flatMap { Self.seconds(Timestamp(iso8601: Self.firstLine($0))) },
      // A profile that cannot be read is reported elsewhere.
      maxAge: maxAge ?? (try? home.profile(profile))?.maxAge,
      seen: seen.compactMap(Self.seconds), now: Self.seconds(now) ?? 0)
  }

  /// Seconds since 1970, rounded down.
  private static func seconds(_ time: Timestamp?) -> Int64? {
    time.map { FileTime(nanoseconds: $0.nanoseconds).seconds }
  }

  /// More than a log's maximum size.
  private static let limit = 1 << 20

  /// The bytes of a regular file, or nil.
  private static func read(_ path: RawPath) throws(Failure) -> [UInt8]? {
    guard let file = try Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_NONBLOCK),
      try file.status().st_mode & S_IFMT == S_IFREG
    else { return nil }
    return try DescriptorSource(file, name: path).readAll(limit: limit, what: path.display)
  }

  private static func firstLine(_ bytes: [UInt8]) -> String {
    String(decoding: bytes.prefix { $0 != 0x0a }, as: UTF8.self)
  }

  /// The last run in a log where each run begins with `== TIME status STATUS after …`.
  private static func lastRun(_ log: [UInt8]) -> Run? {
    for line in log.split(separator: 0x0a).reversed() where line.starts(with: "== ".utf8) {
      let words = String(decoding: line, as: UTF8.self).split(separator: " ")
      if words.count > 4, words[2] == "status", Timestamp(iso8601: words[1]) != nil,
        let status = Int32(words[3])
      {
        return Run(endedAt: String(words[1]), status: status)
      }
    }
    return nil
  }

  /// When a run on this machine last made a backup, or found it up to date, according to the audit log; former names of
  /// the profile count too.
  private static func lastSuccess(of profile: String, in home: Home) throws(Failure) -> Timestamp? {
    var last: [String: Timestamp] = [:]
    // Another check reports problems with the log.
    _ = try AuditFile(home.path.appending("audit.log")).read { (_, bytes) throws(Failure) in
      guard let line = try? AuditLine(bytes, place: ""), let name = line.profile, line.status != "failure" else {
        return
      }
      if line.operation == "backup", let time = line.timestamp {
        last[name] = max(last[name] ?? time, time)
      } else if let former = line.renamedFrom {
        last[name] = last.removeValue(forKey: former)
      }
    }
    return last[profile]
  }
}

extension Profile {
  /// The greatest age of the last backup, in seconds; nil for no limit.
  var maxAge: Int64? { self["max_age"]?.text.flatMap(ConfigurationShape.seconds(ofAge:)) }
}
