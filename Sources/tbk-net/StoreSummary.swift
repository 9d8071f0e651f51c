import TBKCore
import TBKFormat
import TBKStore

/// The facts that `tbk-pull --summary` and `--seen` print about a store, in one form for both.
enum StoreSummary {
  typealias Facts = [(name: String, value: JSON)]

  /// The state of the store, and of the selected backups.
  static func of(
    _ snapshot: LedgerSession.Snapshot, of session: LedgerSession, in scope: BackupScope,
    now: Timestamp
  ) throws(Failure) -> Facts {
    let entries = snapshot.entries.filter { scope.holds($0) }
    let size = entries.reduce(UInt64(0)) { sum, entry in
      let manifest = entry.manifest?.size ?? 0
      let (archive, isLarge) = sum.addingReportingOverflow(entry.size)
      let (both, isLarger) = archive.addingReportingOverflow(manifest)
      return isLarge || isLarger ? .max : both
    }
    let ledger = snapshot.ledger?.identity
    var signature = "unsigned"
    var key = JSON.null
    switch snapshot.trust {
    case .verified(let fingerprint): (signature, key) = ("verified", .string(fingerprint.hex))
    case .unchecked(let fingerprint): (signature, key) = ("unchecked", .string(fingerprint.hex))
    case .unsigned: break
    }
    let presence = try session.presence(of: entries, in: snapshot)
    let missing = zip(entries, presence).filter { $0.1.archive != .whole }.map(\.0)
    let identity = try session.hasIdentities(in: scope, of: snapshot)
    let last = entries.last
    let age = last.flatMap { Timestamp(iso8601: $0.createdAt) }.map { now.seconds(since: $0) }
    return [
      ("store_id", ledger.map { .string($0.storeID.description) } ?? .null),
      ("sequence", ledger.map { .number($0.sequence) } ?? .null),
      ("signature", .string(signature)), ("key", key),
      ("backup_count", .number(entries.count)), ("size", .number(size)),
      ("verified_count", .number(entries.count { $0.verified })),
      ("last_id", last.map { .string($0.id.hex) } ?? .null),
      ("last_created_at", last.map { .string($0.createdAt) } ?? .null),
      ("last_age", age.map { .number($0) } ?? .null),
      ("last_size", last.map { .number($0.size) } ?? .null),
      ("last_file_count", last.map { .number($0.fileCount) } ?? .null),
      ("last_mode", last?.mode.map { .string($0) } ?? .null),
      ("last_verified", last.map { .bool($0.verified) } ?? .null),
      ("missing", .array(missing.map { .string($0.filename.description) })),
      ("lost_count", .number(presence.count { !$0.lost.isEmpty })),
      ("identity", identity.map { .string($0 ? "present" : "missing") } ?? .null),
      ("clear_manifest_count", .number(try session.store.clearManifests().count)),
    ]
  }

  /// What is known without accessing the store.
  static func seen(_ memory: SeenState.Memory) -> Facts {
    [
      ("store_id", memory.storeID.map { .string($0.description) } ?? .null),
      ("sequence", memory.moment.map { .number($0.sequence) } ?? .null),
      ("was_signed", .bool(memory.wasSigned)),
    ]
  }

  static func json(_ facts: Facts) -> [UInt8] {
    JSON.object(facts.map { JSON.Member($0.name, $0.value) }).line() + [UInt8(ascii: "\n")]
  }

  /// A name and a value on each line, separated by a tab; `-` if unknown.
  static func rows(_ facts: Facts) -> [UInt8] {
    var output: [UInt8] = []
    for (name, value) in facts {
      let text: String =
        switch value {
        case .null: "-"
        case .bool(let yes): yes ? "yes" : "no"
        case .number(let token): token
        case .array(let elements):
          elements.isEmpty
            ? "-" : elements.map { RawPath($0.bytes ?? []).quoted }.joined(separator: ", ")
        default: RawPath(value.bytes ?? []).quoted
        }
      output += Array("\(name)\t\(text)\n".utf8)
    }
    return output
  }
}
