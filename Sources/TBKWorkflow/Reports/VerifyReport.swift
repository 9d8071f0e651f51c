import TBKCommand
import TBKCore
import TBKFormat

/// How many backups hold, and which do not. What does not was said when it was found.
struct VerifyReport: VerbReport {
  private let facts: Facts
  private let checked, failed, signed, marked: UInt64
  /// The ids of all, and what does not hold with the reason: for programs.
  private let ids: [String]
  private let failures: [[String]]

  init(_ facts: Facts) throws(Failure) {
    self.facts = facts
    checked = try facts.number("checked") ?? 0
    failed = try facts.number("failed") ?? 0
    signed = try facts.number("signed") ?? 0
    marked = try facts.number("marked") ?? 0
    ids = try facts.rows(in: "ids").map { $0[0] }
    failures = try facts.rows(in: "failures")
  }

  var text: String {
    facts["several"] == nil ? "" : "\(checked - min(checked, failed)) of \(checked) backups hold\n"
  }

  var json: JSON {
    .object([
      "profile": json(facts.text("profile")), "ledger": json(facts.text("ledger")),
      "checked_count": .number(checked), "signed_count": .number(signed), "marked_count": .number(marked),
      "ids": .array(ids.map { .string($0) }),
      "failures": .array(
        failures.map { row in
          .object(["id": .string(row[0]), "reason": .string(row.count > 1 ? row[1] : "")])
        }),
    ])
  }
}

/// What somebody else's verb reports: its facts in their order, with a line above if one of them is `title`. A fact
/// is a number in JSON if it is called so, as `size` and `count` are, or ends with `_count` or `_size`.
struct FactsReport: VerbReport {
  private let facts: Facts

  init(_ facts: Facts) throws(Failure) {
    self.facts = facts
    for key in facts.keys where FactsReport.isNumber(key) { _ = try facts.number(key) }
  }

  private static func isNumber(_ key: String) -> Bool {
    ["size", "count", "seconds"].contains { key == $0 || key.hasSuffix("_\($0)") }
  }

  private func value(of key: String) -> String {
    guard let number = (try? facts.number(key)) ?? nil, FactsReport.isNumber(key) else {
      return Timestamp(iso8601: facts.text(key) ?? "")?.localMinute ?? facts.shown(key)
    }
    if key.hasSuffix("size") { return humanSize(number) }
    return key.hasSuffix("seconds") ? humanDuration(number) : "\(number)"
  }

  var text: String {
    let keys = facts.keys.filter { $0 != "title" && facts[$0] != nil }
    let width = keys.map(\.utf8.count).max() ?? 0
    let rows = keys.map { key in
      "  " + key.replacing("_", with: " ") + String(repeating: " ", count: width + 2 - key.utf8.count) + value(of: key) + "\n"
    }
    return (facts["title"] == nil ? "" : facts.shown("title") + "\n") + rows.joined()
  }

  var json: JSON {
    .object(
      facts.keys.filter { $0 != "title" }.map { key in
        let number = FactsReport.isNumber(key) ? (try? facts.number(key)) ?? nil : nil
        return JSON.Member(key, number.map { .number($0) } ?? facts[key].map { .string($0) } ?? .null)
      })
  }
}
