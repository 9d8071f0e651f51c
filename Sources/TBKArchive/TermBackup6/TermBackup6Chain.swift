// TermBackup 6's incremental backups list what changed, and not what was deleted: a chain of them is laid
// over one another, each archive checked to be the parent of the one before it.

import TBKCore
import TBKFormat

/// What the archives of a chain hold together, told of them newest first.
struct TermBackup6Overlay {
  private var held = EntryTable()
  /// Listed, and in none of the archives so far.
  private var lost: [[UInt8]: ManifestEntry] = [:]

  /// Lays those before over an older archive; returns which of its entries are still to be seen.
  ///
  /// Not seen is what a newer archive has under the same path, what is below a newer file, and
  /// what is in the place of a directory of newer files.
  mutating func add(_ verified: VerifiedManifest) -> [Bool] {
    let files = verified.manifest.files
    let newer = held.count
    var all = held
    for index in files.indices { all.append(files[index]) }
    // Of two that are the same, the newer comes first.
    let order = all.sortedIndices().map { Int($0) }
    var nearest: [Int?] = Array(repeating: nil, count: all.count)
    var isBelow = [Bool](repeating: false, count: all.count)
    var isHidden = isBelow
    var nesting = PathNesting()
    for index in order {
      guard let (prefix, relation) = nesting.add(all.path(index), index) else { continue }
      if relation == .same {
        isHidden[index] = true
        continue
      }
      nearest[index] = prefix
      isBelow[index] = relation == .below
      if index >= newer {
        isHidden[index] = prefix < newer ? relation == .below : isHidden[prefix]
      }
    }
    // From the longest: what is below a path, or begins as something does that is below it.
    var leadsToNewer = all.indices.map { $0 < newer }
    for index in order.reversed() where leadsToNewer[index] {
      guard let prefix = nearest[index] else { continue }
      leadsToNewer[prefix] = true
      if isBelow[index], prefix >= newer { isHidden[prefix] = true }
    }

    let missing = Set(verified.missing)
    var seen = [Bool](repeating: false, count: files.count)
    for index in files.indices where !isHidden[newer + index] {
      let entry = files[index]
      if missing.contains(entry.path) {
        if lost[entry.path] == nil { lost[entry.path] = entry }
      } else {
        lost[entry.path] = nil
        seen[index] = true
        held.append(entry)
      }
    }
    return seen
  }

  /// The manifest of all of them, in place of the newest one's own.
  func manifest(of newest: VerifiedManifest) -> VerifiedManifest {
    var all = held
    for entry in lost.values { all.append(entry) }
    var manifest = newest.manifest
    manifest.files = EntryTable()
    for index in all.sortedIndices() { manifest.files.append(all[Int(index)]) }
    return VerifiedManifest(
      trusting: manifest, id: newest.id,
      missing: lost.keys.sorted { $0.lexicographicallyPrecedes($1) })
  }
}

extension BackupReader {
  /// Reads the chain that `first`, the newest archive's manifest, is the end of.
  ///
  /// - Parameters:
  ///   - staging: where entries grow, or nil to verify them only.
  ///   - isStaged: whether all that the newest archive holds has been staged.
  ///   - takes: whether a path is staged.
  func gatherTermBackup6(
    _ first: VerifiedManifest, staging: Staging?, isStaged: Bool, takes: ([UInt8]) -> Bool
  ) throws(Failure) -> VerifiedManifest {
    var overlay = TermBackup6Overlay()
    let absent = try walkTermBackup6(first) { (archive, verified) throws(Failure) in
      let seen = overlay.add(verified)
      guard let staging, !isStaged || archive !== newest else { return true }
      let files = verified.manifest.files
      let names = files.indices.filter { seen[$0] && takes(files.path($0)) }.map { files.path($0) }
      if names.isEmpty { return true }
      let members = ChosenMembers(names, links: verified.firstNames)
      let consumer = StagingConsumer(staging) { members.wish($0) }
      _ = try read(archive, consumer: consumer)
      return true
    }
    if absent != nil {
      // What is older than a gap may not be what the tree had.
      while let archive = try next() {
        warn("backup \(try read(archive).id) is left out: the backup based on it is missing")
      }
    } else if try next() != nil {
      throw Failure(
        .integrity, "there are more archives than the chain of backup \(first.id) has",
        hint: "give the archives oldest first")
    }
    if first.manifest.parentBackupID == nil { return first }
    warn("TermBackup 6 did not record deletions: files deleted since the full backup come back")
    var whole = overlay.manifest(of: first)
    whole.absent = absent.map { [$0] } ?? []
    return whole
  }

  /// Sends a file's content out of the newest archive of a chain that has it.
  func sendTermBackup6(
    _ path: [UInt8], _ first: VerifiedManifest, to sink: any ByteSink
  ) throws(Failure) {
    var overlay = TermBackup6Overlay()
    var isSent = false
    try walkTermBackup6(first) { (archive, verified) throws(Failure) in
      let files = verified.manifest.files
      let seen = overlay.add(verified)
      guard let index = files.find(path, order: files.isSorted() ? nil : files.sortedIndices()),
        seen[index]
      else { return true }
      let name = verified.firstNames[path] ?? path
      let sender = MemberSender(sink) { $0.name == name }
      _ = try read(archive, consumer: sender)
      guard sender.isSent else {
        throw Failure(.usage, "\(RawPath(path).display) is not a regular file")
      }
      isSent = true
      return false
    }
    if !isSent { throw Failure(.inputMissing, "\(RawPath(path).display) is not in this backup") }
  }

  /// Gives the archives of a chain, newest first, to `body`, which returns whether to continue. Returns the id
  /// of the one that is missing, if `isPartial`; nil if the chain is whole.
  @discardableResult
  private func walkTermBackup6(
    _ first: VerifiedManifest,
    _ body: (any OpenedArchive, VerifiedManifest) throws(Failure) -> Bool
  ) throws(Failure) -> String? {
    guard try body(newest, first) else { return nil }
    var parent = first.manifest.parentBackupID
    while let expected = parent {
      guard let archive = try next([expected]) else {
        guard isPartial else { throw missingBackups([expected]) }
        warn(absence(of: expected))
        return expected
      }
      try archive.keep()
      let other = try read(archive)
      if isPartial, other.id != expected {
        warn(absence(of: expected))
        warn("backup \(other.id) is left out: the backup based on it is missing")
        return expected
      }
      guard other.id == expected, other.manifest.isTermBackup6 else {
        throw Failure(
          .integrity, "backup \(other.id) is not the parent \(expected) of the one before it",
          hint: "give the archives oldest first")
      }
      try refuseAlone(other)
      guard try body(archive, other) else { return nil }
      parent = other.manifest.parentBackupID
    }
    return nil
  }
}

/// Some of the members of an archive of TermBackup 6's, each with its own content: a further name
/// of a file that is not among them is that file.
private struct ChosenMembers {
  private let names: Set<[UInt8]>
  private let links: [[UInt8]: [UInt8]]
  /// The names that stand in for first names that are not chosen.
  private var standIns: [[UInt8]: [UInt8]] = [:]

  /// - Parameter links: the first names of those that are hard links in the tar.
  init(_ names: [[UInt8]], links: [[UInt8]: [UInt8]]) {
    self.names = Set(names)
    self.links = links
    for name in names {
      guard let first = links[name], !self.names.contains(first) else { continue }
      if standIns[first] == nil { standIns[first] = name }
    }
  }

  func wish(_ member: TarMember) -> StagingConsumer.Wish {
    var member = member
    if let first = links[member.name] {
      guard names.contains(member.name) else { return .leave }
      guard let standIn = standIns[first] else { return .take }
      if standIn == member.name { return .leave }  // It has come, as its first name.
      member.linkTarget = standIn
      return .takeAs(member)
    }
    if names.contains(member.name) { return .take }
    guard let standIn = standIns[member.name] else { return .leave }
    member.name = standIn
    return .takeAs(member)
  }
}
