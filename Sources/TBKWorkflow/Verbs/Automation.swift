import ArgumentParser

struct ScheduleEnable: Verb {
  static let beginning: Beginning = [.profile, .secretsLater]
  static let configuration = CommandConfiguration(
    commandName: "schedule-enable",
    abstract: "Schedule backups with cron or systemd.",
    discussion: """
      Makes cron, or a systemd timer, back up the profile at set times. First it tests, in the bare environment of \
      cron, that a run would have its password, that the password is right, and that the store can be reached.
      """)

  @OptionGroup var profile: ProfileOperand
  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      Minute, hour, day, month and day of the week as in crontab(5), or @hourly, @daily, @weekly, \
      @monthly or @yearly.
      """, valueName: "schedule"),
    completion: .list(["@hourly", "@daily", "@weekly", "@monthly", "@yearly"]))
  var schedule = "0 2 * * *"
  @Flag(name: .long, help: "A timer of systemd for this user, instead of cron.")
  var systemd = false
  @Flag(name: .long, help: "Put the password into the keyring first.")
  var storePassword = false
  @Flag(name: .long, help: "Store everything each time.")
  var full = false
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: ScheduledPasswordOptions
  @OptionGroup var keyPassword: ScheduledKeyPasswordOptions
  @OptionGroup var token: ScheduledTokenOptions
}

struct ScheduleDisable: Verb {
  static let beginning: Beginning = .profileName
  static let configuration = CommandConfiguration(
    commandName: "schedule-disable",
    abstract: "Stop scheduled backups.",
    discussion: """
      Undoes what 'termbackup schedule-enable' did: removes the profile's block from the crontab, and \
      its timer from systemd. Backups and the log stay.
      """)

  // Not looked up: the profile itself may no longer exist.
  @Argument(help: ArgumentHelp("The profile.", valueName: "profile"))
  var profile: String
  @Flag(name: .long, help: "Remove the profile's password from the keyring, too.")
  var forgetPassword = false
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
}

struct ScheduleStatus: Verb {
  static let beginning: Beginning = .profileName
  static let configuration = CommandConfiguration(
    commandName: "schedule-status",
    abstract: "Show when backups are scheduled.",
    discussion: """
      Prints which profiles are scheduled, when, with cron or systemd, how the last scheduled run ended, and when \
      the next one is due. The exit status is 1 if backups are overdue.
      """)

  @Argument(help: ArgumentHelp("Only this profile.", valueName: "profile"))
  var profile: String?
  @OptionGroup var report: ListOptions
  @OptionGroup var input: InputOptions
}

struct ScheduleRun: Verb {
  static let beginning: Beginning = .profileName
  static let parts = ["several"]
  static let configuration = CommandConfiguration(
    commandName: "schedule-run",
    abstract: "Run a scheduled backup; cron and systemd call this.",
    discussion: """
      This is what cron or systemd calls at the times of 'termbackup schedule-enable': a 'termbackup run' that never \
      asks and keeps a log. A failure is reported on standard error as well.
      """)

  @Argument(help: ArgumentHelp("The profile.", valueName: "profile"))
  var profile: String
  @Flag(
    name: .long,
    help: "Test whether a run would have its password and its store; make no backup.")
  var check = false
  @Flag(name: .long, help: "Store everything.")
  var full = false
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: ScheduledPasswordOptions
  @OptionGroup var keyPassword: ScheduledKeyPasswordOptions
  @OptionGroup var token: ScheduledTokenOptions
}

struct Daemon: Verb {
  static let beginning: Beginning = .profile
  static let parts = ["lock", "unattended"]
  static let configuration = CommandConfiguration(
    abstract: "Make backups at an interval, until stopped.",
    discussion: """
      Makes a backup of the profile at once, and another at each interval, until it is stopped. The password is \
      asked for once, at the start. When it ends, it prints how many runs succeeded and failed. With --json it \
      prints an object for each run and one at the end.
      """)

  @OptionGroup var profile: ProfileOperand
  @Option(
    name: [.customShort("i", allowingJoined: true), .long],
    help: ArgumentHelp(
      "How long from one run to the next: minutes, or as in 90s, 15m, 2h and 1d.",
      valueName: "every"))
  var interval: Interval = Interval(argument: "60")!
  @Flag(name: .long, help: "Store everything each time.")
  var full = false
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var keyPassword: KeyPasswordOptions
  @OptionGroup var token: TokenOptions
  @OptionGroup var rates: RateOptions

  /// Time from one run to the next, in seconds; given in minutes, from 1 to 999999, or as such a number with the unit
  /// s, m, h or d.
  struct Interval: ExpressibleByArgument, ShellValue {
    let seconds: Int
    private let text: String

    init?(argument: String) {
      let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86400]
      let unit = argument.last.flatMap { units[$0] }
      let digits = unit == nil ? argument[...] : argument.dropLast()
      guard (1...6).contains(digits.utf8.count), digits.first != "0",
        digits.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(digits)
      else { return nil }
      seconds = number * (unit ?? 60)
      text = argument
    }

    var defaultValueDescription: String { text }
    var shellWord: [UInt8] { Array(String(seconds).utf8) }
  }
}

struct Watch: Verb {
  static let parts = ["lock", "unattended", "package"]
  static let configuration = CommandConfiguration(
    abstract: "Make a backup after each change, until stopped.",
    discussion: """
      Makes a backup of the profile at once, and another after each change of its directory, until it is stopped. \
      The password is asked for once, at the start. A backup that fails is tried again after the next change, or \
      after a minute, then two, then four, and so on up to an hour. When it ends, it prints how many runs succeeded \
      and failed. With a directory, written with a slash, it makes packages of that instead, as 'termbackup package' \
      does. With --json it prints an object for each run and one at the end.
      """)

  @Argument(help: ArgumentHelp("A profile, or a directory with a slash in its name.", valueName: "profile|dir"))
  var what: String
  @Option(
    name: .long,
    help: ArgumentHelp("Wait until nothing has changed for <seconds>.", valueName: "seconds"))
  var debounce = Seconds(argument: "5")!
  @Option(name: .long, help: ArgumentHelp("Wait at most <seconds> for that.", valueName: "seconds"))
  var maxDelay = Seconds(argument: "300")!
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Check every entry each <seconds>, without inotify.", valueName: "seconds"))
  var poll: Seconds?
  @OptionGroup var progress: ProgressOptions
  @OptionGroup var report: ReportOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var password: PasswordOptions
  @OptionGroup var keyPassword: KeyPasswordOptions
  @OptionGroup var token: TokenOptions
  @OptionGroup var rates: RateOptions

  func validate() throws {
    let isDirectory = what.contains("/") || [".", ".."].contains(what)
    if isDirectory, token.firstGiven ?? keyPassword.firstGiven != nil {
      throw ValidationError("a package needs no store, no token and no key")
    }
    if isDirectory, rates.limitUpload != nil || rates.limitDownload != nil {
      throw ValidationError("--limit-upload and --limit-download are for a profile: a package goes to a directory")
    }
  }

  /// Seconds, with or without a fraction, as they were given.
  struct Seconds: ExpressibleByArgument, ShellValue {
    private let text: String

    init?(argument: String) {
      let parts = argument.split(separator: ".", omittingEmptySubsequences: false)
      guard parts.count <= 2,
        parts.allSatisfy({ part in
          !part.isEmpty && part.utf8.allSatisfy { (48...57).contains($0) }
        })
      else { return nil }
      text = argument
    }

    var defaultValueDescription: String { text }
    var shellWord: [UInt8] { Array(text.utf8) }
  }
}
