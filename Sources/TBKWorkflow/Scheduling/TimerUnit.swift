import TBKCore
import TBKCrypto

/// A systemd timer that runs a profile of a home, and the service that it starts.
struct TimerUnit {
  let profile: String
  let home: RawPath
  let timetable: String

  /// Parses a timer's unit; nil if the timer is not ours.
  init?(_ timer: [UInt8]) {
    let mark = Array("# termbackup ".utf8)
    let lines = timer.split(separator: 0x0a)
    guard let first = lines.first(where: { $0.starts(with: mark) })?.dropFirst(mark.count),
      let blank = first.firstIndex(of: 0x20)
    else { return nil }
    profile = String(decoding: first[..<blank], as: UTF8.self)
    home = RawPath(Array(first[(blank + 1)...]))
    let schedule = Array("# schedule ".utf8)
    let line = lines.first { $0.starts(with: schedule) }?.dropFirst(schedule.count)
    timetable = String(decoding: line ?? [], as: UTF8.self)
  }

  /// The name of its units. Different homes get different names; the plain name is for the default home.
  ///
  /// - Parameter isFree: whether no other home uses the plain name.
  static func name(_ profile: String, of home: RawPath, user: RawPath, isFree: Bool) throws(Failure) -> String {
    let plain = "termbackup-\(profile)"
    if home == user.appending(".termbackup"), isFree { return plain }
    return "\(plain)-\(try SHA256.hash(home.bytes).hex.prefix(12))"
  }

  private static let start = Array("ExecStart=".utf8)

  /// The command of a service, as written; nil if it has none.
  static func command(of service: [UInt8]) -> [UInt8]? {
    service.split(separator: 0x0a).first { $0.starts(with: start) }.map { Array($0.dropFirst(start.count)) }
  }

  /// - Parameter command: quoted for systemd.
  static func service(_ command: [UInt8], for profile: String, of home: RawPath) -> [UInt8] {
    Array("# termbackup \(profile) ".utf8) + home.bytes
      + Array(
        """

        [Unit]
        Description=TermBackup of \(profile)
        Documentation=man:termbackup-schedule-enable(1)

        [Service]
        Type=oneshot

        """.utf8) + start + command + [0x0a]
  }

  static func timer(_ timetable: Timetable, for profile: String, of home: RawPath) -> [UInt8] {
    Array("# termbackup \(profile) ".utf8) + home.bytes
      + Array(
        """

        # schedule \(timetable.text)
        [Unit]
        Description=TermBackup of \(profile)

        [Timer]
        \(timetable.calendars.map { "OnCalendar=" + $0 }.joined(separator: "\n"))
        Persistent=true

        [Install]
        WantedBy=timers.target

        """.utf8)
  }
}
