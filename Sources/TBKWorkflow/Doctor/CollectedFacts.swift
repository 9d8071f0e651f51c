import TBKCore
import TBKFormat

/// A command's messages on standard error: an error, as JSON if the command was run so, and warnings.
struct Said {
  let message: String
  let hint: String?
  /// The error object; nil if the command reported no error.
  let error: JSON?
  let warnings: [String]

  init(_ bytes: [UInt8]) {
    var error: JSON?
    var warnings: [String] = []
    var other: String?
    for line in bytes.split(separator: 0x0a) {
      if line.starts(with: "{\"error\":".utf8), let found = try? JSON.parse(Array(line), what: "")["error"] {
        error = error ?? found
        continue
      }
      let text = String(decoding: line, as: UTF8.self)
      if let (start, rest) = text.split(at: ": warning: "), start.utf8.allSatisfy({ $0 != UInt8(ascii: ":") }) {
        warnings.append(rest)
      } else {
        other = other ?? text
      }
    }
    self.error = error
    self.warnings = warnings
    message = error?["message"]?.text ?? other ?? "it failed without a message"
    hint = error?["hint"]?.text
  }
}

extension String {
  /// The text before and after the first occurrence of `text`.
  fileprivate func split(at text: String) -> (String, String)? {
    guard let range = firstRange(of: text) else { return nil }
    return (String(self[..<range.lowerBound]), String(self[range.upperBound...]))
  }
}

/// What a verb's commands have collected: a directory with, for each command, its output in a file of its name, its
/// messages in NAME.err, and the end of the stage in NAME.status.
struct CollectedFacts {
  let folder: RawPath

  /// The files of one part, such as a profile.
  func part(_ name: String) -> CollectedFacts { CollectedFacts(folder: folder.appending(name)) }

  /// Whether the directory exists.
  var isThere: Bool { (try? Descriptor.workingDirectory.statusIfPresent(of: folder)) ?? nil != nil }

  /// Empty if the file does not exist.
  func bytes(_ name: String) -> [UInt8] {
    (try? readFile(folder.appending(name), limit: Ledger.byteLimit)) ?? []
  }

  func text(_ name: String) -> String {
    var text = String(decoding: bytes(name), as: UTF8.self)
    if text.hasSuffix("\n") { text.removeLast() }
    return text
  }

  func said(_ name: String) -> Said { Said(bytes(name + ".err") + (end(name).report ?? [])) }

  /// Nil if the command was not run.
  func status(_ name: String) -> Int32? { end(name).isRunning ? Failure(.library, "").exitStatus : end(name).status }

  private func end(_ name: String) -> StageEnd { StageEnd(of: folder.appending(RawPath(name + ".status"))) }

  /// The cells of a list's lines.
  func rows(_ name: String) -> [[String]] { (try? cells(bytes(name), atLeast: 1)) ?? [] }

  /// The object in the output; null if it is not an object.
  func object(_ name: String) -> JSON { (try? JSON.parse(bytes(name), what: name)) ?? .null }

  /// The value of a name, from lines of name and value as tbk-token prints them.
  func field(_ key: String, of name: String) -> String? {
    rows(name).first { $0.count == 2 && $0[0] == key }?[1]
  }
}
