import TBKCore
import TBKFormat

extension StoreAddress {
  /// Creates a new, empty store: a directory of mode 0700, a private repository, or whatever a helper creates.
  ///
  /// Throws `.cannotCreate` if it already exists.
  package func create(_ context: StoreContext) throws(Failure) {
    switch self {
    case .directory(let path):
      try Descriptor.workingDirectory.makeOwnedDirectory(path)
    case .gitHub(let repository):
      guard let token = try context.token() else { throw GitHubStore.noToken }
      let settings = HTTPSettings(
        userAgent: context.userAgent, maximumWait: maximumWait(context))
      let api = try GitHubAPI(
        root: try GitHubAPI.configuredRoot(), token: token, settings: settings,
        notice: context.notice)
      try api.create(repository)
    case .helper(let helper): try HelperStore(helper, context).create()
    }
  }
}

extension GitHubAPI {
  /// Creates a private repository without a commit, for the user or an organisation.
  func create(_ repository: GitHubRepository) throws(Failure) {
    guard repository.branch == nil else {
      throw Failure(.usage, "the first backup that goes to it creates the branch")
    }
    let user = try send("GET", "user").json("the user")
    guard let login = user["login"]?.text else {
      throw Failure(.malformed, "the answer names no user")
    }
    let isOwn = login.lowercased() == repository.owner.lowercased()
    let path = isOwn ? "user/repos" : "orgs/\(repository.owner)/repos"
    let response = try send(
      "POST", path,
      .init(
        json: .object([
          "name": .string(repository.name), "private": .bool(true),
          "description": .string("Encrypted backups (TermBackup)"), "has_issues": .bool(false),
          "has_projects": .bool(false), "has_wiki": .bool(false),
        ])))
    switch response.status {
    case 201: break
    case 404:
      throw Failure(
        .token,
        "\(repository.owner) is not the token's user (\(GitHubTokenReport.word(login))), nor an "
          + "organisation that lets it make repositories",
        hint: "make the repository by hand, private and empty", httpStatus: 404)
    case 422:
      throw Failure(
        .cannotCreate,
        "the repository \(repository.fullName) cannot be made\(GitHubJudge.quoted(response))",
        hint: "if it already exists, it can be used as it is", httpStatus: 422)
    default: throw unexpected(response, "making the repository")
    }
  }
}
