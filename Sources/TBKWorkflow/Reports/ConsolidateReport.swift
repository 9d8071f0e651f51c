import TBKCore
import TBKFormat

/// The result of consolidating a backup, and the effect on those that it needed.
struct ConsolidateReport: VerbReport {
  private let facts: Facts
  private let status, old: String
  private let new: String?
  /// The backups that depend on the old one, and those that no other backup needs any longer.
  private let dependents, freed: [String]
  private let count, size, archives, readSize: UInt64?
  private let seconds: UInt64

  init(_ facts: Facts) throws(Failure) {
    self.facts = facts
    status = facts.text("status") ?? "-"
    old = facts.text("old") ?? "-"
    new = facts.text("id")
    dependents = facts.words("dependents")
    freed = facts.words("freed")
    count = try facts.number("count")
    size = try facts.number("size")
    archives = try facts.number("archives")
    readSize = try facts.number("read")
    seconds = try facts.elapsed(since: "started")
  }

  var text: String {
    let short = short(old)
    let newID = self.short(new ?? "-")
    var text: String
    switch status {
    case "self-contained": return "\(short) needs no other backups: nothing is stored\n"
    case "already": text = "\(short) has been consolidated before, as \(newID): nothing is stored\n"
    case "would-consolidate":
      text = "Would consolidate \(short): \(archives ?? 0) archives, \(humanSize(readSize ?? 0)) to read\n"
    default:
      text = "Consolidated \(short) as \(newID)\n"
      text += row("files", "\(count ?? 0)")
      text += row("archive", "\(humanSize(size ?? 0)), full, of \(archives ?? 0) archives")
      text += row("store", facts.shown("store"))
      text += row("time", humanDuration(seconds))
    }
    func list(_ ids: [String]) -> String { ids.map { " " + self.short($0) }.joined() + "\n" }
    if !dependents.isEmpty {
      return text + "\(short) stays, with what it needs, for those that depend on it:" + list(dependents)
    }
    return text
      + (freed.isEmpty
        ? "Other backups need everything that it is based on\n"
        : "No other backup needs these any longer, and prune may remove them:" + list(freed))
  }

  var notes: [String] { status == "consolidated" && facts.isOnGitHub ? [gitKeeps] : [] }

  var json: JSON {
    .object([
      "id": json(new), "profile": json(facts.text("profile")), "status": .string(status),
      "replaces": .string(old), "kept": .bool(!dependents.isEmpty), "file_count": json(count), "size": json(size),
      "archive_count": json(archives), "read_size": json(readSize),
      "dependents": .array(dependents.map { .string($0) }), "prunable": .array(freed.map { .string($0) }),
      "seconds": .number(seconds),
    ])
  }
}
