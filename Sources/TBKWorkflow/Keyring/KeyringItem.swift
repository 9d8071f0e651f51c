import TBKCore

/// An item in the keyring, and the names it has there.
///
/// An item belongs to a home. Earlier versions had one item for all homes, which is still used if a home has none of
/// its own; the shared token is named as Python's keyring library, and so TermBackup 6, names it.
enum KeyringItem: Equatable {
  case token
  case password(profile: String)

  /// Whether an item is for one home or for all.
  enum Form { case own, shared }

  private var name: String {
    switch self {
    case .token: "github_token"
    case .password(let profile): "profile:\(profile)"
    }
  }

  /// The label that users see in the keyring.
  func label(_ home: RawPath) -> [UInt8] {
    switch self {
    case .token: Array("TermBackup: GitHub token (".utf8) + home.bytes + Array(")".utf8)
    case .password(let profile):
      Array("TermBackup: password of \(profile) (".utf8) + home.bytes + Array(")".utf8)
    }
  }

  /// The attributes for secret-tool, alternating names and values.
  func attributes(_ form: Form, _ home: RawPath) -> [[UInt8]] {
    let service = ["service", "termbackup"].map { Array($0.utf8) }
    switch (form, self) {
    case (.own, _): return service + [Array("home".utf8), home.bytes, Array("item".utf8), Array(name.utf8)]
    case (.shared, .token): return service + [Array("username".utf8), Array(name.utf8)]
    case (.shared, .password(let profile)): return service + [Array("profile".utf8), Array(profile.utf8)]
    }
  }

  /// The account name for macOS's security.
  func account(_ form: Form, _ home: RawPath) -> [UInt8] {
    form == .shared ? Array(name.utf8) : home.bytes + Array(" \(name)".utf8)
  }

  // MARK: Messages

  /// The hint if there is no keyring.
  static func goWithout(_ trouble: KeyringTrouble) -> String {
    "\(remedy(trouble)), or go without: --token-command "
      + "'gh auth token', or TERMBACKUP_TOKEN_FILE and a file of mode 0600"
  }

  private static func remedy(_ trouble: KeyringTrouble) -> String {
    switch trouble {
    case .missing(KeyringTrouble.noBus): "log in to a session that has a bus and a keyring"
    case .missing(KeyringTrouble.noService): "start a keyring in this session"
    case .missing: "install secret-tool (package libsecret-tools or libsecret) and a keyring"
    case .late, .failed, .ended: "unlock it"
    }
  }

  /// The hint if the keyring fails.
  var hint: String {
    switch self {
    case .token:
      "unlock it, or go without: --token-command 'gh auth token', or TERMBACKUP_TOKEN_FILE and a file of mode 0600"
    case .password:
      "unlock the keyring, or go without: --password-file and a file of mode 0600, or --password-command"
    }
  }

  /// The failure if an item cannot be stored.
  func refusal(_ trouble: KeyringTrouble) -> Failure {
    switch (self, trouble) {
    case (_, .ended(let failure)): failure
    case (.token, .missing(let why)):
      Failure(.unavailable, "there is no keyring to keep the token in: \(why)", hint: Self.goWithout(trouble))
    case (.password, .missing(let why)):
      Failure(
        .unavailable, "there is no keyring to keep the password in: \(why)",
        hint: "\(Self.remedy(trouble)), or use --password-file or --password-command")
    case (.token, _):
      Failure(trouble.code, "the token cannot be put into the keyring: \(trouble.reason)", hint: hint)
    case (.password, _):
      Failure(trouble.code, "cannot store the password in the keyring: \(trouble.reason)", hint: hint)
    }
  }

  /// The failure if the keyring returns another secret than was stored.
  var notReturned: Failure {
    switch self {
    case .token: Failure(.unavailable, "the keyring does not return the token that was stored there")
    case .password:
      Failure(.unavailable, "the keyring does not return the password that was stored there", hint: hint)
    }
  }

  /// Throws if this keyring cannot store the secret: a line of input for security puts it in quotes, and secret-tool
  /// prints it as a line.
  func check(_ secret: borrowing Secret, for program: Keyring.Program) throws(Failure) {
    let signs = Array((self == .token ? "_.~+/=-" : "_.~+/= -").utf8)
    let (isLine, isPlain) = secret.withBytes { bytes in
      (
        !bytes.indices.contains { bytes[$0] == 0x0a },
        bytes.indices.allSatisfy {
          switch bytes[$0] {
          case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
          default: signs.contains(bytes[$0])
          }
        }
      )
    }
    switch self {
    case .token:
      if program == .security, !isPlain {
        throw Failure(.token, "the token holds a character that no token of GitHub has")
      }
    case .password:
      if !isLine {
        throw Failure(.usage, "a password of several lines cannot be kept in the keyring", hint: hint)
      }
      if program == .security, !isPlain {
        throw Failure(.usage, "macOS's security cannot store this password", hint: hint)
      }
    }
  }
}
