import CSystem
import Glibc
import TBKCore
import TBKFormat

/// Checks of scheduled backups.
struct DailyChecks {
  /// The profile, for messages.
  let profile: String

  func schedule(_ times: ProfileTimes) -> [Finding] {
    var found: [Finding] = []
    if let reason = times.lateness.reason {
      found.append(
        Finding(
          result: .fail, check: "schedule", message: "\(profile): OVERDUE: \(reason)",
          hint: "'termbackup run \(profile)' makes one now; 'termbackup schedule-status' shows how the last run ended"))
    } else if let next = times.lateness.nextAt {
      found.append(
        Finding(
          result: .ok, check: "schedule",
          message: "\(profile): the next backup is due at \(Timestamp(iso8601: next)?.localMinute ?? next)"))
    } else {
      found.append(
        Finding(
          result: .note, check: "schedule", message: "\(profile): nothing backs it up automatically",
          hint: "'termbackup schedule-enable \(profile)'"))
    }
    if let run = times.lastRun, run.status != 0 {
      found.append(
        Finding(
          result: .warn, check: "schedule",
          message: "\(profile): the last run by its schedule, at "
            + "\(Timestamp(iso8601: run.endedAt)?.localMinute ?? run.endedAt), ended with status \(run.status)",
          hint: "\(times.log.display) has its output"))
    }
    return found
  }

  /// - Parameter summary: the output of `tbk-pull --summary --json` for its backups.
  func store(_ summary: JSON) -> [Finding] {
    var found: [Finding] = []
    if let count = summary["backup_count"]?.integer(UInt64.self), count > 0,
      summary["verified_count"]?.integer(UInt64.self) == 0
    {
      let none = count == 1 ? "its backup was never verified" : "none of its \(count) backups was ever verified"
      found.append(
        Finding(
          result: .note, check: "stores", message: "\(profile): \(none)",
          hint: "'termbackup verify latest -p \(profile)' reads the last one back"))
    }
    if let count = summary["clear_manifest_count"]?.integer(UInt64.self), count > 0 {
      found.append(
        Finding(
          result: .warn, check: "stores",
          message: "\(profile): \(counted(count, "manifest")) of TermBackup 6 "
            + (count == 1 ? "is" : "are")
            + " unencrypted: anyone who has the store can read the names, sizes and hashes of files",
          hint: "'termbackup clean --store' removes them"))
    }
    return found
  }

  /// - Parameters:
  ///   - source: the directory that is backed up.
  ///   - store: the only directory that its backups are stored in.
  func place(of source: RawPath, in store: RawPath) -> [Finding] {
    guard let one = Disk(of: source), let other = Disk(of: store), one == other else { return [] }
    return [
      Finding(
        result: .note, check: "stores",
        message: "\(profile): its only store is on the disk of what it backs up, and would be lost with it",
        hint: "give it a store on another disk or elsewhere: 'termbackup profile edit \(profile) --repo STORE'")
    ]
  }
}

/// The disk of a file system.
struct Disk: Equatable {
  /// The block device without its partitions, or the file system's device number if there is no block device.
  private let name: [UInt8]

  /// Nil if the path does not exist.
  init?(of path: RawPath) {
    guard let place = try? Descriptor.workingDirectory.openIfPresent(path, tbk_o_path),
      let facts = try? place.status()
    else { return nil }
    let device = UInt64(facts.st_dev)
    // Split as by glibc's gnu_dev_major and gnu_dev_minor.
    let major = (device >> 8 & 0xfff) | (device >> 32 & 0xffff_f000)
    let minor = (device & 0xff) | (device >> 12 & 0xffff_ff00)
    let link = RawPath("/sys/dev/block/\(major):\(minor)")
    let parts = (try? Descriptor.workingDirectory.readLink(link))?.bytes.split(separator: UInt8(ascii: "/")) ?? []
    // …/block/sda/sda1: the partition is below its disk.
    if let block = parts.lastIndex(where: { $0.elementsEqual("block".utf8) }), block + 1 < parts.count {
      name = Array(parts[block + 1])
    } else {
      name = Array("\(major):\(minor)".utf8)
    }
  }
}
