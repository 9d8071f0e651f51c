/// The kind of an archive, according to its first bytes.
package enum ArchiveKind: Equatable, Sendable {
  case tbk1
  /// TBK2 in suite 1: one tag over the whole archive.
  case whole
  /// TBK2 in suite 3.
  case chunked
  case age
  /// An mbu package, which no ledger lists.
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

  /// The value of the ledger's `suite`, or nil.
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

/// Which manifests of TermBackup 6 are accepted (tbk(5), "TermBackup 6"). They prove less than ours: listed files may
/// be missing or links, and the id of an incremental backup cannot be recomputed.
package enum TermBackup6Manifests: Sendable {
  /// TermBackup 6 never wrote such an archive.
  case none
  /// Those whose id can be recomputed.
  case proven
  /// All of them: the archive is authenticated with the password, and read as a whole.
  case all
}
