import TBKCore

/// Why the keyring returns or stores nothing.
enum KeyringTrouble: Error, Equatable {
  /// This machine has no keyring, and why.
  case missing(String)
  /// No response within this many seconds, which does not mean that it is empty.
  case late(Int)
  /// It failed with this message.
  case failed(String)
  /// This process must end.
  case ended(Failure)

  static let noBus = "there is no session bus"
  static let noService = "no keyring is running on the session bus"

  var reason: String {
    switch self {
    case .missing(let why), .failed(let why): why
    case .late(let seconds): "it did not answer within \(counted(UInt64(seconds), "second")); perhaps it is locked"
    case .ended(let failure): failure.message
    }
  }

  var code: Failure.Code {
    switch self {
    case .missing, .failed: .unavailable
    case .late: .tryAgain
    case .ended(let failure): failure.code
    }
  }

  /// The trouble of a call that failed.
  ///
  /// - Parameters:
  ///   - complaint: the first line of its error messages.
  ///   - patience: the time limit, in seconds.
  init(_ program: Keyring.Program, status: Int32?, complaint: String, patience: Int) {
    if status == nil {
      self = .late(patience)
    } else if complaint.contains("not provided by any") {
      self = .missing(Self.noService)
    } else if complaint.hasPrefix("Could not connect") {
      self = .missing(Self.noBus)
    } else if complaint.isEmpty {
      self = .failed("\(program.rawValue) failed with status \(status ?? 0)")
    } else {
      self = .failed(complaint)
    }
  }
}
