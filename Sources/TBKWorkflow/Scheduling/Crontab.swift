import TBKCore

/// A crontab in which each profile of a home has a block, between a line `# BEGIN termbackup NAME HOME` and an end
/// line. All other lines are left unchanged.
struct Crontab: Equatable {
  private(set) var lines: [ArraySlice<UInt8>]
  /// The bytes as they were read.
  private let text: [UInt8]

  init(_ text: [UInt8]) {
    self.text = text
    lines = text.split(separator: 0x0a, omittingEmptySubsequences: false)
    if lines.last?.isEmpty == true { lines.removeLast() }
  }

  var bytes: [UInt8] { lines.flatMap { $0 + [0x0a] } }

  private enum Mark: String { case begin = "# BEGIN termbackup ", end = "# END termbackup " }

  /// The profile of this home whose block a line begins or ends.
  private static func profile(in line: ArraySlice<UInt8>, _ mark: Mark, of home: RawPath) -> ArraySlice<UInt8>? {
    guard line.starts(with: mark.rawValue.utf8) else { return nil }
    let rest = line.dropFirst(mark.rawValue.utf8.count)
    guard let blank = rest.firstIndex(of: 0x20), rest[(blank + 1)...].elementsEqual(home.bytes) else { return nil }
    return rest[..<blank]
  }

  /// The profiles of this home with their schedules. Throws `.configuration` for a block without an end.
  func scheduled(of home: RawPath) throws(Failure) -> [ScheduledProfile] {
    var found: [ScheduledProfile] = []
    var inside: ArraySlice<UInt8>?
    for line in lines {
      if let profile = Self.profile(in: line, .begin, of: home) {
        guard inside == nil else { throw Self.endless }
        inside = profile
      } else if let profile = inside {
        if Self.profile(in: line, .end, of: home) == profile {
          inside = nil
        } else if line.first != UInt8(ascii: "#") {
          let fields = line.split { $0 == 0x20 || $0 == 0x09 }.prefix(5)
          found.append(
            ScheduledProfile(
              profile: String(decoding: profile, as: UTF8.self), keeper: "cron",
              timetable: String(decoding: Array(fields.joined(separator: [0x20])), as: UTF8.self)))
        }
      }
    }
    guard inside == nil else { throw Self.endless }
    return found
  }

  /// Renames the block of a profile, and the profile in its commands. Returns whether there is one. Throws
  /// `.configuration` for a command that does not end as we write it.
  mutating func rename(_ profile: String, to name: String, of home: RawPath) throws(Failure) -> Bool {
    _ = try scheduled(of: home)
    var isFound = false
    var isInside = false
    for (index, line) in lines.enumerated() {
      for mark in [Mark.begin, .end] where Self.profile(in: line, mark, of: home)?.elementsEqual(profile.utf8) == true {
        (isFound, isInside) = (true, mark == .begin)
        lines[index] = (Array("\(mark.rawValue)\(name) ".utf8) + home.bytes)[...]
      }
      guard isInside, line.first != UInt8(ascii: "#") else { continue }
      let (old, new) = (
        ScheduledCommand.end(of: profile, for: .cron), ScheduledCommand.end(of: name, for: .cron)
      )
      guard line.suffix(old.count).elementsEqual(old) else {
        throw Failure(
          .configuration, "the command that cron runs for '\(profile)' was changed by hand",
          hint: "remove it with 'termbackup schedule-disable \(profile)', and schedule it again afterwards")
      }
      lines[index] = line.dropLast(old.count) + new
    }
    return isFound
  }

  private static let endless = Failure(
    .configuration, "a block of termbackup in the crontab has no end",
    hint: "fix it with 'crontab -e': it ends with a line '# END termbackup NAME HOME'")

  /// Replaces the block of a profile with another line, which is appended if there was none. Returns whether anything
  /// changed.
  ///
  /// - Parameter line: a command with its schedule; nil to remove the block.
  mutating func set(_ line: [UInt8]?, for profile: String, of home: RawPath) throws(Failure) -> Bool {
    _ = try scheduled(of: home)
    let name = Array(profile.utf8) + [0x20] + home.bytes
    let (first, last) = (Array(Mark.begin.rawValue.utf8) + name, Array(Mark.end.rawValue.utf8) + name)
    var block = line.map { [first[...], $0[...], last[...]] } ?? []
    var kept: [ArraySlice<UInt8>] = []
    var isInside = false
    for line in lines {
      if line.elementsEqual(first) {
        isInside = true
        kept += block
        block = []
      } else if isInside {
        if line.elementsEqual(last) { isInside = false }
      } else {
        kept.append(line)
      }
    }
    lines = kept + block
    return bytes != text
  }
}
