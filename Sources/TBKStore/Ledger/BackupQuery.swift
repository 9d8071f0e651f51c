import TBKCore
import TBKFormat

/// Selects backups of a store.
package enum BackupScope: Equatable, Sendable {
  /// Every backup of the store.
  case all
  /// The backups of these groups, as one series; nil stands for ungrouped backups.
  case groups(Set<GroupID?>)

  /// The backups of one group; nil stands for ungrouped backups.
  package static func group(_ group: GroupID?) -> BackupScope { .groups([group]) }

  /// Whether a backup is selected.
  package func holds(_ entry: LedgerEntry) -> Bool { holds(entry.group) }

  /// Whether the backups of a group are selected.
  package func holds(_ group: GroupID?) -> Bool {
    switch self {
    case .all: true
    case .groups(let groups): groups.contains(group)
    }
  }

  /// The store and the selected groups, for messages.
  fileprivate func place(in store: StoreAddress) -> String {
    guard case .groups(let groups) = self else { return "the store \(store.display)" }
    let names = groups.compactMap { $0?.description }.sorted()
    if names.isEmpty { return "the store \(store.display), outside of any group," }
    let place = "the group \(names.joined(separator: " or ")) of the store \(store.display)"
    return groups.contains(nil) ? "\(place), with the ungrouped backups," : place
  }
}

extension LedgerSession.Snapshot {
  /// The backup that a query selects among those of `scope`.
  ///
  /// Throws `.unavailable` if there is none, and `.usage` with the candidates if there are several.
  package func find(
    _ query: BackupQuery, in scope: BackupScope, store: StoreAddress
  ) throws(Failure) -> LedgerEntry {
    let found = try query.choose(
      from: entries.filter { scope.holds($0) }, of: scope.place(in: store), id: { $0.id.hex },
      createdAt: { $0.createdAt })
    if found.count > 1, case .prefix(let prefix) = query {
      let shown = found.prefix(8).map { "\($0.id.hex) of \($0.createdAt)" }
      let rest = found.count > shown.count ? ", and \(found.count - shown.count) more" : ""
      throw Failure(
        .usage, "\(prefix) is ambiguous: \(found.count) ids begin with it",
        hint: "it may be \(shown.joined(separator: ", "))\(rest)")
    }
    return found[0]
  }

  /// The backup with an id, or with a unique prefix of one: for commands that change it.
  package func findExactly(
    _ operand: RawPath, store: StoreAddress
  ) throws(Failure) -> LedgerEntry {
    let query = try BackupQuery(operand)
    guard !query.isRelative else {
      throw Failure(.usage, "'latest' may be another backup by now: give an id")
    }
    return try find(query, in: .all, store: store)
  }

  /// The groups of the store, in the order of their first backups.
  private var groups: [GroupID] {
    var seen: Set<GroupID> = []
    return entries.compactMap(\.group).filter { seen.insert($0).inserted }
  }

  /// The group with this name, or with a unique prefix of it of at least 4 characters.
  ///
  /// Throws `.unavailable` if there is none, and `.usage` with the candidates if there are several.
  package func find(_ group: GroupID, store: StoreAddress) throws(Failure) -> GroupID {
    let groups = groups
    if groups.contains(group) { return group }
    let beginning = group.description
    let found =
      beginning.utf8.count < BackupQuery.minimumPrefix
      ? [] : groups.filter { $0.description.hasPrefix(beginning) }
    guard let first = found.first else {
      throw Failure(
        .unavailable, "the store \(store.display) has no group \(group)",
        hint: groups.isEmpty
          ? "none of its backups is in a group"
          : "the list of the store's backups shows its groups")
    }
    if found.count > 1 {
      let shown = found.prefix(8).map(\.description)
      let rest = found.count > shown.count ? ", and \(found.count - shown.count) more" : ""
      throw Failure(
        .usage, "\(group) is ambiguous: \(found.count) groups begin with it",
        hint: "it may be \(shown.joined(separator: ", "))\(rest)")
    }
    return first
  }

  /// The group for a new backup: as `find`, but in a store without groups the name starts a new one.
  package func findOrBegin(_ group: GroupID, store: StoreAddress) throws(Failure) -> GroupID {
    // There is no group that it could be a prefix of.
    if groups.isEmpty { return group }
    do throws(Failure) {
      return try find(group, store: store)
    } catch {
      guard error.code == .unavailable else { throw error }
      throw Failure(
        .unavailable, error.message,
        hint: "the list of the store's backups shows its groups; --new-group is for one that is to begin")
    }
  }

  /// The positions of the backups by id: as text, because its hash is seeded and a hostile ledger cannot force
  /// collisions.
  func indexes() -> [String: Int] {
    Dictionary(entries.enumerated().map { ($1.id.hex, $0) }, uniquingKeysWith: { first, _ in first })
  }
}
