import Glibc
import TBKCore
import TBKFormat
import TBKSettings

/// What a verb must know before it starts, as shell text: its options, the home, a working directory for its commands,
/// and the profile.
struct VerbBeginning {
  private var script: [UInt8] = []

  /// - Parameters:
  ///   - verb: the verb as typed.
  ///   - arguments: the arguments after it.
  ///   - process: the process id of the verb.
  ///   - held: the names of the secrets that environment variables contain.
  ///   - whole: whether to do all of this even for a verb that starts with only its options.
  /// - Returns: assignments, that of the directory first, then possibly a call that ends the verb; or only such a call.
  static func script(
    of verb: String, _ arguments: [String], process: String, held: [String] = [], whole: Bool = false
  ) throws(Failure) -> [UInt8] {
    let values: OptionValues
    let isJSON = arguments.prefix { $0 != "--" }.contains("--json")
    let command = VerbOptions.command(verb)
    let parts = whole ? [] : command.map { ShellScript.call("tb_use", $0.parts) } ?? []
    let errors = parts + foreign + Array((isJSON ? "tb_json=1\nexport TERMBACKUP_ERRORS=json\n" : "").utf8)
    switch try VerbOptions.answer(to: verb, arguments) {
    case .end(let text): return errors + text
    case .options(let found): values = found
    }
    let named = try splitShellWords(values["profiles"] ?? [])
    // With several profiles, each run starts for itself.
    if verb == "run", values["all"] != nil || named.count > 1 {
      return errors + values.script + Array("tb_run_each \"$@\"\n".utf8)
    }
    let needs = command?.beginning ?? []
    let options = values.script + generally(values)
    if needs.contains(.optionsAlone), !whole { return errors + options + blankProfile }
    var begun = VerbBeginning()
    do throws(Failure) {
      try begun.begin(verb, values, needs, process, held)
    } catch {
      guard !error.isOfProcess else { throw error }
      begun.refuse(error)
    }
    return begun.work + errors + options + blankProfile + begun.script
  }

  /// Unsets environment variables that are named like option variables, as the verb may not have such an option.
  private static var foreign: [UInt8] {
    processEnvironment().flatMap { variable -> [UInt8] in
      let name = variable.prefix { $0 != UInt8(ascii: "=") }
      guard name.starts(with: "opt_".utf8) || name.starts(with: "args_".utf8),
        name.allSatisfy({ (97...122).contains($0 | 0x20) || (48...57).contains($0) || $0 == UInt8(ascii: "_") })
      else { return [] }
      return Array("unset ".utf8) + name + [0x0a]
    }
  }

  /// Settings that many verbs share: `tb_json`, `tb_quiet`, `tb_no_input`, `tb_max_wait`, `tb_store` and `tb_group`;
  /// and `tb_progress`: the stages are quiet, but there may be a user to show progress to.
  private static func generally(_ values: OptionValues) -> [UInt8] {
    var script: [UInt8] = []
    for name in ["json", "quiet", "no_input", "max_wait", "store", "group"] {
      script += ShellScript.assignment(to: "tb_\(name)", values[name] ?? [])
    }
    var progress = values["progress"] ?? Array("auto".utf8)
    if progress.elementsEqual("auto".utf8) {
      let isShown =
        values["json"] == nil && values["quiet"] == nil && isatty(2) == 1
        && environment("TERM") ?? Array("dumb".utf8) != Array("dumb".utf8)
      progress = Array((isShown ? "always" : "never").utf8)
    }
    return script + ShellScript.assignment(to: "tb_progress", progress)
  }

  /// The assignment of the working directory, which comes first so that an interrupted verb can remove it.
  private var work: [UInt8] = []

  private mutating func begin(
    _ verb: String, _ values: OptionValues, _ needs: Beginning, _ process: String, _ held: [String]
  ) throws(Failure) {
    if needs.contains(.profileName), let name = values["profile"] {
      guard Profile.isName(name) else {
        throw Failure(.usage, "\(RawPath(name).display) cannot be the name of a profile")
      }
    }
    let secrets = try GivenSecrets(values, held: held)
    script += secrets.script
    let hasPipes = try identities(values)
    let recipients = try recipients(values)
    let home = try Home.ofProcess()
    assign("tb_home", home.path.bytes)
    // A store can be inspected on a machine that makes no backups itself.
    if values["store"] != nil, !exists(home) { try Descriptor.workingDirectory.makeOwnedDirectory(home.path) }
    guard exists(home) else {
      throw Failure(
        .configuration, "\(home.path.display) does not exist", hint: "make it with 'termbackup init'")
    }
    let directory = try directory(home, verb, process, needs.contains(.frees))
    work = ShellScript.assignment(to: "tb_work", directory.bytes)
    assign("tb_started", Array(String(Timestamp.now().nanoseconds / 1_000_000_000).utf8))
    if needs.contains(.profile), values["store"] == nil {
      let operands = try splitShellWords(values["profiles"] ?? [])
      let profile = try profile(in: home, values["profile"] ?? operands.first)
      let readers = if let recipients { recipients } else { try values.sealing?.recipients.read() ?? [] }
      let sealing = try home.sealing(of: profile, values.sealing?.suite, readers)
      script += try shellAssignments(profile, sealing)
      if needs.contains(.excludes) { try write(excludesOf: profile, home, into: directory) }
    }
    // Errors in it are reported by the commands that need it.
    if let configuration = try? home.configuration() {
      assign("tb_signing_enabled", configuration["signing_enabled"]?.boolean == true ? "true" : "false")
    }
    for concern in home.concerns {
      script += Array("test -n \"$tb_json\" || ".utf8) + ShellScript.call("tb_warn", [concern])
    }
    if !needs.contains(.secretsLater) { script += secrets.callsAtOnce }
    if hasPipes { script += ShellScript.call("tb_read_identities", []) }
    script += ShellScript.call("tb_know_store", [])
  }

  /// `tb_piped` gets the identities that can be read only once; the others stay in `args_identity`.
  ///
  /// - Returns: whether there are any identities.
  private mutating func identities(_ values: OptionValues) throws(Failure) -> Bool {
    let given = try splitShellWords(values["identity"] ?? [])
    let piped = given.filter { !SecretFiles.lasts(RawPath($0)) }
    if piped.isEmpty { return false }
    func words(_ files: [[UInt8]]) -> [UInt8] {
      files.flatMap { Array("--identity ".utf8) + ShellScript.quote($0) + [0x20] }
    }
    assign("tb_piped", words(piped))
    assign("args_identity", words(given.filter { SecretFiles.lasts(RawPath($0)) }))
    return true
  }

  /// The recipients themselves if a file of them can be read only once; otherwise nil.
  private mutating func recipients(_ values: OptionValues) throws(Failure) -> [[UInt8]]? {
    let files = try splitShellWords(values["recipients_file"] ?? []).map { RawPath($0) }
    if files.allSatisfy({ SecretFiles.lasts($0) }) { return nil }
    let given = try splitShellWords(values["recipient"] ?? []).map { RawPath($0) }
    let all = try readRecipients(given, files: files)
    assign("args_recipient", all.flatMap { Array("--recipient ".utf8) + ShellScript.quote($0) + [0x20] })
    assign("args_recipients_file", "")
    return all
  }

  private func exists(_ home: Home) -> Bool {
    (try? Descriptor.workingDirectory.openIfPresent(home.path, O_RDONLY | O_DIRECTORY)) != nil
  }

  private func directory(
    _ home: Home, _ verb: String, _ process: String, _ frees: Bool
  ) throws(Failure) -> RawPath {
    let temporary = home.path.appending("tmp")
    if try Descriptor.workingDirectory.statusIfPresent(of: temporary) == nil {
      do throws(Failure) {
        try Descriptor.workingDirectory.makeOwnedDirectory(temporary)
      } catch {
        if try Descriptor.workingDirectory.statusIfPresent(of: temporary) == nil {
          throw Failure(.cannotCreate, "cannot create the directory \(temporary.display)")
        }
      }
    }
    return try WorkDirectory.make(
      for: verb, process: process, in: frees ? WorkDirectory.places(beside: temporary) : [temporary])
  }

  /// The named profile, else that of TERMBACKUP_PROFILE, else the only one.
  private mutating func profile(in home: Home, _ given: [UInt8]?) throws(Failure) -> Profile {
    if let named = given ?? environment("TERMBACKUP_PROFILE") {
      assign("profile", named)
      guard Profile.isName(named) else {
        throw Failure(.usage, "\(RawPath(named).display) cannot be the name of a profile")
      }
      return try home.profile(String(decoding: named, as: UTF8.self))
    }
    let all = try home.profileNames().compactMap { (name) -> Profile? in try? home.profile(name) }
    guard let only = all.first else {
      throw Failure(
        .usage, "no profile is given", hint: "make one with 'termbackup profile create NAME --source DIR'")
    }
    guard all.count == 1 else {
      throw Failure(
        .usage, "no profile is given", hint: "one of: \(all.map(\.name).joined(separator: " "))")
    }
    assign("profile", only.name)
    return only
  }

  /// A store below its own source would be backed up with all earlier backups, and our working files change while the
  /// tree is read. If the profile's own excludes cannot be read, no file is written: the verb reports that later, when
  /// it can be logged.
  private func write(excludesOf profile: Profile, _ home: Home, into directory: RawPath) throws(Failure) {
    let patterns: [UInt8]
    do throws(Failure) {
      patterns = try profile.excludes()
    } catch {
      if error.isOfProcess { throw error }
      return
    }
    let leftOut = LeftOut(below: profile.source)
    var directories = [home.path.appending("tmp"), home.path.appending("cache")]
    if let store = try profile.store().path { directories.insert(store, at: 0) }
    let lines = directories.compactMap { leftOut.pattern(for: $0) }
    let path = directory.appending("excludes")
    do throws(Failure) {
      let file = try Descriptor.workingDirectory.open(
        path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600, missing: .cannotCreate)
      let sink = DescriptorSink(file, name: path)
      try sink.write(patterns)
      for line in lines { try sink.write(line + [UInt8(ascii: "\n")]) }
      try sink.finish()
    } catch {
      if error.isOfProcess { throw error }
      throw Failure(
        .io, "cannot write to \(directory.display)",
        hint: "make room for it, or move the home with TERMBACKUP_HOME")
    }
  }

  private mutating func assign(_ variable: String, _ value: [UInt8]) {
    script += ShellScript.assignment(to: variable, value)
  }

  private mutating func assign(_ variable: String, _ value: String) { assign(variable, Array(value.utf8)) }

  /// Adds a call that ends the verb with this failure.
  private mutating func refuse(_ failure: Failure) {
    assign("tb_configuration", failure.code == .profile ? "ProfileError" : "ConfigError")
    if failure.code == .usage {
      script += ShellScript.call("tb_usage_error", [failure.message] + (failure.hint.map { [$0] } ?? []))
    } else {
      script += ShellScript.call("tb_die", [String(failure.exitStatus), failure.message, failure.hint ?? ""])
    }
  }
}
