import TBKCore

/// What is kept in the keyring, by the names that it has there.
///
/// An item belongs to a home. Earlier versions had one for all homes, which is still found where a home has none
/// of its own; the token's is named as Python's keyring library, and so TermBackup 6, names it.
enum KeyringItem: Equatable {
  case token
  case password(profile: String)

  /// Whose an item is.
  enum Form { case own, shared }

  private var name: String {
    switch self {
    case .token: "github_token"
    case .password(let profile): "profile:\(profile)"
    }
  }

  /// What a person reads in the keyring.
  func label(_ home: RawPath) -> [UInt8] {
    switch self {
    case .token: Array("TermBackup: GitHub token (".utf8) + home.bytes + Array(")".utf8)
    case .password(let profile):
      Array("TermBackup: password of \(profile) (".utf8) + home.bytes + Array(")".utf8)
    }
  }

  /// The attributes of secret-tool, names and values.
  func attributes(_ form: Form, _ home: RawPath) -> [[UInt8]] {
    let service = ["service", "termbackup"].map { Array($0.utf8) }
    switch (form, self) {
    case (.own, _): return service + [Array("home".utf8), home.bytes, Array("item".utf8), Array(name.utf8)]
    case (.shared, .token): return service + [Array("username".utf8), Array(name.utf8)]
    case (.shared, .password(let profile)): return service + [Array("profile".utf8), Array(profile.utf8)]
    }
  }

  /// The account of macOS's security.
  func account(_ form: Form, _ home: RawPath) -> [UInt8] {
    form == .shared ? Array(name.utf8) : home.bytes + Array(" \(name)".utf8)
  }

  // MARK: Messages

  /// What to do where there is no keyring.
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

  /// What to do if the keyring does not do it.
  var hint: String {
    switch self {
    case .token:
      "unlock it, or go without: --token-command 'gh auth token', or TERMBACKUP_TOKEN_FILE and a file of mode 0600"
    case .password:
      "unlock the keyring, or go without: --password-file and a file of mode 0600, or --password-command"
    }
  }

  /// That it cannot be put there.
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

  /// That the secret there is not the one that was stored.
  var notReturned: Failure {
    switch self {
    case .token: Failure(.unavailable, "the keyring does not return the token that was stored there")
    case .password:
      Failure(.unavailable, "the keyring does not return the password that was stored there", hint: hint)
    }
  }

  /// Refuses what this keyring cannot keep: a line of security's input has quotes around it, and secret-tool's
  /// answers end with a line.
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
