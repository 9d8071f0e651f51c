import TBKCore
import TBKCrypto
import TBKFormat

/// Reads a tar without a manifest, and creates one from its members.
///
/// Names must satisfy the rules of our archives (`EntryName`, `MemberTree`). Devices, FIFOs and unknown types are left
/// out and reported; so are owner ids that no file can have.
package final class TarSurvey: TarHandler {
  private let consumer: (any MemberConsumer)?
  private let stripsTop: Bool
  private let report: (UnreadableEntry) throws(Failure) -> Void
  private var hash: SHA256
  private var member = TarMember(name: [], kind: .file)
  /// Whether the consumer wants the current member's content; nil if the member is not an entry of the tree.
  private var isWanted: Bool?
  /// The top directory that is stripped from all names.
  private var top: [UInt8]?
  /// With `stripsTop`: the only file of a tar that has no directory.
  private var onlyFile: [UInt8]?
  /// The first names of hard links, for links to links.
  private var firstNames: [[UInt8]: [UInt8]] = [:]
  /// The targets of symlinks, for hard links to them, which become symlinks of their own.
  private var symlinks: [[UInt8]: [UInt8]] = [:]
  private var root: ManifestEntry?
  private var unreadable: [UnreadableEntry] = []
  /// Whether any member was left out.
  private(set) var leavesOut = false
  private var names = MemberTree()
  /// The members in tar order.
  private(set) var records = EntryTable()

  /// - Parameters:
  ///   - consumer: gets the members, under their names in the manifest.
  ///   - stripsTop: whether everything is in one directory, which becomes the root of the tree; the file of a tar with
  ///     one file and no directory keeps its name.
  ///   - report: called with each member that is left out or changed, and why.
  package init(
    consumer: (any MemberConsumer)? = nil, stripsTop: Bool = false,
    report: @escaping (UnreadableEntry) throws(Failure) -> Void
  ) throws(Failure) {
    self.consumer = consumer
    self.stripsTop = stripsTop
    self.report = report
    hash = try SHA256()
  }

  // MARK: Members

  package func begin(_ member: TarMember) throws(Failure) {
    var member = member
    member.name = try name(member.name, isDirectory: member.kind == .directory)
    for attribute in member.xattrs where attribute.name.count > 255 || attribute.value.count > 1 << 20 {
      throw Failure(
        .malformed, "\(RawPath(member.name).display) has an extended attribute that no file can have")
    }
    isWanted = nil
    self.member = member
    if member.name.isEmpty {
      guard member.kind == .directory else {
        throw Failure(.malformed, "the top of the tar is not a directory")
      }
      root = ManifestEntry(member, sha256: .ofNothing)
      return try checkOwner(member)
    }
    switch member.kind {
    case .file, .directory: break
    case .symlink: symlinks[member.name] = member.linkTarget
    case .hardlink:
      let target = try name(member.linkTarget, isDirectory: false)
      if let held = symlinks[target] {
        (member.kind, member.linkTarget) = (.symlink, held)
        symlinks[member.name] = held
      } else {
        member.linkTarget = firstNames[target] ?? target
        firstNames[member.name] = member.linkTarget
      }
      self.member = member
    default:
      leavesOut = true
      return try note(member.name, "left out: it is a device, a FIFO or something unknown")
    }
    // A hard link has the owner of its first name.
    if member.kind != .hardlink { try checkOwner(member) }
    try names.add(member.name, isDirectory: member.kind == .directory)
    isWanted = try consumer?.begin(member) ?? false
  }

  private func note(_ name: [UInt8], _ reason: String) throws(Failure) {
    let entry = UnreadableEntry(path: name.isEmpty ? [UInt8(ascii: ".")] : name, reason: reason)
    unreadable.append(entry)
    try report(entry)
  }

  /// Reports ids that are too large, including 4294967295, which means "none" to the kernel.
  private func checkOwner(_ member: TarMember) throws(Failure) {
    var ids: [String] = []
    if ManifestEntry.id(member.uid) == nil { ids.append("user \(member.uid)") }
    if ManifestEntry.id(member.gid) == nil { ids.append("group \(member.gid)") }
    if ids.isEmpty { return }
    try note(member.name, "no file can belong to \(ids.joined(separator: " and "))")
  }

  /// The name in the tree; empty for its root. Throws `.malformed` for an unsafe name.
  private func name(_ name: [UInt8], isDirectory: Bool) throws(Failure) -> [UInt8] {
    let name = EntryName.normalised(name)
    if name.isEmpty {
      if stripsTop { throw Failure(.malformed, "the tar does not hold one directory") }
      return []
    }
    try EntryName.check(name.span)
    guard stripsTop else { return name }
    if let onlyFile {
      throw Failure(
        .malformed, "\(RawPath(name).display) is beside the file \(RawPath(onlyFile).display)",
        hint: "the tar does not hold one directory: keep the names as they are")
    }
    let slash = name.firstIndex(of: UInt8(ascii: "/")) ?? name.count
    if top == nil, slash == name.count, !isDirectory {
      onlyFile = name
      return name
    }
    let first = Array(name[..<slash])
    let top = top ?? first
    self.top = top
    guard first == top else {
      throw Failure(
        .malformed, "\(RawPath(name).display) is not in the directory \(RawPath(top).display)",
        hint: "the tar does not hold one directory: keep the names as they are")
    }
    return Array(name[min(slash + 1, name.count)...])
  }

  package func body(_ bytes: Span<UInt8>) throws(Failure) {
    guard let isWanted else { return }
    try hash.update(bytes)
    if isWanted { try consumer?.body(bytes) }
  }

  package func end() throws(Failure) {
    guard let isWanted else { return }
    let digest = try hash.finish()
    if isWanted { try consumer?.end(digest) }
    records.append(ManifestEntry(member, sha256: digest))
  }

  // MARK: The manifest

  /// The manifest of the tar, once all of it has been read: entries are sorted, and hard links have the metadata of
  /// their first name.
  ///
  /// Throws `.malformed` for a hard link to anything but an earlier file.
  package func manifest() throws(Failure) -> Manifest {
    var manifest = try newManifest()
    manifest.root = root
    manifest.unreadable = unreadable
    let order = records.sortedIndices()
    for index in order.map({ Int($0) }) {
      manifest.files.append(try completed(index, order))
    }
    return manifest
  }

  /// The entry; for a hard link, with the metadata of its first name.
  private func completed(_ index: Int, _ order: [UInt32]) throws(Failure) -> ManifestEntry {
    let entry = records[index]
    guard let first = entry.hardLink else { return entry }
    guard let target = records.find(first, order: order), target < index,
      records.type(target) == .file, !records.isHardLink(target)
    else {
      throw Failure(
        .malformed,
        "\(RawPath(entry.path).display) is a hard link to something that is not an earlier file")
    }
    var whole = records[target]
    whole.path = entry.path
    whole.hardLink = first
    return whole
  }
}

extension ManifestEntry {
  /// A user or group id; nil if no file can belong to it.
  fileprivate static func id(_ number: UInt64) -> UInt32? {
    number < UInt32.max ? UInt32(number) : nil
  }

  /// The entry for a member of a tar that has no manifest.
  fileprivate init(_ member: TarMember, sha256: Digest) {
    let type: EntryType =
      switch member.kind {
      case .directory: .directory
      case .symlink: .symlink
      default: .file
      }
    self.init(
      path: member.name, type: type, size: member.kind == .file ? member.size : 0, sha256: sha256,
      mode: (type.modeBits ?? 0) | member.mode & 0o7777, modifiedAt: 0)
    setModification(member.mtime)
    uid = ManifestEntry.id(member.uid)
    gid = ManifestEntry.id(member.gid)
    if !member.userName.isEmpty { user = member.userName }
    if !member.groupName.isEmpty { group = member.groupName }
    if type == .symlink { linkTarget = member.linkTarget }
    if member.kind == .hardlink { hardLink = member.linkTarget }
    xattrs = member.xattrs.sorted { $0.name.lexicographicallyPrecedes($1.name) }
  }
}
