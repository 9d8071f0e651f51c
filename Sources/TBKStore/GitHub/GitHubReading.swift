import TBKCore
import TBKFormat

/// State shared by successive reads of object ranges.
final class GitHubRanges {
  /// Objects that GitHub serves only whole: files of the branch.
  let wholes = WholeObjects()
  /// By release tag, then by name.
  var assets: [String: [String: GitHubReleases.Asset]] = [:]
  /// By asset number: the download locations, valid for some minutes.
  var downloads: [UInt64: AssetDownload] = [:]
}

/// Reading objects that are in parts, and parts of objects.
extension GitHubStore {
  func open(
    _ object: ObjectReference, at head: Head, what: String
  ) throws(Failure) -> any ByteSource {
    let tags = try tags(of: object)
    let assets = try releases.assets(tags)
    var pieces: [PiecewiseDownload.Piece] = []
    for (number, part) in object.parts.enumerated() {
      let name = "part \(number + 1) of \(object.parts.count) of \(what)"
      if part.place == GitHubStaged.gitPlace {
        pieces.append(try piece(part, of: object, at: head, what: name))
      } else {
        guard let asset = assets[part.place]?[part.object.name.description], asset.isUploaded else {
          throw GitHubStore.missing(name)
        }
        pieces += releases.download(asset, progress: context.progress)
          .pieces(of: 0..<part.object.size, size: part.object.size, what: name)
      }
    }
    return PiecewiseDownload(api.client, pieces)
  }

  package func open(
    _ object: ObjectReference, size: UInt64, range: Range<UInt64>
  ) throws(Failure) -> any ByteSource {
    let what = "\(object.path) of the store \(address.display)"
    if object.parts.isEmpty {
      let region = try ranges.wholes.region(what) { () throws(Failure) in try open(object) }
      return RegionSource(region, from: range.lowerBound, to: range.upperBound)
    }
    if state == .unknown { try locate() }
    guard case .at(let head) = state else { throw GitHubStore.missing(what) }
    for tag in try tags(of: object) where ranges.assets[tag] == nil {
      ranges.assets[tag] = try releases.assets([tag])[tag] ?? [:]
    }
    let pieces = object.pieces(of: range, size: size)
    return JoinedSource(pieces.count) { [self] (number) throws(Failure) in
      try open(pieces[number], of: object, at: head, what: what)
    }
  }

  package func openAhead(
    _ object: ObjectReference, size: UInt64, range: Range<UInt64>
  ) throws(Failure) -> (any ByteSource)? {
    let pieces = object.pieces(of: range, size: size)
    guard pieces.count == 1, !object.parts.isEmpty, object.parts[pieces[0].index].place != GitHubStaged.gitPlace
    else { return nil }
    // Opened like any other object, but a joined source is started now.
    let source = try open(object, size: size, range: range)
    try (source as? JoinedSource)?.begin()
    return source
  }

  private func open(
    _ piece: PartRange, of object: ObjectReference, at head: Head, what: String
  ) throws(Failure) -> any ByteSource {
    let part = object.parts[piece.index]
    let name = "part \(piece.index + 1) of \(object.parts.count) of \(what)"
    guard part.place != GitHubStaged.gitPlace else {
      let whole = try self.piece(part, of: object, at: head, what: name)
      let region = try ranges.wholes.region(name) { () throws(Failure) in
        PiecewiseDownload(api.client, [whole])
      }
      return RegionSource(region, from: piece.range.lowerBound, to: piece.range.upperBound)
    }
    guard let asset = ranges.assets[part.place]?[part.object.name.description], asset.isUploaded else {
      throw GitHubStore.missing(name)
    }
    let download = ranges.downloads[asset.id] ?? releases.download(asset, progress: context.progress)
    ranges.downloads[asset.id] = download
    return PiecewiseDownload(
      api.client, download.pieces(of: piece.range, size: part.object.size, what: name))
  }

  /// The releases that contain the parts. Throws `.malformed` if one is not a release of ours, or a part is too large.
  private func tags(of object: ObjectReference) throws(Failure) -> Set<String> {
    let tags = Set(object.parts.map(\.place)).filter { $0 != GitHubStaged.gitPlace }
    for tag in tags where !GitHubReleases.isTag(tag) {
      throw Failure(.malformed, "ledger: a part lies in \(tag), which is no place of this store")
    }
    guard object.parts.reduce(0, { $0 + $1.object.size }) <= GitHubReleases.capacity else {
      throw Failure(.malformed, "ledger: \(object.path) is larger than a release can hold")
    }
    return tags
  }

  /// A part that is a file of the branch, which is served whole.
  private func piece(
    _ part: LedgerEntry.Part, of object: ObjectReference, at head: Head, what: String
  ) throws(Failure) -> PiecewiseDownload.Piece {
    guard part.object.size <= UInt64(GitHubStore.contentsLimit) else {
      throw Failure(.malformed, "ledger: \(what) is larger than GitHub takes")
    }
    let path = contentsPath("\(object.path.folder.rawValue)/\(part.object.name)", at: head)
    let api = self.api
    let progress = context.progress
    return .init(
      what: what, size: part.object.size,
      exchange: { () throws(Failure) in
        var options = GitHubAPI.Options.raw(limit: Int(part.object.size))
        options.isWhole = false
        options.progress = progress
        return try api.exchange("GET", path, options)
      },
      note: { _ in false })
  }
}
