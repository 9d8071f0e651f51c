/// What went wrong, worded for the person who has to fix it.
///
/// `message` is lower case, without a full stop, and quotes the path or key concerned.
/// `hint` is the next thing to do, or nil; never a guess. No text ever holds a secret.
package struct Failure: Error, Equatable, Sendable {
  /// The kind of failure; it alone decides the exit status.
  package enum Code: String, CaseIterable, Sendable {
    /// The command line is wrong.
    case usage
    /// Bytes that break their format.
    case malformed
    /// Bytes that end too early.
    case truncated
    /// Well-formed data that is not what it claims to be.
    case integrity
    /// Input that does not exist.
    case inputMissing
    /// A store or service that cannot be reached, or does not have the object.
    case unavailable
    /// A webhook that cannot be reached, or rejects the message.
    case webhook
    /// A fault in a library or in this program.
    case library
    /// Output that cannot be created, or that exists and must not be replaced.
    case cannotCreate
    /// Reading or writing failed; the disk is full.
    case io
    /// A lock, a lost race or a rate limit: the same command may succeed later.
    case tryAgain
    /// A tag or signature does not verify.
    case authentication
    /// Memory, threads, processes, open files or processor time have run out.
    case exhausted
    /// The operating system or a policy of the store forbids it.
    case denied
    /// A token is missing, expired or not allowed to do this.
    case token
    /// The configuration is missing or wrong.
    case configuration
    /// A profile is missing or wrong.
    case profile
    /// The reader of our output closed it. Ends the program without a message.
    case brokenPipe
    /// SIGINT, SIGTERM or the like arrived; `Interruption` knows which.
    case interrupted
  }

  package let code: Code
  package let message: String
  /// For a person at a shell: it may name commands and options.
  package let hint: String?
  /// For a program that uses the library.
  package let libraryHint: String?
  /// The HTTP status behind an `unavailable`, `tryAgain` or `token` failure.
  package let httpStatus: Int?

  package init(_ code: Code, _ message: String, hint: String? = nil, httpStatus: Int? = nil) {
    self.code = code
    self.message = message
    self.hint = hint
    libraryHint = hint
    self.httpStatus = httpStatus
  }

  /// A failure whose next step differs for a person at a shell and for a program.
  package init(_ code: Code, _ message: String, shellHint: String, libraryHint: String?) {
    self.code = code
    self.message = message
    hint = shellHint
    self.libraryHint = libraryHint
    httpStatus = nil
  }

  /// Whether it concerns this process rather than the data: it was interrupted, or has run out of a resource. Code that
  /// continues after other failures must stop after this one.
  package var isOfProcess: Bool { code == .interrupted || code == .exhausted }

  /// No bytes where an archive was expected: usually the command that should send it has failed and reported why.
  package static let emptyArchive = Failure(
    .truncated, "the archive is empty", hint: "did the command that sends it fail?")

  /// The last part of the message: the reason, without what was attempted.
  package var reason: String {
    message.split(separator: ": ").last.map(String.init) ?? message
  }

  /// The same failure, with the place where it happened before its message.
  package func within(_ place: String) -> Failure {
    Failure(within: place, self)
  }

  private init(within place: String, _ failure: Failure) {
    code = failure.code
    message = "\(place): \(failure.message)"
    (hint, libraryHint) = (failure.hint, failure.libraryHint)
    httpStatus = failure.httpStatus
  }
}

/// The exit statuses of the suite; `tbk-open(1)` and every other page list them.
package enum ExitStatus {
  package static let success: Int32 = 0
  /// The answer is no. Only `verify`, `diff`, `check`, `doctor`, `status` and `schedule-status` return it.
  package static let no: Int32 = 1
  /// Done, but part of the source could not be read.
  package static let incomplete: Int32 = 3
}

extension Failure {
  /// The exit status of a program that ends with this failure.
  package var exitStatus: Int32 {
    switch code {
    case .usage: 64
    case .malformed, .truncated, .integrity: 65
    case .inputMissing: 66
    case .unavailable, .webhook: 69
    case .library: 70
    case .cannotCreate: 73
    case .io: 74
    case .tryAgain, .exhausted: 75
    case .authentication, .denied, .token: 77
    case .configuration, .profile: 78
    case .brokenPipe: 141
    case .interrupted: 128 + (Interruption.signal ?? 2)
    }
  }

  /// The name under which `--json` reports the failure.
  package var typeName: String {
    switch code {
    case .usage: "UsageError"
    case .malformed, .truncated: "ArchiveError"
    case .integrity: "IntegrityError"
    case .inputMissing, .io: "BackupError"
    case .unavailable, .tryAgain: httpStatus == nil ? "StoreError" : "GitHubError"
    case .webhook: "WebhookError"
    case .cannotCreate: "RestoreError"
    case .authentication: "CryptoError"
    case .denied: "AccessError"
    case .token: "TokenError"
    case .configuration: "ConfigError"
    case .profile: "ProfileError"
    case .library, .exhausted, .brokenPipe, .interrupted: "TermBackupError"
    }
  }
}
