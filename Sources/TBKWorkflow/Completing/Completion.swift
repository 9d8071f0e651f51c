import Glibc
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

/// Computes completions of a command line, for all shells.
package struct Completion {
  /// A word and its description, or a directive that starts with a colon.
  private var lines: [(word: String, about: String)] = []
  private let home: Home?
  private let front: RawPath

  private init(_ front: RawPath) {
    home = try? Home.ofProcess()
    self.front = front
  }

  /// The completions of a line: a word and its description on each line, separated by a tab. A last line `:files` or
  /// `:directories` means that such names may follow too. Backups and their contents are listed with `termbackup`: a
  /// store that does not respond soon yields none.
  ///
  /// - Parameters:
  ///   - words: from the command name to the unfinished word.
  ///   - dump: for commands other than `termbackup`, the parser's description.
  ///   - front: the path of `termbackup`.
  /// - Throws: `.malformed` if the description cannot be parsed.
  package static func answer(_ words: [String], dump: [UInt8], front: RawPath) throws(Failure) -> [UInt8] {
    guard words.count > 1, let last = words.last else { return [] }
    let isVerb = words[0].split(separator: "/").last == "termbackup"
    guard isVerb || !dump.isEmpty else { return [] }
    let shape =
      isVerb
      ? try CommandShape.termbackup(choosing: words.count > 2 ? words[1] : nil)
      : try CommandShape(dump: dump, what: "the description of \(words[0])")
    let line = CompletedLine(shape, words.dropFirst().dropLast())
    var completion = Completion(front)
    var before = ""
    var word = last
    switch line.unfinished(&word) {
    case .nothing: return []
    case .option:
      for option in line.command.options {
        for name in option.names { completion.add(name, option.about) }
      }
    case .command:
      for command in line.command.commands { completion.add(command.name, command.about) }
    case .value(let taken, let beginning):
      before = beginning
      completion.addValues(of: taken, line, last)
    }
    return completion.text(before: before, word)
  }

  private mutating func add(_ word: String, _ about: String = "") { lines.append((word, about)) }

  private func text(before: String, _ beginning: String) -> [UInt8] {
    var seen: Set<String> = []
    var text: [UInt8] = []
    for (word, about) in lines where !word.hasPrefix(":") && word.hasPrefix(beginning) {
      guard seen.insert(word).inserted else { continue }
      text += ArgumentBytes.decode(before + word)
      if !about.isEmpty { text += Array("\t\(about)".utf8) }
      text.append(UInt8(ascii: "\n"))
    }
    for (directive, _) in lines where directive.hasPrefix(":") {
      text += ArgumentBytes.decode(directive + "\n")
    }
    return text
  }

  private mutating func addBackups(_ line: CompletedLine) {
    if let profile = line.profile ?? onlyProfile { addBackups(listed("list", ["--", profile])) }
  }

  /// Adds the entries of the directory that the word is in.
  private mutating func addPaths(_ line: CompletedLine, _ word: String) {
    guard let backup = line.backup, let profile = line.profile ?? onlyProfile else { return }
    let directory = word.lastIndex(of: "/").map { String(word[..<$0]) } ?? "."
    addPaths(listed("ls", ["-p", profile, "--", backup, directory]))
  }

  /// The JSON output of a verb; empty if it fails.
  private func listed(_ verb: String, _ words: [String]) -> [UInt8] {
    let words = [verb, "--quiet", "--json", "--no-input", "--max-wait", "3"] + words
    guard let (child, output) = try? start([front.bytes] + words.map(\.shellWord)) else { return [] }
    let list = try? DescriptorSource(output).readAll(limit: 64 << 20, what: "the list")
    var status: Int32 = 0
    while unsafe waitpid(child, &status, 0) < 0, errno == EINTR {}
    return list ?? []
  }

  /// The process id, and the read end of its output.
  private func start(_ command: [[UInt8]]) throws(Failure) -> (pid_t, Descriptor) {
    let nothing = try Descriptor.workingDirectory.open(RawPath("/dev/null"), O_RDONLY)
    let (output, theirs) = try PipedProcess.pipe()
    let child = try spawnProcess(
      command, environment: processEnvironment(), descriptors: [(nothing, as: 0), (theirs, as: 1)],
      defaults: [SIGPIPE, SIGXFSZ, SIGALRM], failing: "cannot run termbackup")
    return (child, output)
  }

  private mutating func addValues(of taken: CommandShape.Taken, _ line: CompletedLine, _ word: String) {
    guard taken.values.isEmpty else {
      for value in taken.values { add(value) }
      return
    }
    switch taken.value ?? "" {
    case "profile": addProfiles()
    case "profile|dir":
      addProfiles()
      add(":directories")
    case "verb":
      for verb in Termbackup.verbs { add(VerbOptions.name(verb), verb.configuration.abstract) }
    case "id": if line.isVerb { addBackups(line) }
    case "path" where line.isVerb && taken.names.isEmpty: addPaths(line, word)
    case "old" where line.isVerb, "new" where line.isVerb: addBackups(line)
    case "store", "owner/repo":
      addStores()
      add(":directories")
    case "dir", "directory": add(":directories")
    case "name":
      if taken.names.isEmpty, line.command.name != "create", taken.isRepeating || line.profile == nil {
        addProfiles()
      }
    case let value:
      if taken.names.isEmpty ? Self.fileOperands.contains(value) : !Self.others.contains(value) {
        add(":files")
      }
    }
  }

  /// The names of operands that are files.
  private static let fileOperands: Set = [
    "file", "name|file|-", "archive", "config", "manifest", "m", "old", "new", "package", "pub",
    "sig",
  ]

  /// The names of option values that are not files.
  private static let others: Set = [
    "n", "seconds", "when", "where", "every", "time", "schedule", "pattern", "url", "group",
    "operation", "command", "hex", "field", "prefix", "mode",
  ]

  private var profiles: [Profile] {
    guard let home, let names = try? home.profileNames() else { return [] }
    return names.compactMap { try? home.profile($0) }
  }

  /// The profile used by a line that names none.
  private var onlyProfile: String? {
    if let named = environment("TERMBACKUP_PROFILE") { return ArgumentBytes.encode(named) }
    guard let names = try? home?.profileNames(), names.count == 1 else { return nil }
    return names[0]
  }

  private mutating func addProfiles() {
    for profile in profiles { add(profile.name, plain(profile["source_dir"] ?? .null)) }
  }

  private mutating func addStores() {
    for profile in profiles {
      guard let store = try? profile.store() else { continue }
      add(ArgumentBytes.encode(store.operand), "of \(profile.name)")
    }
    add("github:", "a repository on GitHub")
    add("rclone:", "what rclone reaches")
  }

  /// Directories get a slash, as more may follow. Names that do not fit on a line are left out.
  private mutating func addPaths(_ listed: [UInt8]) {
    for line in listed.split(separator: UInt8(ascii: "\n")) {
      guard let entry = try? JSON.parse(Array(line), what: "an entry"), let path = entry["relative_path"]?.text,
        !path.utf8.contains(where: { $0 < 0x20 })
      else { continue }
      add(entry["type"]?.text == "directory" ? "\(path)/" : path)
    }
  }

  /// Adds backups, newest first.
  private mutating func addBackups(_ listed: [UInt8]) {
    for line in listed.split(separator: UInt8(ascii: "\n")).reversed() {
      guard let backup = try? JSON.parse(Array(line), what: "a backup"), let id = backup["id"]?.text
      else { continue }
      let time = backup["created_at"]?.text?.prefix(16).replacing("T", with: " ") ?? ""
      add(String(id.prefix(12)), "\(time) UTC  \(backup["mode"]?.text ?? "")")
    }
    add("latest", "the last one")
  }
}
