// How archives are compared with their manifests, and read, as far as it depends on the kind of manifest.

import TBKCore
import TBKFormat

/// How archives hold a tree. Implemented by the `ManifestTree` types.
protocol ArchivedTree: ManifestTree {
  /// Whether the manifest alone describes its archive exactly, so that it can be used without reading the content.
  var describesArchive: Bool { get }

  /// Rejects a member by its header. Throws `.integrity`.
  ///
  /// - Parameter entry: the manifest's entry for the name of the member.
  func check(
    _ member: TarMember, listedAs entry: ManifestEntry, _ lookup: NameLookup
  ) throws(Failure)

  /// Compares a manifest with the content of its archive. Throws `.integrity` or `.malformed` for the first difference
  /// that is not allowed for such a tree.
  func match(_ manifest: Manifest, _ records: EntryTable) throws(Failure) -> ArchivedContent

  /// Gathers the wanted entries from the newest archive, whose manifest is known, and from the others.
  ///
  /// - Parameters:
  ///   - staging: gets the entries; nil to only verify them.
  ///   - options: select paths, for a manifest that does not list all of them.
  ///   - wanted: whether an entry of the manifest is wanted.
  func gather(
    _ known: VerifiedManifest, from reader: BackupReader, into staging: Staging?, _ options: RestoreOptions,
    wanted: @escaping (Manifest, Int) -> Bool
  ) throws(Failure) -> VerifiedManifest

  /// Gathers from the other archives what the newest does not contain, after the newest has been read.
  ///
  /// - Parameter partly: whether to read only the needed parts of them, where possible.
  func gatherOthers(
    of newest: VerifiedManifest, from reader: BackupReader, into staging: Staging?, partly: Bool,
    wanted: @escaping (Manifest, Int) -> Bool
  ) throws(Failure) -> VerifiedManifest

  /// Sends the content of a file, without finishing the sink.
  ///
  /// - Parameter newest: the manifest of the newest archive.
  func send(
    _ path: [UInt8], of newest: VerifiedManifest, from reader: BackupReader, to sink: any ByteSink
  ) throws(Failure)

  /// The newest archive without the others, with their content listed as missing.
  func part(_ newest: VerifiedManifest, of reader: BackupReader) throws(Failure) -> VerifiedManifest

  /// The backups that this one needs, but that do not offer the content it needs.
  func lacking(_ verified: VerifiedManifest, in offers: SeriesOffers) -> [String]

  /// Records what a backup offers to others.
  ///
  /// - Parameters:
  ///   - isWhole: whether the backup itself lacks nothing.
  ///   - dependents: how many backups are still to be checked against it; nil if unknown.
  func offer(_ verified: VerifiedManifest, isWhole: Bool, dependents: UInt64?, in offers: inout SeriesOffers)
}

extension Manifest {
  /// How the archive of this manifest is read.
  var archived: any ArchivedTree { isTermBackup6 ? TermBackup6Tree() : WholeTree() }
}

/// How an archive holds what its manifest lists.
struct ArchivedContent {
  /// Whether the archive contains only the manifest.
  var isAlone = false
  /// Listed files that are not in the archive.
  var missing: [[UInt8]] = []
  /// Names that are hard links in the tar but files in the manifest, with their link targets.
  var firstNames: [[UInt8]: [UInt8]] = [:]
}

extension WholeTree: ArchivedTree {
  var describesArchive: Bool { true }

  func check(
    _ member: TarMember, listedAs entry: ManifestEntry, _ lookup: NameLookup
  ) throws(Failure) {
    let shown = RawPath(member.name).display
    guard entry.tarName == member.name else { throw Failure.unlisted(member.name) }
    guard !lookup.isStoredElsewhere(entry) else { throw Failure.placedElsewhere }
    let isRight =
      switch member.kind {
      case .directory: entry.type == .directory
      case .symlink: entry.type == .symlink
      case .hardlink: entry.hardLink != nil
      default: entry.type == .file && entry.hardLink == nil
      }
    guard isRight else {
      throw Failure(.integrity, "\(shown) is not of the type that the manifest says")
    }
    guard member.kind != .file || member.size == entry.size else {
      throw Failure(.integrity, "\(shown) has \(member.size) bytes, not \(entry.size)")
    }
  }

  /// Every entry that belongs in the tar must be there as listed, and nothing else. The tar of an incremental backup
  /// without changes is empty.
  func match(_ manifest: Manifest, _ records: EntryTable) throws(Failure) -> ArchivedContent {
    if records.isEmpty, VerifiedManifest.needsMembers(manifest) { return ArchivedContent(isAlone: true) }
    let order = records.isSorted() ? nil : records.sortedIndices()
    let files = manifest.files
    let fileOrder = files.isSorted() ? nil : files.sortedIndices()
    var matched = 0
    var used = [Bool](repeating: false, count: records.count)
    for index in files.indices {
      let entry = files[index]
      var tarLink: [UInt8]?
      if let first = entry.hardLink, let target = files.find(first, order: fileOrder) {
        if files.storedIn(target) != nil { continue }
        tarLink = files[target].tarName
      }
      if entry.storedIn != nil { continue }
      let shown = RawPath(entry.path).display
      guard let found = records.find(entry.tarName, order: order) else {
        throw Failure(.integrity, "\(shown) is in the manifest and not in the archive")
      }
      if used[found] {
        throw Failure(.malformed, "\(shown) is stored under the name of another entry")
      }
      used[found] = true
      matched += 1
      let record = records[found]
      guard record.type == entry.type, record.linkTarget == entry.linkTarget,
        record.hardLink == tarLink
      else { throw Failure(.integrity, "\(shown) is not of the type that the manifest says") }
      if let tarLink {
        guard let first = records.find(tarLink, order: order), first < found else {
          throw Failure.linksToLater(shown)
        }
      } else {
        guard record.size == entry.size else {
          throw Failure(.integrity, "\(shown) has \(record.size) bytes, not \(entry.size)")
        }
        guard record.sha256 == entry.sha256 else {
          throw Failure(.integrity, "\(shown) does not match the hash in the manifest")
        }
        guard entry.offset == nil || entry.offset == record.offset else {
          throw Failure(.integrity, "\(shown) is not where the manifest says")
        }
      }
      guard record.mode & 0o6000 & ~entry.mode == 0 else { throw Failure.addsSetID(shown) }
    }
    if matched != records.count { try refuseUnlisted(manifest, records) }
    return ArchivedContent()
  }

  private func refuseUnlisted(_ manifest: Manifest, _ records: EntryTable) throws(Failure) {
    var names: Set<[UInt8]> = []
    for index in manifest.files.indices { names.insert(manifest.files[index].tarName) }
    for index in records.indices where !names.contains(records.path(index)) {
      throw Failure.unlisted(records.path(index))
    }
    throw Failure.placedElsewhere
  }

  func gather(
    _ known: VerifiedManifest, from reader: BackupReader, into staging: Staging?, _ options: RestoreOptions,
    wanted: @escaping (Manifest, Int) -> Bool
  ) throws(Failure) -> VerifiedManifest {
    try reader.gatherListed(known, staging: staging, wanted: wanted)
  }

  func gatherOthers(
    of newest: VerifiedManifest, from reader: BackupReader, into staging: Staging?, partly: Bool,
    wanted: @escaping (Manifest, Int) -> Bool
  ) throws(Failure) -> VerifiedManifest {
    try reader.gatherStoredElsewhere(newest, staging: staging, partly: partly, wanted: wanted)
  }

  func send(
    _ path: [UInt8], of newest: VerifiedManifest, from reader: BackupReader, to sink: any ByteSink
  ) throws(Failure) {
    try reader.sendListed(path, newest.manifest, to: sink)
  }

  func part(_ newest: VerifiedManifest, of reader: BackupReader) throws(Failure) -> VerifiedManifest {
    let manifest = newest.manifest
    let lost = try reader.refuseMissing(manifest, Gathered(manifest.files.count), given: []) { _ in true }
    var part = newest
    part.missing = lost.entries.sorted().map { manifest.files.path($0) }
    part.absent = lost.ids
    return part
  }

  func lacking(_ verified: VerifiedManifest, in offers: SeriesOffers) -> [String] {
    offers.lackingContent(of: verified.manifest)
  }

  func offer(_ verified: VerifiedManifest, isWhole: Bool, dependents: UInt64?, in offers: inout SeriesOffers) {
    offers.addContent(of: verified, dependents: dependents)
  }
}

extension Failure {
  /// A member that the manifest does not have.
  static func unlisted(_ name: [UInt8]) -> Failure {
    Failure(.integrity, "\(RawPath(name).display) is in the archive and not in the manifest")
  }

  fileprivate static var placedElsewhere: Failure {
    Failure(.integrity, "the archive holds content that the manifest places elsewhere")
  }

  static func linksToLater(_ shown: String) -> Failure {
    Failure(.integrity, "\(shown) is a hard link to something that does not come before it")
  }

  static func addsSetID(_ shown: String) -> Failure {
    Failure(.integrity, "\(shown) has a set-id bit that the manifest does not have")
  }
}
