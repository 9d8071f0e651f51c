// What tbk-prune and 'tbk-push --then-prune' print about kept and removed backups.

import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

extension Retention.Judgement {
  /// Prints notices about the backups that were removed, or would be.
  func report(at address: StoreAddress, dryRun: Bool = false) {
    let future = verdicts.filter { $0.reasons == [.future] }
    if let first = future.first {
      let others = future.count > 1 ? ", and \(future.count - 1) more" : ""
      Messages.warning(
        "dated in the future, so it is kept, and no rule counts it: backup \(first.entry.id.hex) of "
          + "\(first.entry.createdAt)\(others)")
    }
    let unknown = verdicts.count { $0.reasons == [.termbackup6] }
    if unknown > 0 {
      Messages.warning(
        "\(unknown) backups of TermBackup 6 are kept for a younger one, which may need them: its "
          + "ledger does not say what an incremental backup depends on")
    }
    let gone = self.gone
    let all = verdicts.count
    if gone.isEmpty {
      Messages.notice(
        all == 0
          ? "there are no backups to choose from"
          : "nothing to remove: \(all) \(all == 1 ? "backup stays" : "backups stay")")
      return
    }
    let size = gone.reduce(UInt64(0)) {
      let (sum, overflow) = $0.addingReportingOverflow($1.size)
      return overflow ? .max : sum
    }
    Messages.notice(
      "\(dryRun ? "would remove" : "removed") \(gone.count) of \(all) backups, \(size) bytes")
    if case .gitHub = address {
      Messages.notice(
        "git keeps what was ever committed: only archives that are release assets give their "
          + "space back")
    }
  }
}

extension Retention.Verdict {
  var row: [UInt8] {
    let reasons = reasons.isEmpty ? "-" : reasons.map(\.rawValue).joined(separator: ",")
    let fields = [
      isKept ? "keep" : "remove", entry.id.hex, entry.createdAt, String(entry.size), reasons,
    ]
    return Array((fields.joined(separator: "\t") + "\n").utf8)
  }

  /// The row with the ids of the backups that need this one added.
  var longRow: [UInt8] {
    let ids = neededBy.isEmpty ? "-" : neededBy.map(\.hex).joined(separator: ",")
    return row.dropLast() + Array("\t\(ids)\n".utf8)
  }

  var json: [UInt8] {
    let object = JSON.object([
      "action": .string(isKept ? "keep" : "remove"), "id": .string(entry.id.hex),
      "created_at": .string(entry.createdAt), "size": .number(entry.size),
      "group": entry.group.map { .string($0.description) } ?? .null,
      "reasons": .array(reasons.map { .string($0.rawValue) }),
      "needed_by": .array(neededBy.map { .string($0.hex) }),
    ])
    return object.line() + [UInt8(ascii: "\n")]
  }
}

extension Failure {
  /// Printed instead of verdicts: `failed`, the status that tbk-prune would have exited with, and the message.
  var pruneRow: [UInt8] {
    Array("failed\t\(exitStatus)\t\(RawPath(Array(message.utf8)).quoted)\n".utf8)
  }

  var pruneJSON: [UInt8] {
    JSON.object([
      "action": .string("failed"), "status": .number(exitStatus), "message": .string(message),
    ]).line() + [UInt8(ascii: "\n")]
  }
}
