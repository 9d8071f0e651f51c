import TBKCore
import TBKFormat

/// What a restore has written, and where.
struct RestoreReport: VerbReport {
  private let facts: Facts
  private let count, replaced: UInt64?
  private let seconds: UInt64

  init(_ facts: Facts) throws(Failure) {
    self.facts = facts
    count = try facts.number("count")
    replaced = try facts.number("replaced")
    seconds = try facts.elapsed(since: "started")
  }

  var text: String {
    var text = "Restored \(short(facts.text("id") ?? "-")) to \(facts.shown("to"))\n"
    text += row("files", "\(count ?? 0)")
    if let replaced, replaced > 0 { text += row("replaced", replaced == 1 ? "1 entry" : "\(replaced) entries") }
    let made = facts.text("made") ?? "-"
    text += row("made", Timestamp(iso8601: made)?.localMinute ?? made)
    return text + row("time", humanDuration(seconds))
  }

  var notes: [String] {
    switch facts.text("signature") {
    case "holds": ["the signature of the archive holds"]
    case "none": ["the archive is not signed"]
    default: []
    }
  }

  var json: JSON {
    .object([
      "profile": json(facts.text("profile")), "status": json(facts.text("status")), "id": json(facts.text("id")),
      "file_count": json(count), "replaced_count": json(replaced),
      "to": facts["to"].map { .string($0) } ?? .null, "ledger": json(facts.text("ledger")),
      "signature": json(facts.text("signature")), "seconds": .number(seconds),
    ])
  }
}
