import TBKCore
import TBKFormat

/// A key that was made to sign with.
struct KeyReport: VerbReport {
  private let facts: Facts

  /// - Parameter facts: fingerprint, private and public; kept, the public half of the one before, if there was one;
  ///   signing, whether it is on: true or false.
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
