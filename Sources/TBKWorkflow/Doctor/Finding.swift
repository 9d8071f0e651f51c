import TBKCore

/// A result of a check of `termbackup doctor`.
struct Finding: Equatable {
  enum Result: String { case ok, note, warn, fail }

  let result: Result
  /// The name of the check.
  let check: String
  /// One line, in which names are shown by `RawPath.display`; so is the hint.
  let message: String
  var hint = ""

  /// Four fields with tabs between, as the script keeps them.
  var row: String {
    [result.rawValue, check, message, hint].joined(separator: "\t") + "\n"
  }
}
