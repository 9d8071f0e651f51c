import TBKCore

/// Whether a stage still accepts bytes.
enum StagePhase {
  case open
  case finished
  /// The first error; every later call throws it again.
  case failed(Failure)

  /// Throws after `finish()` or after an error.
  func check() throws(Failure) {
    switch self {
    case .open: return
    case .finished: throw Failure(.library, "the stream has already ended")
    case .failed(let failure): throw failure
    }
  }
}

/// A stage that accepts no bytes after `finish()`, or after its first error.
protocol PhasedStage: AnyObject {
  var phase: StagePhase { get set }
  /// Ends its threads, if it has any, after an error. May be called again.
  func stop()
}

extension PhasedStage {
  func stop() {}

  /// Runs a step, unless the stage has ended. An error ends the stage.
  func step(_ body: () throws(Failure) -> Void) throws(Failure) {
    try phase.check()
    do throws(Failure) {
      try body()
    } catch {
      phase = .failed(error)
      stop()
      throw error
    }
  }

  /// Runs the last step.
  func end(_ body: () throws(Failure) -> Void) throws(Failure) {
    try step(body)
    phase = .finished
  }
}
