import TBKCommand

/// Suggestions for a mistyped verb.
enum VerbNames {
  /// Words that users of other tools may type, and the equivalent verb here.
  private static let elsewhere: [String: String] = [
    "backup": "run", "create": "run", "save": "run", "push": "run", "commit": "run",
    "snapshots": "list", "log": "list", "archives": "list", "history": "list",
    "forget": "prune", "rm": "prune", "delete": "prune", "expire": "prune", "remove": "prune",
    "check": "verify", "fsck": "verify", "test": "verify",
    "extract": "restore", "recover": "restore", "checkout": "restore", "dump": "cat", "show": "cat",
    "contents": "ls", "search": "find", "locate": "find", "versions": "find", "files": "ls", "tree": "ls",
    "mount": "restore", "pull": "restore",
    "key": "rotate-key", "passwd": "rotate-key", "change-passphrase": "rotate-key",
    "compact": "clean", "gc": "clean", "unlock": "clean", "cleanup": "clean", "cache": "clean",
    "info": "status", "stats": "status", "config": "profile", "setup": "init",
    "keygen": "generate-key", "cron": "schedule-enable", "schedule": "schedule-enable",
    "audit": "audit-log", "token": "token-info", "pack": "package", "compare": "diff",
  ]

  /// A hint, or nil if no verb is similar.
  static func meant(by word: String, among verbs: [String]) -> String? {
    if let verb = elsewhere[word] { return "did you mean 'termbackup \(verb)'?" }
    let near =
      verbs.map { ($0, editDistance(word, $0)) }.min { $0.1 < $1.1 }
    guard let near, near.1 <= max(1, word.utf8.count / 3) else { return nil }
    return "did you mean 'termbackup \(near.0)'?"
  }
}
