import TBKCore
import TBKCrypto
import TBKFormat

/// Checks archives against their signatures in the ledger before sending any of their bytes. Used for a ledger that no
/// trusted key has signed.
///
/// This concerns the first archive requested, whose manifest has the hashes of all content, and every archive of
/// TermBackup 6, whose increments do not authenticate the archives they are based on.
package final class ArchiveSignatures {
  /// The combined result for several archives, worst first.
  package enum Worth: String, Comparable, Sendable {
    /// One is invalid.
    case fails
    /// One is missing.
    case none
    /// No key is trusted.
    case unchecked
    /// All are valid.
    case holds

    private var rank: Int {
      switch self {
      case .fails: 0
      case .none: 1
      case .unchecked: 2
      case .holds: 3
      }
    }

    package static func < (one: Worth, other: Worth) -> Bool { one.rank < other.rank }
  }

  private let keys: LedgerKeys
  private let acceptsFailing: Bool
  private let warn: (String) -> Void
  private let report: (Worth) throws(Failure) -> Void
  private var first: Digest?
  private(set) var worth: Worth?
  private var warned: Set<Digest> = []

  /// - Parameters:
  ///   - keys: the trusted keys.
  ///   - acceptsFailing: whether to send an archive with an invalid signature, with a warning, as if it were unsigned.
  ///   - warn: called for such an archive.
  ///   - report: called with the result so far, before each archive is sent or refused.
  package init(
    _ keys: LedgerKeys, acceptsFailing: Bool, warn: @escaping (String) -> Void,
    report: @escaping (Worth) throws(Failure) -> Void
  ) {
    self.keys = keys
    self.acceptsFailing = acceptsFailing
    self.warn = warn
    self.report = report
  }

  /// Whether `check` needs the whole archive before any of it is sent.
  func needsCopy(of entry: LedgerEntry) throws(Failure) -> Bool {
    if first == nil { first = entry.id }
    guard first == entry.id || entry.isTermBackup6 else { return false }
    guard entry.signature != nil, !keys.isEmpty else {
      try note(entry.signature == nil ? .none : .unchecked)
      return false
    }
    return true
  }

  /// Throws `.integrity` if the signature of the archive is invalid, unless it is accepted.
  func check(_ copy: PrivateCopy, of entry: LedgerEntry) throws(Failure) {
    guard let signature = entry.signature else { return try note(.none) }
    let holds = try copy.withBytes { (bytes) throws(Failure) in try keys.hold(signature, of: bytes) }
    if holds { return try note(.holds) }
    let problem = "the signature of the archive of backup \(entry.id.hex) is invalid"
    guard acceptsFailing else {
      try note(.fails)
      throw Failure(
        .integrity, problem,
        hint: "it was altered, or the key that signed it is not in trusted_keys, or rotate-key of TermBackup 6 sealed "
          + "it again and kept the old signature: --unvouched accepts it for its password alone")
    }
    if warned.insert(entry.id).inserted { warn("\(problem): only the password vouches for it") }
    try note(.none)
  }

  private func note(_ next: Worth) throws(Failure) {
    let least = min(worth ?? next, next)
    guard least != worth else { return }
    worth = least
    try report(least)
  }
}
