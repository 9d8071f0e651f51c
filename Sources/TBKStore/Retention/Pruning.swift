import TBKCore
import TBKFormat

extension LedgerSession {
  /// Removes the backups that the retention does not keep, in one commit; decided again after a conflict with other
  /// writers.
  ///
  /// - Parameters:
  ///   - allowingEmpty: whether a group may be left empty; otherwise that throws `.denied`.
  ///   - refusingSudden: whether removing many backups at once because of their age throws `.denied`.
  ///   - continuing: whether this follows a commit of this session immediately.
  package func prune(
    _ retention: Retention, _ scope: BackupScope, allowingEmpty: Bool = false,
    refusingSudden: Bool = false, continuing: Bool = false
  ) throws(Failure) -> Retention.Judgement {
    try transact(continuing: continuing) { (snapshot, _) throws(Failure) in
      let judgement = try decidePruning(
        snapshot, retention, scope, allowingEmpty: allowingEmpty, refusingSudden: refusingSudden)
      let gone = judgement.gone
      if gone.isEmpty { return .done(judgement) }
      let ids = Set(gone.map(\.id.hex))
      let kept = snapshot.entries.filter { !ids.contains($0.id.hex) }
      return .commit(.removing(gone, keeping: kept), judgement)
    }
  }

  /// What `prune` would do to a snapshot. Throws what it would refuse.
  package func decidePruning(
    _ snapshot: Snapshot, _ retention: Retention, _ scope: BackupScope, allowingEmpty: Bool,
    refusingSudden: Bool = false
  ) throws(Failure) -> Retention.Judgement {
    let judgement = retention.decide(snapshot.entries, scope)
    if refusingSudden, retention.isSudden(judgement) {
      throw Failure(
        .denied,
        "\(judgement.gone.count) of \(judgement.verdicts.count) backups in the store \(store.address.display) would be "
          + "removed at once because of their age: nothing was removed",
        hint: "if the clock is right, 'termbackup prune' removes them, or tbk-prune without --refuse-sudden")
    }
    if !allowingEmpty, let group = judgement.emptied.first {
      var what = group.map { "of the group \($0)" } ?? "that are in no group"
      if case .groups(let groups) = scope, groups.count > 1 { what = "of these groups" }
      throw Failure(
        .denied,
        "these rules would remove all backups \(what) from the store \(store.address.display): "
          + "nothing was removed",
        hint: "keep some, or give --allow-empty")
    }
    if !allowingEmpty { try refuseLosing(judgement, snapshot, scope) }
    return judgement
  }

  /// Throws `.denied` if a series would keep only backups that cannot be restored, because the store has lost what they
  /// need, while restorable ones would be removed.
  private func refuseLosing(
    _ judgement: Retention.Judgement, _ snapshot: Snapshot, _ scope: BackupScope
  ) throws(Failure) {
    if judgement.gone.isEmpty { return }
    let verdicts = judgement.verdicts
    let presence = try presence(of: verdicts.map(\.entry), in: snapshot)
    var isOneSeries = false
    if case .groups = scope { isOneSeries = true }
    var kept: Set<GroupID?> = []
    for (verdict, found) in zip(verdicts, presence) where verdict.isKept && found.lost.isEmpty {
      kept.insert(isOneSeries ? nil : verdict.entry.group)
    }
    for (verdict, found) in zip(verdicts, presence) where !verdict.isKept && found.lost.isEmpty {
      if kept.contains(isOneSeries ? nil : verdict.entry.group) { continue }
      throw Failure(
        .denied,
        "these rules would remove backup \(verdict.entry.id.hex), and keep none that can be restored: "
          + "the store \(store.address.display) has lost what they need; nothing was removed",
        hint: "make a full backup first; 'tbk-pull STORE --list --present' shows what is lost")
    }
  }
}

extension LedgerSession.Plan {
  /// - Parameter gone: at least one backup.
  static func removing(_ gone: [LedgerEntry], keeping kept: [LedgerEntry]) -> Self {
    var plan = Self(
      entries: kept,
      summary: gone.count == 1 ? "Remove \(gone[0].filename)" : "Remove \(gone.count) backups")
    for entry in gone {
      plan.removals.append(entry.archiveReference)
      if let manifest = entry.manifestReference { plan.removals.append(manifest) }
    }
    return plan
  }
}
