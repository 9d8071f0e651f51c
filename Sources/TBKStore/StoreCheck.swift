import TBKCore
import TBKCrypto
import TBKFormat

/// An object that a ledger names, with its recorded size and hash.
package struct NamedObject: Sendable {
  package enum Kind: String, Sendable {
    case archive, manifest, check, identity
  }

  package let kind: Kind
  /// The backup it belongs to; nil for an object of a group.
  package let id: Digest?
  package let group: GroupID?
  package let reference: ObjectReference
  /// In bytes; nil for an object of a group, whose size is not recorded.
  package let size: UInt64?
  package let sha256: Digest
  /// The files that contain it, with their sizes if recorded.
  fileprivate let files: [(file: StoredFile, size: UInt64?)]
}

/// An object that a ledger names, and that the store does not have as it was stored.
package struct StoreFault: Sendable {
  package enum Problem: String, Sendable {
    case missing
    /// The size differs.
    case damaged
    /// The size is the same, but the bytes differ.
    case altered
  }

  package let object: NamedObject
  package let problem: Problem
}

extension LedgerSession.Snapshot {
  /// The objects that the ledger names for the backups of a scope and for their groups.
  package func named(in scope: BackupScope) throws(Failure) -> [NamedObject] {
    var objects = named(by: entries.filter { scope.holds($0) }, withDependencies: false)
    for group in ledger?.groups ?? [] where scope.holds(group.id) {
      objects += LedgerGroup.Part.allCases.compactMap { named($0, of: group.id) }
    }
    return objects
  }

  /// An object of a group; nil if the ledger names none.
  func named(_ part: LedgerGroup.Part, of group: GroupID) -> NamedObject? {
    guard let object = ledger?.group(group)?.object(part) else { return nil }
    let path = ObjectPath(part.folder, object.name)
    return NamedObject(
      kind: part == .check ? .check : .identity, id: nil, group: group, reference: ObjectReference(path),
      size: nil, sha256: object.sha256, files: [(StoredFile(path), nil)])
  }

  /// The objects that the ledger names for these backups and their dependencies, each once.
  package func named(by backups: [LedgerEntry]) -> [NamedObject] {
    named(by: backups, withDependencies: true)
  }

  private func named(by backups: [LedgerEntry], withDependencies: Bool) -> [NamedObject] {
    let places = indexes()
    var seen: Set<String> = []
    var wanted: [LedgerEntry] = []
    for backup in backups {
      var ids = [backup.id]
      if withDependencies { ids += backup.dependsOn }
      for id in ids where seen.insert(id.hex).inserted {
        if let place = places[id.hex] { wanted.append(entries[place]) }
      }
    }
    return wanted.flatMap(\.namedObjects)
  }
}

extension LedgerEntry {
  fileprivate var namedObjects: [NamedObject] {
    var objects = [
      NamedObject(
        kind: .archive, id: id, group: group, reference: archiveReference, size: size, sha256: sha256,
        files: archiveFiles.map { ($0.file, $0.size) })
    ]
    if let manifest, let manifestReference {
      objects.append(
        NamedObject(
          kind: .manifest, id: id, group: group, reference: manifestReference, size: manifest.size,
          sha256: manifest.sha256, files: manifestFiles.map { ($0.file, $0.size) }))
    }
    return objects
  }
}

extension LedgerSession {
  /// Those of these objects that do not match the ledger, in order.
  ///
  /// Throws if an object cannot be checked.
  ///
  /// - Parameters:
  ///   - reading: whether to read them and compare their hashes; otherwise only names and sizes.
  ///   - progress: called with the number of bytes read, or skipped.
  package func faults(
    of objects: [NamedObject], reading: Bool, progress: (Int) -> Void = { _ in }
  ) throws(Failure) -> [StoreFault] {
    let sizes = try store.sizes(of: objects.flatMap { $0.files.map(\.file) })
    var faults: [StoreFault] = []
    for object in objects {
      var problem: StoreFault.Problem?
      for (file, size) in object.files {
        guard let found = sizes[file] else {
          problem = .missing
          break
        }
        if let size, found != size { problem = .damaged }
      }
      if problem == nil, reading { problem = try self.problem(of: object, progress) }
      if let problem { faults.append(StoreFault(object: object, problem: problem)) }
    }
    return faults
  }

  /// Reads an object and returns what is wrong with it; nil if nothing. Throws if it cannot be checked.
  func problem(
    of object: NamedObject, _ progress: (Int) -> Void = { _ in }
  ) throws(Failure) -> StoreFault.Problem? {
    do throws(Failure) {
      let source = try store.open(object.reference)
      var hash = try SHA256()
      var buffer = [UInt8](repeating: 0, count: chunkSize)
      // An object that has grown is not read to its end.
      var left = object.size ?? UInt64(GroupID.objectLimit)
      while true {
        let count = try source.read(into: &buffer)
        if count == 0 { break }
        guard UInt64(count) <= left else { return .damaged }
        left -= UInt64(count)
        try hash.update(buffer.span.extracting(0..<count))
        progress(count)
      }
      if object.size != nil, left > 0 { return .damaged }
      return try hash.finish() == object.sha256 ? nil : .altered
    } catch {
      switch error.code {
      case .inputMissing: return .missing
      case .integrity, .truncated: return .altered
      default: throw error
      }
    }
  }
}
