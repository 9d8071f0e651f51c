import TBKCore
import TBKFormat

/// The last line of a prune for people; programs get its verdicts.
struct PruneReport: VerbReport {
  private let facts: Facts
  private let removed, kept, freed: UInt64

  init(_ facts: Facts) throws(Failure) {
    self.facts = facts
    removed = try facts.number("removed") ?? 0
    kept = try facts.number("kept") ?? 0
    freed = try facts.number("freed") ?? 0
  }

  var text: String {
    removed == 0
      ? "Nothing to remove: \(kept) \(kept == 1 ? "backup stays" : "backups stay")\n"
      : "\(facts["dry_run"] == nil ? "Removed" : "Would remove") \(removed) of \(removed + kept) backups, \(humanSize(freed))\n"
  }

  var notes: [String] { removed > 0 && facts["dry_run"] == nil && facts.isOnGitHub ? [gitKeeps] : [] }

  var json: JSON {
    .object(["removed_count": .number(removed), "kept_count": .number(kept), "size": .number(freed)])
  }
}
