import TBKCore

/// The command that a timetable runs, and how cron and systemd have it written.
struct ScheduledCommand {
  /// Where a secret comes from at each run.
  struct Place {
    let file: RawPath
    let command: [UInt8]

    static let none = Place(file: RawPath([]), command: [])
  }

  /// Its words, the program first.
  let words: [[UInt8]]

  /// Throws `.usage` for a word that no line can hold.
  init(_ words: [[UInt8]]) throws(Failure) {
    if words.contains(where: { $0.contains(0x0a) }) {
      throw Failure(.usage, "a scheduled command cannot hold a line feed")
    }
    self.words = words
  }

  /// How a command ends that runs a profile, for cron and for systemd.
  static func end(of profile: String, for keeper: Schedules.Keeper) -> [UInt8] {
    Array((keeper == .cron ? " '--' '\(profile)'" : " \"--\" \"\(profile)\"").utf8)
  }

  /// For a shell.
  var shell: [UInt8] { Array(words.map { Self.quoted($0) }.joined(separator: [0x20])) }

  private static func quoted(_ word: [UInt8]) -> [UInt8] {
    let quote = UInt8(ascii: "'")
    let inner = word.flatMap { $0 == quote ? Array("'\\''".utf8) : [$0] }
    return [quote] + inner + [quote]
  }

  /// For a crontab: only the percent sign, which cron takes for a line feed, means something beyond what it means
  /// to the shell. Throws `.usage` for what systems take for different things.
  var cron: [UInt8] {
    get throws(Failure) {
      let text = shell
      let backslash = UInt8(ascii: "\\")
      if zip(text, text.dropFirst()).contains(where: {
        $0 == backslash && ($1 == backslash || $1 == UInt8(ascii: "%"))
      }) {
        throw Failure(
          .usage, "a command for cron cannot hold a backslash before another or before a percent sign",
          hint: "put it into a script, or use --systemd")
      }
      return text.flatMap { $0 == UInt8(ascii: "%") ? [backslash, $0] : [$0] }
    }
  }

  /// For `ExecStart=` of systemd.
  var systemd: [UInt8] {
    Array(
      words.map { word -> [UInt8] in
        let inner = word.flatMap { byte -> [UInt8] in
          switch byte {
          case UInt8(ascii: "\\"), UInt8(ascii: "\""): [UInt8(ascii: "\\"), byte]
          case UInt8(ascii: "%"), UInt8(ascii: "$"): [byte, byte]
          default: [byte]
          }
        }
        return [UInt8(ascii: "\"")] + inner + [UInt8(ascii: "\"")]
      }.joined(separator: [0x20]))
  }
}
