import TBKCore
import TBKFormat

/// Checks of a profile's store, from the collected facts.
struct StoreChecks {
  let profile: String
  /// Its address.
  let store: String
  let home: RawPath
  /// Whether new ledgers and archives should be signed.
  var isSigning = false
  /// The collected facts of the profile.
  let facts: CollectedFacts

  private func finding(
    _ result: Finding.Result, _ message: String, hint: String = "", check: String = "stores"
  ) -> Finding {
    Finding(result: result, check: check, message: "\(profile): \(message)", hint: hint)
  }

  /// Checks the store and its ledger, then the password.
  func findings(now: Timestamp = .now()) -> [Finding] {
    let said = facts.said("list")
    guard facts.status("list") == 0 else {
      return [finding(.fail, said.message, hint: said.hint ?? "is '\(store)' what the profile should name?")]
    }
    let backups = facts.rows("list").filter { $0.count >= 13 }
    var found = said.warnings.map { Finding(result: .warn, check: "stores", message: $0) }
    found.append(ledger(backups))
    found += objects(backups)
    let others = facts.text("others").split(separator: "\n").map(String.init)
    if let first = others.first { found.append(finding(.note, first, hint: others.dropFirst().first ?? "")) }
    if let last = backups.last?[1], let time = Timestamp(iso8601: last), time > now {
      found.append(
        finding(
          .warn, "its last backup is dated in the future, \(last.prefix(19))",
          hint: "set the clock: no rule counts such a backup", check: "clock"))
    }
    return found + password(backups.count) + identity()
  }

  /// Checks what opens backups sealed to recipients.
  private func identity() -> [Finding] {
    func finding(_ result: Finding.Result, _ message: String, _ hint: String = "") -> [Finding] {
      [self.finding(result, message, hint: hint, check: "password")]
    }
    switch facts.status("identity") {
    case nil: return []
    case 0?: return finding(.ok, "its identity is in the store, under the password: nothing here opens its backups")
    case 69?: return finding(.note, "only the holder of the identity can open its backups: nothing here can")
    case 65?, 66?:
      return finding(
        .fail, facts.said("identity").message,
        "'termbackup generate-identity \(profile) -i FILE' puts the identity that was printed back")
    default:
      let said = facts.said("identity")
      return finding(
        .fail, said.message, said.hint ?? "the identity that was printed opens the backups, in a file, with -i")
    }
  }

  private func ledger(_ backups: [[String]]) -> Finding {
    let trust = facts.rows("trust").first ?? []
    let key = (trust.count > 1 ? trust[1] : "").prefix(12)
    var (result, hint) = (Finding.Result.ok, "")
    let signed: String
    switch trust.first {
    case "verified": signed = "its ledger is signed by the trusted key \(key)"
    case "unchecked":
      signed = "its ledger is signed by the key \(key), which is not trusted here"
      (result, hint) = (.warn, "put the public key of that machine into '\(home.appending("trusted_keys").quoted)'")
    // A ledger of TermBackup 6, whose entries have no mode, is signed by the next run.
    case _ where isSigning && backups.contains { $0[4] != "-" }:
      signed = "its ledger is not signed, and signing is on: runs are refused"
      (result, hint) = (.fail, "if it shows all backups that should be there: termbackup run \(profile) --adopt")
    default: signed = "its ledger is not signed"
    }
    return finding(result, "\(store), \(counted(UInt64(backups.count), "backup")); \(signed)", hint: hint)
  }

  /// Whether the store has all objects that its ledger names, in full size.
  func objects(_ backups: [[String]]) -> [Finding] {
    func state(_ word: String) -> String {
      word == "missing" ? "is missing" : "has another size than the ledger says"
    }
    // The next backup needs whatever the last one needs.
    let isNextFull = backups.last.map { $0[10] != "whole" || $0[12] != "-" } ?? false
    let lost =
      "put it back from another copy of the store" + (isNextFull ? "; the next run makes a full backup" : "")
    var found: [Finding] = []
    for backup in backups {
      let id = backup[0].prefix(12)
      if backup[10] != "whole" {
        found.append(finding(.fail, "\(backup[7]), the archive of \(id), \(state(backup[10]))", hint: lost))
      }
      if backup[11] != "whole", backup[11] != "-" {
        found.append(
          finding(
            .warn, "the sealed manifest of \(id) \(state(backup[11]))",
            hint: "the archive has the manifest too: nothing is lost"))
      }
    }
    found = Array(found.prefix(10))
    let gone = backups.count { $0[12] != "-" }
    if gone > 0 { found.append(finding(.fail, "\(gone) of \(backups.count) backups cannot be restored", hint: lost)) }
    return found
  }

  /// Whether the password opens what the store has to test it on.
  private func password(_ count: Int) -> [Finding] {
    func finding(_ result: Finding.Result, _ message: String, _ hint: String = "") -> [Finding] {
      [self.finding(result, message, hint: hint, check: "password")]
    }
    switch facts.status("check") {
    case nil: return []
    case 0?: break
    case 69?: return count == 0 ? [] : finding(.note, "its store has nothing to test the password with")
    default:
      let said = facts.said("check")
      return finding(.fail, said.message, said.hint ?? "is '\(store)' in order?")
    }
    switch facts.status("open") {
    case 0?: return finding(.ok, "it opens the backups")
    case 77?:
      return finding(
        .fail, "it is not the password of the backups", "give the one that the first backup was made with")
    default:
      let said = facts.said("open")
      return finding(
        .fail, "the password check cannot be opened: \(said.message)",
        said.hint ?? "'termbackup verify latest -p \(profile)' shows whether the backups are intact")
    }
  }
}
