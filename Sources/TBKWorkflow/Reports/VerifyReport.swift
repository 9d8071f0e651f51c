import TBKCommand
import TBKCore
import TBKFormat

/// How many backups hold, and which do not. What does not was said when it was found.
struct VerifyReport: VerbReport {
  private let facts: Facts
  private let marked: UInt64
  private let found: [VerifiedBackup]
  /// What is not in order of the group, and of no backup.
  private let ofGroup: [VerifiedBackup]
  /// How many files a trial restore wrote and compared, and their bytes.
  private let restored: (files: UInt64, size: UInt64)?
  /// The ids of all: for programs.
  private let ids: [String]

  /// - Parameter facts: profile, ledger, marked; several, if more than one was asked for; ids and results, files.
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

/// What is not in the store as its ledger has it.
struct StoredFault {
  /// `archive`, `manifest`, `check` or `identity`.
  let kind: String
  /// The id of the backup, or of the group.
  let owner: String
  let reason: String

  /// - Parameter row: the problem, the kind of object, and whose it is.
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

  /// What follows from all faults for the backups that were asked for.
  ///
  /// - Parameters:
  ///   - asked: their rows, as `tbk-pull --list` prints them.
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
    // What is of the group and of no backup stands for every one of it.
    let ofGroup = faults.filter { !["archive", "manifest"].contains($0.kind) }
      .map { VerifiedBackup(id: $0.owner, sha256: "-", reason: $0.reason) }
    return ofBackups + ofGroup
  }
}

/// What verifying one backup has found out.
struct VerifiedBackup {
  let id: String
  /// Of its archive.
  let sha256: String
  /// Of its archive: `holds`, `unchecked`, or what else tbk-open says.
  let signature: String
  /// What does not hold; `-` if all does, and `manifest` if only the sealed manifest has to be made again.
  private(set) var reason: String

  var holds: Bool { reason == "-" }

  static let signatureFails = "the signature of its archive is not valid"

  /// - Parameter row: id, SHA-256, signature and reason.
  init?(_ row: [String]) {
    guard row.count >= 4 else { return nil }
    (id, sha256, signature, reason) = (row[0], row[1], row[2], row[3])
  }

  /// - Parameter reason: what does not hold, or a hyphen.
  init(id: String, sha256: String, reason: String) {
    (self.id, self.sha256, self.signature, self.reason) = (id, sha256, "-", reason)
  }

  /// Whether it is an object of a group, which has no id of a backup.
  var isOfGroup: Bool { sha256 == "-" }

  /// - Parameter verdict: the word, the id, what of the sealed manifest, the signature, and the ids that are lacking.
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

/// What somebody else's verb reports: its facts in their order, with a line above if one of them is `title`. A fact
/// is a number in JSON if it is called so, as `size` and `count` are, or ends with `_count` or `_size`.
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
