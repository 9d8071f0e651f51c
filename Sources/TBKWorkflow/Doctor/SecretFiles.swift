import CSystem
import Glibc
import TBKCore

/// The files from which scheduled runs read their secrets, and who else can read them.
enum SecretFiles {
  /// Whether a secret can be read from it again, by any command: a regular file, under a name that is not that of a
  /// descriptor; or nothing is there.
  static func lasts(_ path: RawPath) -> Bool {
    guard let file = try? Descriptor.workingDirectory.openIfPresent(path, tbk_o_path) else { return true }
    guard let facts = try? file.status(), facts.st_mode & S_IFMT == S_IFREG else { return false }
    return [path, (try? Descriptor.workingDirectory.readLink(path)) ?? path].allSatisfy { name in
      !["/dev/fd/", "/dev/std", "/proc/"].contains { name.bytes.starts(with: $0.utf8) }
    }
  }

  private static let options = ["--password-file", "--key-password-file", "--token-file"]

  /// Those that lines of a crontab or of units name, of the runs of a home.
  ///
  /// - Parameters:
  ///   - lines: also others, which are passed over.
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

  /// What cron and systemd make of a line before words are told apart: `\%` is a percent sign to the one, `%%`
  /// and `$$` are one sign to the other.
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

  /// - Parameter files: those that do not exist are passed over.
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
