import TBKCore
import TBKFormat

/// The releases whose assets are the parts of large archives: `termbackup-1`, `termbackup-2` and so on, of up to 1,000
/// assets each.
final class GitHubReleases {
  /// An asset of a release as the API describes it.
  struct Asset {
    let id: UInt64
    let name: String
    let size: UInt64
    /// False for the remains of an interrupted upload (`starter`).
    let isUploaded: Bool
    /// Nil if the API does not report it.
    let sha256: Digest?
    /// By the server's clock; the latest possible time if the asset has no date.
    let changedAt: Timestamp

    func holds(_ part: GitHubSpool.Part) -> Bool { holds(part.size, part.sha256) }

    func holds(_ size: UInt64, _ sha256: Digest) -> Bool {
      isUploaded && self.size == size && (self.sha256 == nil || self.sha256 == sha256)
    }
  }

  struct Release {
    let id: UInt64
    let tag: String
    let uploadURL: HTTPURL
  }

  static let tagPrefix = "termbackup-"
  static let assetLimit = 1000
  /// Bytes of our parts that fit in one release.
  static let capacity = UInt64(assetLimit) * GitHubSpool.assetPartSize
  private static let pageSize = 100
  /// The most releases to list or try: GitHub lists no more than that.
  private static let releaseLimit = 10_000
  /// Seconds after which an unfinished upload counts as abandoned.
  private static let leftoverAge: Int64 = 86_400

  private let api: GitHubAPI
  private let repository: GitHubRepository
  private let notice: (String) -> Void

  init(_ api: GitHubAPI, _ repository: GitHubRepository, notice: @escaping (String) -> Void) {
    self.api = api
    self.repository = repository
    self.notice = notice
  }

  /// Whether a part's place is the tag of one of our releases.
  static func isTag(_ place: String) -> Bool {
    let digits = place.dropFirst(tagPrefix.count)
    return place.hasPrefix(tagPrefix) && (1...6).contains(digits.utf8.count)
      && digits.utf8.allSatisfy { (0x30...0x39).contains($0) }
  }

  // MARK: Reading

  /// The release of a tag, or nil.
  private func release(_ tag: String) throws(Failure) -> Release? {
    let response = try api.send("GET", "\(repository.path)/releases/tags/\(tag)")
    if response.status == 404 { return nil }
    guard response.status == 200 else { throw api.unexpected(response, "the release \(tag)") }
    return try parse(response)
  }

  /// All releases made by TermBackup.
  func all() throws(Failure) -> [Release] {
    var found: [Release] = []
    for page in 1...(GitHubReleases.releaseLimit / GitHubReleases.pageSize) {
      let response = try api.send(
        "GET", "\(repository.path)/releases?per_page=\(GitHubReleases.pageSize)&page=\(page)")
      guard response.status == 200,
        let list = try response.json("the list of releases").elements
      else { throw api.unexpected(response, "the list of releases") }
      for json in list where GitHubReleases.isTag(json["tag_name"]?.text ?? "") {
        found.append(try parse(json))
      }
      if list.count < GitHubReleases.pageSize { return found }
    }
    throw Failure(
      .unavailable,
      "\(repository.fullName) has more than \(GitHubReleases.releaseLimit) releases")
  }

  private func parse(_ response: HTTPResponse) throws(Failure) -> Release {
    try parse(try response.json("a release"))
  }

  private func parse(_ json: JSON) throws(Failure) -> Release {
    guard let id: UInt64 = json["id"]?.integer(), let tag = json["tag_name"]?.text,
      GitHubReleases.isTag(tag),
      let template = json["upload_url"]?.text?.split(separator: "{").first,
      let url = HTTPURL(String(template))
    else { throw Failure(.malformed, "the answer to a release: a member is missing or wrong") }
    return Release(id: id, tag: tag, uploadURL: url)
  }

  /// All assets in the releases of `tags`, by tag and name.
  func assets(_ tags: Set<String>) throws(Failure) -> [String: [String: Asset]] {
    var found: [String: [String: Asset]] = [:]
    for tag in tags.sorted() {
      guard let release = try release(tag) else { continue }
      found[tag] = try assets(release)
    }
    return found
  }

  /// Whether all of these parts are still in the releases that they were sent to.
  func hold(_ parts: [LedgerEntry.Part]) throws(Failure) -> Bool {
    let found = try assets(Set(parts.map(\.place)))
    return parts.allSatisfy { part in
      found[part.place]?[part.object.name.description]?.holds(part.object.size, part.object.sha256) ?? false
    }
  }

  private func assets(_ release: Release) throws(Failure) -> [String: Asset] {
    byName(try list(release).assets)
  }

  private func byName(_ assets: [Asset]) -> [String: Asset] {
    var found: [String: Asset] = [:]
    for asset in assets { found[asset.name] = asset }
    return found
  }

  /// All assets of a release, and the first response of the listing.
  func list(_ release: Release) throws(Failure) -> (assets: [Asset], response: HTTPResponse) {
    var found: [Asset] = []
    var first: HTTPResponse?
    for page in 1...(GitHubReleases.assetLimit / GitHubReleases.pageSize + 1) {
      let path =
        "\(repository.path)/releases/\(release.id)/assets"
        + "?per_page=\(GitHubReleases.pageSize)&page=\(page)"
      let response = try api.send("GET", path)
      guard response.status == 200,
        let list = try response.json("the list of assets").elements
      else { throw api.unexpected(response, "the list of assets") }
      if first == nil { first = response }
      found += list.compactMap { GitHubReleases.asset($0) }
      if list.count < GitHubReleases.pageSize { break }
    }
    guard let first else { throw Failure(.library, "no page of assets was asked for") }
    return (found, first)
  }

  private static func asset(_ json: JSON) -> Asset? {
    guard let id: UInt64 = json["id"]?.integer(), let name = json["name"]?.text,
      let size: UInt64 = json["size"]?.integer()
    else { return nil }
    let digest = json["digest"]?.text.flatMap { text in
      text.hasPrefix("sha256:") ? Digest(hex: text.dropFirst(7)) : nil
    }
    let created = json["created_at"]?.text.flatMap { Timestamp(iso8601: $0) }
    let updated = json["updated_at"]?.text.flatMap { Timestamp(iso8601: $0) }
    let changed = created.map { max($0, updated ?? $0) } ?? Timestamp(nanoseconds: .max)
    return Asset(
      id: id, name: name, size: size, isUploaded: json["state"]?.text == "uploaded",
      sha256: digest, changedAt: changed)
  }

  // MARK: Writing

  /// A release with room for the named assets beside those that it has, created if necessary, and the assets it has.
  private func releaseWithRoom(
    _ names: Set<String>
  ) throws(Failure) -> (Release, [String: Asset]) {
    for number in 1...GitHubReleases.releaseLimit {
      let tag = "\(GitHubReleases.tagPrefix)\(number)"
      var found = try release(tag)
      if found == nil { found = try create(tag) }
      guard let release = found else { continue }
      let (list, response) = try list(release)
      let assets = byName(list)
      let others = assets.keys.count { !names.contains($0) }
      if others + names.count <= GitHubReleases.assetLimit {
        if let limit = response.date(earlierBy: GitHubReleases.leftoverAge) {
          cleanLeftovers(assets, except: names, before: limit)
        }
        return (release, assets)
      }
    }
    throw Failure(.cannotCreate, "no release of \(repository.fullName) has room for the archive")
  }

  /// Nil if another writer created it first and it is not visible yet.
  private func create(_ tag: String) throws(Failure) -> Release? {
    let response = try api.send(
      "POST", "\(repository.path)/releases",
      .init(
        json: .object([
          "tag_name": .string(tag), "name": .string(tag),
          "body": .string("Parts of encrypted archives. metadata.json says what they belong to."),
          "prerelease": .bool(true),
        ])))
    switch response.status {
    case 201: return try parse(response)
    case 422: return try release(tag)
    case 404: throw GitHubJudge.denied(response)
    default: throw api.unexpected(response, "making the release \(tag)")
    }
  }

  /// Uploads the parts to a release, except those that it has already. Returns its tag, and whether it had such a part.
  func upload(
    _ spool: GitHubSpool, maximumWait: Int, progress: @escaping (Int) -> Void
  ) throws(Failure) -> (tag: String, hasFound: Bool) {
    let names = Set(spool.distinctParts.map(\.name.description))
    var (release, assets) = try releaseWithRoom(names)
    try api.admitUploads(to: release.uploadURL)
    var patience = Patience(seconds: maximumWait)
    var known: Set<String> = []
    var hasFound = false
    var round = 0
    while true {
      var missing: [GitHubSpool.Part] = []
      for part in spool.distinctParts {
        let name = part.name.description
        if let asset = assets[name] {
          if asset.holds(part) {
            if known.insert(name).inserted {
              hasFound = true
              progress(Int(part.size))
            }
            continue
          }
          // What a failed upload left, or other bytes under this name: of no use. If another writer is uploading it
          // right now, that writer will find it gone and send it again.
          try delete(asset)
        }
        missing.append(part)
      }
      if missing.isEmpty { return (release.tag, hasFound) }
      var lastMoved = monotonicNanoseconds()
      let failure = try send(missing, of: spool, to: release, known: &known) { count in
        // Retracted bytes are not progress.
        if count > 0 { lastMoved = monotonicNanoseconds() }
        progress(count)
      }
      guard let failure else { return (release.tag, hasFound) }
      // An upload cannot simply be repeated: the server may have all or part of it.
      round += 1
      let now = monotonicNanoseconds()
      let pause = HTTPClient.delay(afterAttempt: round)
      guard patience.spend(from: lastMoved, to: now + pause) else {
        throw Failure(
          .tryAgain, failure.message,
          hint: "try again later: the parts that are there are not sent again",
          httpStatus: failure.httpStatus)
      }
      api.client.pause(nanoseconds: pause)
      assets = try self.assets(release)
    }
  }

  /// Sends the parts in parallel, each once. Returns the failure of one of them if a later attempt may help.
  private func send(
    _ parts: [GitHubSpool.Part], of spool: GitHubSpool, to release: Release,
    known: inout Set<String>, progress: @escaping (Int) -> Void
  ) throws(Failure) -> Failure? {
    var exchanges: [(GitHubSpool.Part, HTTPExchange)] = []
    for part in parts {
      guard let url = HTTPURL("\(release.uploadURL)?name=\(part.name)") else {
        throw Failure(.library, "cannot make a URL for an asset")
      }
      var options = GitHubAPI.Options()
      options.body = PartBody(spool, part)
      options.isWhole = false
      options.contentType = "application/octet-stream"
      options.isRepeated = false
      options.progress = progress
      let exchange = api.exchange("POST", url, options)
      exchanges.append((part, exchange))
      api.client.start(exchange)
    }
    try api.client.drive { exchanges.allSatisfy { $0.1.isOver } }
    var transient: Failure?
    for (part, exchange) in exchanges {
      do throws(Failure) {
        let response = try exchange.get()
        switch response.status {
        case 201:
          let json = try response.json("an upload")
          guard let asset = GitHubReleases.asset(json), asset.holds(part),
            asset.name == part.name.description
          else {
            throw Failure(.integrity, "GitHub reports other content than was sent")
          }
          known.insert(asset.name)
        case 422:
          // The asset was created after the listing; the next listing shows it.
          transient = api.unexpected(response, "an upload")
          exchange.retract()
        case 404: throw GitHubJudge.denied(response)
        default: throw api.unexpected(response, "an upload")
        }
      } catch {
        guard [.unavailable, .tryAgain].contains(error.code), error.httpStatus != 413 else {
          throw error
        }
        exchange.retract()
        transient = error
      }
    }
    return transient
  }

  // MARK: Removing

  /// Removes the assets that contain these parts. One that is already gone is not an error.
  func remove(_ parts: [LedgerEntry.Part]) throws(Failure) {
    var found = try assets(Set(parts.map(\.place)))
    for part in parts {
      let asset = found[part.place]?.removeValue(forKey: part.object.name.description)
      if let asset { try delete(asset) }
    }
  }

  private func delete(_ asset: Asset) throws(Failure) { try delete(asset.id) }

  /// An asset that is already gone is not an error.
  func delete(_ id: UInt64) throws(Failure) {
    let response = try api.send("DELETE", "\(repository.path)/releases/assets/\(id)")
    guard [204, 404].contains(response.status) else {
      throw api.unexpected(response, "removing an asset")
    }
  }

  /// Removes the remains of uploads that were interrupted a day or more ago.
  private func cleanLeftovers(
    _ assets: [String: Asset], except names: Set<String>, before limit: Timestamp
  ) {
    for asset in assets.values
    where !asset.isUploaded && asset.changedAt < limit && !names.contains(asset.name) {
      _ = try? delete(asset)
    }
  }

  // MARK: Downloads

  /// The download of an asset.
  func download(_ asset: Asset, progress: @escaping (Int) -> Void) -> AssetDownload {
    AssetDownload(api, "\(repository.path)/releases/assets/\(asset.id)", progress: progress)
  }
}

/// Where the bytes of an asset are: GitHub redirects to a URL that is valid for some minutes.
final class AssetDownload {
  private let api: GitHubAPI
  private let path: String
  private let progress: (Int) -> Void
  private var place: HTTPURL?
  private var since: Int64 = 0
  /// How long a redirect is reused, in nanoseconds; GitHub's are valid for five minutes.
  private static let lifetime: Int64 = 120_000_000_000

  init(_ api: GitHubAPI, _ path: String, progress: @escaping (Int) -> Void) {
    self.api = api
    self.path = path
    self.progress = progress
  }

  /// The requests that fetch a range of the asset.
  ///
  /// - Parameters:
  ///   - size: of the whole asset.
  ///   - what: the name for failures.
  func pieces(of wanted: Range<UInt64>, size: UInt64, what: String) -> [PiecewiseDownload.Piece] {
    var pieces: [PiecewiseDownload.Piece] = []
    var offset = wanted.lowerBound
    repeat {
      let count = min(PiecewiseDownload.pieceSize, wanted.upperBound - offset)
      let range = count == size ? nil : "bytes=\(offset)-\(offset + count - 1)"
      pieces.append(
        .init(
          what: what, size: count,
          exchange: { [self] () throws(Failure) in try exchange(size: count, range: range) },
          note: { [self] in note($0) }))
      offset += count
    } while offset < wanted.upperBound
    return pieces
  }

  private func exchange(size: UInt64, range: String?) throws(Failure) -> HTTPExchange {
    var options = GitHubAPI.Options()
    options.accept = "application/octet-stream"
    options.limit = Int(size) + 1024
    options.range = range
    options.isResumed = true
    options.isWhole = false
    options.progress = progress
    if let place, monotonicNanoseconds() - since < AssetDownload.lifetime {
      return api.exchange("GET", place, options)
    }
    return try api.exchange("GET", path, options)
  }

  /// Remembers where a response came from, or forgets a URL that no longer works.
  private func note(_ response: HTTPResponse) -> Bool {
    let isElsewhere = !response.url.hasSameOrigin(as: api.root)
    if response.isSuccess {
      if isElsewhere, place != response.url {
        place = response.url
        since = monotonicNanoseconds()
      }
      return false
    }
    if place == response.url { place = nil }
    return isElsewhere
  }
}
