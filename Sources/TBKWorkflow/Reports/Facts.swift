import TBKCommand
import TBKCore
import TBKFormat

/// What a verb has to report, as it names it: KEY=VALUE. What has no value is as if it were not named.
struct Facts {
  private let values: [(key: String, value: [UInt8])]

  /// Throws `.usage` for what has no key.
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

  /// The last value of that name.
  subscript(key: String) -> [UInt8]? {
    values.last { $0.key == key }.flatMap { $0.value.isEmpty ? nil : $0.value }
  }

  /// In their order, each once.
  var keys: [String] {
    values.enumerated().filter { place, member in !values[..<place].contains { $0.key == member.key } }.map(
      \.element.key)
  }

  /// The words of a value, with blanks between.
  func words(_ key: String) -> [String] {
    String(decoding: self[key] ?? [], as: UTF8.self).split(separator: " ").map(String.init)
  }

  /// The lines, with tabs between their cells, of the file that a value names; none if there is no such value.
  func rows(in key: String) throws(Failure) -> [[String]] {
    guard let path = self[key] else { return [] }
    return try cells(try readFile(RawPath(path), limit: 64 << 20), atLeast: 1)
  }

  /// As text; what is no UTF-8 is escaped.
  func text(_ key: String) -> String? {
    self[key].map { String(validating: $0, as: UTF8.self) ?? RawPath($0).quoted }
  }

  /// As a name is shown: quoted, if it is not plain ASCII.
  func shown(_ key: String) -> String { RawPath(self[key] ?? []).quoted }

  /// Throws `.usage` for what is not a number.
  func number(_ key: String) throws(Failure) -> UInt64? {
    guard let value = self[key] else { return nil }
    guard let number = UInt64(String(decoding: value, as: UTF8.self)) else {
      throw Failure(.usage, "'\(key)' is not a number")
    }
    return number
  }

  /// Whether the store is a repository, which keeps what was ever committed.
  var isOnGitHub: Bool { text("store")?.hasPrefix("github:") ?? false }

  /// How many seconds have passed since the time of that name, in seconds since 1970.
  func elapsed(since key: String) throws(Failure) -> UInt64 {
    let now = Timestamp.now().nanoseconds / 1_000_000_000
    guard let start = try number(key), now > 0, UInt64(now) > start else { return 0 }
    return UInt64(now) - start
  }
}

/// What a verb reports of facts: for people and for programs, from one value.
protocol VerbReport {
  /// Lines, each with its end.
  var text: String { get }
  var json: JSON { get }
  /// What people should know besides, on standard error, each on a line.
  var notes: [String] { get }
}

/// What is said of a store where something was removed, if it is a repository.
let gitKeeps = "git keeps what was ever committed: only archives in releases give their space back"

extension VerbReport {
  var notes: [String] { [] }

  /// A line of a report below its first one: a name of up to eight letters and what it is about.
  func row(_ name: String, _ value: String) -> String {
    "  " + name + String(repeating: " ", count: max(1, 9 - name.utf8.count)) + value + "\n"
  }

  /// The digits of an id that are shown.
  func short(_ id: String) -> String { String(id.prefix(12)) }

  func json(_ text: String?) -> JSON { text.map { .string($0) } ?? .null }
  func json(_ number: UInt64?) -> JSON { number.map { .number($0) } ?? .null }
}
