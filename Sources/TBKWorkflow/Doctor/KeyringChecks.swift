import TBKCore

/// Checks of the keyring. They never prompt to unlock it.
enum KeyringChecks {
  /// A hint for runs without a password prompt.
  static let unattended =
    "for a timetable: --password-command, TERMBACKUP_PASSWORD_FILE, or schedule-enable --store-password"

  /// Whether there is a keyring, and whether it has the token.
  static func token() throws(Failure) -> Finding {
    let program: String
    do throws(KeyringTrouble) {
      let keyring = try ShellCommand.keyring(isAlone: true)
      program = keyring.program.rawValue
      do throws(KeyringTrouble) {
        let has = try keyring.find(.token) == nil ? ", without a token" : " has a token"
        return Finding(result: .ok, check: "keyring", message: program + has)
      } catch {
        if case .ended(let failure) = error { throw .ended(failure) }
        return Finding(
          result: .warn, check: "keyring", message: "\(program): \(error.reason)", hint: KeyringItem.goWithout(error))
      }
    } catch {
      if case .ended(let failure) = error { throw failure }
      return Finding(
        result: .note, check: "keyring", message: "no keyring is available: \(error.reason)",
        hint: KeyringItem.goWithout(error))
    }
  }

  /// Whether runs of a profile find its password in the keyring.
  static func password(of profile: String) throws(Failure) -> Finding {
    let item = KeyringItem.password(profile: profile)
    do throws(KeyringTrouble) {
      if try ShellCommand.keyring(isAlone: true).find(item) != nil {
        return Finding(
          result: .ok, check: "password",
          message: "\(profile): in the keyring: a run would not ask for it")
      }
    } catch {
      switch error {
      case .ended(let failure): throw failure
      case .missing: break
      case .late, .failed:
        return Finding(
          result: .warn, check: "password",
          message: "\(profile): the keyring returned no password: \(error.reason)", hint: item.hint)
      }
    }
    return Finding(
      result: .note, check: "password", message: "\(profile): a run would ask for it", hint: unattended)
  }
}
