import TBKCore
import TBKFormat

/// A new signing key.
struct KeyReport: VerbReport {
  private let facts: Facts

  /// - Parameter facts: fingerprint, private and public; kept, the previous public key, if there was one; signing,
  ///   whether signing is on: true or false.
  init(_ facts: Facts) { self.facts = facts }

  private var isSigning: Bool { facts.text("signing") == "true" }

  var text: String {
    var text = "Made the key \(facts.shown("fingerprint"))\n"
    text += row("private", facts.shown("private")) + row("public", facts.shown("public"))
    if facts["kept"] != nil {
      text += row("before", "\(facts.shown("kept")): remove it if that key is no longer to be trusted")
    }
    return text
      + (isSigning
        ? "Backups are signed from now on. Each other machine that uses the same store needs\n"
          + "the public key in its trusted_keys, and one of its own to store anything there.\n"
        : "Backups are not signed yet: 'tbk-config set signing_enabled true'\n")
  }

  var json: JSON {
    .object([
      "fingerprint": json(facts.text("fingerprint")), "private": .string(facts["private"] ?? []),
      "public": .string(facts["public"] ?? []), "signing_enabled": .bool(isSigning),
    ])
  }
}

/// The recipients to which a profile's backups are sealed from now on.
struct IdentityReport: VerbReport {
  private let facts: Facts

  /// - Parameter facts: profile, store and recipients, as options; public and fingerprint, of the signing key; kept,
  ///   whether the identity is in the store: true or false.
  init(_ facts: Facts) { self.facts = facts }

  private var recipients: [Substring] {
    (facts.text("recipients") ?? "").split(separator: " ").filter { $0.first != "-" }
  }
  private var isKept: Bool { facts.text("kept") == "true" }

  var text: String {
    let profile = facts.shown("profile")
    var text = "Backups of \(profile) need no password from now on\n"
    for recipient in recipients { text += row("sealed to", String(recipient)) }
    text += row("signed with", "\(facts.shown("fingerprint").prefix(12)), \(facts.shown("public"))")
    text += "Each machine that restores them needs that public key in its trusted_keys"
    let key = try? facts["public"].map { (path) throws(Failure) in try readFile(RawPath(path), limit: 1 << 16) }
    text += key.map { ":\n" + String(decoding: $0, as: UTF8.self) } ?? ".\n"
    return text
      + (isKept
        ? "The identity that opens them is in the store, under the password. If one of the two is lost,\n"
          + "nobody can open them. Print it and keep it in a safe place: termbackup generate-identity \(profile) --print\n"
        : "Anyone who has the identity can open them, with -i.\n")
  }

  var json: JSON {
    .object([
      "profile": json(facts.text("profile")), "recipients": .array(recipients.map { .string(String($0)) }),
      "public": .string(facts["public"] ?? []), "fingerprint": json(facts.text("fingerprint")),
      "identity_stored": .bool(isKept),
    ])
  }
}
