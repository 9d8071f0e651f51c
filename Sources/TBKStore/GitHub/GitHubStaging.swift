import TBKCore
import TBKFormat

/// Bytes that are on GitHub, but in no commit yet.
final class GitHubStaged: StagedObject {
  /// The `place` of a part that is in the branch, beside its object.
  static let gitPlace = "git"

  let size: UInt64
  let sha256: Digest
  let parts: [LedgerEntry.Part]
  /// The blobs for the tree; a nil name stands for the object's own name.
  let blobs: [(name: ObjectName?, hash: GitObjectID)]
  /// The upload to a release, to be repeated if it is removed before a commit names it.
  let release: InRelease?

  struct InRelease {
    /// Nil if the bytes came as a stream and are no longer here.
    let spool: GitHubSpool?
    /// Whether some parts already existed: they may belong to another backup, and be removed with it.
    let hasFound: Bool
    /// When the first part may have been uploaded, by both clocks: one stops while the machine sleeps, the other can be
    /// set.
    let since: (wall: Int64, monotonic: Int64)

    static func now() -> (wall: Int64, monotonic: Int64) {
      (Timestamp.now().nanoseconds, monotonicNanoseconds())
    }

    /// Whether another writer may have removed a part: with the backup it belonged to, or, after a day, as one that no
    /// ledger names.
    ///
    /// - Parameter limit: seconds for which uploaded parts are assumed to exist.
    func isDoubtful(after limit: Int64) -> Bool {
      let now = InRelease.now()
      let limit = limit * 1_000_000_000
      return hasFound || now.monotonic - since.monotonic >= limit
        || !(0..<max(1, limit)).contains(now.wall - since.wall)
    }
  }

  init(
    size: UInt64, sha256: Digest, parts: [LedgerEntry.Part],
    blobs: [(name: ObjectName?, hash: GitObjectID)], release: InRelease? = nil
  ) {
    self.size = size
    self.sha256 = sha256
    self.parts = parts
    self.blobs = blobs
    self.release = release
  }
}

extension GitHubStore {
  package func stage(
    _ source: any ByteSource, size: UInt64?, in folder: ObjectPath.Folder
  ) throws(Failure) -> any StagedObject {
    if let file = (source as? any RereadableSource)?.file, (size ?? file.size) > GitHubSpool.gitPartSize {
      let size = size ?? file.size
      return try stage(try GitHubSpool(source, in: file, size: size, partSize: partSize(size, in: folder)))
    }
    let front = try source.read(upTo: Int(GitHubSpool.gitPartSize) + 1)
    guard front.count > GitHubSpool.gitPartSize else {
      if let size, UInt64(front.count) != size { throw GitHubStore.unannounced(UInt64(front.count), size) }
      return try stage(try GitHubSpool(front, partSize: partSize(UInt64(front.count), in: folder)))
    }
    return try stage(
      try StreamedSource(front, source), size: size, partSize: partSize(GitHubSpool.gitPartSize + 1, in: folder))
  }

  private static func unannounced(_ count: UInt64, _ size: UInt64) -> Failure {
    Failure(.truncated, "\(count) bytes came where \(size) were announced")
  }

  /// The part size for an object of `size` bytes. Parts for a release are larger.
  private func partSize(_ size: UInt64, in folder: ObjectPath.Folder) -> UInt64 {
    let isLarge = size > GitHubSpool.gitPartSize
    let goesToRelease =
      folder == .backups && (context.placement == .release || context.placement == .auto && isLarge)
    return goesToRelease ? GitHubSpool.assetPartSize : GitHubSpool.gitPartSize
  }

  /// Uploads a stream as it arrives, keeping only a few parts at a time.
  private func stage(
    _ source: StreamedSource, size: UInt64?, partSize: UInt64
  ) throws(Failure) -> any StagedObject {
    try prepareRepository()
    let since = GitHubStaged.InRelease.now()
    var parts: [LedgerEntry.Part] = []
    var blobs: [(name: ObjectName?, hash: GitObjectID)] = []
    var hasFound = false
    func left() throws(Failure) -> UInt64? {
      guard let size else { return nil }
      guard source.count <= size else { throw GitHubStore.unannounced(source.count, size) }
      return size - source.count
    }
    while let spool = try GitHubSpool(next: source, partSize: partSize, left: try left()) {
      if partSize == GitHubSpool.assetPartSize {
        let (tag, found) = try releases.upload(
          spool, maximumWait: maximumWait, progress: context.progress)
        parts += spool.parts.map { $0.ledgerPart(tag) }
        hasFound = hasFound || found
      } else {
        try uploadBlobs(spool)
        parts += spool.parts.map { $0.ledgerPart(GitHubStaged.gitPlace) }
        blobs += try hashes(of: spool)
      }
    }
    if let size, source.count != size { throw GitHubStore.unannounced(source.count, size) }
    return GitHubStaged(
      size: source.count, sha256: try source.digest(), parts: parts, blobs: blobs,
      release: blobs.isEmpty ? .init(spool: nil, hasFound: hasFound, since: since) : nil)
  }

  private func hashes(
    of spool: GitHubSpool
  ) throws(Failure) -> [(name: ObjectName?, hash: GitObjectID)] {
    var blobs: [(name: ObjectName?, hash: GitObjectID)] = []
    for part in spool.distinctParts {
      guard let hash = GitObjectID(part.gitHash) else {
        throw Failure(.library, "an invalid hash")
      }
      blobs.append((part.name, hash))
    }
    return blobs
  }

  private func stage(_ spool: GitHubSpool) throws(Failure) -> any StagedObject {
    try prepareRepository()
    if spool.partSize == GitHubSpool.assetPartSize {
      let since = GitHubStaged.InRelease.now()
      let (tag, hasFound) = try releases.upload(
        spool, maximumWait: maximumWait, progress: context.progress)
      return GitHubStaged(
        size: spool.size, sha256: spool.sha256, parts: spool.parts.map { $0.ledgerPart(tag) },
        blobs: [], release: .init(spool: spool, hasFound: hasFound, since: since))
    }
    try uploadBlobs(spool)
    let blobs = try hashes(of: spool)
    let isOne = spool.parts.count == 1
    return GitHubStaged(
      size: spool.size, sha256: spool.sha256,
      parts: isOne ? [] : spool.parts.map { $0.ledgerPart(GitHubStaged.gitPlace) },
      blobs: isOne ? blobs.map { (nil, $0.hash) } : blobs)
  }

  /// Gives an empty repository its first commit; until then it accepts nothing else.
  func prepareRepository() throws(Failure) {
    if state == .unknown { try locate() }
    guard case .noBranch(isEmpty: true) = state else { return }
    let path = "\(repository.path)/contents/.gitattributes"
    let text = Array("*.tbk binary\nmetadata.json -text\n".utf8)
    var content: [UInt8] = []
    content.appendBase64(text)
    let response = try api.send(
      "PUT", path,
      .init(
        json: .object([
          "message": .string("Start a store of backups"), "content": .string(content),
        ])))
    switch response.status {
    case 200, 201:
      let json = try response.json("the first commit")
      if repository.branch == nil, let commit = GitObjectID(json["commit"]?["sha"]?.text),
        let tree = GitObjectID(json["commit"]?["tree"]?["sha"]?.text),
        json["commit"]?["parents"]?.elements?.isEmpty ?? false  // Else another writer was first.
      {
        begin(at: Head(commit: commit, tree: tree))
        return
      }
      try locate()
    case 409, 422: try locate()  // Another writer was first.
    case 404: throw GitHubJudge.denied(response)
    default: throw api.unexpected(response, "the first commit")
    }
  }

  /// Uploads the parts that the repository lacks, in parallel.
  private func uploadBlobs(_ spool: GitHubSpool) throws(Failure) {
    let parts = spool.distinctParts
    var missing = Array(parts.indices)
    if parts.count > 1 { missing = try missingBlobs(parts) }
    for index in parts.indices where !missing.contains(index) {
      context.progress(Int(parts[index].size))
    }
    var exchanges: [HTTPExchange] = []
    let report = context.progress
    for index in missing {
      let part = parts[index]
      var options = GitHubAPI.Options()
      options.body = BlobBody(spool, part)
      options.isWhole = false
      // Base64 sends four bytes for every three.
      var rest = 0
      options.progress = { count in
        let scaled = count * 3 + rest
        rest = scaled % 4
        report(scaled / 4)
      }
      let exchange = try api.exchange("POST", "\(repository.path)/git/blobs", options)
      exchanges.append(exchange)
      api.client.start(exchange)
    }
    // A permanent failure of one ends the others too.
    try api.client.drive {
      exchanges.allSatisfy { $0.result != nil } || exchanges.contains { $0.hasFailed }
    }
    if let failed = exchanges.first(where: { $0.hasFailed }) {
      api.client.cancel()
      _ = try failed.get()
    }
    for (index, exchange) in zip(missing, exchanges) {
      let response = try exchange.get()
      switch response.status {
      case 201: break
      case 404: throw GitHubJudge.denied(response)
      default: throw api.unexpected(response, "storing \(parts[index].size) bytes")
      }
      guard try response.json("a blob")["sha"]?.text == parts[index].gitHash else {
        throw Failure(
          .integrity, "GitHub reports another hash than git computes for what it stored",
          hint: "it was altered in transit; try again")
      }
    }
  }

  /// Which parts the repository lacks. An interrupted upload has left the first ones.
  private func missingBlobs(_ parts: [GitHubSpool.Part]) throws(Failure) -> [Int] {
    func has(_ index: Int) throws(Failure) -> HTTPExchange {
      try api.exchange(
        "HEAD", "\(repository.path)/git/blobs/\(parts[index].gitHash)", .raw(limit: 0))
    }
    guard try api.client.send(try has(0)).status == 200 else { return Array(parts.indices) }
    var exchanges: [HTTPExchange] = []
    for index in parts.indices.dropFirst() {
      let exchange = try has(index)
      exchanges.append(exchange)
      api.client.start(exchange)
    }
    try api.client.drive { exchanges.allSatisfy { $0.result != nil } }
    var missing: [Int] = []
    for (offset, exchange) in exchanges.enumerated() where try exchange.get().status != 200 {
      missing.append(offset + 1)
    }
    return missing
  }
}

extension GitHubSpool.Part {
  fileprivate func ledgerPart(_ place: String) -> LedgerEntry.Part {
    LedgerEntry.Part(
      object: LedgerEntry.Object(name: name, sha256: sha256, size: size), place: place)
  }
}
