import ArgumentParser
import TBKArchive
import TBKCommand
import TBKCore
import TBKFormat

/// What a walk excludes: shared by tbk-manifest and tbk-seal.
struct WalkOptionGroup: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Leave out what matches, as gitignore(5) does.", valueName: "pattern"))
  var exclude: [RawPath] = []

  @Option(name: .long, help: ArgumentHelp("Leave out what the patterns in <file> match.", valueName: "file"))
  var excludeFrom: [RawPath] = []

  @Option(
    name: .long,
    help: ArgumentHelp("How to read the patterns: as git does, or as pathspec in TermBackup 6.", valueName: "rules"))
  var excludeRules: IgnoreRules.Meaning?

  @Flag(name: .long, help: "Leave out .git/, .idea/, __pycache__/ and .DS_Store, as TermBackup 6 did.")
  var excludeDefaults = false

  @Flag(name: .long, help: "Leave out the content of directories tagged with CACHEDIR.TAG.")
  var excludeCaches = false

  @Flag(name: .long, help: "Stay on one file system.")
  var oneFileSystem = false

  @Option(
    name: .long,
    help: ArgumentHelp("Leave out files of more than <size> bytes, or as 500K, 100M, 2G.", valueName: "size"))
  var excludeLargerThan: FileSize?

  /// Whether any of these options was given.
  var isGiven: Bool {
    !exclude.isEmpty || !excludeFrom.isEmpty || excludeRules != nil || excludeDefaults || excludeCaches
      || oneFileSystem || excludeLargerThan != nil
  }

  /// The options of a walk. Patterns apply in the order of the command line, the built-in ones last.
  func options() throws(Failure) -> WalkOptions {
    var options = WalkOptions()
    options.rules = IgnoreRules(excludeRules ?? .git)
    options.excludesCaches = excludeCaches
    options.oneFileSystem = oneFileSystem
    options.largestFile = excludeLargerThan?.bytes ?? .max
    var patterns = exclude[...]
    var files = excludeFrom[...]
    for isFile in WalkOptionGroup.order(of: ArgumentBytes.ofProcess()) {
      if isFile, let file = files.popFirst() {
        options.rules.add(file: try readFile(file, limit: 16 << 20))
      } else if !isFile, let pattern = patterns.popFirst() {
        options.rules.add(pattern: pattern.bytes)
      }
    }
    if excludeDefaults {
      for pattern in IgnoreRules.termBackup6Defaults {
        options.rules.add(pattern: Array(pattern.utf8))
      }
    }
    for pattern in options.rules.invalid {
      Messages.warning("the pattern \(RawPath(pattern).display) is not valid, and matches nothing")
    }
    return options
  }

  /// For each `--exclude` and `--exclude-from`, in order, whether it is the latter: the parser keeps the order within
  /// each option only.
  static func order(of arguments: [String]) -> [Bool] {
    var order: [Bool] = []
    for argument in arguments {
      if argument == "--" { break }
      if argument == "--exclude" || argument.hasPrefix("--exclude=") { order.append(false) }
      if argument == "--exclude-from" || argument.hasPrefix("--exclude-from=") { order.append(true) }
    }
    return order
  }
}

extension IgnoreRules.Meaning: ExpressibleByArgument {}

/// A size in the form of a profile's `exclude_larger_than`.
struct FileSize: ExpressibleByArgument {
  let bytes: UInt64

  init?(argument: String) {
    guard let bytes = ConfigurationShape.bytes(ofSize: argument) else { return nil }
    self.bytes = bytes
  }
}

/// How many threads to use.
struct ThreadOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Use <n> threads; by default one for each processor.", valueName: "n"))
  var threads: Int?

  func validate() throws {
    if let threads, !(1...256).contains(threads) {
      throw ValidationError("--threads must be from 1 to 256")
    }
  }

  var count: Int { threads ?? processorCount() }
}
