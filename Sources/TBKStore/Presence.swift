import TBKCore
import TBKCrypto
import TBKFormat

/// A file that a store should contain: an object, or a part of one.
package struct StoredFile: Hashable, Sendable {
  package let path: ObjectPath
  /// Where a part is, in the store's own terms; nil for an object in one piece.
  package let place: String?

  package init(_ path: ObjectPath, place: String? = nil) {
    self.path = path
    self.place = place
  }
}

/// Whether a store has an object, judging by name and size.
package enum Presence: String, Sendable {
  case whole, missing
  /// Its size differs from the ledger's.
  case damaged
}

/// What a store has of a backup.
package struct BackupPresence: Sendable {
  package let archive: Presence
  /// Nil for a backup without a sealed manifest.
  package let manifest: Presence?
  /// The backups whose archives a restore needs, this one's included, and which are missing or damaged in the store.
  /// For a backup of TermBackup 6 the other archives it needs are unknown.
  package let lost: [Digest]
}

extension LedgerSession {
  /// Compares the objects that the ledger names with those in the store, by size.
  ///
  /// - Parameter entries: entries of the snapshot; the results are in their order.
  package func presence(
    of entries: [LedgerEntry], in snapshot: Snapshot
  ) throws(Failure) -> [BackupPresence] {
    let places = snapshot.indexes()
    var archives: [String: LedgerEntry] = [:]
    for entry in entries {
      archives[entry.id.hex] = entry
      for id in entry.dependsOn where archives[id.hex] == nil {
        if let place = places[id.hex] { archives[id.hex] = snapshot.entries[place] }
      }
    }
    var wanted = archives.values.flatMap { $0.archiveFiles.map(\.file) }
    for entry in entries { wanted += entry.manifestFiles.map(\.file) }
    let sizes = try store.sizes(of: wanted)
    var whole: Set<String> = []
    for (id, entry) in archives where Presence(of: entry.archiveFiles, sizes) == .whole {
      whole.insert(id)
    }
    return entries.map { entry in
      BackupPresence(
        archive: Presence(of: entry.archiveFiles, sizes),
        manifest: entry.manifest.map { _ in Presence(of: entry.manifestFiles, sizes) },
        lost: ([entry.id] + entry.dependsOn).filter { !whole.contains($0.hex) })
    }
  }

  /// Whether the store has the sealed identities that the ledger names for the groups of a scope; nil if it names none, or
  /// if looking would take a request of its own. Their content is not compared: that would require reading them.
  package func hasIdentities(in scope: BackupScope, of snapshot: Snapshot) throws(Failure) -> Bool? {
    if case .helper = store.address { return nil }
    let files = (snapshot.ledger?.groups ?? []).filter { scope.holds($0.id) }.compactMap { group in
      group.identity.map { StoredFile(ObjectPath(LedgerGroup.Part.identity.folder, $0.name)) }
    }
    if files.isEmpty { return nil }
    let sizes = try store.sizes(of: files)
    return files.allSatisfy { sizes[$0] != nil }
  }

  /// The ids among these whose archives are missing or damaged in the store.
  func lost(_ ids: [Digest], in snapshot: Snapshot) throws(Failure) -> [Digest] {
    let places = snapshot.indexes()
    let entries = ids.compactMap { places[$0.hex] }.map { snapshot.entries[$0] }
    let sizes = try store.sizes(of: entries.flatMap { $0.archiveFiles.map(\.file) })
    return entries.filter { Presence(of: $0.archiveFiles, sizes) != .whole }.map(\.id)
  }

  /// The plan that stores the lost or truncated objects of a backup again; nil if nothing is missing.
  ///
  /// - Parameters:
  ///   - known: the entry, whose archive has the bytes of `archive`.
  ///   - manifest: stored only if it is the sealed manifest that the entry names.
  func restoring(
    _ known: LedgerEntry, _ archive: any StagedObject, _ manifest: (any StagedObject)?,
    in snapshot: Snapshot
  ) throws(Failure) -> (plan: Plan, entry: LedgerEntry)? {
    let presence = try presence(of: [known], in: snapshot)[0]
    var entry = known
    var plan = Plan(entries: snapshot.entries, summary: "Store \(known.filename) again")
    if presence.archive != .whole {
      plan.additions.append(.init(known.archiveReference.path, archive, replacing: true))
      if archive.parts != known.parts {
        entry = try entry.changing { (json) throws(Failure) in
          json["parts"] = archive.parts.isEmpty ? nil : .array(archive.parts.map(\.json))
        }
      }
    }
    if let manifest, let object = known.manifest, let reference = known.manifestReference,
      manifest.sha256 == object.sha256, presence.manifest != .whole
    {
      plan.additions.append(.init(reference.path, manifest, replacing: true))
      if manifest.parts != known.manifestParts {
        entry = try entry.changing { (json) throws(Failure) in
          json["manifest"] = object.json(parts: manifest.parts)
        }
      }
    }
    if plan.additions.isEmpty { return nil }
    if let index = plan.entries.firstIndex(where: { $0.id == known.id }) {
      plan.entries[index] = entry
    }
    return (plan, entry)
  }
}

extension Presence {
  fileprivate init(
    of files: [(file: StoredFile, size: UInt64)], _ sizes: [StoredFile: UInt64]
  ) {
    var isDamaged = false
    for (file, size) in files {
      guard let found = sizes[file] else {
        self = .missing
        return
      }
      if found != size { isDamaged = true }
    }
    self = isDamaged ? .damaged : .whole
  }
}

extension LedgerEntry {
  /// The files of its archive, with their sizes in the ledger.
  var archiveFiles: [(file: StoredFile, size: UInt64)] {
    LedgerEntry.files(.backups, archive, parts)
  }

  var manifestFiles: [(file: StoredFile, size: UInt64)] {
    manifest.map { LedgerEntry.files(.manifests, $0, manifestParts) } ?? []
  }

  private static func files(
    _ folder: ObjectPath.Folder, _ object: Object, _ parts: [Part]
  ) -> [(file: StoredFile, size: UInt64)] {
    if parts.isEmpty { return [(StoredFile(ObjectPath(folder, object.name)), object.size)] }
    return parts.map { part in
      (StoredFile(ObjectPath(folder, part.object.name), place: part.place), part.object.size)
    }
  }
}
