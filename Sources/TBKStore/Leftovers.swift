import TBKCore
import TBKFormat

/// Something in a store that no ledger names: what a killed writer, a failed upload or an interrupted removal left.
package struct Leftover: Equatable, Sendable {
  package enum Kind: String, Sendable {
    /// An archive, a manifest, or a part of one.
    case object
    /// A part of an archive in a release.
    case asset
    /// The remains of an incomplete upload.
    case upload
    /// A file under a temporary name.
    case temporary
  }

  package let kind: Kind
  /// The path in the store. Its bytes come from the store, and are arbitrary.
  package let name: RawPath
  package let size: UInt64
  /// When it was last changed, by the clock of the store.
  package let changedAt: Timestamp
  /// The store's own id for it, if that is not its name.
  let number: UInt64?

  init(_ kind: Kind, _ name: RawPath, size: UInt64, changedAt: Timestamp, number: UInt64? = nil) {
    self.kind = kind
    self.name = name
    self.size = size
    self.changedAt = changedAt
    self.number = number
  }

  /// The object with this name; nil if it is not an object.
  var path: ObjectPath? {
    let pieces = name.text.split(separator: "/", omittingEmptySubsequences: false)
    guard kind == .object, pieces.count == 2,
      let folder = ObjectPath.Folder(rawValue: String(pieces[0])), !folder.isOfGroups,
      let name = ObjectName(String(pieces[1]))
    else { return nil }
    return ObjectPath(folder, name)
  }
}

extension [Leftover] {
  /// By name.
  var inOrder: Self { sorted { $0.name.bytes.lexicographicallyPrecedes($1.name.bytes) } }
}

/// The names of all objects in ledgers.
package struct NamedObjects: Sendable {
  private var names: Set<String> = []

  package init() {}

  package mutating func add(_ ledger: Ledger) {
    for entry in ledger.entries {
      add(entry.archiveReference)
      if let manifest = entry.manifestReference { add(manifest) }
    }
    for group in ledger.groups ?? [] {
      for part in LedgerGroup.Part.allCases {
        if let object = group.object(part) { add(ObjectReference(ObjectPath(part.folder, object.name))) }
      }
    }
  }

  private mutating func add(_ object: ObjectReference) {
    names.insert(object.path.description)
    for part in object.parts {
      // A part is in a place of its own or beside its object.
      names.insert("\(part.place)/\(part.object.name)")
      names.insert("\(object.path.folder.rawValue)/\(part.object.name)")
    }
  }

  package func contains(_ name: String) -> Bool { names.contains(name) }
}

extension ObjectPath {
  /// Whether TermBackup could have given this name: `backup_` or `manifest_` and an id prefix, with or without a hash
  /// prefix, or `part_` and a hash prefix. Files by others are left alone, and so are objects of groups.
  var hasOurName: Bool {
    let stem: String
    switch folder {
    case .checks, .keys: return false
    case .backups: stem = "backup_"
    case .manifests: stem = "manifest_"
    }
    let text = name.description
    guard text.hasSuffix(".tbk") || text.hasSuffix(".age") else { return false }
    let bare = text.dropLast(4)
    if bare.hasPrefix("part_") { return bare.dropFirst(5).isHex(32) }
    guard bare.hasPrefix(stem) else { return false }
    let pieces = bare.dropFirst(stem.count).split(separator: "-", omittingEmptySubsequences: false)
    return pieces[0].isHex(12) && (pieces.count == 1 || pieces.count == 2 && pieces[1].isHex(8))
  }
}

extension ObjectPath {
  /// Whether it is a manifest of TermBackup 6: unencrypted, so that anyone with access to the store can read the names,
  /// sizes and hashes of all files. Nothing here needs one.
  var isClearManifest: Bool {
    let text = name.description
    return folder == .manifests && text.hasPrefix("manifest_") && text.hasSuffix(".json")
      && text.dropFirst(9).dropLast(5).isHex(12)
  }
}

extension Store {
  package func clearManifests() throws(Failure) -> [Leftover] { [] }
}

extension Substring {
  fileprivate func isHex(_ count: Int) -> Bool {
    utf8.count == count
      && utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
  }
}

extension LedgerSession {
  /// Seconds for which nothing counts as a leftover: the longest time that a writer may need between storing an object
  /// and committing the ledger that names it.
  package static let leftoverAge: Int64 = 86_400

  /// Removes what no ledger names; decided again after a conflict with other writers. The ledger is not changed, so no
  /// key is needed.
  ///
  /// - Parameters:
  ///   - dryRun: whether only to report.
  ///   - age: least seconds since the last change.
  /// - Returns: what was removed, or would be.
  package func clean(
    dryRun: Bool, age: Int64 = LedgerSession.leftoverAge
  ) throws(Failure) -> [Leftover] {
    let deadline = monotonicNanoseconds() + Int64(maximumWait) * 1_000_000_000
    while true {
      let snapshot = try snapshot()
      guard let ledger = snapshot.ledger, let version = snapshot.version else { return [] }
      guard ledger.identity != nil else {
        throw Failure(
          .denied,
          "TermBackup 6 wrote the ledger of the store \(store.address.display), which does not name "
            + "all that belongs to a backup: nothing was removed",
          hint: "the first backup that this suite makes takes over the ledger")
      }
      var named = NamedObjects()
      named.add(ledger)
      let found = try store.leftovers(besides: named, age: age)
      if dryRun || found.isEmpty { return found }
      // Otherwise an attacker who removed entries from the ledger could have their archives removed.
      try refuseUnsigned(snapshot)
      let stored = StoredLedger(bytes: snapshot.bytes, version: version)
      if let gone = try store.remove(found, over: stored) { return gone }
      try Interruption.check()
      guard monotonicNanoseconds() < deadline else {
        throw Failure(
          .tryAgain, "the store \(store.address.display) kept changing in the meantime",
          hint: "try again when other writers have finished")
      }
    }
  }
}
