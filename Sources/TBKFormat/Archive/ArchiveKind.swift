/// What an archive is, as its first bytes say.
package enum ArchiveKind: Equatable, Sendable {
  case tbk1
  /// TBK2 in suite 1: one tag over all of it.
  case whole
  /// TBK2 in suite 3.
  case chunked
  case age
  /// A package of mbu, which no ledger lists.
  case mbu

  /// "TBK2", "TBK1", "mbu" or "age".
  package var format: String {
    switch self {
    case .tbk1: "TBK1"
    case .whole, .chunked: "TBK2"
    case .age: "age"
    case .mbu: "mbu"
    }
  }

  /// The value of the ledger's `archive_version`.
  package var version: UInt64 {
    switch self {
    case .tbk1: 1
    case .whole, .chunked: 2
    case .age, .mbu: 0
    }
  }

  /// The value of the ledger's `suite`; nil where there is none.
  package var suite: String? {
    switch self {
    case .whole: "1"
    case .chunked: "3"
    case .age: "age"
    case .tbk1, .mbu: nil
    }
  }

  /// Which manifests of TermBackup 6 an archive of this kind may hold.
  package var admitsTermBackup6: TermBackup6Manifests { self == .whole || self == .tbk1 ? .all : .none }
}

/// Which manifests of TermBackup 6 are believed (tbk(5), "TermBackup 6"). They prove less than ours do: what they list
/// may be missing or a link, and the id of an incremental backup cannot be computed again.
package enum TermBackup6Manifests: Sendable {
  /// It never wrote such an archive.
  case none
  /// Those whose id can be computed again.
  case proven
  /// All of them: whoever knows the password made the archive, which is read whole.
  case all
}
