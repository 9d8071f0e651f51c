import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ProfileGroup {
  struct Rename: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Give a profile another name.",
      discussion: """
        Its backups, its schedule and its password in the keyring move with it. The audit log keeps the former name \
        for what was done under it.
        """)
    @OptionGroup var common: CommonOptions
    @OptionGroup var operand: ProfileName
    @Argument(help: ArgumentHelp("Its new name.", valueName: "new"))
    var newName: RawPath
    @OptionGroup var report: ProfileReportOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let (old, new) = (try operand.name(), try Profile.checkedName(newName.bytes, new: true))
      if old == new { throw Failure(.usage, "'\(old)' is already its name") }
      let home = try Home.ofProcess()
      let profile = try copy(old, as: new, in: home)
      // If this fails, both names exist, and the command can be repeated.
      let hasPassword = try copyPassword(of: old, to: new)
      let isScheduled = try Schedules(of: home).rename(old, to: new)
      try home.removeProfile(old)
      if hasPassword { forgetPassword(of: old) }
      home.record("profile-rename", of: new, ["renamed_from": old])
      ConfigCommand.report(home)
      if isScheduled { Messages.notice("its schedule continues as that of '\(new)'") }
      if hasPassword { Messages.notice("its password in the keyring is now that of '\(new)'") }
      try report.print(profile)
      return ExitStatus.success
    }

    /// Writes the profile under its new name, unless an earlier attempt did.
    private func copy(_ old: String, as new: String, in home: Home) throws(Failure) -> Profile {
      var profile = try home.profile(old)
      profile.set("name", .string(new))
      // A profile of TermBackup 6 has no group by which an earlier attempt could be recognised.
      let isBegun = profile.group != nil && (try? home.profile(new)) == profile
      if !isBegun { try home.write(profile, replacing: false) }
      return profile
    }

    /// False if there is no keyring, or it has no password.
    private func copyPassword(of old: String, to new: String) throws(Failure) -> Bool {
      do throws(KeyringTrouble) {
        return try ShellCommand.keyring(isAlone: false).copy(.password(profile: old), to: .password(profile: new))
      } catch {
        switch error {
        case .missing: return false
        case .ended(let failure): throw failure
        case .late, .failed:
          throw Failure(
            error.code, "the keyring does not say whether it has the password of '\(old)': \(error.reason)",
            hint: "unlock it and try again: both names work until then")
        }
      }
    }

    private func forgetPassword(of old: String) {
      do throws(KeyringTrouble) {
        _ = try ShellCommand.keyring(isAlone: false).forget(.password(profile: old))
      } catch {
        Messages.warning("the keyring still has the password under '\(old)': \(error.reason)")
      }
    }
  }
}
