import TBKCore
import TBKFormat

extension HelperStore {
  package func leftovers(
    besides named: NamedObjects, age: Int64
  ) throws(Failure) -> [Leftover] {
    let limit = try clock() - age
    var found: [Leftover] = []
    for kind in ObjectPath.Folder.allCases where !kind.isOfGroups {
      for entry in try list(kind.rawValue) {
        let path = ObjectPath(kind, entry.name)
        // An object without a time counts as new.
        guard path.hasOurName, !named.contains(path.description),
          let changed = entry.changedAt, changed <= limit
        else { continue }
        found.append(leftover(.object, path.description, entry, changed))
      }
    }
    for entry in try list(HelperStore.journalFolder)
    where entry.name.description != HelperStore.reserveName {
      guard let changed = entry.changedAt, changed <= limit else { continue }
      found.append(
        leftover(.temporary, "\(HelperStore.journalFolder)/\(entry.name)", entry, changed))
    }
    return (found + (try clearManifests())).inOrder
  }

  package func clearManifests() throws(Failure) -> [Leftover] {
    let now = Timestamp.now().nanoseconds / 1_000_000_000
    return try list(ObjectPath.Folder.manifests.rawValue).compactMap { entry in
      let path = ObjectPath(.manifests, entry.name)
      guard path.isClearManifest else { return nil }
      return leftover(.object, path.description, entry, entry.changedAt ?? now)
    }.inOrder
  }

  private func leftover(
    _ kind: Leftover.Kind, _ name: String, _ entry: Listed, _ changed: Int64
  ) -> Leftover {
    Leftover(
      kind, RawPath(name), size: entry.size,
      changedAt: Timestamp(clamping: FileTime(seconds: changed)))
  }

  package func remove(
    _ leftovers: [Leftover], over ledger: StoredLedger
  ) throws(Failure) -> [Leftover]? {
    guard try ledgerVersion() == ledger.version else { return nil }
    for leftover in leftovers { try remove(leftover.name.text) }
    return leftovers
  }

  /// The clock that dates the objects of this store, or this machine's clock if it is earlier: no object may appear
  /// older than it is. In seconds since 1970.
  private func clock() throws(Failure) -> Int64 {
    let now = Timestamp.now().nanoseconds / 1_000_000_000
    let probe = uniqueSuffix()
    let name = "\(HelperStore.journalFolder)/\(probe)"
    do throws(Failure) {
      try put(name, [])
    } catch  where error.code == .io {
      // A full store cannot store the probe.
      return now
    }
    let entry = try list(HelperStore.journalFolder).first { $0.name.description == probe }
    try remove(name)
    return min(now, entry?.changedAt ?? now)
  }
}
