import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

/// What a profile excludes besides patterns, how long its chains may get, and the transfer limits for its store.
struct ProfileChoiceOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp("Leave out what the patterns in <file> match, at each run.", valueName: "file"))
  var excludeFrom: RawPath?
  @Flag(name: .long, help: "Leave out directories with a CACHEDIR.TAG.")
  var excludeCaches = false
  @Flag(name: .long, help: "Stay on the file system of the directory.")
  var oneFileSystem = false
  @Option(
    name: .long,
    help: ArgumentHelp("Leave out files larger than <size>, as 500K, 100M, 2G.", valueName: "size"))
  var excludeLargerThan: String?
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Make a full backup after <n> backups, or after an age, as 90d.", valueName: "n|age"))
  var fullEvery: String?
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Make a full backup when the last one needs <n> archives (30).", valueName: "n"))
  var maxChain: String?

  @Option(
    name: .long,
    help: ArgumentHelp("Send at most <n> KiB per second to the store.", valueName: "n"))
  var limitUpload: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Fetch at most <n> KiB per second from the store.", valueName: "n"))
  var limitDownload: String?

  /// Sets the given fields. Throws `.usage`.
  func apply(to profile: inout Profile) throws(Failure) {
    if let excludeFrom { profile.set("exclude_from", .string(try absolutePath(excludeFrom).bytes)) }
    if excludeCaches { profile.set("exclude_caches", .bool(true)) }
    if oneFileSystem { profile.set("one_file_system", .bool(true)) }
    try profile.set([
      ("exclude_larger_than", "--exclude-larger-than", excludeLargerThan),
      ("full_every", "--full-every", fullEvery), ("max_chain", "--max-chain", maxChain),
      ("limit_upload", "--limit-upload", limitUpload),
      ("limit_download", "--limit-download", limitDownload),
    ])
  }
}

/// Commands that a profile runs before or after a backup. A command is split into words as in a shell, without
/// expansion.
struct ProfileCommandOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Run <command> before each backup, and make none if it fails.", valueName: "command"))
  var beforeCommand: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Run <command> after each backup, even if it failed.", valueName: "command"))
  var afterCommand: String?
  @Option(
    name: .long,
    help: ArgumentHelp("Report to <command>, which gets JSON on standard input.", valueName: "command"))
  var notifyCommand: String?

  /// Sets the given fields. Throws `.usage`.
  func apply(to profile: inout Profile) throws(Failure) {
    try profile.set([
      ("before_command", "--before-command", beforeCommand),
      ("after_command", "--after-command", afterCommand),
      ("notify_command", "--notify-command", notifyCommand),
    ])
  }
}

extension Profile {
  /// Sets fields to the values of options. Throws `.usage`.
  mutating func set(
    _ texts: [(field: String, option: String, text: String?)]
  ) throws(Failure) {
    for (field, option, text) in texts {
      guard let text, let shape = Profile.field(field)?.shape else { continue }
      set(field, try shape.value(from: ArgumentBytes.decode(text), key: option))
    }
  }
}
