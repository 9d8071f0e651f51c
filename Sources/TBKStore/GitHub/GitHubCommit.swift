import TBKCore
import TBKFormat

extension GitHubStore {
  package func commit(
    _ commit: Commit, over version: LedgerVersion?
  ) throws(Failure) -> CommitOutcome {
    guard commit.ledger.count <= GitHubStore.contentsLimit else {
      throw Failure(
        .cannotCreate, "the ledger of the store \(address.display) is larger than GitHub gives out",
        hint: "remove backups, or start another store")
    }
    if state == .unknown { _ = try readLedger() }
    if !isCurrent(version) {
      _ = try readLedger()
      guard isCurrent(version) else { return .conflict }
    }
    try prepareRepository()
    guard isCurrent(version) else { return .conflict }
    try renewParts(commit)
    var base: Head?
    if case .at(let head) = state { base = head }
    guard let tree = try makeTree(commit, over: base) else { return .conflict }
    let id = try makeCommit(tree, message: commit.summary, over: base)
    let head = Head(commit: id, tree: tree)
    if base != nil, !isOurs, let path = try takenName(in: head, commit) {
      return .taken(path)
    }
    guard try moveBranch(to: id, isNew: base == nil) else {
      forget()
      return .conflict
    }
    remember(commit.ledger, at: head, tag: nil)
    isOurs = (try? Ledger(parsing: commit.ledger))?.identity != nil
    // Another writer may have removed a reused part as unreferenced since it was looked up.
    try renewParts(commit)
    removeAssets(commit, at: head)
    return .committed(LedgerVersion(id.description))
  }

  /// Whether the branch, as far as is known, is where `version` was read. False if the ledger was not looked up.
  private func isCurrent(_ version: LedgerVersion?) -> Bool {
    switch state {
    case .unknown: false
    case .noBranch: version == nil
    case .at(let head):
      switch hasLedger {
      case true?: version?.token == head.commit.description
      case false?: version == nil
      case nil: false
      }
    }
  }

  // MARK: The tree

  /// Nil if the base tree is gone.
  private func makeTree(_ commit: Commit, over base: Head?) throws(Failure) -> GitObjectID? {
    var entries: [JSON] = []
    var added: Set<String> = []
    func add(_ path: String, _ members: KeyValuePairs<String, JSON>) {
      added.insert(path)
      var entry = JSON.object([
        "path": .string(path), "mode": .string("100644"), "type": .string("blob"),
      ])
      for (key, value) in members { entry[key] = value }
      entries.append(entry)
    }
    for addition in commit.additions {
      guard let staged = addition.object as? GitHubStaged else {
        throw Failure(.library, "\(addition.path) was not staged in this store")
      }
      for (name, hash) in staged.blobs {
        let path = ObjectPath(addition.path.folder, name ?? addition.path.name)
        add(path.description, ["sha": .string(hash.description)])
      }
    }
    if commit.ledger.count <= GitHubStore.inlineLedgerLimit {
      add(Ledger.fileName, ["content": .string(commit.ledger)])
    } else {
      add(Ledger.fileName, ["sha": .string(try uploadBlob(commit.ledger).description)])
    }
    let removals = Set(commit.removals.flatMap(paths)).subtracting(added).sorted()
    var response = try postTree(entries, removing: removals, over: base)
    if response.status == 422, !removals.isEmpty, let base {
      // A file to be removed is already gone.
      var there: [String] = []
      for path in removals where try exists(path, at: base) { there.append(path) }
      response = try postTree(entries, removing: there, over: base)
    }
    switch response.status {
    case 201:
      guard let tree = GitObjectID(try response.json("a tree")["sha"]?.text) else {
        throw Failure(.malformed, "the answer names no tree")
      }
      return tree
    case 409: return nil
    case 404: throw GitHubJudge.denied(response)
    default: throw api.unexpected(response, "making a tree")
    }
  }

  /// The files of an object in the branch.
  private func paths(_ object: ObjectReference) -> [String] {
    if object.parts.isEmpty { return [object.path.description] }
    return object.parts.filter { $0.place == GitHubStaged.gitPlace }
      .map { ObjectPath(object.path.folder, $0.object.name).description }
  }

  private func postTree(
    _ entries: [JSON], removing removals: [String], over base: Head?
  ) throws(Failure) -> HTTPResponse {
    let gone = removals.map { path in
      JSON.object([
        "path": .string(path), "mode": .string("100644"), "type": .string("blob"), "sha": .null,
      ])
    }
    var json = JSON.object(["tree": .array(entries + gone)])
    if let base { json["base_tree"] = .string(base.tree.description) }
    return try api.send("POST", "\(repository.path)/git/trees", .init(json: json))
  }

  private func exists(_ path: String, at head: Head) throws(Failure) -> Bool {
    let escaped = path.percentEncoded(keepingSlashes: true)
    let response = try api.send(
      "HEAD", "\(repository.path)/contents/\(escaped)?ref=\(head.commit)", .raw(limit: 0))
    switch response.status {
    case 200: return true
    case 404: return false
    default: throw api.unexpected(response, path)
    }
  }

  private func uploadBlob(_ bytes: [UInt8]) throws(Failure) -> GitObjectID {
    var options = GitHubAPI.Options()
    options.body = BlobBody(bytes)
    options.isWhole = false
    let response = try api.send("POST", "\(repository.path)/git/blobs", options)
    if response.status == 404 { throw GitHubJudge.denied(response) }
    guard response.status == 201, let id = GitObjectID(try response.json("a blob")["sha"]?.text)
    else { throw api.unexpected(response, "storing the ledger") }
    return id
  }

  // MARK: The commit

  private func makeCommit(
    _ tree: GitObjectID, message: String, over base: Head?
  ) throws(Failure) -> GitObjectID {
    let parents = base.map { [JSON.string($0.commit.description)] } ?? []
    let response = try api.send(
      "POST", "\(repository.path)/git/commits",
      .init(
        json: .object([
          "message": .string(message), "tree": .string(tree.description),
          "parents": .array(parents),
        ])))
    if response.status == 404 { throw GitHubJudge.denied(response) }
    guard response.status == 201, let id = GitObjectID(try response.json("a commit")["sha"]?.text)
    else { throw api.unexpected(response, "making a commit") }
    return id
  }

  /// A name that the commit would take from other bytes. In TermBackup's own ledgers every object has an entry, so the
  /// check is not needed; in another tool's ledger it is.
  private func takenName(in head: Head, _ commit: Commit) throws(Failure) -> ObjectPath? {
    let paths = commit.additions.filter { !$0.replacing }.map(\.path)
    if paths.isEmpty { return nil }
    let response = try api.send("GET", "\(repository.path)/commits/\(head.commit)")
    guard response.status == 200,
      let files = try response.json("a commit")["files"]?.elements
    else { throw api.unexpected(response, "the commit") }
    let changed = Set(
      files.filter { $0["status"]?.text != "added" && $0["status"]?.text != "removed" }
        .compactMap { $0["filename"]?.text })
    return paths.first { changed.contains($0.description) }
  }

  /// False if another writer moved the branch first.
  private func moveBranch(to commit: GitObjectID, isNew: Bool) throws(Failure) -> Bool {
    let response: HTTPResponse
    if isNew {
      response = try api.send(
        "POST", "\(repository.path)/git/refs",
        .init(
          json: .object([
            "ref": .string("refs/heads/\(branch)"), "sha": .string(commit.description),
          ])))
    } else {
      let path = branch.percentEncoded(keepingSlashes: true)
      response = try api.send(
        "PATCH", "\(repository.path)/git/refs/heads/\(path)",
        .init(json: .object(["sha": .string(commit.description), "force": .bool(false)])))
    }
    switch response.status {
    case 200, 201: return true
    case 409: return false
    case 404: throw GitHubJudge.denied(response)
    case 422:
      let message = GitHubJudge.message(response)?.lowercased() ?? ""
      if message.contains("fast forward") || message.contains("does not exist")
        || message.contains("already exists")
      {
        return false
      }
      throw Failure(
        .denied, "GitHub does not allow moving the branch \(branch)\(GitHubJudge.quoted(response))",
        hint: "a rule protects it: exempt the token's user, or use another branch",
        httpStatus: 422)
    default: throw api.unexpected(response, "moving the branch \(branch)")
    }
  }

  // MARK: Assets

  /// Uploads parts again that were in a release when they were staged and may have been removed since. Only checks for
  /// parts whose bytes are no longer here: throws `.tryAgain` if one is gone.
  private func renewParts(_ commit: Commit) throws(Failure) {
    for addition in commit.additions {
      guard let staged = addition.object as? GitHubStaged, let release = staged.release,
        release.isDoubtful(after: doubtAfter)
      else { continue }
      guard let spool = release.spool else {
        guard try releases.hold(staged.parts) else {
          throw Failure(
            .tryAgain, "parts of \(addition.path) have gone from a release of \(repository.fullName) meanwhile",
            hint: "another process removed them: store the backup again")
        }
        continue
      }
      let (tag, _) = try releases.upload(
        spool, maximumWait: maximumWait, progress: { _ in })
      guard staged.parts.allSatisfy({ $0.place == tag }) else {
        throw Failure(
          .tryAgain, "the release that held parts of \(addition.path) has no room for them any more")
      }
    }
  }

  /// Deletes assets that no ledger names any more. The commit is done: failures are reported, and left to
  /// `remove(_:over:)`.
  private func removeAssets(_ commit: Commit, at head: Head) {
    let kept = Set(
      commit.additions.flatMap { ($0.object as? GitHubStaged)?.parts.map(\.object.name) ?? [] })
    let parts = commit.removals.flatMap(\.parts).filter {
      GitHubReleases.isTag($0.place) && !kept.contains($0.object.name)
    }
    if parts.isEmpty { return }
    do throws(Failure) {
      // The same archive may also be a backup on another branch, or again on this one.
      let named = try namedOnBranches(besides: head)
      try releases.remove(parts.filter { !named.contains("\($0.place)/\($0.object.name)") })
    } catch {
      context.notice(
        "what was removed still takes room in a release of \(repository.fullName): \(error.message)")
    }
  }
}
