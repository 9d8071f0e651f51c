import TBKCore

/// A result of a check of `termbackup doctor`.
struct Finding: Equatable {
  enum Result: String { case ok, note, warn, fail }

  let result: Result
  /// The name of the check.
  let check: String
  /// One line, with names shown by `RawPath.display`, as in the hint.
  let message: String
  let hint: String

  init(result: Result, check: String, message: String, hint: String = "") {
    self.result = result
    self.check = check
    self.message = message
    self.hint = hint
  }

  /// Nil if it is not a row.
  init?(row: String) {
    let cells = row.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    guard cells.count == 4, let result = Result(rawValue: cells[0]) else { return nil }
    self.init(result: result, check: cells[1], message: cells[2], hint: cells[3])
  }

  /// Four fields separated by tabs, as scripts store it.
  var row: String {
    [result.rawValue, check, message, hint].joined(separator: "\t") + "\n"
  }
}
