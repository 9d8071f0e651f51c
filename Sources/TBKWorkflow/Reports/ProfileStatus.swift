import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

/// The state of a profile's backups, from what its verb collected and what this machine knows.
struct ProfileStatus {
  let json: JSON
  let isLate: Bool
  /// Whether the store was reached but contradicts what this machine has seen: it was rolled back or altered.
  let isAltered: Bool
  /// Whether the store has lost the sealed identity that the ledger names.
  let hasLostIdentity: Bool

  /// - Parameters:
  ///   - facts: `summary`, the store's current state; `seen`, its state when last read; `others`, other backups, as
  ///     text.
  ///   - noToken: why the token that its store needs is unavailable.
  init(
    of profile: Profile, in home: Home, _ facts: CollectedFacts, scheduled: [ScheduledProfile], maxAge: Int64?,
    noToken: Said?
  ) throws(Failure) {
    let isReached = facts.status("summary") == 0
    let summary = facts.object(isReached ? "summary" : "seen")
    let said = facts.status("summary") == nil ? noToken : facts.said("summary")
    let error = said?.error ?? Self.error(69, said?.message ?? "tbk-pull failed")
    let store = try profile.store()
    var json = JSON.object([
      "profile": .string(profile.name), "source_dir": .string(profile.source.bytes),
      "store": .string(store.operand), "mode": profile["backup_mode"] ?? .null, "reached": .bool(isReached),
      "summary": summary, "last_run": try Self.lastRun(of: profile.name, in: home),
      "error": isReached ? .null : error,
    ])
    let others = facts.text("others")
    if !others.isEmpty { json["others"] = .string(others) }
    let recipients = (try? home.sealing(of: profile, nil, []))?.recipients ?? []
    json["recipients"] = .array(recipients.map { .string($0) })
    let own = scheduled.filter { $0.profile == profile.name }
    let times = try ProfileTimes(
      of: profile.name, in: home, timetables: own.map(\.timetable), maxAge: maxAge,
      stored: Timestamp(iso8601: summary["last_created_at"]?.text ?? ""))
    json["schedules"] = .array(own.map(\.json))
    json["next_run_at"] = times.lateness.nextAt.map { .string($0) } ?? .null
    json["overdue"] = times.lateness.reason.map { .string($0) } ?? .null
    self.json = json
    isLate = times.lateness.reason != nil
    hasLostIdentity = isReached && summary["identity"]?.text == "missing"
    isAltered = !isReached && error["status"]?.integer() == 65
  }

  private static func error(_ status: Int32, _ message: String) -> JSON {
    .object([
      "type": .string("StoreError"), "message": .string(message), "hint": .null, "status": .number(status),
    ])
  }

  /// The last backup in the audit log, as recorded there.
  private static func lastRun(of profile: String, in home: Home) throws(Failure) -> JSON {
    let filter = AuditFilter(limit: 1, operation: "backup", profile: profile)
    var last: [AuditLine] = []
    // Doctor reports problems with the log.
    do throws(Failure) {
      _ = try AuditFile(home.path.appending("audit.log")).read { (_, bytes) throws(Failure) in
        if let line = try? AuditLine(bytes, place: ""), filter.takes(line) { filter.keep(line, in: &last) }
      }
    } catch {
      if error.isOfProcess { throw error }
    }
    return try last.last.map { (line) throws(Failure) in try JSON.parse(line.bytes, what: "the audit log") } ?? .null
  }

  /// The GitHub token, if a profile needs one.
  ///
  /// - Parameter facts: `token`, where it comes from; `token-report`, what GitHub reports about it.
  static func token(_ facts: CollectedFacts) -> JSON {
    let source = facts.text("token")
    func text(_ value: String?) -> JSON { value.map { .string($0) } ?? .null }
    guard !source.isEmpty else {
      let why = facts.status("token") == 0 ? "no token is configured" : facts.said("token").message
      return .object([
        "source": .null, "kind": .null, "user": .null, "expires_at": .null, "error": .string(why),
      ])
    }
    func field(_ name: String) -> String? { facts.field(name, of: "token-report") }
    let isGood = facts.status("token-report") == 0
    let expires = field("expires")
    return .object([
      "source": .string(source), "kind": text(isGood ? field("kind") : nil), "user": text(isGood ? field("user") : nil),
      "expires_at": text(isGood && expires != "never" ? expires : nil),
      "error": text(isGood ? nil : facts.said("token-report").message),
    ])
  }
}
