import TBKCore

/// The command that a schedule runs, and its quoting for cron and systemd.
struct ScheduledCommand {
  /// Where each run reads a secret from.
  struct Place {
    let file: RawPath
    let command: [UInt8]

    static let none = Place(file: RawPath([]), command: [])
  }

  /// The words of the command, program first.
  let words: [[UInt8]]

  /// Throws `.usage` for a word with a line feed.
  init(_ words: [[UInt8]]) throws(Failure) {
    if words.contains(where: { $0.contains(0x0a) }) {
      throw Failure(.usage, "a scheduled command cannot hold a line feed")
    }
    self.words = words
  }

  /// The end of a command that runs a profile, for cron or systemd.
  static func end(of profile: String, for keeper: Schedules.Keeper) -> [UInt8] {
    Array((keeper == .cron ? " '--' '\(profile)'" : " \"--\" \"\(profile)\"").utf8)
  }

  /// Quoted for a shell.
  var shell: [UInt8] { Array(words.map { Self.quoted($0) }.joined(separator: [0x20])) }

  private static func quoted(_ word: [UInt8]) -> [UInt8] {
    let quote = UInt8(ascii: "'")
    let inner = word.flatMap { $0 == quote ? Array("'\\''".utf8) : [$0] }
    return [quote] + inner + [quote]
  }

  /// Quoted for a crontab: beyond shell quoting, only the percent sign is special; cron reads it as a line feed. Throws
  /// `.usage` for characters that cron implementations treat differently.
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
