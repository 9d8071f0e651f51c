import TBKCore
import TBKFormat

/// What GitHub reports about a token and its permissions.
package struct GitHubTokenReport: Sendable {
  /// GitHub's kinds, by their prefix.
  package enum Kind: String, Sendable {
    case classic, oauth, user, server, unknown
    case fineGrained = "fine-grained"

    /// - Parameter prefix: the token's beginning, up to its last underscore.
    init(prefix: String) {
      self =
        switch prefix {
        case "ghp_": .classic
        case "github_pat_": .fineGrained
        case "gho_": .oauth
        case "ghu_": .user
        case "ghs_": .server
        default: .unknown
        }
    }
  }

  /// What is known about write access.
  package enum Push: String, Sendable {
    case yes, no
    /// The user has write access; whether the token has it shows only on writing.
    case roleOnly = "role-only"
  }

  package struct Repository: Sendable {
    package let fullName: String
    package let isPrivate: Bool
    package let defaultBranch: String
    /// As the API names them; nil if it does not report them.
    package let permissions: String?
    package let push: Push
    package let isEmpty: Bool
  }

  package let kind: Kind
  /// The prefix and three asterisks.
  package let masked: String
  package let user: String
  /// Nil for tokens that have none.
  package let scopes: [String]?
  /// Nil if it does not expire.
  package let expires: Timestamp?
  package let rateLimit: Int
  package let rateRemaining: Int
  package let rateReset: Timestamp
  /// Seconds by which this machine's clock is ahead of the server's; nil if the server reports no time.
  package let clockSkew: Int?
  package let repository: Repository?

  /// Days before its expiry from which a token causes a warning.
  package static let warningDays = 14

  /// Whole days that are left; nil if it does not expire.
  package func daysLeft(now: Timestamp = .now()) -> Int? {
    expires.map { GitHubTokenReport.days(from: now, to: $0) }
  }

  /// Whole days, negative after expiry. Any expiry date before 1970 counts as 1970.
  static func days(from now: Timestamp, to end: Timestamp) -> Int {
    Int((max(0, end.nanoseconds) - now.nanoseconds) / 86_400_000_000_000)
  }

  /// Warnings for the user, a sentence each.
  package func warnings(now: Timestamp = .now()) -> [String] {
    var found: [String] = []
    if let days = daysLeft(now: now), days < GitHubTokenReport.warningDays {
      let when =
        switch days {
        case ..<1: "within a day"
        case 1: "in a day"
        default: "in \(days) days"
        }
      found.append("the token expires \(when): 'termbackup update-token' sets another")
    }
    if let scopes, !scopes.contains("repo"), kind == .classic || kind == .oauth {
      found.append("the token has no scope 'repo', and cannot use a private repository")
    }
    if let repository, !repository.isPrivate {
      found.append(
        "the repository \(repository.fullName) is public: everyone can see when backups are made, "
          + "how many and how large")
    }
    return found
  }

  /// Queries GitHub. Throws `.token` for an invalid token, `.unavailable` for a repository that does not exist or that
  /// the token cannot see.
  ///
  /// - Parameter repository: the repository to report access to; nil for the token only.
  package init(_ repository: GitHubRepository?, _ context: StoreContext) throws(Failure) {
    guard let token = try context.token() else { throw GitHubStore.noToken }
    let prefix = GitHubTokenReport.prefix(token)
    let settings = HTTPSettings(
      userAgent: context.userAgent, maximumWait: context.maximumWait ?? 60)
    let api = try GitHubAPI(
      root: try GitHubAPI.configuredRoot(), token: token, settings: settings,
      notice: context.notice)
    let kind = Kind(prefix: prefix)
    let answer = try GitHubTokenReport.askForUser(api, kind)
    user = (try? answer.json("the user")["login"]?.text).map { GitHubTokenReport.word($0) } ?? "-"
    self.kind = kind
    masked = prefix + "***"
    let scopes = answer.headers["x-oauth-scopes"].map { text in
      text.split(separator: ",").map { GitHubTokenReport.word($0.trimmingBlanks) }
        .filter { !$0.isEmpty }
    }
    self.scopes = scopes
    expires = answer.headers["github-authentication-token-expiration"].flatMap {
      GitHubTokenReport.expiry($0)
    }
    func number(_ name: String) -> Int { answer.headers[name].flatMap { Int($0) } ?? 0 }
    rateLimit = number("x-ratelimit-limit")
    rateRemaining = number("x-ratelimit-remaining")
    let reset = Int64(number("x-ratelimit-reset"))
    rateReset = Timestamp(nanoseconds: min(max(0, reset), 9_000_000_000) * 1_000_000_000)
    clockSkew = answer.headers["date"].flatMap { httpDate($0) }.map {
      Int(Timestamp.now().seconds(since: $0))
    }
    if let repository {
      self.repository = try GitHubTokenReport.ask(repository, api, scopes: scopes)
    } else {
      self.repository = nil
    }
  }

  /// The response that names the token's user. The token of a workflow or an app has no user, so another endpoint is
  /// queried.
  private static func askForUser(_ api: GitHubAPI, _ kind: Kind) throws(Failure) -> HTTPResponse {
    do throws(Failure) {
      let answer = try api.send("GET", "user")
      guard answer.status == 200 else { throw api.unexpected(answer, "the user") }
      return answer
    } catch {
      guard kind == .server, error.httpStatus == 403 else { throw error }
      let answer = try api.send("GET", "rate_limit")
      guard answer.status == 200 else { throw api.unexpected(answer, "the rate limit") }
      return answer
    }
  }

  private static func ask(
    _ repository: GitHubRepository, _ api: GitHubAPI, scopes: [String]?
  ) throws(Failure) -> Repository {
    let answer = try api.send("GET", repository.path)
    if answer.status == 404 {
      throw Failure(
        .unavailable,
        "there is no repository \(repository.fullName), or the token is not allowed to see it",
        httpStatus: 404)
    }
    guard answer.status == 200 else {
      throw api.unexpected(answer, "the repository \(repository.fullName)")
    }
    let json = try answer.json("the repository")
    let branch = json["default_branch"]?.text.map { word($0) } ?? "-"
    let isPrivate = json["private"]?.boolean ?? false
    let push: Push =
      if json["permissions"]?["push"]?.boolean != true {
        .no
      } else if let scopes {
        scopes.contains("repo") || !isPrivate && scopes.contains("public_repo") ? .yes : .no
      } else {
        .roleOnly
      }
    let reference = try api.send(
      "GET", "\(repository.path)/git/ref/heads/\(branch.percentEncoded(keepingSlashes: true))")
    return Repository(
      fullName: json["full_name"]?.text.map { word($0) } ?? repository.fullName,
      isPrivate: isPrivate, defaultBranch: branch,
      permissions: answer.headers["x-accepted-github-permissions"].map { word($0) },
      push: push, isEmpty: reference.status == 409)
  }

  /// Everything up to the underscore that ends the kind; empty if there is none.
  private static func prefix(_ token: borrowing Secret) -> String {
    token.withBytes { bytes in
      for known in ["github_pat_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"] {
        let length = known.utf8.count
        if bytes.count > length, bytes.extracting(0..<length).elementsEqual(Array(known.utf8)) {
          return known
        }
      }
      return ""
    }
  }

  /// A header's value made safe for a terminal and for TSV.
  static func word(_ text: String) -> String {
    let shown = text.unicodeScalars.filter { $0.value >= 0x20 && $0.value < 0x7f }
    return String(String.UnicodeScalarView(shown.prefix(200)))
  }

  /// `2021-10-07 19:07:53 UTC`, or with a numeric offset.
  static func expiry(_ text: String) -> Timestamp? {
    let words = text.split(separator: " ")
    guard words.count == 3, text.utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
    var zone = String(words[2])
    if zone == "UTC" { zone = "+0000" }
    guard zone.utf8.count == 5 || zone.utf8.count == 6 else { return nil }
    if zone.utf8.count == 5 {
      let colon = zone.index(zone.startIndex, offsetBy: 3)
      zone.insert(":", at: colon)
    }
    return Timestamp(iso8601: "\(words[0])T\(words[1])\(zone)")
  }
}

extension Substring {
  fileprivate var trimmingBlanks: String {
    var text = self
    while text.first == " " { text = text.dropFirst() }
    while text.last == " " { text = text.dropLast() }
    return String(text)
  }
}
