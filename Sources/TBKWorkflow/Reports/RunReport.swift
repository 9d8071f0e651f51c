import TBKCore
import TBKFormat

/// How a run ended: what it stored, or why nothing.
struct RunReport: VerbReport {
  private let facts: Facts
  private let status: String
  /// The numbers of new, changed, deleted and metadata-only changed entries; nil if not compared.
  private let changes: [UInt64]?
  private let count, size, removed, freed, kept: UInt64?
  private let seconds: UInt64

  /// - Parameter facts: status, `would-store` or `unchanged` if nothing is stored; partial; profile; id, of the stored
  ///   backup or the last one; mode; count and size; counts, a file with the numbers of changes; compared, the mode,
  ///   followed by 1 if the changes are listed; removed, freed and kept; store; started.
  init(_ facts: Facts) throws(Failure) {
    self.facts = facts
    status = facts.text("status") ?? "success"
    let counted = try facts.rows(in: "counts").first?.compactMap { UInt64($0) }
    let changes = counted?.count == RunReport.changeNames.count ? counted : nil
    // A full backup is not compared, unless the changes are to be listed.
    self.changes = facts.text("compared") == "full" ? nil : changes
    // If nothing is stored yet, count the entries: all but the deleted ones.
    count = try facts.number("count") ?? (status == "would-store" ? changes.map { $0[0] &+ $0[1] &+ $0[3] } : nil)
    size = try facts.number("size")
    removed = try facts.number("removed")
    freed = try facts.number("freed")
    kept = try facts.number("kept")
    seconds = try facts.elapsed(since: "started")
  }

  private static let changeNames = ["added", "modified", "deleted", "metadata"]

  private var changesInWords: String {
    guard let changes else { return "" }
    let words = "\(changes[0]) new, \(changes[1]) changed, \(changes[2]) deleted"
    return changes[3] == 0 ? " (\(words))" : " (\(words), \(changes[3]) with other metadata)"
  }

  var text: String {
    let profile = facts.text("profile") ?? "-"
    let mode = facts.text("mode") ?? "-"
    var text: String
    switch status {
    case "would-store":
      text = "Would back up \(profile), \(mode): \(count ?? 0) \(count == 1 ? "entry" : "entries")\(changesInWords)\n"
    case "unchanged":
      text = "Nothing has changed since \(short(facts.text("id") ?? "-")): nothing is stored\n"
    default:
      text = "Backed up \(profile) as \(short(facts.text("id") ?? "-"))\n"
      text += row("files", "\(count ?? 0)\(changesInWords)")
      text += row("archive", "\(humanSize(size ?? 0)), \(mode)")
      text += row("store", facts.shown("store"))
      text += row("time", humanDuration(seconds))
    }
    if let removed, removed > 0 {
      text += row("removed", "\(removed) old, \(humanSize(freed ?? 0)); \(kept ?? 0) stay")
    }
    return text
  }

  var json: JSON {
    let isLook = status == "would-store"
    // As in the audit log: files that could not be read may have changed.
    let outcome = status == "unchanged" && facts.text("partial") != nil ? "partial" : status
    var members: [JSON.Member] = [
      JSON.Member("id", json(status == "unchanged" ? nil : facts.text("id"))),
      JSON.Member("profile", json(facts.text("profile"))),
      JSON.Member("status", .string(outcome)), JSON.Member("mode", json(facts.text("mode"))),
      JSON.Member("file_count", json(isLook ? nil : count)),
      JSON.Member("entry_count", json(isLook ? count : nil)), JSON.Member("size", json(size)),
    ]
    for (index, name) in RunReport.changeNames.enumerated() {
      members.append(JSON.Member("\(name)_count", json(changes?[index])))
    }
    members += [
      JSON.Member("removed_count", json(removed)),
      JSON.Member("store", facts["store"].map { .string($0) } ?? .null),
      JSON.Member("seconds", .number(seconds)),
    ]
    return .object(members)
  }
}
