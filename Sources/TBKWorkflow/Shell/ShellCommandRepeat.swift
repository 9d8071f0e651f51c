import ArgumentParser
import Glibc
import TBKCommand
import TBKCore

extension ShellCommand {
  /// `termbackup daemon` and `watch`, once they have their secrets.
  struct Repeat: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run a verb that makes backups repeatedly, until a signal arrives, and report the results.",
      discussion: """
        Without --every, changes arrive as lines on standard input, each with a count: a run follows, and another \
        one after what changed in the meantime. One that failed is retried after the next change, or after a minute, \
        then two, then four, and so on up to an hour.
        """)

    @Flag(name: .long, help: "Print the report as JSON.")
    var json = false
    @Flag(name: .long, help: "Print only warnings and errors.")
    var quiet = false
    @Option(name: .long, help: ArgumentHelp("How long from one run to the next.", valueName: "seconds"))
    var every: Int64?
    @Option(name: .long, help: ArgumentHelp("How long until a failed one is tried again.", valueName: "seconds"))
    var pause: Int64 = 60
    @Option(name: .long, help: ArgumentHelp("What the report calls it.", valueName: "name"))
    var name: String
    @Option(
      name: .long, help: ArgumentHelp("A verb creates this file if another run is in progress.", valueName: "file"))
    var busy: RawPath
    @Option(name: .long, help: ArgumentHelp("The directory of the verbs.", valueName: "dir"))
    var verbs: RawPath
    @OptionGroup var password: PasswordOptions
    @OptionGroup var keyPassword: KeyPasswordOptions
    @OptionGroup var token: TokenOptions
    @Argument(
      parsing: .postTerminator, help: ArgumentHelp("The verb, and what it is given.", valueName: "verb"))
    var command: [RawPath]

    mutating func execute() throws(Failure) -> Int32 {
      Messages.quiet = quiet
      var loop = RunLoop(
        command: [verbs.appending(command[0]).bytes] + command.dropFirst().map(\.bytes) + files, busy: busy,
        secrets: try HandedSecrets([
          HandedSecret("--password", password.passwordFd?.number, nil),
          HandedSecret("--key-password", keyPassword.keyPasswordFd?.number, nil),
          HandedSecret("--token", token.tokenFd?.number, nil),
        ]))
      unsafe setenv("TERMBACKUP_BUSY", busy.text, 1)
      var ended: Failure?
      do throws(Failure) {
        if let every { try loop.run(every: every) } else { try loop.runOnChange(retryingAfter: pause) }
      } catch {
        ended = error
      }
      // Report even after a signal.
      try? report(loop)
      if let ended { throw ended }
      return ExitStatus.success
    }

    /// The options for secrets that each run reads by itself.
    private var files: [[UInt8]] {
      let given = [
        ("--password-file", password.passwordFile), ("--key-password-file", keyPassword.keyPasswordFile),
        ("--token-file", token.tokenFile),
      ]
      return given.compactMap { option, file in file.map { Array("\(option)=".utf8) + $0.shellWord } }
    }

    private func report(_ loop: RunLoop) throws(Failure) {
      let report = try LoopReport(
        Facts(
          [
            "profile=\(name)", "started=\(loop.started)", "successes=\(loop.successes)", "failures=\(loop.failures)",
          ].map { RawPath($0) }))
      let text = json ? report.json.line() + [0x0a] : quiet ? [] : Array(report.text.utf8)
      Descriptor.standardOutput.writeMessage(text.span)
    }
  }
}

/// Successive runs of one verb.
struct RunLoop {
  let command: [[UInt8]]
  let busy: RawPath
  let secrets: HandedSecrets
  let started = Int64(time(nil))
  private(set) var successes = 0
  private(set) var failures = 0
  private var failedInARow = 0

  init(command: [[UInt8]], busy: RawPath, secrets: HandedSecrets) {
    (self.command, self.busy, self.secrets) = (command, busy, secrets)
  }

  /// Runs at an interval, by the wall clock, so that a suspended machine catches up and a long run does not shift the
  /// next one. Any number of missed runs are made up by one.
  mutating func run(every interval: Int64) throws(Failure) {
    var next = Int64(time(nil))
    while true {
      _ = try runOnce()
      var now = Int64(time(nil))
      next = min(next, now)
      next += ((now - next) / interval + 1) * interval
      while now < next {
        // The clock may have been set back.
        next = min(next, now + interval)
        try RunLoop.wait(for: nil, seconds: min(next - now, 60))
        now = Int64(time(nil))
      }
    }
  }

  /// Runs after each change; returns at the end of standard input.
  ///
  /// - Parameter first: seconds until the first retry after a failed run.
  mutating func runOnChange(retryingAfter first: Int64) throws(Failure) {
    var pause = first
    var changes = ChangeLines()
    guard var change = try changes.next(within: nil) else { return }
    while true {
      if let change, change != "unknown" { Messages.notice("changes: \(change)") }
      let isDone = try runOnce()
      if isDone {
        pause = first
      } else {
        Messages.notice("trying again after the next change, or in \(humanDuration(UInt64(pause)))")
      }
      // Changes during the run are one reason for the next run, not several.
      var following = try changes.latest()
      if following == nil {
        following = try changes.next(within: isDone ? nil : pause)
        if !isDone { pause = min(pause * 2, 3600) }
      }
      if changes.isEnded, following == nil { return }
      change = following ?? nil
    }
  }

  /// False if the run failed, or gave way to another one.
  private mutating func runOnce() throws(Failure) -> Bool {
    _ = try? Descriptor.workingDirectory.unlink(busy)
    let status = try secrets.run(command + secrets.arguments, input: RawPath("/dev/null"))
    if try Descriptor.workingDirectory.statusIfPresent(of: busy) != nil {
      try Interruption.check()
      return false
    }
    if status == 0 || status == 3 {
      successes += 1
      if failedInARow >= 3 { Messages.notice("a run has succeeded after \(failedInARow) failures") }
      failedInARow = 0
    }
    // A run that was ended by the same signal has not failed.
    try Interruption.check()
    if status == 0 || status == 3 { return true }
    failures += 1
    failedInARow += 1
    if failedInARow >= 3 {
      Messages.warning("\(failedInARow) runs in a row have failed, the last one with status \(status)")
    }
    return false
  }

  /// Waits for input, at most this long.
  fileprivate static func wait(for input: Descriptor?, seconds: Int64?) throws(Failure) {
    var waiting = pollfd(fd: input?.number ?? -1, events: Int16(POLLIN), revents: 0)
    _ = unsafe poll(&waiting, 1, seconds.map { Int32(min($0, 1_000_000)) * 1000 } ?? -1)
    try Interruption.check()
  }
}

/// Lines of standard input, of which only the last one counts.
private struct ChangeLines {
  private var held: [UInt8] = []
  private(set) var isEnded = false

  /// The last of the lines that have arrived, or nil.
  mutating func latest() throws(Failure) -> String?? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    while !isEnded {
      var ready = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
      guard unsafe poll(&ready, 1, 0) > 0 else { break }
      let count = try Descriptor.standardInput.read(into: &buffer)
      if count == 0 { isEnded = true }
      held += buffer[..<count]
    }
    guard let end = held.lastIndex(of: 0x0a) else { return nil }
    let line = held[..<end].split(separator: 0x0a).last ?? []
    let text = String(decoding: line, as: UTF8.self)
    held.removeSubrange(...end)
    return text
  }

  /// Waits for the next lines, and returns the last; `.some(nil)` on timeout, nil at the end.
  mutating func next(within seconds: Int64?) throws(Failure) -> String?? {
    let deadline = seconds.map { Int64(time(nil)) + $0 }
    while true {
      if let line = try latest() { return line }
      if isEnded { return nil }
      let left = deadline.map { $0 - Int64(time(nil)) }
      if let left, left <= 0 { return .some(nil) }
      try RunLoop.wait(for: .standardInput, seconds: left)
    }
  }
}
