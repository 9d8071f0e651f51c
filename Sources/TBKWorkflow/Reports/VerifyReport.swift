import TBKCommand
import TBKCore
import TBKFormat

/// How many backups were verified, and which failed. The failures were reported when found.
struct VerifyReport: VerbReport {
  private let facts: Facts
  private let marked: UInt64
  private let found: [VerifiedBackup]
  /// Faults in objects of the group rather than of a backup.
  private let ofGroup: [VerifiedBackup]
  /// The files that a trial restore wrote and compared, and their bytes.
  private let restored: (files: UInt64, size: UInt64)?
  /// The ids of all verified backups, for programs.
  private let ids: [String]

  /// - Parameter facts: profile, ledger, marked; several, if more than one was requested; ids and results, files.
  init(_ facts: Facts) throws(Failure) {
    self.facts = facts
    marked = try facts.number("marked") ?? 0
    ids = try facts.rows(in: "ids").map { $0[0] }
    let results = try facts.rows(in: "results").compactMap { VerifiedBackup($0) }
    found = results.filter { !$0.isOfGroup }
    ofGroup = results.filter(\.isOfGroup)
    if facts["restored"] != nil, let row = try facts.rows(in: "restored").first, row.count > 1,
      let files = UInt64(row[0]), let size = UInt64(row[1])
    {
      restored = (files, size)
    } else {
      restored = nil
    }
  }

  var text: String {
    let failed = found.count { !$0.holds }
    if let restored {
      return "restored and compared \(counted(restored.files, "file")), \(humanSize(restored.size))\n"
    }
    return facts["several"] == nil ? "" : "\(found.count - failed) of \(found.count) backups verified\n"
  }

  var json: JSON {
    var report = JSON.object([
      "profile": json(facts.text("profile")), "ledger": json(facts.text("ledger")),
      "checked_count": .number(UInt64(found.count)),
      "signed_count": .number(UInt64(found.count { $0.holds && $0.signature == "holds" })),
      "marked_count": .number(marked),
      "ids": .array(ids.map { .string($0) }),
      "failures": .array(
        found.filter { !$0.holds }.map { .object(["id": .string($0.id), "reason": .string($0.reason)]) }),
    ])
    if !ofGroup.isEmpty { report["group_failures"] = .array(ofGroup.map { .string($0.reason) }) }
    if let restored {
      report["restored_count"] = .number(restored.files)
      report["restored_size"] = .number(restored.size)
    }
    return report
  }
}

/// An object that does not match its ledger.
struct StoredFault {
  /// `archive`, `manifest`, `check` or `identity`.
  let kind: String
  /// The id of the backup, or of the group.
  let owner: String
  let reason: String

  /// - Parameter row: the problem, the kind of object, and the owner's id.
  init(_ row: [String]) {
    (kind, owner) = (row[1], row[2])
    let noun =
      ["manifest": "its sealed manifest", "check": "the password check", "identity": "the sealed identity"][kind]
      ?? "its archive"
    switch row[0] {
    case "missing": reason = "\(noun) is missing from the store"
    case "damaged": reason = "\(noun) has another size than in the ledger"
    default: reason = "\(noun) has other bytes than in the ledger"
    }
  }

  /// The results that the faults imply for the requested backups.
  ///
  /// - Parameters:
  ///   - asked: the rows of the requested backups, as `tbk-pull --list` prints them.
  ///   - list: the rows of all backups.
  static func verdicts(on asked: [[String]], in list: [[String]], _ faults: [StoredFault]) -> [VerifiedBackup] {
    let needs = Dictionary(list.map { ($0[0], $0[8]) }) { first, _ in first }
    let ofBackups = asked.map { row in
      let lacking = (needs[row[0]] ?? "").split(separator: ",").filter { need in
        faults.contains { $0.owner == need && $0.kind == "archive" }
      }
      var reason = faults.filter { $0.owner == row[0] }.map(\.reason).joined(separator: "; ")
      if reason.isEmpty, !lacking.isEmpty {
        let ids = lacking.map { $0.prefix(12) }.joined(separator: " ")
        reason = "depends on \(ids), missing or damaged in the store"
      }
      return VerifiedBackup(id: row[0], sha256: row[9], reason: reason.isEmpty ? "-" : reason)
    }
    // A fault in a group's object concerns all of its backups.
    let ofGroup = faults.filter { !["archive", "manifest"].contains($0.kind) }
      .map { VerifiedBackup(id: $0.owner, sha256: "-", reason: $0.reason) }
    return ofBackups + ofGroup
  }
}

/// The result of verifying one backup.
struct VerifiedBackup {
  let id: String
  /// The SHA-256 of its archive.
  let sha256: String
  /// The signature of its archive: `holds`, `unchecked`, or another word from tbk-open.
  let signature: String
  /// What is wrong; `-` for nothing, and `manifest` if only the sealed manifest must be recreated.
  private(set) var reason: String

  var holds: Bool { reason == "-" }

  static let signatureFails = "the signature of its archive is not valid"

  /// - Parameter row: id, SHA-256, signature and reason.
  init?(_ row: [String]) {
    guard row.count >= 4 else { return nil }
    (id, sha256, signature, reason) = (row[0], row[1], row[2], row[3])
  }

  /// - Parameter reason: what is wrong, or a hyphen.
  init(id: String, sha256: String, reason: String) {
    (self.id, self.sha256, self.signature, self.reason) = (id, sha256, "-", reason)
  }

  /// Whether it is an object of a group, which has no backup id.
  var isOfGroup: Bool { sha256 == "-" }

  /// - Parameter verdict: the word, the id, the state of the sealed manifest, the signature, and the missing ids.
  init(id: String, sha256: String, verdict: [String]) {
    self.id = id
    self.sha256 = sha256
    func cell(_ index: Int) -> String { index < verdict.count ? verdict[index] : "-" }
    signature = cell(5)
    switch cell(0) {
    case "ok":
      reason =
        signature == "fails"
        ? Self.signatureFails : ["damaged", "missing"].contains(cell(4)) ? "manifest" : "-"
    case "missing": reason = "missing from the store"
    case "corrupt": reason = "corrupt or incomplete"
    case "altered": reason = "altered, or sealed with another password"
    case "differs": reason = "does not match its entry in the ledger"
    case "depends":
      let lacking = cell(6).split(separator: ",").map { $0.prefix(12) }.joined(separator: " ")
      reason = "depends on \(lacking), missing or damaged in the store"
    default: reason = "corrupt or incomplete"
    }
  }

  /// The verdict after repairs: only a sealed manifest can be recreated.
  ///
  /// - Parameter isMended: whether the sealed manifest of an id was recreated.
  func mended(_ isMended: (String) -> Bool) -> VerifiedBackup {
    guard reason == "manifest" else { return self }
    var mended = self
    mended.reason = isMended(id) ? "-" : "its sealed manifest is missing or damaged"
    return mended
  }

  var line: String { [id, sha256, signature, reason].joined(separator: "\t") + "\n" }

  /// For people.
  var text: String {
    let isColoured = Messages.isColoured(.standardOutput)
    func coloured(_ word: String, _ colour: Int) -> String {
      isColoured ? "\u{1b}[\(colour)m\(word)\u{1b}[0m" : word
    }
    guard holds else { return "\(coloured("FAILED", 31))  \(id.prefix(12))  \(reason)\n" }
    let signed = ["holds": "  signed", "unchecked": "  signature not checked"][signature] ?? ""
    return "\(coloured("ok", 32))      \(id.prefix(12))\(signed)\n"
  }
}

/// The report of a third-party verb: its facts in order, with a headline if one of them is `title`. In JSON a fact
/// named `size`, `count` or `seconds`, or ending with `_` and one of these, is a number.
struct FactsReport: VerbReport {
  private let facts: Facts

  init(_ facts: Facts) throws(Failure) {
    self.facts = facts
    for key in facts.keys where FactsReport.isNumber(key) { _ = try facts.number(key) }
  }

  private static func isNumber(_ key: String) -> Bool {
    ["size", "count", "seconds"].contains { key == $0 || key.hasSuffix("_\($0)") }
  }

  private func value(of key: String) -> String {
    guard let number = (try? facts.number(key)) ?? nil, FactsReport.isNumber(key) else {
      return Timestamp(iso8601: facts.text(key) ?? "")?.localMinute ?? facts.shown(key)
    }
    if key.hasSuffix("size") { return humanSize(number) }
    return key.hasSuffix("seconds") ? humanDuration(number) : "\(number)"
  }

  var text: String {
    let keys = facts.keys.filter { $0 != "title" && facts[$0] != nil }
    let width = keys.map(\.utf8.count).max() ?? 0
    let rows = keys.map { key in
      "  " + key.replacing("_", with: " ") + String(repeating: " ", count: width + 2 - key.utf8.count) + value(of: key)
        + "\n"
    }
    return (facts["title"] == nil ? "" : facts.shown("title") + "\n") + rows.joined()
  }

  var json: JSON {
    .object(
      facts.keys.filter { $0 != "title" }.map { key in
        let number = FactsReport.isNumber(key) ? (try? facts.number(key)) ?? nil : nil
        return JSON.Member(key, number.map { .number($0) } ?? facts[key].map { .string($0) } ?? .null)
      })
  }
}
