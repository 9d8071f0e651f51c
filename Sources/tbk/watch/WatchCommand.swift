import ArgumentParser
import Glibc
import TBKWatch
import TBKCommand
import TBKCore
import TBKFormat

/// Seconds on the command line, with up to three decimals.
struct Seconds: ExpressibleByArgument {
  let nanoseconds: Int64

  init?(argument: String) {
    let parts = argument.split(separator: ".", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count),
      parts.allSatisfy({ (1...8).contains($0.utf8.count) && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
      let whole = Int64(parts[0])
    else { return nil }
    var fraction: Int64 = 0
    if parts.count == 2 {
      guard parts[1].utf8.count <= 3, let digits = Int64(parts[1]) else { return nil }
      fraction = digits * [100_000_000, 10_000_000, 1_000_000][parts[1].utf8.count - 1]
    }
    nanoseconds = whole * 1_000_000_000 + fraction
  }
}

/// tbk-watch: waits for a tree to change, and prints the changes.
struct WatchCommand: SuiteCommand {
  static let configuration = CommandConfiguration(
    commandName: "tbk-watch",
    abstract: "Wait for a directory to change, and print what did.",
    version: "tbk-watch \(suiteVersion)")

  @Argument(help: ArgumentHelp("The directory.", valueName: "dir"))
  var directory: RawPath

  @Flag(name: .long, help: "End after the first report.")
  var once = false

  @Flag(name: .long, help: "First report that everything may have changed.")
  var initial = false

  @Option(
    name: .long,
    help: ArgumentHelp("Report once nothing has changed for <seconds> (2).", valueName: "seconds"))
  var debounce: Seconds?

  @Option(
    name: .long,
    help: ArgumentHelp("Report after at most <seconds> (60), even if changes continue.", valueName: "seconds"))
  var maxDelay: Seconds?

  @Option(
    name: .long,
    help: ArgumentHelp("Give up when nothing changes for <seconds>.", valueName: "seconds"))
  var timeout: Seconds?

  @Option(
    name: .long,
    help: ArgumentHelp("Check every entry each <seconds>, without inotify.", valueName: "seconds"))
  var poll: Seconds?

  @OptionGroup var walk: WalkOptionGroup

  @Flag(name: .long, help: "Print one object per report.")
  var json = false

  @Flag(name: .customShort("0"), help: "End names with NUL and do not quote them.")
  var nul = false

  @Flag(name: .long, help: "Print only the number of names, or 'unknown'.")
  var count = false

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if once, initial { throw ValidationError("--initial and --once cannot be used together") }
    if [json, nul, count].count(where: { $0 }) > 1 {
      throw ValidationError("only one of --json, --count and -0")
    }
    if let poll, poll.nanoseconds < 100_000_000 {
      throw ValidationError("--poll must be at least 0.1")
    }
  }

  mutating func execute() throws(Failure) -> Int32 {
    common.apply()
    var options = WatchOptions()
    options.walk = try walk.options()
    if let debounce { options.quiet = debounce.nanoseconds }
    if let maxDelay { options.longest = maxDelay.nanoseconds }
    options.timeout = timeout?.nanoseconds
    options.poll = poll?.nanoseconds
    options.output = .standardOutput
    let name = directory.display
    let watcher = try TreeWatcher(directory, options) { WatchCommand.report($0, name) }
    let count = try watcher.start()
    Messages.notice("watching \(name): " + WatchCommand.counted(count, watcher.isNotified))
    if initial { try report([.everything]) }
    while true {
      guard let changes = try watcher.next() else {
        let seconds = (timeout?.nanoseconds ?? 0) / 1_000_000_000
        throw Failure(.tryAgain, "nothing has changed in \(name) for \(seconds) s")
      }
      try report(changes)
      if once { return ExitStatus.success }
    }
  }

  private static func counted(_ count: Int, _ directories: Bool) -> String {
    switch (count == 1, directories) {
    case (true, true): "1 directory"
    case (true, false): "1 entry"
    case (false, true): "\(count) directories"
    case (false, false): "\(count) entries"
    }
  }

  private static func report(_ remark: TreeWatcher.Remark, _ name: String) {
    switch remark {
    case .unreadable(let path, let reason):
      Messages.warning("\(path.isEmpty ? name : RawPath(path).display) is not watched: \(reason)")
    case .polling(let reason, let hint, let seconds):
      Messages.warning("looking at every entry of \(name) each \(seconds) s: \(reason)")
      if let hint { Messages.notice("hint: \(hint)") }
    case .onNetwork:
      Messages.warning(
        "\(name) is on a network: changes by other machines are noticed only with --poll")
    }
  }

  /// Prints a report in one piece. If there are several, an empty line or name follows each.
  private func report(_ changes: [TreeChange]) throws(Failure) {
    if count {
      try StandardOutput.write(
        changes == [.everything] ? "unknown\n" : "\(changes.count)\n")
    } else if json {
      let list = changes.map {
        JSON.object(["status": .string($0.kind.rawValue), "relative_path": .string($0.path)])
      }
      let line = JSON.object(["timestamp": .string(Timestamp.now().iso8601()), "changes": .array(list)])
      try StandardOutput.write(line.line() + [0x0a])
    } else {
      let listing = Listing(nul: nul)
      for change in changes { try listing.print(change.kind.rawValue, change.path) }
      if !once { try StandardOutput.write([nul ? 0 : 0x0a]) }
    }
    try StandardOutput.flush()
  }
}
