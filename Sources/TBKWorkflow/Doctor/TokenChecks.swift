import TBKCore

/// Checks of the GitHub token, from what GitHub reports about it for each repository.
struct TokenChecks {
  let facts: CollectedFacts
  /// Whether any profile's store is on GitHub.
  let isNeeded: Bool

  func findings() -> [Finding] {
    func finding(_ result: Finding.Result, _ message: String, _ hint: String = "") -> Finding {
      Finding(result: result, check: "token", message: message, hint: hint)
    }
    guard isNeeded else { return [finding(.note, "not needed: no profile goes to GitHub")] }
    let said = facts.said("token")
    guard facts.status("token") == 0 else {
      return [finding(.fail, said.message, said.hint ?? "fix the source of the token")]
    }
    var found = said.warnings.map { finding(.warn, $0) }
    let source = facts.text("token")
    if source.isEmpty {
      return found + [
        finding(
          .fail, "no token is configured",
          "'termbackup update-token', --token-command 'gh auth token' or TERMBACKUP_TOKEN_FILE")
      ]
    }
    if source == "config.json" {
      found.append(finding(.warn, "it is in config.json", "move it to the keyring with 'termbackup migrate'"))
    }
    for repository in facts.rows("repositories").map({ $0[0] }) {
      let report = report(repository)
      let said = report.said("token-report")
      found += said.warnings.map { finding(.warn, $0) }
      guard report.status("token-report") == 0 else {
        let again = "'termbackup token-info --repo \(repository)' tries again"
        found.append(finding(.fail, "\(repository): \(said.message)", said.hint ?? again))
        continue
      }
      func field(_ name: String) -> String { report.field(name, of: "token-report") ?? "-" }
      let scopes = ["-", ""].contains(field("scopes")) ? "" : ", scopes \(field("scopes"))"
      let push = field("push") == "role-only" ? "its user may" : field("push")
      found.append(
        finding(
          .ok,
          "\(field("kind")) of \(field("user")), from \(source)\(scopes); ends: \(field("expires")); "
            + "\(repository): write \(push)"))
    }
    return found
  }

  private func report(_ repository: String) -> CollectedFacts { facts.part("repository").part(repository) }

  /// Seconds by which this clock is ahead of GitHub's; nil if unknown.
  var skew: Int? {
    facts.rows("repositories").compactMap { report($0[0]).field("clock_skew", of: "token-report").flatMap(Int.init) }
      .last
  }

  static func clock(_ skew: Int?, now: Timestamp) -> Finding {
    func finding(_ result: Finding.Result, _ message: String, _ hint: String = "") -> Finding {
      Finding(result: result, check: "clock", message: message, hint: hint)
    }
    guard let skew else {
      return finding(.note, "\(now.ofLog); not compared with another clock")
    }
    let off = "it is \(skew.magnitude) s \(skew < 0 ? "behind" : "ahead of") GitHub's"
    switch skew.magnitude {
    case 3600...: return finding(.fail, off, "set it: the times of backups decide which are removed")
    case 120...: return finding(.warn, off, "set it")
    default: return finding(.ok, "within \(skew.magnitude + 1) s of GitHub's")
    }
  }
}
