import ArgumentParser
import TBKCommand
import TBKCore
import TBKSettings

/// The keyring items of a home.
extension ShellCommand {
  struct KeyringItems: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "keyring", abstract: "Keep the token in the keyring.",
      subcommands: [Find.self, Advise.self, Store.self])

    struct Find: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(abstract: "Fail if no keyring can hold the token.")
      @OptionGroup var input: TBKCommand.InputOptions
      @OptionGroup var common: CommonOptions

      mutating func execute() throws(Failure) -> Int32 {
        common.apply()
        do throws(KeyringTrouble) {
          _ = try ShellCommand.keyring(isAlone: input.noInput)
        } catch { throw KeyringItem.token.refusal(error) }
        return ExitStatus.success
      }
    }

    struct Advise: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(abstract: "Print a note on how to keep a token.")
      @OptionGroup var common: CommonOptions

      mutating func execute() throws(Failure) -> Int32 {
        common.apply()
        let none = "there is no token for GitHub yet"
        do throws(KeyringTrouble) {
          _ = try ShellCommand.keyring(isAlone: true)
          Messages.notice("\(none): 'termbackup update-token' stores one")
        } catch {
          if case .ended(let failure) = error { throw failure }
          Messages.notice("\(none), and no keyring to keep one in: \(error.reason)")
          Messages.notice("hint: \(KeyringItem.goWithout(error))")
        }
        return ExitStatus.success
      }
    }

    struct Store: ParsableCommand, SuiteCommand {
      static let configuration = CommandConfiguration(
        abstract: "Store the token from standard input, and read it back.")
      @OptionGroup var input: TBKCommand.InputOptions
      @OptionGroup var common: CommonOptions
      @Flag(name: .long, help: "Do not replace a different one.")
      var unlessOther = false

      mutating func execute() throws(Failure) -> Int32 {
        common.apply()
        let secret = try Self.line()
        let keyring: Keyring
        do throws(KeyringTrouble) {
          keyring = try ShellCommand.keyring(isAlone: input.noInput)
          if unlessOther, let found = try keyring.find(.token) {
            if same(found, secret) { return ExitStatus.success }
            throw KeyringTrouble.ended(
              Failure(
                .cannotCreate, "the keyring has another token already",
                hint: "--force replaces it; 'tbk-config unset github_token' drops the one in config.json"))
          }
        } catch {
          throw KeyringItem.token.refusal(error)
        }
        try keyring.store(secret, as: .token)
        return ExitStatus.success
      }

      /// Standard input without its final newline.
      private static func line() throws(Failure) -> Secret {
        let input = try Secret(
          reading: .standardInput, limit: (64 << 10) + 1, name: RawPath("standard input"))
        return try input.withBytes { (bytes) throws(Failure) in
          let isLine = bytes.count > 0 && bytes[bytes.count - 1] == 0x0a
          return try Secret(copying: bytes.extracting(..<(bytes.count - (isLine ? 1 : 0))))
        }
      }
    }
  }

  struct KeepPassword: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "keep-password", abstract: "Put the password of a profile into the keyring, and read it back.")
    @Option(name: .long, help: ArgumentHelp("The profile.", valueName: "name"))
    var profile: String
    @Flag(
      name: .long,
      help: "Only replace another one: if there is none, the status is 1, and if that fails too, with a warning.")
    var renewing = false
    @OptionGroup var passwords: TBKCommand.PasswordOptions
    @OptionGroup var common: CommonOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let password = try passwords.password(confirming: false, inputIsData: false)
      guard renewing else {
        try keep(password)
        return ExitStatus.success
      }
      do throws(Failure) {
        return try renew(password) ? ExitStatus.success : ExitStatus.no
      } catch {
        if error.isOfProcess { throw error }
        Messages.warning("the keyring may still have the old password")
        Messages.notice("'termbackup schedule-enable --store-password' puts the new one there")
        return ExitStatus.no
      }
    }

    private var item: KeyringItem { .password(profile: profile) }

    private func keep(_ password: borrowing Secret) throws(Failure) {
      let keyring: Keyring
      do throws(KeyringTrouble) { keyring = try ShellCommand.keyring(isAlone: passwords.input.noInput) } catch {
        throw item.refusal(error)
      }
      try keyring.store(password, as: item)
    }

    /// False if the keyring has no password.
    private func renew(_ password: borrowing Secret) throws(Failure) -> Bool {
      do throws(KeyringTrouble) {
        guard let found = try ShellCommand.keyring(isAlone: passwords.input.noInput).find(item) else { return false }
        if same(found, password) { return true }
      } catch {
        if case .missing = error { return false }
        throw item.refusal(error)
      }
      try keep(password)
      return true
    }
  }

  /// Removes the password of a profile from the keyring, with a notice; false if there was none.
  static func forgetPassword(of profile: String, isAlone: Bool) throws(Failure) -> Bool {
    do throws(KeyringTrouble) {
      guard try keyring(isAlone: isAlone).forget(.password(profile: profile)) else {
        Messages.notice("the keyring had no password for it")
        return false
      }
    } catch {
      if case .ended(let failure) = error { throw failure }
      throw Failure(
        error.code, "cannot remove the password of '\(profile)' from the keyring: \(error.reason)",
        hint: "unlock it and try again")
    }
    Messages.notice("the password of '\(profile)' is no longer in the keyring")
    return true
  }

  /// The keyring for this process's home.
  static func keyring(isAlone: Bool) throws(KeyringTrouble) -> Keyring {
    let home: Home
    do throws(Failure) { home = try Home.ofProcess() } catch { throw .ended(error) }
    return try Keyring(of: home.path, isAlone: isAlone)
  }

  /// The password of a profile in the keyring; nil if there is none, with a warning if there is a reason for one.
  /// Throws if this cannot be determined and no user can be asked.
  static func keptPassword(of profile: String, isAlone: Bool) throws(Failure) -> Secret? {
    let item = KeyringItem.password(profile: profile)
    do throws(KeyringTrouble) {
      if let secret = try keyring(isAlone: isAlone).find(item) { return secret }
    } catch {
      switch error {
      case .ended(let failure): throw failure
      case .missing: break
      case .late(let seconds) where isAlone || Messages.json || (try? Terminal()) == nil:
        throw Failure(
          .tryAgain,
          "it is not known whether there is a password: the keyring did not answer within \(counted(UInt64(seconds), "second"))",
          hint: item.hint)
      case .late, .failed: Messages.warning("the keyring returned no password: \(error.reason)")
      }
    }
    return nil
  }
}

/// The stored token: in the keyring, else in GITHUB_TOKEN, which the caller reads, else in config.json.
enum KeptToken: ~Copyable {
  case none
  case keyring(Secret)
  case shared
  case configured(Secret)

  /// - Parameters:
  ///   - shared: whether GITHUB_TOKEN is set.
  ///   - isAlone: whether no user is present to unlock the keyring.
  static func find(shared: Bool, isAlone: Bool) throws(Failure) -> KeptToken {
    var trouble: KeyringTrouble?
    do throws(KeyringTrouble) {
      if let token = try ShellCommand.keyring(isAlone: isAlone).find(.token) {
        return .keyring(token)
      }
    } catch {
      if case .ended(let failure) = error { throw failure }
      trouble = error
    }
    let kept: KeptToken
    if shared {
      kept = .shared
    } else if let token = try configuredToken(warn: { Messages.warning($0) }) {
      Messages.notice(configuredTokenNotice)
      kept = .configured(token)
    } else {
      if case .late(let seconds)? = trouble {
        throw Failure(
          .tryAgain,
          "it is not known whether there is a token: the keyring did not answer within \(counted(UInt64(seconds), "second"))",
          hint: "unlock it and try again, or give --token-file or --token-command")
      }
      kept = .none
    }
    switch trouble {
    case nil, .missing?: break
    case let trouble?: Messages.warning("the keyring returned no token: \(trouble.reason)")
    }
    return kept
  }
}
