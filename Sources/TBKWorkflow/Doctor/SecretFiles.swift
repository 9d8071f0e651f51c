import CSystem
import Glibc
import TBKCore

/// The files from which scheduled runs read their secrets, and their permissions.
enum SecretFiles {
  /// Whether any command can read a secret from it again: a regular file whose path is not that of a descriptor. Also
  /// true if it does not exist.
  static func lasts(_ path: RawPath) -> Bool {
    guard let file = try? Descriptor.workingDirectory.openIfPresent(path, tbk_o_path) else { return true }
    guard let facts = try? file.status(), facts.st_mode & S_IFMT == S_IFREG else { return false }
    return [path, (try? Descriptor.workingDirectory.readLink(path)) ?? path].allSatisfy { name in
      !["/dev/fd/", "/dev/std", "/proc/"].contains { name.bytes.starts(with: $0.utf8) }
    }
  }

  private static let options = ["--password-file", "--key-password-file", "--token-file"]

  /// The secret files named in lines of a crontab or of units, for runs with this home.
  ///
  /// - Parameters:
  ///   - lines: other lines are ignored.
  ///   - home: the directory of the configuration.
  static func named(in lines: [UInt8], of home: RawPath) -> [RawPath] {
    var found: [RawPath] = []
    for line in lines.split(separator: 0x0a) {
      let isUnit = line.starts(with: "ExecStart=".utf8)
      let text = isUnit ? Array(line.dropFirst(10)) : Array(line)
      guard line.first != UInt8(ascii: "#"), let words = try? splitShellWords(unescaped(text, isUnit: isUnit)),
        words.contains(Array("TERMBACKUP_HOME=".utf8) + home.bytes),
        words.contains(Array("schedule-run".utf8))
      else { continue }
      for (word, next) in zip(words, words.dropFirst()) where options.contains(where: { word.elementsEqual($0.utf8) }) {
        if !found.contains(RawPath(next)) { found.append(RawPath(next)) }
      }
    }
    return found
  }

  /// Undoes the escapes of cron and systemd before a line is split into words: cron writes a percent sign as `\%`,
  /// systemd doubles `%` and `$`.
  private static func unescaped(_ text: [UInt8], isUnit: Bool) -> [UInt8] {
    var output: [UInt8] = []
    var index = 0
    while index < text.count {
      let next = index + 1 < text.count ? text[index + 1] : 0
      switch (isUnit, text[index], next) {
      case (false, UInt8(ascii: "\\"), UInt8(ascii: "%")), (true, UInt8(ascii: "%"), UInt8(ascii: "%")),
        (true, UInt8(ascii: "$"), UInt8(ascii: "$")):
        output.append(next)
        index += 1
      default: output.append(text[index])
      }
      index += 1
    }
    return output
  }

  /// - Parameter files: files that do not exist are skipped.
  static func check(_ files: [RawPath]) -> [Finding] {
    var seen: [RawPath] = []
    return files.compactMap { path in
      guard !seen.contains(path) else { return nil }
      seen.append(path)
      guard let file = try? Descriptor.workingDirectory.openIfPresent(path, tbk_o_path),
        let facts = try? file.status(), facts.st_mode & S_IFMT == S_IFREG, facts.st_mode & 0o044 != 0
      else { return nil }
      return Finding(
        result: .warn, check: "password", message: "others can read the secret in \(path.display)",
        hint: "'chmod go=' on it removes the access of others")
    }
  }
}
