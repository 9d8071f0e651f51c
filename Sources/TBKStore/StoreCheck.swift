import TBKCore
import TBKCrypto
import TBKFormat

/// An object that a ledger names, with its size and hash there.
package struct NamedObject: Sendable {
  package enum Kind: String, Sendable {
    case archive, manifest, check, identity
  }

  package let kind: Kind
  /// The backup it belongs to; nil for an object of a group.
  package let id: Digest?
  package let group: GroupID?
  package let reference: ObjectReference
  /// In bytes; nil for an object of a group, of which the ledger has none.
  package let size: UInt64?
  package let sha256: Digest
  /// The files that hold it; of each the size, where the ledger has one.
  fileprivate let files: [(file: StoredFile, size: UInt64?)]
}

/// Something that a ledger names, and that the store does not hold as it was stored.
package struct StoreFault: Sendable {
  package enum Problem: String, Sendable {
    case missing
    /// It has another size.
    case damaged
    /// It has the size, and other bytes.
    case altered
  }

  package let object: NamedObject
  package let problem: Problem
}

extension LedgerSession.Snapshot {
  /// What the ledger names of the backups of a scope, and of their groups.
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

  /// What the ledger names of these backups and of those that they depend on, each once.
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
  /// Those of these objects that the store does not hold as the ledger says, in their order.
  ///
  /// Throws what keeps it from finding out.
  ///
  /// - Parameters:
  ///   - reading: whether they are read and their hashes compared; else names and sizes have to do.
  ///   - progress: called with the number of bytes that were read, or need not be.
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

  /// What is wrong with an object, which is read; nil for nothing. Throws what keeps it from finding out.
  func problem(
    of object: NamedObject, _ progress: (Int) -> Void = { _ in }
  ) throws(Failure) -> StoreFault.Problem? {
    do throws(Failure) {
      let source = try store.open(object.reference)
      var hash = try SHA256()
      var buffer = [UInt8](repeating: 0, count: chunkSize)
      // What has grown meanwhile is not read to its end.
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
