// How archives of TermBackup 6 are compared with their manifests, and read.

import TBKCore
import TBKFormat

extension TermBackup6Tree: ArchivedTree {
  /// Symbolic links are listed as files, and files that vanished before they were packed are listed, too.
  var describesArchive: Bool { false }

  func check(
    _ member: TarMember, listedAs entry: ManifestEntry, _ lookup: NameLookup
  ) throws(Failure) {
    guard member.kind != .directory, member.kind != .file || member.size == entry.size else {
      throw differs(RawPath(member.name).display)
    }
  }

  /// A symlink is a link in the tar but a file in the manifest, a hard link is listed as a file, and files that
  /// vanished are listed but missing. So an archive may be empty.
  func match(_ manifest: Manifest, _ records: EntryTable) throws(Failure) -> ArchivedContent {
    let order = records.isSorted() ? nil : records.sortedIndices()
    let files = manifest.files
    let fileOrder = files.isSorted() ? nil : files.sortedIndices()
    var content = ArchivedContent()
    var matched = 0
    for index in files.indices {
      let entry = files[index]
      let shown = RawPath(entry.path).display
      guard let found = records.find(entry.path, order: order) else {
        content.missing.append(entry.path)
        continue
      }
      matched += 1
      var record = records[found]
      if record.type == .symlink { continue }
      if let first = record.hardLink {
        guard let target = records.find(first, order: order), target < found,
          records[target].hardLink == nil, records.type(target) == .file
        else { throw Failure.linksToLater(shown) }
        content.firstNames[entry.path] = first
        record = records[target]
      }
      guard record.type == .file, record.size == entry.size, record.sha256 == entry.sha256 else {
        throw differs(shown)
      }
      guard record.mode & 0o6000 & ~entry.mode == 0 else { throw Failure.addsSetID(shown) }
    }
    if matched != records.count {
      for index in records.indices where files.find(records.path(index), order: fileOrder) == nil {
        throw Failure.unlisted(records.path(index))
      }
    }
    return content
  }

  private func differs(_ shown: String) -> Failure {
    Failure(.integrity, "\(shown) does not have the content that the manifest says")
  }

  func gather(
    _ known: VerifiedManifest, from reader: BackupReader, into staging: Staging?, _ options: RestoreOptions,
    wanted: @escaping (Manifest, Int) -> Bool
  ) throws(Failure) -> VerifiedManifest {
    try reader.gatherTermBackup6(known, staging: staging, isStaged: false) { path in
      Selection.chooses(path, isDirectory: false, options)
    }
  }

  func gatherOthers(
    of newest: VerifiedManifest, from reader: BackupReader, into staging: Staging?, partly: Bool,
    wanted: @escaping (Manifest, Int) -> Bool
  ) throws(Failure) -> VerifiedManifest {
    try reader.gatherTermBackup6(newest, staging: staging, isStaged: true, takes: { _ in true })
  }

  func send(
    _ path: [UInt8], of newest: VerifiedManifest, from reader: BackupReader, to sink: any ByteSink
  ) throws(Failure) {
    try reader.sendTermBackup6(path, newest, to: sink)
  }

  func part(_ newest: VerifiedManifest, of reader: BackupReader) throws(Failure) -> VerifiedManifest {
    var part = newest
    part.absent = newest.manifest.neededIDs
    for id in part.absent { reader.warn(reader.absence(of: id)) }
    return part
  }

  func lacking(_ verified: VerifiedManifest, in offers: SeriesOffers) -> [String] {
    offers.lackingParent(of: verified.manifest)
  }

  func offer(_ verified: VerifiedManifest, isWhole: Bool, dependents: UInt64?, in offers: inout SeriesOffers) {
    if isWhole { offers.addChain(endingIn: verified) }
  }
}
