import TBKCore

/// Whether a stage still takes bytes.
enum StagePhase {
  case open
  case finished
  /// The first error; every later call meets it again.
  case failed(Failure)

  /// Refuses what comes after `finish()` or after an error.
  func check() throws(Failure) {
    switch self {
    case .open: return
    case .finished: throw Failure(.library, "the stream has already ended")
    case .failed(let failure): throw failure
    }
  }
}
