import TBKCore
import TBKCrypto
import TBKFormat

/// A store in a repository on GitHub: the layout of a directory store, on one branch.
///
/// A commit of the store is a git commit: blobs first, then a tree based on the one that the ledger was read from, then
/// the branch is moved, never by force. The first writer to move it wins; another gets a conflict and rebuilds its
/// commit on the new head without sending blobs again. Archives of more than one part are stored as release assets,
/// which can be deleted permanently.
package final class GitHubStore: Store {
  /// A commit and its tree.
  struct Head: Equatable {
    let commit: GitObjectID
    let tree: GitObjectID
  }

  /// What is known of the branch.
  enum State: Equatable {
    case unknown
    /// The repository has no such branch; `isEmpty` if it has no commit at all.
    case noBranch(isEmpty: Bool)
    case at(Head)
  }

  /// Default for the seconds to keep trying while the network fails.
  package static let standardWait = 900
  /// The largest object that the contents API serves, in bytes.
  static let contentsLimit = 100 << 20
  /// The largest ledger, in bytes, that is sent inside the tree request.
  static let inlineLedgerLimit = 512 << 10

  package let address: StoreAddress
  let repository: GitHubRepository
  let api: GitHubAPI
  let releases: GitHubReleases
  let context: StoreContext
  let maximumWait: Int
  let cache: GitHubCache
  /// State from earlier reads of object ranges.
  let ranges = GitHubRanges()
  private var facts: GitHubCache.Facts?
  private(set) var state = State.unknown
  /// Whether every object at the head has an entry: the ledger there was written by TermBackup, or there are no
  /// objects.
  var isOurs = false
  /// Whether there is a ledger at the head; nil if not checked yet.
  private(set) var hasLedger: Bool?
  private var hasAskedForRepository = false
  /// The last listing.
  var lastListing: Listing?
  /// Seconds after which parts uploaded to a release are checked again before a commit names them.
  var doubtAfter: Int64 = 3600

  /// - Parameter root: the API's root; nil for the configured one.
  package init(
    _ repository: GitHubRepository, _ context: StoreContext, root: HTTPURL? = nil
  ) throws(Failure) {
    let address = StoreAddress.gitHub(repository)
    self.address = address
    self.repository = repository
    self.context = context
    maximumWait = context.maximumWait ?? GitHubStore.standardWait
    cache = try GitHubCache(context.cacheDirectory, address: address)
    facts = cache.facts()
    var server = root
    if server == nil { server = try GitHubAPI.configuredRoot() }
    guard let server, let token = try context.token() else { throw GitHubStore.noToken }
    let settings = HTTPSettings(
      userAgent: context.userAgent, maximumWait: maximumWait, rates: context.rates)
    api = try GitHubAPI(root: server, token: token, settings: settings, notice: context.notice)
    releases = GitHubReleases(api, repository, notice: context.notice)
  }

  package static let noToken = Failure(
    .token, "no token for GitHub was given",
    hint: "give --token-command 'gh auth token', --token-file or TERMBACKUP_TOKEN_FILE, or keep one "
      + "in the keyring with 'termbackup update-token'")

  static func missing(_ what: String) -> Failure {
    Failure(.inputMissing, "the store does not have \(what)", httpStatus: 404)
  }

  // MARK: The branch

  /// The branch that is the store.
  var branch: String { repository.branch ?? facts?.branch ?? "" }

  /// Looks up the branch.
  func locate() throws(Failure) {
    if branch.isEmpty { try askForRepository() }
    if try askForBranch() { return }
    // The default branch may have changed since it was last looked up.
    let before = branch
    let hadAsked = hasAskedForRepository
    if !hadAsked { try askForRepository() }
    if !hadAsked, branch != before, try askForBranch() { return }
    state = .noBranch(isEmpty: try isRepositoryEmpty())
    hasLedger = nil
    isOurs = false
  }

  /// False if there is no such branch.
  private func askForBranch() throws(Failure) -> Bool {
    let path = branch.percentEncoded(keepingSlashes: true)
    var options = GitHubAPI.Options()
    if facts?.branch == branch, let tag = facts?.tag, GitHubCache.isTag(tag) {
      options.ifNoneMatch = tag
    }
    let response = try api.send("GET", "\(repository.path)/branches/\(path)", options)
    switch response.status {
    case 304:
      guard options.ifNoneMatch != nil, let head = facts?.head else {
        throw api.unexpected(response, "the branch \(branch)")
      }
      arrive(at: head)
    case 200:
      let json = try response.json("the branch \(branch)")
      guard let commit = GitObjectID(json["commit"]?["sha"]?.text),
        let tree = GitObjectID(json["commit"]?["commit"]?["tree"]?["sha"]?.text)
      else { throw Failure(.malformed, "the answer to the branch \(branch) names no commit") }
      let head = Head(commit: commit, tree: tree)
      if facts?.head != head || facts?.branch != branch {
        facts = GitHubCache.Facts(branch: branch, head: head)
      }
      facts?.tag = response.headers["etag"]
      arrive(at: head)
    case 404, 409: return false
    default: throw api.unexpected(response, "the branch \(branch)")
    }
    return true
  }

  /// Knowledge of another head does not apply to this one.
  private func arrive(at head: Head) {
    if state == .at(head) { return }
    state = .at(head)
    hasLedger = nil
    isOurs = false
  }

  /// Looks up the default branch. Throws `.unavailable` if there is no such repository.
  private func askForRepository() throws(Failure) {
    hasAskedForRepository = true
    let response = try api.send("GET", repository.path)
    if response.status == 404 {
      throw Failure(
        .unavailable,
        "there is no repository \(repository.fullName), or the token is not allowed to see it",
        hint: "'tbk-store create \(address.display)' makes a private one", httpStatus: 404)
    }
    guard response.status == 200 else {
      throw api.unexpected(response, "the repository \(repository.fullName)")
    }
    let json = try response.json("the repository \(repository.fullName)")
    guard let branch = json["default_branch"]?.text, BranchName.isValid(branch.utf8, inAddress: false) else {
      throw Failure(.malformed, "the answer to the repository names no default branch")
    }
    if json["private"]?.boolean == false {
      context.notice(
        "the repository \(repository.fullName) is public: everyone can see when backups are made, "
          + "how many and how large")
    }
    defaultBranch = branch
    if facts?.branch != self.repository.branch ?? branch {
      facts = GitHubCache.Facts(branch: repository.branch ?? branch)
    }
  }

  private var defaultBranch: String?

  /// Whether the repository has no commit at all: true if its default branch is missing.
  private func isRepositoryEmpty() throws(Failure) -> Bool {
    guard let named = repository.branch, named != defaultBranch else { return true }
    let path = (defaultBranch ?? "main").percentEncoded(keepingSlashes: true)
    let response = try api.send("GET", "\(repository.path)/git/ref/heads/\(path)")
    return response.status == 409
  }

  // MARK: Reading

  package func readLedger() throws(Failure) -> StoredLedger? {
    try locate()
    guard case .at(let head) = state else { return nil }
    var bytes: [UInt8]?
    if facts?.head == head, let digest = facts?.ledger { bytes = cache.ledger(digest) }
    if let bytes {
      cache.keep(facts ?? .init(branch: branch), ledger: nil)
      return try found(bytes, head)
    }
    let response = try api.send(
      "GET", contentsPath(Ledger.fileName, at: head),
      .raw(limit: min(Ledger.byteLimit, GitHubStore.contentsLimit)))
    if response.status == 404 {
      hasLedger = false
      try refuseForeignRepository(head)
      isOurs = true
      return nil
    }
    guard response.status == 200 else { throw api.unexpected(response, "the ledger") }
    remember(response.body, at: head, tag: facts?.tag)
    return try found(response.body, head)
  }

  private func found(_ bytes: [UInt8], _ head: Head) throws(Failure) -> StoredLedger {
    hasLedger = true
    isOurs = (try? Ledger(parsing: bytes))?.identity != nil
    return StoredLedger(bytes: bytes, version: LedgerVersion(head.commit.description))
  }

  /// Caches the ledger at a commit.
  func remember(_ ledger: [UInt8], at head: Head, tag: String?) {
    state = .at(head)
    hasLedger = true
    let digest = try? SHA256.hash(ledger)
    facts = GitHubCache.Facts(branch: branch, head: head, tag: tag, ledger: digest)
    if let facts { cache.keep(facts, ledger: ledger) }
  }

  /// Sets the state after the first commit of a repository, which has neither ledger nor objects.
  func begin(at head: Head) {
    state = .at(head)
    hasLedger = false
    isOurs = true
  }

  /// The branch has moved.
  func forget() { state = .unknown }

  func contentsPath(_ path: String, at head: Head) -> String {
    let escaped = path.percentEncoded(keepingSlashes: true)
    return "\(repository.path)/contents/\(escaped)?ref=\(head.commit)"
  }

  /// Throws unless a branch without a ledger has only the files of a new repository; `.integrity` if it has backups but
  /// no ledger.
  private func refuseForeignRepository(_ head: Head) throws(Failure) {
    let response = try api.send("GET", "\(repository.path)/git/trees/\(head.tree)")
    guard response.status == 200, let list = try response.json("the tree")["tree"]?.elements else {
      throw api.unexpected(response, "the tree of the branch \(branch)")
    }
    for entry in list {
      let name = entry["path"]?.text ?? ""
      if name == "backups" || name == "manifests" {
        throw Failure(
          .integrity,
          "the store \(address.display) holds \(name)/ and has no metadata.json",
          hint: "put its metadata.json back, or use another branch")
      }
      let upper = name.uppercased()
      let isHarmless =
        name == "checks" || name == "keys" || name.hasPrefix(".git") || upper.hasPrefix("README")
        || upper.hasPrefix("LICENSE")
      if !isHarmless {
        throw Failure(
          .unavailable,
          "\(address.display) is not a store: it holds \(RawPath(Array(name.utf8)).display) and no "
            + "metadata.json",
          hint: "give the repository of a store, an empty one, or another branch as in "
            + "\(address.display)#backups")
      }
    }
  }

  package func open(_ object: ObjectReference) throws(Failure) -> any ByteSource {
    if state == .unknown { try locate() }
    let what = "\(object.path) of the store \(address.display)"
    guard case .at(let head) = state else { throw GitHubStore.missing(what) }
    if !object.parts.isEmpty { return try open(object, at: head, what: what) }
    let path = object.path.description
    func get(_ head: Head) throws(Failure) -> HTTPResponse {
      var options = GitHubAPI.Options.raw(limit: GitHubStore.contentsLimit)
      options.isWhole = false
      options.progress = context.progress
      return try api.send("GET", contentsPath(path, at: head), options)
    }
    var response = try get(head)
    if response.status == 404 {
      // Another writer may have committed it since the branch was last looked up.
      try locate()
      guard case .at(let now) = state, now != head else { throw GitHubStore.missing(what) }
      response = try get(now)
    }
    if response.status == 404 { throw GitHubStore.missing(what) }
    guard response.status == 200 else { throw api.unexpected(response, what) }
    return MemorySource(response.body)
  }
}
