import TBKCore
import TBKFormat

extension GitHubStore {
  /// The largest listing that is read, in bytes.
  private static let listingLimit = 32 << 20
  private static let pageSize = 100
  /// The most branches whose ledgers are read.
  private static let branchLimit = 5000

  package func leftovers(
    besides named: NamedObjects, age: Int64
  ) throws(Failure) -> [Leftover] {
    if state == .unknown { try locate() }
    guard case .at(let head) = state else { return [] }
    let found =
      try objects(at: head, besides: named, age: age) + clearManifests(at: head)
      + assets(besides: named, age: age)
    return found.inOrder
  }

  // MARK: The branch

  private func objects(
    at head: Head, besides named: NamedObjects, age: Int64
  ) throws(Failure) -> [Leftover] {
    var found: [Leftover] = []
    for kind in [ObjectPath.Folder.backups, .manifests] {
      for (path, size) in try files(of: kind, at: head) {
        guard path.hasOurName, !named.contains(path.description),
          let changed = try lastChange(of: path.description, at: head, age: age)
        else { continue }
        found.append(
          Leftover(.object, RawPath(path.description), size: size, changedAt: changed))
      }
    }
    return found
  }

  package func clearManifests() throws(Failure) -> [Leftover] {
    if state == .unknown { try locate() }
    guard case .at(let head) = state else { return [] }
    return try clearManifests(at: head)
  }

  /// The times of the files would cost a request each, so the current time is used instead.
  private func clearManifests(at head: Head) throws(Failure) -> [Leftover] {
    let now = Timestamp.now()
    return try files(of: .manifests, at: head).filter { $0.path.isClearManifest }.map {
      Leftover(.object, RawPath($0.path.description), size: $0.size, changedAt: now)
    }.inOrder
  }

  /// The files of a folder, with their sizes in bytes.
  private func files(
    of kind: ObjectPath.Folder, at head: Head
  ) throws(Failure) -> [(path: ObjectPath, size: UInt64)] {
    let (top, _) = try tree(head.tree.description)
    guard let entry = top.first(where: { $0["path"]?.text == kind.rawValue }),
      entry["type"]?.text == "tree", let id = GitObjectID(entry["sha"]?.text)
    else { return [] }
    return try tree(id.description).entries.compactMap { file in
      guard file["type"]?.text == "blob", let name = file["path"]?.text.flatMap({ ObjectName($0) })
      else { return nil }
      return (ObjectPath(kind, name), file["size"]?.integer() ?? 0)
    }
  }

  private func tree(_ id: String) throws(Failure) -> (entries: [JSON], response: HTTPResponse) {
    var options = GitHubAPI.Options()
    options.limit = GitHubStore.listingLimit
    let response = try api.send("GET", "\(repository.path)/git/trees/\(id)", options)
    guard response.status == 200, let list = try response.json("a tree")["tree"]?.elements else {
      throw api.unexpected(response, "a tree of the branch \(branch)")
    }
    return (list, response)
  }

  /// When the file last changed; nil if that is too recent, or unknown.
  private func lastChange(
    of path: String, at head: Head, age: Int64
  ) throws(Failure) -> Timestamp? {
    let escaped = path.percentEncoded()
    let response = try api.send(
      "GET", "\(repository.path)/commits?sha=\(head.commit)&path=\(escaped)&per_page=1")
    guard response.status == 200, let list = try response.json("the commits").elements else {
      throw api.unexpected(response, "the commits of \(path)")
    }
    guard let limit = response.date(earlierBy: age),
      let text = list.first?["commit"]?["committer"]?["date"]?.text,
      let date = Timestamp(iso8601: text), date <= limit
    else { return nil }
    return date
  }

  // MARK: Releases

  private func assets(besides named: NamedObjects, age: Int64) throws(Failure) -> [Leftover] {
    var found: [Leftover] = []
    for release in try releases.all() {
      let (assets, response) = try releases.list(release)
      guard let limit = response.date(earlierBy: age) else { continue }
      for asset in assets {
        let name = "\(release.tag)/\(asset.name)"
        guard asset.name.hasPrefix("part_"), !named.contains(name), asset.changedAt <= limit else {
          continue
        }
        found.append(
          Leftover(
            asset.isUploaded ? .asset : .upload, RawPath(name), size: asset.size,
            changedAt: asset.changedAt, number: asset.id))
      }
    }
    if found.isEmpty { return [] }
    // Releases belong to the repository: any of its branches may be a store with parts in them.
    let others = try namedOnBranches(besides: nil)
    return found.filter { !others.contains($0.name.text) }
  }

  /// The objects that the ledgers of other branches name.
  ///
  /// - Parameter head: if given, the ledger of this branch counts too, if the branch has moved on from there.
  func namedOnBranches(besides head: Head?) throws(Failure) -> NamedObjects {
    var named = NamedObjects()
    for page in 1...(GitHubStore.branchLimit / GitHubStore.pageSize) {
      let response = try api.send(
        "GET", "\(repository.path)/branches?per_page=\(GitHubStore.pageSize)&page=\(page)")
      guard response.status == 200, let list = try response.json("the branches").elements else {
        throw api.unexpected(response, "the branches of \(repository.fullName)")
      }
      for entry in list {
        guard let name = entry["name"]?.text else { continue }
        if name == branch {
          guard let head, entry["commit"]?["sha"]?.text != head.commit.description else { continue }
        }
        let shown = RawPath(Array(name.utf8)).display
        let path = "\(repository.path)/contents/\(Ledger.fileName)?ref=\(name.percentEncoded())"
        let answer = try api.send("GET", path, .raw(limit: GitHubStore.contentsLimit))
        if answer.status == 404 { continue }
        guard answer.status == 200 else { throw api.unexpected(answer, "the ledger of \(shown)") }
        do throws(Failure) {
          named.add(try Ledger(parsing: answer.body))
        } catch {
          throw Failure(
            .malformed,
            "the branch \(shown) of \(repository.fullName) has a metadata.json that is not a ledger, and "
              + "may name what lies in releases",
            hint: "nothing was removed; delete that branch if it is not a store")
        }
      }
      if list.count < GitHubStore.pageSize { return named }
    }
    throw Failure(
      .unavailable,
      "\(repository.fullName) has more than \(GitHubStore.branchLimit) branches, each of which may "
        + "be a store that names what lies in releases")
  }

  // MARK: Removing

  package func remove(
    _ leftovers: [Leftover], over ledger: StoredLedger
  ) throws(Failure) -> [Leftover]? {
    let objects = leftovers.compactMap(\.path)
    var outcome = CommitOutcome.committed(ledger.version)
    if !objects.isEmpty {
      let summary =
        objects.count == 1
        ? "Remove \(objects[0].name), which no backup needs"
        : "Remove \(objects.count) files that no backup needs"
      outcome = try commit(
        Commit(
          ledger: ledger.bytes, removals: objects.map { ObjectReference($0) }, summary: summary),
        over: ledger.version)
    }
    guard case .committed(let version) = outcome else { return nil }
    let assets = leftovers.compactMap { leftover in leftover.path == nil ? leftover.number : nil }
    if assets.isEmpty { return leftovers }
    // Another writer may have reused one of them and added it to the ledger.
    forget()
    try locate()
    guard case .at(let head) = state, head.commit.description == version.token else {
      return nil
    }
    for id in assets { try releases.delete(id) }
    return leftovers
  }
}
