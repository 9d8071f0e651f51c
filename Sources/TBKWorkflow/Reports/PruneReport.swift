import TBKCore
import TBKFormat

/// The decisions of a prune, for people: the verdicts and a summary line. Programs get the verdicts as tbk-prune prints
/// them.
struct PruneReport: VerbReport {
  private let facts: Facts
  private let removed, kept, freed: UInt64
  /// Nil if only the summary line is wanted.
  private let verdicts: VerdictsReport?
  private let hasNumber: Bool

  /// - Parameter facts: verdicts, a file; part, `table` or `number` if only that is wanted; profile; removed, kept and
  ///   freed; dry_run; store.
  init(_ facts: Facts) throws(Failure) {
    self.facts = facts
    removed = try facts.number("removed") ?? 0
    kept = try facts.number("kept") ?? 0
    freed = try facts.number("freed") ?? 0
    hasNumber = facts.text("part") != "table"
    let rows = facts.text("part") == "number" ? [] : try facts.rows(in: "verdicts").filter { $0.count >= 5 }
    verdicts = rows.isEmpty ? nil : VerdictsReport(rows: rows, profile: facts.text("profile") ?? "PROFILE")
  }

  var text: String { (verdicts?.text ?? "") + (hasNumber ? number : "") }

  private var number: String {
    removed == 0
      ? "Nothing to remove: \(kept) \(kept == 1 ? "backup stays" : "backups stay")\n"
      : "\(facts["dry_run"] == nil ? "Removed" : "Would remove") \(removed) of \(removed + kept) backups, \(humanSize(freed))\n"
  }

  var notes: [String] { hasNumber && removed > 0 && facts["dry_run"] == nil && facts.isOnGitHub ? [gitKeeps] : [] }

  var json: JSON {
    .object(["removed_count": .number(removed), "kept_count": .number(kept), "size": .number(freed)])
  }
}
