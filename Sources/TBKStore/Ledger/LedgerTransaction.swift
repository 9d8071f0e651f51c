import TBKCore
import TBKCrypto
import TBKFormat

/// A staged archive, and all that the ledger will record about it.
package struct NewBackup {
  package var id: Digest
  package var createdAt: String
  package var fileCount: UInt64
  /// "full" or "incremental".
  package var mode: String
  package var dependsOn: [Digest]
  package var group: GroupID?
  package var archive: any StagedObject
  package var archiveVersion: ArchiveVersion
  package var manifest: (any StagedObject)?
  /// The signature of the archive; 64 bytes.
  package var signature: [UInt8]?
  /// The SHA-256 of the group's password check, which has just been opened with the password of the archive; nil if
  /// unknown.
  package var groupCheck: Digest?

  /// Takes the id, the file count and the rest from a receipt, or else from the archive alone.
  package init(
    receipt: Receipt?, archive: any StagedObject, archiveVersion: ArchiveVersion,
    manifest: (any StagedObject)? = nil, signature: [UInt8]? = nil, group: GroupID? = nil,
    groupCheck: Digest? = nil
  ) {
    id = receipt?.id ?? archive.sha256
    createdAt = receipt?.createdAt ?? Timestamp.now().iso8601()
    fileCount = receipt?.fileCount ?? 0
    mode = receipt?.mode ?? "full"
    dependsOn = receipt?.dependsOn ?? []
    self.group = group
    self.archive = archive
    self.archiveVersion = archiveVersion
    self.manifest = manifest
    self.signature = signature
    self.groupCheck = groupCheck
  }
}

/// The result of a transaction.
package struct Stored: Sendable {
  package let entry: LedgerEntry
  /// Whether the store already had it.
  package let wasThere: Bool
}

extension LedgerSession {
  /// Adds a backup.
  ///
  /// If the same id and bytes are already stored, nothing changes, except that lost objects are stored again. Throws
  /// `.cannotCreate` for the same id with other bytes, and `.tryAgain` if a backup that this one depends on is no
  /// longer complete in the store, or the group's password check has changed.
  package func push(_ backup: NewBackup) throws(Failure) -> Stored {
    try transact { (snapshot, taken) throws(Failure) in
      if let known = snapshot.ledger?[backup.id] {
        guard known.sha256 == backup.archive.sha256, known.size == backup.archive.size else {
          throw Failure(
            .cannotCreate,
            "the store \(self.store.address.display) holds other bytes as backup \(backup.id.hex)",
            hint: "'tbk-store replace' replaces them")
        }
        if let (plan, entry) = try self.restoring(
          known, backup.archive, backup.manifest, in: snapshot)
        {
          return .commit(plan, Stored(entry: entry, wasThere: false))
        }
        return .done(Stored(entry: known, wasThere: true))
      }
      try self.requireAll(backup.dependsOn, in: snapshot)
      var groups: [LedgerGroup]?
      if let check = backup.groupCheck, let group = backup.group {
        groups = try self.naming(opened: check, of: group, in: snapshot)
      }
      var additions: [Commit.Addition] = []
      let entry = try backup.entry(snapshot, taken, &additions)
      let plan = Plan(
        entries: snapshot.entries + [entry], groups: groups, additions: additions,
        summary: "Add \(entry.filename)")
      return .commit(plan, Stored(entry: entry, wasThere: false))
    }
  }

  /// Call before staging anything large; `push` checks again.
  package func requireAll(_ ids: [Digest], in snapshot: Snapshot) throws(Failure) {
    if ids.isEmpty { return }
    let places = snapshot.indexes()
    for id in ids where places[id.hex] == nil {
      throw Failure(
        .tryAgain,
        "the backup depends on \(id.hex), which the store \(store.address.display) does not have",
        hint: "make the backup again, based on what the store has now, or make a full one")
    }
    if let lost = try lost(ids, in: snapshot).first {
      throw Failure(
        .tryAgain,
        "the backup depends on \(lost.hex), whose archive is no longer whole in the store "
          + store.address.display,
        hint: "make a full backup, or put the archive back from another copy of the store")
    }
  }

  /// Replaces the archive, manifest and signature of a backup, as after a password change.
  ///
  /// Without a new manifest the old one stays. Throws `.unavailable` for an unknown id, and `.tryAgain` if the archive
  /// of the backup is no longer `read`.
  ///
  /// - Parameters:
  ///   - read: the SHA-256 of the archive that the new one was made from.
  ///   - rekeyed: whether the archive is under another password, which raises `key_epoch`, or sealed to other
  ///     recipients, which raises it at most to that of the group: their identity was stored before. Throws
  ///     `.cannotCreate` if that would leave a manifest under the old one.
  package func replace(
    _ id: Digest, read: Digest? = nil, archive: any StagedObject, archiveVersion: ArchiveVersion,
    manifest: (any StagedObject)?, signature: [UInt8]?, rekeyed: Bool = false
  ) throws(Failure) -> Stored {
    try transact { (snapshot, taken) throws(Failure) in
      guard let index = snapshot.ledger?.index(of: id) else { throw self.unknown(id) }
      let old = snapshot.entries[index]
      let sameManifest = manifest == nil || manifest?.sha256 == old.manifest?.sha256
      if old.sha256 == archive.sha256, sameManifest, signature == old.signature {
        if let (plan, entry) = try self.restoring(old, archive, manifest, in: snapshot) {
          return .commit(plan, Stored(entry: entry, wasThere: false))
        }
        return .done(Stored(entry: old, wasThere: true))
      }
      try self.refuseOther(old, than: read)
      if rekeyed, manifest == nil, old.manifest != nil {
        throw Failure(
          .cannotCreate, "the sealed manifest of backup \(id.hex) would stay under the old password",
          hint: "give the new one with --sealed-manifest")
      }
      var additions: [Commit.Addition] = []
      var removals: [ObjectReference] = []
      var entry = old
      let names = NameChooser(snapshot, taken, id, archiveVersion.nameExtension)
      if old.sha256 != archive.sha256 {
        let name = try names.replacement(.backups, archive, &additions)
        removals.append(old.archiveReference)
        entry = try entry.changing { (json) throws(Failure) in
          json["filename"] = .string(name.description)
          json["sha256"] = .string(archive.sha256.hex)
          json["size"] = .number(archive.size)
          json["archive_version"] = .number(archiveVersion.number)
          json["suite"] = archiveVersion.suite
          json["verified"] = .bool(false)
          json["verified_at"] = .null
          json["parts"] = archive.parts.isEmpty ? nil : .array(archive.parts.map(\.json))
        }
      }
      if let manifest, !sameManifest {
        let name = try names.replacement(.manifests, manifest, &additions)
        if let gone = old.manifestReference { removals.append(gone) }
        entry = try entry.changing { (json) throws(Failure) in
          json["manifest"] =
            LedgerEntry.Object(name: name, sha256: manifest.sha256, size: manifest.size)
            .json(parts: manifest.parts)
        }
      }
      if rekeyed {
        entry = try entry.changing { (json) throws(Failure) in
          let ofGroup = old.group.flatMap { snapshot.ledger?.group($0)?.keyEpoch } ?? 0
          json["key_epoch"] = .number(max(old.keyEpoch, ofGroup) + (archiveVersion == .age ? 0 : 1))
        }
      }
      entry = try entry.changing { (json) throws(Failure) in
        json["signature"] = signature.map { .string($0.hex) } ?? .null
      }
      var entries = snapshot.entries
      entries[index] = entry
      let plan = Plan(
        entries: entries, additions: additions, removals: removals,
        summary: "Replace \(old.filename)")
      return .commit(plan, Stored(entry: entry, wasThere: false))
    }
  }

  /// Replaces the sealed manifest of a backup, under a new name; the old one is removed in the same commit.
  ///
  /// Throws `.unavailable` for an unknown id, and `.tryAgain` if the backup's archive is not `read`, the one that the
  /// manifest was made from.
  package func replaceManifest(
    of id: Digest, read: Digest? = nil, by manifest: any StagedObject
  ) throws(Failure) -> Stored {
    try transact { (snapshot, taken) throws(Failure) in
      guard let index = snapshot.ledger?.index(of: id) else { throw self.unknown(id) }
      let old = snapshot.entries[index]
      if manifest.sha256 == old.manifest?.sha256 {
        return .done(Stored(entry: old, wasThere: true))
      }
      try self.refuseOther(old, than: read)
      var additions: [Commit.Addition] = []
      let isAge = old.filename.description.hasSuffix(".age")
      let names = NameChooser(snapshot, taken, id, isAge ? "age" : "tbk")
      let name = try names.replacement(.manifests, manifest, &additions)
      let entry = try old.changing { (json) throws(Failure) in
        json["manifest"] =
          LedgerEntry.Object(name: name, sha256: manifest.sha256, size: manifest.size)
          .json(parts: manifest.parts)
      }
      var entries = snapshot.entries
      entries[index] = entry
      let plan = Plan(
        entries: entries, additions: additions, removals: old.manifestReference.map { [$0] } ?? [],
        summary: "Replace the manifest of \(old.filename)")
      return .commit(plan, Stored(entry: entry, wasThere: false))
    }
  }

  /// Replaces a backup with another one of the same tree, as after a consolidation, at the same position in the ledger
  /// and in its group.
  ///
  /// The old one is removed in the same commit, unless backups depend on it: then it stays, and the new one follows it.
  /// If the same id and bytes are already stored, nothing changes, so the call can be repeated. Throws `.unavailable`
  /// for an unknown id, `.tryAgain` if the old backup's archive is not `read`, the SHA-256 of the one that the new one
  /// was made from, and otherwise as `push`.
  package func supersede(
    _ id: Digest, read: Digest? = nil, by backup: NewBackup
  ) throws(Failure) -> (stored: Stored, dependents: [LedgerEntry]) {
    try transact { (snapshot, taken) throws(Failure) in
      let dependents = snapshot.entries.filter { $0.dependsOn.contains(id) }
      if let known = snapshot.ledger?[backup.id] {
        guard known.sha256 == backup.archive.sha256, known.size == backup.archive.size else {
          throw Failure(
            .cannotCreate,
            "the store \(self.store.address.display) holds other bytes as backup \(backup.id.hex)")
        }
        if let (plan, entry) = try self.restoring(
          known, backup.archive, backup.manifest, in: snapshot)
        {
          return .commit(plan, (Stored(entry: entry, wasThere: false), dependents))
        }
        return .done((Stored(entry: known, wasThere: true), dependents))
      }
      guard let index = snapshot.ledger?.index(of: id) else { throw self.unknown(id) }
      let old = snapshot.entries[index]
      try self.refuseOther(old, than: read)
      guard !backup.dependsOn.contains(id) else {
        throw Failure(
          .usage, "backup \(backup.id.hex) depends on \(id.hex), and cannot take its place")
      }
      try self.requireAll(backup.dependsOn, in: snapshot)
      var additions: [Commit.Addition] = []
      var backup = backup
      backup.group = old.group
      let entry = try backup.entry(snapshot, taken, &additions)
      var plan = Plan(
        entries: snapshot.entries, additions: additions,
        summary: "Add \(entry.filename) in place of \(old.filename)")
      if dependents.isEmpty {
        plan.entries[index] = entry
        plan.removals.append(old.archiveReference)
        if let manifest = old.manifestReference { plan.removals.append(manifest) }
      } else {
        plan.entries.insert(entry, at: index + 1)
        plan.summary = "Add \(entry.filename)"
      }
      return .commit(plan, (Stored(entry: entry, wasThere: false), dependents))
    }
  }

  /// Removes backups. Throws `.unavailable` for an unknown id, and `.denied` if a remaining backup depends on one of
  /// them. Returns the removed entries.
  package func remove(_ ids: [Digest]) throws(Failure) -> [LedgerEntry] {
    // As text, because its hash is seeded and a hostile ledger cannot force collisions.
    let wanted = Set(ids.map(\.hex))
    var isFirst = true
    return try transact { (snapshot, _) throws(Failure) in
      if isFirst {
        let places = snapshot.indexes()
        for id in ids where places[id.hex] == nil { throw self.unknown(id) }
        isFirst = false
      }
      var gone: [LedgerEntry] = []
      var kept: [LedgerEntry] = []
      for entry in snapshot.entries {
        if wanted.contains(entry.id.hex) { gone.append(entry) } else { kept.append(entry) }
      }
      if gone.isEmpty { return .done(gone) }
      for entry in kept {
        if let needed = entry.dependsOn.first(where: { wanted.contains($0.hex) }) {
          throw Failure(
            .denied, "backup \(entry.id.hex) depends on \(needed.hex): nothing was removed",
            hint: "remove both, or neither")
        }
      }
      return .commit(.removing(gone, keeping: kept), gone)
    }
  }

  /// Records that backups were read back and verified.
  ///
  /// Leaves out backups that were removed meanwhile, or whose archive is no longer the one that was read. Returns the
  /// marked entries.
  ///
  /// - Parameters:
  ///   - archives: the SHA-256 that was read, by id.
  ///   - time: ISO 8601.
  package func markVerified(
    _ archives: [Digest: Digest], at time: String
  ) throws(Failure) -> [LedgerEntry] {
    try transact { (snapshot, _) throws(Failure) in
      var entries = snapshot.entries
      var marked: [LedgerEntry] = []
      for index in entries.indices where archives[entries[index].id] == entries[index].sha256 {
        entries[index] = try entries[index].changing { (json) throws(Failure) in
          json["verified"] = .bool(true)
          json["verified_at"] = .string(time)
        }
        marked.append(entries[index])
      }
      if marked.isEmpty { return .done(marked) }
      let summary =
        marked.count == 1 ? "Verify \(marked[0].filename)" : "Verify \(marked.count) backups"
      return .commit(Plan(entries: entries, summary: summary), marked)
    }
  }

  /// Signs a ledger whose signing key is lost, unchecked: its old signature cannot be verified. Signatures of archives
  /// and verification times are removed from the entries, as they cannot be trusted. Returns the entries.
  ///
  /// Throws `.usage` if the ledger is not signed by that key, or its signature can be checked, and `.integrity` if this
  /// machine has seen it signed by another key.
  package func takeOver(_ lost: Digest) throws(Failure) -> [LedgerEntry] {
    try transact { (snapshot, _) throws(Failure) in
      guard let identity = snapshot.ledger?.identity, snapshot.trust == .unchecked(lost) else {
        throw Failure(
          .usage,
          "the ledger of the store \(self.store.address.display) is not signed by a key that is lost: "
            + "there is nothing to take over")
      }
      try self.refuseOtherSigner(of: identity.storeID, than: lost)
      var entries = snapshot.entries
      for index in entries.indices {
        entries[index] = try entries[index].changing { (json) throws(Failure) in
          json["signature"] = .null
          json["verified"] = .bool(false)
          json["verified_at"] = .null
        }
      }
      return .commit(Plan(entries: entries, summary: "Sign the ledger with another key"), entries)
    }
  }

  /// Signs an unsigned ledger as it is: the caller vouches for its content. Returns the entries. A ledger that a
  /// trusted key has signed is left unchanged, and so is an empty store, whose first ledger is signed anyway.
  package func adopt() throws(Failure) -> [LedgerEntry] {
    try transact(adopting: true) { (snapshot, _) throws(Failure) in
      guard let ledger = snapshot.ledger, ledger.signature == nil else {
        return .done(snapshot.entries)
      }
      return .commit(
        Plan(entries: snapshot.entries, summary: "Sign the ledger"), snapshot.entries)
    }
  }

  /// Throws if the archive is not the one that the replacement was made from: it may be under another password.
  private func refuseOther(_ entry: LedgerEntry, than read: Digest?) throws(Failure) {
    guard let read, entry.sha256 != read else { return }
    throw Failure(
      .tryAgain, "backup \(entry.id.hex) now has another archive: nothing was stored",
      hint: "another process rotates keys or migrates archives: try again when it has ended")
  }

  private func unknown(_ id: Digest) -> Failure {
    Failure(.unavailable, "the store \(store.address.display) does not have backup \(id.hex)")
  }
}

extension LedgerEntry {
  package var archiveReference: ObjectReference {
    ObjectReference(ObjectPath(.backups, filename), parts: parts)
  }

  package var manifestReference: ObjectReference? {
    manifest.map { ObjectReference(ObjectPath(.manifests, $0.name), parts: manifestParts) }
  }
}

extension NewBackup {
  fileprivate func entry(
    _ snapshot: LedgerSession.Snapshot, _ taken: Set<ObjectPath>,
    _ additions: inout [Commit.Addition]
  ) throws(Failure) -> LedgerEntry {
    let names = NameChooser(snapshot, taken, id, archiveVersion.nameExtension)
    let name = try names.first(.backups, archive, &additions)
    var json = JSON.object([
      "id": .string(id.hex), "filename": .string(name.description),
      "sha256": .string(archive.sha256.hex), "commit_sha": .string(""),
      "size": .number(archive.size), "created_at": .string(createdAt),
      "file_count": .number(fileCount), "verified": .bool(false), "verified_at": .null,
      "archive_version": .number(archiveVersion.number),
      "signature": signature.map { .string($0.hex) } ?? .null, "mode": .string(mode),
      "depends_on": .array(dependsOn.map { .string($0.hex) }),
    ])
    if let suite = archiveVersion.suite { json["suite"] = suite }
    if let group {
      json["group"] = .string(group.description)
      if groupCheck != nil, let epoch = snapshot.ledger?.group(group)?.keyEpoch, epoch > 0 {
        json["key_epoch"] = .number(epoch)
      }
    }
    if let manifest {
      let name = try names.first(.manifests, manifest, &additions)
      json["manifest"] =
        LedgerEntry.Object(name: name, sha256: manifest.sha256, size: manifest.size)
        .json(parts: manifest.parts)
    }
    if !archive.parts.isEmpty { json["parts"] = .array(archive.parts.map(\.json)) }
    return try LedgerEntry(json)
  }
}

/// Names objects: `backup_<first 12 of the id>.tbk`, or `.age`; with the first 8 of their own hash added if that name
/// has, or had, other bytes.
private struct NameChooser {
  private let snapshot: LedgerSession.Snapshot
  private let taken: Set<ObjectPath>
  private let id: Digest
  private let nameExtension: String

  init(
    _ snapshot: LedgerSession.Snapshot, _ taken: Set<ObjectPath>, _ id: Digest, _ nameExtension: String
  ) {
    self.nameExtension = nameExtension
    self.snapshot = snapshot
    self.taken = taken
    self.id = id
  }

  func first(
    _ folder: ObjectPath.Folder, _ object: any StagedObject,
    _ additions: inout [Commit.Addition]
  ) throws(Failure) -> ObjectName {
    if let name = ObjectName("\(stem(folder)).\(nameExtension)"), isFree(ObjectPath(folder, name)) {
      additions.append(Commit.Addition(ObjectPath(folder, name), object))
      return name
    }
    return try replacement(folder, object, &additions)
  }

  func replacement(
    _ folder: ObjectPath.Folder, _ object: any StagedObject,
    _ additions: inout [Commit.Addition]
  ) throws(Failure) -> ObjectName {
    let text = "\(stem(folder))\(ObjectPath.suffix(object.sha256, nameExtension))"
    guard let name = ObjectName(text), isFree(ObjectPath(folder, name)) else {
      throw Failure(.cannotCreate, "the name \(text) is taken in the store")
    }
    additions.append(Commit.Addition(ObjectPath(folder, name), object))
    return name
  }

  private func stem(_ folder: ObjectPath.Folder) -> String {
    "\(folder == .manifests ? "manifest" : "backup")_\(id.hex.prefix(12))"
  }

  private func isFree(_ path: ObjectPath) -> Bool {
    if taken.contains(path) { return false }
    return !snapshot.entries.contains { entry in
      path.folder == .manifests ? entry.manifest?.name == path.name : entry.filename == path.name
    }
  }
}
