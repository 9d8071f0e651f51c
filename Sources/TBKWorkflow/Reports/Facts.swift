import TBKCommand
import TBKCore
import TBKFormat

/// The input of a verb's report, as KEY=VALUE. An empty value counts as absent.
struct Facts {
  private let values: [(key: String, value: [UInt8])]

  /// Throws `.usage` for a word without a key.
  init(_ words: [RawPath]) throws(Failure) {
    var values: [(String, [UInt8])] = []
    for word in words {
      guard let equals = word.bytes.firstIndex(of: UInt8(ascii: "=")), equals > 0,
        let key = String(validating: word.bytes[..<equals], as: UTF8.self)
      else { throw Failure(.usage, "\(word.display) is not KEY=VALUE") }
      values.append((key, Array(word.bytes[(equals + 1)...])))
    }
    self.values = values
  }

  /// The last value of this key.
  subscript(key: String) -> [UInt8]? {
    values.last { $0.key == key }.flatMap { $0.value.isEmpty ? nil : $0.value }
  }

  /// In order, without duplicates.
  var keys: [String] {
    values.enumerated().filter { place, member in !values[..<place].contains { $0.key == member.key } }.map(
      \.element.key)
  }

  /// The words of a value, separated by blanks.
  func words(_ key: String) -> [String] {
    String(decoding: self[key] ?? [], as: UTF8.self).split(separator: " ").map(String.init)
  }

  /// The tab-separated rows of the file named by a value; empty if there is no such value.
  func rows(in key: String) throws(Failure) -> [[String]] {
    guard let path = self[key] else { return [] }
    return try cells(try readFile(RawPath(path), limit: 64 << 20), atLeast: 1)
  }

  /// The value as text; if it is not UTF-8, escaped.
  func text(_ key: String) -> String? {
    self[key].map { String(validating: $0, as: UTF8.self) ?? RawPath($0).quoted }
  }

  /// The value as names are shown: quoted unless it is plain ASCII.
  func shown(_ key: String) -> String { RawPath(self[key] ?? []).quoted }

  /// Throws `.usage` if it is not a number.
  func number(_ key: String) throws(Failure) -> UInt64? {
    guard let value = self[key] else { return nil }
    guard let number = UInt64(String(decoding: value, as: UTF8.self)) else {
      throw Failure(.usage, "'\(key)' is not a number")
    }
    return number
  }

  /// Whether the store is a repository, which keeps everything that was ever committed.
  var isOnGitHub: Bool { text("store")?.hasPrefix("github:") ?? false }

  /// Seconds since the time in this value, which is in seconds since 1970.
  func elapsed(since key: String) throws(Failure) -> UInt64 {
    let now = Timestamp.now().nanoseconds / 1_000_000_000
    guard let start = try number(key), now > 0, UInt64(now) > start else { return 0 }
    return UInt64(now) - start
  }
}

/// A verb's report of its facts: text for people and JSON for programs, from one value.
protocol VerbReport {
  /// Complete lines.
  var text: String { get }
  var json: JSON { get }
  /// Further notes for people on standard error, one per line.
  var notes: [String] { get }
}

/// A note about a GitHub store from which something was removed.
let gitKeeps = "git keeps what was ever committed: only archives in releases give their space back"

extension VerbReport {
  var notes: [String] { [] }

  /// A line of a report below its first: a name of up to eight letters and a value.
  func row(_ name: String, _ value: String) -> String {
    "  " + name + String(repeating: " ", count: max(1, 9 - name.utf8.count)) + value + "\n"
  }

  /// The digits of an id that are displayed.
  func short(_ id: String) -> String { String(id.prefix(12)) }

  func json(_ text: String?) -> JSON { text.map { .string($0) } ?? .null }
  func json(_ number: UInt64?) -> JSON { number.map { .number($0) } ?? .null }
}
