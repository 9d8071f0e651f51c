import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

extension StoreCommand {
  struct Check: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check that the store holds everything that its ledger names.",
      usage: "tbk-store check <store> [<id> ...] [--stored] [--group <id>] [<options>]")

    @Argument(help: "The store.")
    var store: RawPath

    @Argument(help: "The backups to check, with those that they depend on; all if none is given.")
    var ids: [RawPath] = []

    @Flag(name: .long, help: "Read everything and compare its SHA-256; by default only names and sizes are compared.")
    var stored = false

    @OptionGroup var groups: GroupOptions

    @Flag(name: .long, help: "Print JSON Lines, and report errors as JSON.")
    var json = false

    @OptionGroup var trust: TrustOptions
    @OptionGroup var storeOptions: StoreOptions
    @OptionGroup var progress: ProgressOptions
    @OptionGroup var common: CommonOptions

    func execute() throws(Failure) -> Int32 {
      common.apply()
      let meter = ProgressMeter("checking", mode: progress.progress)
      defer { meter.finish() }
      let session = try storeOptions.session(
        store, storeOptions.context(inputIsData: false), keys: try trust.keys())
      let snapshot = try session.snapshot()
      try trust.requireLedger(snapshot, of: store)
      snapshot.trust.report()
      let scope = try groups.scope(in: snapshot, of: session.store.address)
      let named: [NamedObject]
      if ids.isEmpty {
        named = try snapshot.named(in: scope)
      } else {
        var entries: [LedgerEntry] = []
        for id in ids {
          entries.append(
            try snapshot.find(try BackupQuery(id), in: scope, store: session.store.address))
        }
        named = snapshot.named(by: entries)
      }
      meter.setTotal(named.reduce(0) { $0.addingReportingOverflow($1.size ?? 0).partialValue })
      let faults = try session.faults(of: named, reading: stored) { meter.advance($0) }
      meter.finish()
      for fault in faults { try StandardOutput.write(json ? fault.json : fault.row) }
      let what = "\(named.count) \(named.count == 1 ? "object" : "objects")"
      guard faults.isEmpty else {
        Messages.warning("\(faults.count) of \(what) that the ledger names are not in order")
        return ExitStatus.no
      }
      Messages.notice("\(what) in order\(stored ? "" : ", by size")")
      return ExitStatus.success
    }
  }
}

extension StoreFault {
  /// The problem, the kind of object, its backup or group, and its path in the store.
  fileprivate var row: [UInt8] {
    let owner = object.id?.hex ?? object.group?.description ?? "-"
    let fields = [problem.rawValue, object.kind.rawValue, owner, object.reference.path.description]
    return Array((fields.joined(separator: "\t") + "\n").utf8)
  }

  fileprivate var json: [UInt8] {
    JSON.object([
      "problem": .string(problem.rawValue), "kind": .string(object.kind.rawValue),
      "id": object.id.map { .string($0.hex) } ?? .null,
      "group": object.group.map { .string($0.description) } ?? .null,
      "name": .string(object.reference.path.description),
    ]).line() + [UInt8(ascii: "\n")]
  }
}
