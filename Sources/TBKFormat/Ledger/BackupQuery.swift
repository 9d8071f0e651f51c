import TBKCore

/// Which backup a user means.
package enum BackupQuery: Equatable, Sendable {
  /// The last one, or the one `before` places before it.
  case latest(before: Int)
  /// The last one that was begun no later than this.
  case at(Timestamp)
  /// The first 4 or more of an id's 64 hexadecimal digits, in lower case.
  case prefix(String)

  package static let minimumPrefix = 4

  /// - Parameter hint: how to show the ids.
  ///
  /// Throws `.usage` if the operand cannot be an id.
  package init(_ operand: RawPath, hint: String = "tbk-pull STORE --list shows the ids") throws(Failure) {
    let latest = Array("latest".utf8)
    if operand.bytes.starts(with: latest) {
      let rest = operand.bytes.dropFirst(latest.count)
      if rest.isEmpty {
        self = .latest(before: 0)
        return
      }
      guard rest.first == UInt8(ascii: "~"), (2...7).contains(rest.count),
        rest.dropFirst().allSatisfy({ (48...57).contains($0) }),
        let before = Int(String(decoding: rest.dropFirst(), as: UTF8.self))
      else {
        throw Failure(
          .usage, "\(operand.display) is not a backup",
          hint: "'latest' is the last one, and 'latest~2' the second before it")
      }
      self = .latest(before: before)
      return
    }
    guard operand.bytes.count <= 64, !operand.isEmpty, operand.bytes.allSatisfy({ hexValue($0) != nil })
    else {
      throw Failure(
        .usage, "\(operand.display) is neither a backup's id nor 'latest'", hint: hint)
    }
    guard operand.bytes.count >= BackupQuery.minimumPrefix else {
      throw Failure(
        .usage, "\(operand.display) is too short for an id",
        hint: "give at least \(BackupQuery.minimumPrefix) digits")
    }
    self = .prefix(operand.text.lowercased())
  }

  /// Whether it may mean another backup after more have been made.
  package var isRelative: Bool { if case .prefix = self { false } else { true } }

  /// The matching backups: one, or several if a prefix of an id is not unique.
  ///
  /// - Parameters:
  ///   - backups: oldest first.
  ///   - place: the name of their store or profile in messages.
  ///
  /// Throws `.unavailable` if there is none.
  package func choose<Backup>(
    from backups: [Backup], of place: String, id: (Backup) -> String, createdAt: (Backup) -> String
  ) throws(Failure) -> [Backup] {
    guard !backups.isEmpty else { throw Failure(.unavailable, "\(place) holds no backup") }
    switch self {
    case .latest(let before):
      guard before < backups.count else {
        throw Failure(
          .unavailable,
          "\(place) has \(backups.count == 1 ? "one backup" : "\(backups.count) backups"), so there is no latest~\(before)"
        )
      }
      return [backups[backups.count - 1 - before]]
    case .at(let time):
      var found: (backup: Backup, begun: Timestamp)?
      for backup in backups {
        guard let begun = Timestamp(iso8601: createdAt(backup)), begun <= time else { continue }
        if found.map({ $0.begun <= begun }) ?? true { found = (backup, begun) }
      }
      guard let found else {
        throw Failure(.unavailable, "\(place) holds no backup that was made by \(time.localMinute)")
      }
      return [found.backup]
    case .prefix(let prefix):
      let found = backups.filter { id($0).hasPrefix(prefix) }
      guard !found.isEmpty else { throw Failure(.unavailable, "\(place) does not have backup \(prefix)") }
      return found
    }
  }
}

extension Timestamp {
  /// The last instant of a time that a user gives: `2026-11-01` is that day, `2026-11-01 10:30` that minute, in the
  /// local time zone unless a zone is given; `36h`, `30d` and `4w` are that long ago.
  ///
  /// Throws `.usage` for anything else.
  package init(lastOf text: String, now: Timestamp) throws(Failure) {
    if let time = Timestamp(lastOfLocal: text) {
      self = time
    } else {
      self = try AuditFilter.time(text, now: now)
    }
  }
}
