internal import TBKCore

/// Why a backup or a ledger could not be read.
public struct ReadingError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The kind of failure.
  public enum Kind: Sendable {
    /// The archive was not sealed for this key, or was altered.
    case wrongKey
    /// The bytes are invalid, truncated, or not what they claim to be.
    case damaged
    /// A file, an entry, or an archive that the backup depends on is missing.
    case missing
    /// The request makes no sense for this backup, such as the content of a directory.
    case usage
    /// The operating system denied access.
    case denied
    /// Reading failed, or memory or another resource has run out.
    case system
  }

  public let kind: Kind
  /// Lower case, without a full stop; never contains a secret.
  public let message: String
  /// The next step, if there is one.
  public let hint: String?

  public var description: String { hint.map { "\(message) (\($0))" } ?? message }

  init(_ failure: Failure) {
    kind =
      switch failure.code {
      case .authentication: .wrongKey
      case .malformed, .truncated, .integrity: .damaged
      case .inputMissing, .unavailable: .missing
      case .usage, .configuration, .profile: .usage
      case .denied, .token: .denied
      case .webhook, .library, .cannotCreate, .io, .tryAgain, .exhausted, .brokenPipe, .interrupted: .system
      }
    message = failure.message
    hint = failure.libraryHint
  }
}

/// Converts a `Failure` to a `ReadingError` for callers outside of this package.
func reading<Value>(_ body: () throws(Failure) -> Value) throws(ReadingError) -> Value {
  do throws(Failure) {
    return try body()
  } catch {
    throw ReadingError(error)
  }
}
