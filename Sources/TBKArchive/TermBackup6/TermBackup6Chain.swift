// Incremental backups of TermBackup 6 list changes, but not deletions: the archives of a chain are overlaid, after
// checking that each is the parent of the one before it.

import TBKCore
import TBKFormat

/// The combined content of the archives of a chain, added newest first.
struct TermBackup6Overlay {
  private var held = EntryTable()
  /// Entries that are listed, but in none of the archives so far.
  private var lost: [[UInt8]: ManifestEntry] = [:]

  /// Adds an older archive below those before it; returns which of its entries are visible.
  ///
  /// An entry is hidden if a newer archive has the same path, if it is below a newer file, or if it is a file where
  /// newer files have a directory.
  mutating func add(_ verified: VerifiedManifest) -> [Bool] {
    let files = verified.manifest.files
    let newer = held.count
    var all = held
    for index in files.indices { all.append(files[index]) }
    // Of two equal paths, the newer comes first.
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
    // From the longest path up: which paths have a newer entry below them.
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

  /// The combined manifest, replacing the newest one's own.
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
  /// Reads the chain that ends with `first`, the newest archive's manifest.
  ///
  /// - Parameters:
  ///   - staging: gets the entries; nil to only verify them.
  ///   - isStaged: whether the newest archive has already been staged.
  ///   - takes: whether to stage a path.
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
      // Archives older than a gap may not belong to the tree.
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

  /// Sends a file's content from the newest archive of a chain that has it.
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

  /// Passes the archives of a chain, newest first, to `body`, which returns whether to continue. With `isPartial`,
  /// returns the id of the first missing one; nil if none was missing.
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

/// Chosen members of an archive of TermBackup 6, each with content: if the first name of a hard link is not chosen,
/// another name takes its place.
private struct ChosenMembers {
  private let names: Set<[UInt8]>
  private let links: [[UInt8]: [UInt8]]
  /// The names that replace first names that are not chosen.
  private var standIns: [[UInt8]: [UInt8]] = [:]

  /// - Parameter links: names that are hard links in the tar, with their first names.
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
      if standIn == member.name { return .leave }  // It was staged in place of its first name.
      member.linkTarget = standIn
      return .takeAs(member)
    }
    if names.contains(member.name) { return .take }
    guard let standIn = standIns[member.name] else { return .leave }
    member.name = standIn
    return .takeAs(member)
  }
}
