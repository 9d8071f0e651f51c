import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

struct TokenCommand: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-token",
    abstract: "Report what a GitHub token is and what it may do.",
    usage: "tbk-token [--repo <owner/repo>] [--json]",
    version: versionText)

  @Option(
    name: .long,
    help: ArgumentHelp("Report the access to this repository.", valueName: "owner/repo"))
  var repo: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Wait at most <seconds> for a network that fails (60).", valueName: "seconds"))
  var maxWait = 60

  @Flag(name: .long, help: "Print the report, and report errors, as JSON.")
  var json = false

  @OptionGroup var tokenOptions: TokenOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard (0...86_400).contains(maxWait) else {
      throw ValidationError("--max-wait is 0 to 86400 seconds")
    }
  }

  func execute() throws(Failure) -> Int32 {
    common.apply()
    let repository = try repo.map { (text) throws(Failure) in
      let name = text.hasPrefix("github:") ? String(text.dropFirst(7)) : text
      guard let repository = GitHubRepository(name) else {
        throw Failure(.usage, "\(RawPath(Array(text.utf8)).display) does not name a repository")
      }
      return repository
    }
    let context = tokenOptions.context(maximumWait: maxWait, inputIsData: false)
    let report = try GitHubTokenReport(repository, context)
    for warning in report.warnings() { Messages.warning(warning) }
    try print(report)
    if let repository = report.repository, repository.push == .no {
      throw Failure(
        .token, "the token cannot write to \(repository.fullName)",
        hint: "a classic token needs the scope 'repo', a fine-grained one 'Contents: read and write'"
      )
    }
    return ExitStatus.success
  }

  /// Names of times end with `_at` in JSON.
  private static let members = ["expires": "expires_at", "rate_reset": "rate_reset_at"]

  private func print(_ report: GitHubTokenReport) throws(Failure) {
    var lines: [(String, JSON)] = [
      ("kind", .string(report.kind.rawValue)), ("token", .string(report.masked)),
      ("user", .string(report.user)),
      ("scopes", report.scopes.map { .array($0.map { .string($0) }) } ?? .null),
      ("expires", report.expires.map { .string($0.iso8601()) } ?? .null),
      ("days_left", report.daysLeft().map { .number($0) } ?? .null),
      ("rate_limit", .number(report.rateLimit)), ("rate_remaining", .number(report.rateRemaining)),
      ("rate_reset", .string(report.rateReset.iso8601())),
      ("clock_skew", report.clockSkew.map { .number($0) } ?? .null),
    ]
    if let repository = report.repository {
      lines += [
        ("repository", .string(repository.fullName)),
        ("visibility", .string(repository.isPrivate ? "private" : "public")),
        ("default_branch", .string(repository.defaultBranch)),
        ("permissions", repository.permissions.map { .string($0) } ?? .null),
        ("push", .string(repository.push.rawValue)), ("empty", .bool(repository.isEmpty)),
      ]
    }
    if json {
      let object = JSON.object(lines.map { JSON.Member(Self.members[$0.0] ?? $0.0, $0.1) })
      try StandardOutput.write(object.line() + [UInt8(ascii: "\n")])
      return
    }
    for (name, value) in lines {
      let text: String =
        switch value {
        case .null: name == "expires" ? "never" : "-"
        case .bool(let yes): yes ? "yes" : "no"
        case .number(let token): token
        case .array(let list):
          list.isEmpty ? "none" : list.compactMap(\.text).joined(separator: ", ")
        default: value.text ?? "-"
        }
      try StandardOutput.write("\(name)\t\(text)\n")
    }
  }
}
