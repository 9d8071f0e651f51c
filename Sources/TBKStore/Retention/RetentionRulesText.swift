extension RetentionRules {
  /// Parses rules written as one word, such as `max-backups=30,retention-days=90`: the names of tbk-prune's options.
  ///
  /// Nil for anything else, for a repeated rule, and for rules of both kinds together.
  package init?(_ text: String) {
    self.init()
    for rule in text.split(separator: ",", omittingEmptySubsequences: false) {
      let pieces = rule.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard pieces.count == 2 else { return nil }
      let isNew: Bool
      if pieces[0] == "keep-within" {
        guard let span = TimeSpan(String(pieces[1])) else { return nil }
        isNew = within == nil
        within = span
      } else {
        guard let place = RetentionRules.counts[String(pieces[0])], let count = wholeNumber(pieces[1])
        else { return nil }
        isNew = self[keyPath: place] == nil
        self[keyPath: place] = count
      }
      guard isNew else { return nil }
    }
    guard keepsAny != hasLimits else { return nil }
  }

  private static var counts: [String: WritableKeyPath<RetentionRules, Int?>] {
    [
      "keep-last": \.last, "keep-daily": \.daily, "keep-weekly": \.weekly, "keep-monthly": \.monthly,
      "keep-yearly": \.yearly, "max-backups": \.maxBackups, "retention-days": \.retentionDays,
    ]
  }
}
