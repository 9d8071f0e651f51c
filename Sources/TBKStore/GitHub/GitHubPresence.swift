import TBKCore
import TBKFormat

extension GitHubStore {
  /// The largest listing that is read, in bytes; GitHub truncates at 7 MB.
  private static let listingLimit = 32 << 20

  package func sizes(of files: [StoredFile]) throws(Failure) -> [StoredFile: UInt64] {
    if state == .unknown { try locate() }
    var found: [StoredFile: UInt64] = [:]
    if case .at(let head) = state {
      let listed = try listing(at: head)
      for file in files where file.place == nil || file.place == GitHubStaged.gitPlace {
        let path = file.path.description
        if let size = listed.sizes[path] {
          found[file] = size
        } else if !listed.isWhole, let size = try size(of: path, at: head) {
          found[file] = size
        }
      }
    }
    let tags = Set(files.compactMap(\.place).filter { GitHubReleases.isTag($0) })
    let assets = try releases.assets(tags)
    for file in files {
      guard let place = file.place, let asset = assets[place]?[file.path.name.description],
        asset.isUploaded
      else { continue }
      found[file] = asset.size
    }
    return found
  }

  /// The sizes of the files at a commit, by path.
  struct Listing {
    let head: Head
    var sizes: [String: UInt64] = [:]
    /// Whether GitHub listed all of them.
    var isWhole = true
  }

  /// One request, plus one for each folder where GitHub truncates the response. The files at a commit never change, so
  /// they are listed once and then cached for other processes too.
  private func listing(at head: Head) throws(Failure) -> Listing {
    if let last = lastListing, last.head == head { return last }
    var listing = Listing(head: head)
    if let sizes = cache.sizes(of: head.tree) {
      listing.sizes = sizes
      lastListing = listing
      return listing
    }
    let answer = try tree(head.tree, isRecursive: true)
    if answer.isWhole {
      for file in answer.files { listing.sizes[file.path] = file.size }
    } else {
      let top = try tree(head.tree, isRecursive: false)
      for kind in ObjectPath.Folder.allCases {
        guard let id = top.folders[kind.rawValue] else { continue }
        let folder = try tree(id, isRecursive: false)
        if !folder.isWhole { listing.isWhole = false }
        for file in folder.files { listing.sizes["\(kind.rawValue)/\(file.path)"] = file.size }
      }
    }
    lastListing = listing
    if listing.isWhole { cache.keep(listing.sizes, of: head.tree) }
    return listing
  }

  private func tree(
    _ id: GitObjectID, isRecursive: Bool
  ) throws(Failure) -> (
    files: [(path: String, size: UInt64)], folders: [String: GitObjectID], isWhole: Bool
  ) {
    var options = GitHubAPI.Options()
    options.limit = GitHubStore.listingLimit
    let path = "\(repository.path)/git/trees/\(id)\(isRecursive ? "?recursive=1" : "")"
    let response = try api.send("GET", path, options)
    let json = response.status == 200 ? try response.json("a tree") : .null
    guard let list = json["tree"]?.elements else {
      throw api.unexpected(response, "a tree of the branch \(branch)")
    }
    var files: [(path: String, size: UInt64)] = []
    var folders: [String: GitObjectID] = [:]
    for entry in list {
      guard let path = entry["path"]?.text else { continue }
      switch entry["type"]?.text {
      // A symbolic link is a blob too.
      case "blob" where entry["mode"]?.text != "120000":
        if let size: UInt64 = entry["size"]?.integer() { files.append((path, size)) }
      case "tree":
        if let id = GitObjectID(entry["sha"]?.text) { folders[path] = id }
      default: break
      }
    }
    return (files, folders, json["truncated"]?.boolean != true)
  }

  /// The size of one file; nil if it does not exist.
  private func size(of path: String, at head: Head) throws(Failure) -> UInt64? {
    let response = try api.send("GET", contentsPath(path, at: head))
    if response.status == 404 { return nil }
    guard response.status == 200 else { throw api.unexpected(response, path) }
    let json = try response.json(path)
    return json["type"]?.text == "file" ? json["size"]?.integer() : nil
  }
}
