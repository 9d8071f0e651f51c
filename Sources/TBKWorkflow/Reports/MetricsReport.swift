import TBKCore
import TBKFormat

/// The state of backups in the Prometheus text format, for the textfile collector of node_exporter.
struct MetricsReport {
  private let profiles: [JSON]

  /// - Parameter profiles: the elements of `profiles` in `termbackup status --json`.
  init(_ profiles: [JSON]) { self.profiles = profiles }

  private struct Metric: Sendable {
    let name: String
    let help: String
    /// The value for a profile; nil if unknown or absent.
    let value: @Sendable (JSON) -> String?
  }

  /// All are gauges: the values can decrease.
  private static let metrics = [
    Metric(name: "overdue", help: "Whether a backup is late, by its schedule or by max_age.") {
      flag($0["overdue"]?.text != nil)
    },
    Metric(name: "store_reachable", help: "Whether the store could be asked.") {
      $0["reached"]?.boolean.map(flag)
    },
    Metric(name: "backups", help: "Backups in the store.") { number($0, "backup_count") },
    Metric(name: "verified_backups", help: "Backups that were read back and found intact.") {
      number($0, "verified_count")
    },
    Metric(name: "lost_backups", help: "Backups that cannot be restored because an archive is missing.") {
      number($0, "lost_count")
    },
    Metric(name: "store_size_bytes", help: "What the backups take in the store.") { number($0, "size") },
    Metric(name: "last_backup_timestamp_seconds", help: "When the last backup was made.") {
      seconds($0["summary"]?["last_created_at"])
    },
    Metric(name: "last_backup_size_bytes", help: "The size of the last backup.") { number($0, "last_size") },
    Metric(name: "last_backup_files", help: "Files in the last backup.") { number($0, "last_file_count") },
    Metric(name: "last_backup_verified", help: "Whether the last backup was read back and found intact.") {
      $0["summary"]?["last_verified"]?.boolean.map(flag)
    },
    Metric(name: "last_run_timestamp_seconds", help: "When a backup was last tried on this machine.") {
      seconds($0["last_run"]?["timestamp"])
    },
    Metric(name: "last_run_success", help: "Whether it ended well.") {
      $0["last_run"]?["status"]?.text.map { flag($0 == "success") }
    },
    Metric(name: "next_run_timestamp_seconds", help: "When the next backup is due.") {
      seconds($0["next_run_at"])
    },
  ]

  var text: String {
    var lines: [String] = []
    for metric in Self.metrics {
      let samples = profiles.compactMap { profile -> String? in
        metric.value(profile).map { value in
          "termbackup_\(metric.name){profile=\"\(Self.escaped(profile["profile"]?.text ?? ""))\"} \(value)"
        }
      }
      if samples.isEmpty { continue }
      lines.append("# HELP termbackup_\(metric.name) \(metric.help)")
      lines.append("# TYPE termbackup_\(metric.name) gauge")
      lines += samples
    }
    return lines.map { $0 + "\n" }.joined()
  }

  private static func flag(_ yes: Bool) -> String { yes ? "1" : "0" }

  private static func number(_ profile: JSON, _ member: String) -> String? {
    profile["summary"]?[member]?.integer(UInt64.self).map { "\($0)" }
  }

  private static func seconds(_ time: JSON?) -> String? {
    (time?.text).flatMap { Timestamp(iso8601: $0) }.map {
      "\(FileTime(nanoseconds: $0.nanoseconds).seconds)"
    }
  }

  private static func escaped(_ label: String) -> String {
    var text = ""
    for character in label.unicodeScalars {
      switch character {
      case "\\": text += "\\\\"
      case "\"": text += "\\\""
      case "\n": text += "\\n"
      default: text.unicodeScalars.append(character)
      }
    }
    return text
  }
}
