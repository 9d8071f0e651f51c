import TBKCore
import TBKCrypto
import TBKFormat

/// Receives the members of a tar, before they have been compared with the manifest.
package protocol MemberConsumer: AnyObject {
  /// Begins a member, whose name is safe; returns whether its content is wanted.
  func begin(_ member: TarMember) throws(Failure) -> Bool
  /// Likewise; by default calls `begin(_:)`.
  ///
  /// - Parameter offset: where in the tar the content begins.
  func begin(_ member: TarMember, contentAt offset: UInt64) throws(Failure) -> Bool
  func body(_ bytes: Span<UInt8>) throws(Failure)
  /// Ends wanted content, which has this hash.
  func end(_ sha256: Digest) throws(Failure)
}

extension MemberConsumer {
  package func begin(_ member: TarMember, contentAt offset: UInt64) throws(Failure) -> Bool {
    try begin(member)
  }
}

/// Reads an archive's tar: finds the manifest, hashes everything else, and compares the two (tbk(5),
/// "Payload").
///
/// Checks that need no manifest are made before a member is passed on. If the manifest comes first, so are checks of
/// everything in the header: the consumer never gets a member that is not listed.
package final class TarVerifier: TarHandler {
  private enum Current {
    case manifest(ManifestText)
    case content(wanted: Bool)
  }

  private let consumer: (any MemberConsumer)?
  private let termBackup6: TermBackup6Manifests
  private let approve: (Manifest) throws(Failure) -> Void
  private var hash: SHA256
  private var current: Current?
  private var member = TarMember(name: [], kind: .file)
  private var parsed: Manifest?
  /// Looks up members that follow the manifest; created with the first one.
  private var listed: MemberList?
  /// The members of the tar, under their names there.
  private var records = EntryTable()
  private var names = MemberTree()
  /// The offset of the current member's body in the tar.
  private var bodyStart: UInt64 = 0
  /// The offset of the next member's headers.
  private var nextHeader: UInt64 = 0
  /// Where the manifest was in the tar.
  private var place: ManifestLocator?

  /// - Parameters:
  ///   - termBackup6: which manifests of TermBackup 6 are accepted.
  ///   - approve: called with the manifest as soon as it is parsed, before the content is compared with it; may throw.
  package init(
    consumer: (any MemberConsumer)? = nil, termBackup6: TermBackup6Manifests,
    approve: @escaping (Manifest) throws(Failure) -> Void = { _ in }
  ) throws(Failure) {
    self.consumer = consumer
    self.termBackup6 = termBackup6
    self.approve = approve
    hash = try SHA256()
  }

  // MARK: Members

  package func begin(_ member: TarMember) throws(Failure) { try begin(member, bodyAt: 0) }

  package func begin(_ member: TarMember, bodyAt offset: UInt64) throws(Failure) {
    var member = member
    bodyStart = offset
    let header = nextHeader
    // Cannot overflow in practice: the parser limits the size of a member.
    nextHeader = offset &+ member.size &+ UInt64(TarWriter.padding(after: member.size))
    member.name = EntryName.normalised(member.name)
    // "./" is the archived directory itself; tars of other programs have it.
    if member.name.isEmpty {
      guard member.kind == .directory else { throw Failure(.malformed, "a member has no name") }
      current = .content(wanted: false)
      self.member = member
      return
    }
    try EntryName.check(member.name.span)
    if member.kind == .hardlink {
      member.linkTarget = EntryName.normalised(member.linkTarget)
      try EntryName.check(member.linkTarget.span)
    }
    self.member = member
    if member.name == Manifest.fileName, member.kind == .file, parsed == nil {
      current = .manifest(try ManifestText())
      place = ManifestLocator(offset: header, length: member.size)
      return
    }
    switch member.kind {
    case .file, .directory, .symlink, .hardlink: break
    default:
      throw Failure(
        .malformed, "\(RawPath(member.name).display) is a device, a FIFO or something unknown")
    }
    try names.add(member.name, isDirectory: member.kind == .directory)
    if let parsed {
      let list = listed ?? MemberList(parsed)
      listed = list
      try list.check(member)
    }
    current = .content(wanted: try consumer?.begin(member, contentAt: offset) ?? false)
  }

  package func body(_ bytes: Span<UInt8>) throws(Failure) {
    switch current {
    case .manifest(let text): try text.write(bytes)
    case .content(let wanted):
      try hash.update(bytes)
      if wanted { try consumer?.body(bytes) }
    case nil: break
    }
  }

  package func end() throws(Failure) {
    switch current {
    case .manifest(let text):
      let manifest = try TarVerifier.checked(text, termBackup6)
      if manifest.tree.reservesManifestName { try names.add(Manifest.fileName, isDirectory: false) }
      try approve(manifest)
      parsed = manifest
    case .content(let wanted):
      let digest = try hash.finish()
      if wanted { try consumer?.end(digest) }
      if !member.name.isEmpty { record(digest) }
    case nil: break
    }
    current = nil
  }

  private func record(_ digest: Digest) {
    let type: EntryType =
      switch member.kind {
      case .directory: .directory
      case .symlink: .symlink
      default: .file
      }
    var entry = ManifestEntry(
      path: member.name, type: type, size: member.kind == .file ? member.size : 0, sha256: digest,
      mode: member.mode, modifiedAt: 0)
    if member.kind == .symlink { entry.linkTarget = member.linkTarget }
    if member.kind == .hardlink { entry.hardLink = member.linkTarget }
    entry.offset = bodyStart
    records.append(entry)
  }

  // MARK: The verdict

  /// The manifest, if the whole tar matches it.
  ///
  /// Throws `.integrity` or `.malformed` for the first mismatch.
  ///
  /// - Parameter locator: where the manifest is according to the archive, if it says so.
  package func verdict(locator: ManifestLocator? = nil) throws(Failure) -> VerifiedManifest {
    guard let manifest = parsed else {
      throw Failure(.malformed, "the archive holds no manifest")
    }
    if let locator, locator != place {
      throw Failure(.malformed, "the payload's locator does not point to the manifest")
    }
    return try VerifiedManifest(manifest, holds: records)
  }

  /// The parsed manifest, after checking that it is valid by itself.
  ///
  /// - Parameter termBackup6: which manifests of TermBackup 6 are accepted.
  static func checked(
    _ text: ManifestText, _ termBackup6: TermBackup6Manifests
  ) throws(Failure) -> Manifest {
    try text.finish()
    let manifest = try text.manifest()
    if manifest.isTermBackup6, termBackup6 == .none {
      throw Failure(
        .malformed, "the manifest is one of TermBackup 6, which never wrote archives of suite 3 or age",
        hint: "it was forged, or resealed by an earlier version")
    }
    try manifest.validate()
    try checkID(manifest, text, termBackup6)
    if manifest.tree.reservesManifestName { try manifest.refuseUnnamed() }
    return manifest
  }

  /// Recomputes the id, which otherwise proves nothing.
  private static func checkID(
    _ manifest: Manifest, _ text: ManifestText, _ termBackup6: TermBackup6Manifests
  ) throws(Failure) {
    guard let id = manifest.backupID else {
      throw Failure(.integrity, "the manifest has no backup id")
    }
    if manifest.hasUnprovenID {
      if termBackup6 == .all { return }
      throw Failure(
        .integrity, "the sealed manifest of an incremental backup of TermBackup 6 proves nothing",
        hint: "read its archive")
    }
    if try text.hasID(id) { return }
    guard try manifest.computeID().id.hex == id else {
      throw Failure(.integrity, "the manifest's backup id is not the hash of its content")
    }
  }
}

/// A manifest that has been compared with its archive. Only such a manifest is restored.
package struct VerifiedManifest: Sendable {
  package let manifest: Manifest
  /// The backup id: verified, except for incremental backups of TermBackup 6.
  package let id: String
  /// Whether the archive contains only the manifest.
  package let isAlone: Bool
  /// Whether the content has been compared with it too: in a seekable archive the manifest can be read alone.
  let coversContent: Bool
  /// Listed files that are not in the archive, which TermBackup 6 allowed; in a partial restore also those of archives
  /// that were not given.
  package internal(set) var missing: [[UInt8]]
  /// In a partial restore, the needed backups that are missing.
  package internal(set) var absent: [String] = []
  /// Names that are hard links in a tar of TermBackup 6, with their link targets.
  let firstNames: [[UInt8]: [UInt8]]

  fileprivate init(_ manifest: Manifest, holds records: EntryTable) throws(Failure) {
    self.manifest = manifest
    coversContent = true
    id = manifest.backupID ?? ""
    let content = try manifest.archived.match(manifest, records)
    (isAlone, missing, firstNames) = (content.isAlone, content.missing, content.firstNames)
  }

  /// Whether the backup's own tar must contain anything but the manifest.
  static func needsMembers(_ manifest: Manifest) -> Bool {
    let files = manifest.files
    return files.indices.contains { index in
      if files.storedIn(index) != nil { return false }
      guard files.isHardLink(index), let first = files[index].hardLink else { return true }
      return files.find(first).map { files.storedIn($0) == nil } ?? true
    }
  }

  /// For a manifest composed of verified ones.
  init(trusting manifest: Manifest, id: String, missing: [[UInt8]]) {
    self.manifest = manifest
    self.id = id
    self.missing = missing
    firstNames = [:]
    isAlone = false
    coversContent = true
  }

  /// For a manifest that was read without the content.
  ///
  /// - Parameter isAlone: whether there is no content.
  init(reading manifest: Manifest, isAlone: Bool) {
    self.manifest = manifest
    id = manifest.backupID ?? ""
    self.isAlone = isAlone && VerifiedManifest.needsMembers(manifest)
    coversContent = false
    (missing, firstNames) = ([], [:])
  }
}

/// Checks members that follow the manifest against it.
private struct MemberList {
  private let manifest: Manifest
  private let tree: any ArchivedTree
  private let lookup: NameLookup

  init(_ manifest: Manifest) {
    self.manifest = manifest
    tree = manifest.archived
    lookup = NameLookup(manifest)
  }

  /// Rejects a member by its header: if it is not listed, or of another type or size.
  func check(_ member: TarMember) throws(Failure) {
    guard let index = lookup.find(member.name) else { throw Failure.unlisted(member.name) }
    try tree.check(member, listedAs: manifest.files[index], lookup)
  }
}
