import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

/// `tbk-config`.
package struct ConfigCommand: ParsableCommand, SuiteCommand {
  package static let configuration = CommandConfiguration(
    commandName: "tbk-config", abstract: "Read, check and edit the configuration and profiles.",
    version: "tbk-config \(suiteVersion)",
    subcommands: [
      Path.self, Show.self, Get.self, Set.self, Unset.self, Init.self, Validate.self,
      Store.self, ProfileGroup.self, Version.self, Mbu.self,
    ])

  package init() {}

  package mutating func execute() throws(Failure) -> Int32 {
    throw Failure(.usage, "no verb is given", hint: "see 'tbk-config --help'")
  }

  /// Reports warnings about the files.
  static func report(_ home: Home) {
    for concern in home.concerns { Messages.warning(concern) }
  }

  /// Prints one value for a script: the bytes, then a line feed or, with `-0`, a NUL; a list has one of these after
  /// each element. Null prints nothing.
  static func write(_ value: JSON, nul: Bool) throws(Failure) {
    let end: UInt8 = nul ? 0 : 0x0a
    switch value {
    case .null: return
    case .string(let bytes): try StandardOutput.write(bytes + [end])
    case .array(let elements):
      for element in elements { try write(element, nul: nul) }
    default: try StandardOutput.write(value.line() + [end])
    }
  }
}

/// Reveals values that are masked by default.
struct RevealOptions: ParsableArguments {
  @Flag(name: .long, help: "Show tokens, webhook and ping URLs as they are.")
  var reveal = false
}

extension ConfigCommand {
  struct Path: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the directory of the configuration.")
    @OptionGroup var common: CommonOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      try StandardOutput.write(try Home.ofProcess().path.bytes + [0x0a])
      return ExitStatus.success
    }
  }

  struct Show: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(abstract: "Print the configuration.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var revealing: RevealOptions
    @Flag(name: .long, help: "Print JSON.")
    var json = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      let configuration = try home.configuration()
      ConfigCommand.report(home)
      var shown: [JSON.Member] = []
      let known = Configuration.keys.map(\.name)
      let others = (configuration.object.members ?? []).map(\.key).filter { !known.contains($0) }
      for name in known + others {
        var value = configuration[name] ?? .null
        if !revealing.reveal { value = Configuration.key(name)?.masked(value) ?? value }
        shown.append(JSON.Member(name, value))
      }
      if json {
        try StandardOutput.write(JSON.object(shown).line() + [0x0a])
      } else {
        for member in shown {
          try StandardOutput.write("\(RawPath(member.key).quoted): \(plain(member.value))\n")
        }
      }
      return ExitStatus.success
    }
  }

  struct Get: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the value of one key; nothing if it has none.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var revealing: RevealOptions
    @Argument var key: String

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      let configuration = try home.configuration()
      ConfigCommand.report(home)
      guard var value = configuration[key] else { throw ConfigCommand.unknown(key) }
      if key == "default_repo", value.isNull { value = .string(home.defaultStore.bytes) }
      if !revealing.reveal { value = Configuration.key(key)?.masked(value) ?? value }
      try ConfigCommand.write(value, nul: false)
      return ExitStatus.success
    }
  }

  struct Set: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(abstract: "Change one key.")
    @OptionGroup var common: CommonOptions
    @Argument var key: String
    @Argument(help: "The value; '-' reads it from standard input, as github_token must be.")
    var value: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      guard let known = Configuration.key(key) else { throw ConfigCommand.unknown(key) }
      var bytes = value.bytes
      if value.isStandardStream {
        bytes = try DescriptorSource(.standardInput).readAll(limit: 65536, what: "the value")
        if bytes.last == 0x0a { bytes.removeLast() }
      } else if known.secret {
        throw Failure(
          .usage, "\(key) is a secret, and all users can see command-line arguments",
          hint: "give it on standard input: tbk-config set \(key) - <FILE")
      }
      do throws(Failure) {
        if known.shape == .store { bytes = try absoluteStore(RawPath(bytes)) }
        if known.shape == .directory { bytes = try absolutePath(RawPath(bytes)).bytes }
      } catch {
        throw error.within(key)
      }
      let home = try Home.ofProcess()
      _ = try home.make()
      var configuration = try home.configuration(checking: false)
      configuration.set(key, try known.shape.value(from: bytes, key: key))
      try home.write(configuration)
      ConfigCommand.report(home)
      return ExitStatus.success
    }
  }

  struct Unset: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Reset one key to its default.")
    @OptionGroup var common: CommonOptions
    @Argument var key: String

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      var configuration = try home.configuration(checking: false)
      guard configuration[key] != nil else { throw ConfigCommand.unknown(key) }
      configuration.unset(key)
      try home.write(configuration)
      ConfigCommand.report(home)
      return ExitStatus.success
    }
  }

  struct Init: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make the directory of the configuration and the default store.",
      discussion: "Prints what it created, one path per line; nothing if everything existed.")
    @OptionGroup var common: CommonOptions
    @Option(name: .long, help: ArgumentHelp("New profiles back up to <store>.", valueName: "store"))
    var repo: RawPath?
    @Flag(name: .long, help: "Print one JSON object, and report errors as JSON.")
    var json = false

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      let (made, store) = try home.initialise(store: repo)
      if json {
        try StandardOutput.write(home.initialised(made, store: store).line() + [0x0a])
      } else {
        for path in made { try StandardOutput.write(path.quoted + "\n") }
      }
      ConfigCommand.report(home)
      return ExitStatus.success
    }
  }

  struct Store: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print a store's address as tbk-push and tbk-pull take it.")
    @OptionGroup var common: CommonOptions
    @Argument(help: "As in a profile; by default the store of new profiles.")
    var store: RawPath?

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let reference: [UInt8]
      if let store {
        reference = try absoluteStore(store)
      } else {
        let home = try Home.ofProcess()
        reference = try home.defaultStoreReference()
        ConfigCommand.report(home)
      }
      try StandardOutput.write(try StoreReference(reference).operand + [0x0a])
      return ExitStatus.success
    }
  }

  struct Validate: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check the configuration and every profile.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var report: ProfileReportOptions

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let home = try Home.ofProcess()
      let configuration = try home.storedConfiguration()
      let place = home.configurationPlace
      for member in configuration?.object.members ?? [] where Configuration.key(member.key) == nil {
        Messages.notice("\(place): \(RawPath(member.key).display) has no meaning here, and is kept")
      }
      if configuration == nil { Messages.notice("there is no \(place)") }
      let names = try home.profileNames()
      ConfigCommand.report(home)
      try checkProfiles(names, home)
      try report.print(["ok": .bool(true), "profiles": .array(names.map { .string($0) })])
      return ExitStatus.success
    }
  }

  static func unknown(_ key: String) -> Failure {
    let names = Configuration.keys.map(\.name).joined(separator: ", ")
    return Failure(
      .usage, "there is no key \(RawPath(ArgumentBytes.decode(key)).display)",
      hint: "one of \(names)")
  }
}

extension Home {
  /// Creates the directory of the configuration and the default store, unless they exist.
  ///
  /// - Parameter store: the store of new profiles from now on.
  /// - Returns: the paths that were created, and the store as an operand for `tbk-push`.
  func initialise(store: RawPath?) throws(Failure) -> (made: [RawPath], store: [UInt8]) {
    // Check first: an invalid address must leave nothing behind.
    let store = try store.map { (store) throws(Failure) in try checkedStore(store) }
    var made = try make()
    let configuration = try storedConfiguration()
    if configuration == nil { made.append(path.appending("config.json")) }
    if configuration == nil || store != nil {
      var written = if let configuration { configuration } else { try newConfiguration() }
      if let store { written.set("default_repo", .string(store)) }
      try write(written)
    }
    let reference = try defaultStoreReference()
    if reference == defaultStore.bytes,
      try Descriptor.workingDirectory.statusIfPresent(of: defaultStore) == nil
    {
      try Descriptor.workingDirectory.makeOwnedDirectory(defaultStore)
      made.append(defaultStore)
    }
    return (made, try StoreReference(reference).operand)
  }

  /// The result as JSON.
  func initialised(_ made: [RawPath], store: [UInt8]) -> JSON {
    .object([
      "home": .string(path.bytes), "store": .string(store), "made": .array(made.map { .string($0.bytes) }),
    ])
  }
}

/// Reports every invalid profile, the last one as the thrown failure.
func checkProfiles(_ names: [String], _ home: Home) throws(Failure) {
  var broken: Failure?
  for name in names {
    do throws(Failure) {
      let profile = try home.profile(name)
      warnOfPatterns(profile, home.profilePlace(name))
    } catch {
      guard error.code == .profile else { throw error }
      broken = reporting(error, after: broken)
    }
  }
  if let broken { throw broken }
}

/// Combines failures, to be thrown once all are known. The former is reported at once as text, or merged into the
/// single object of `--json`.
func reporting(_ failure: Failure, after former: Failure?) -> Failure {
  guard let former else { return failure }
  guard Messages.json else {
    Messages.report(former)
    return failure
  }
  return Failure(
    failure.code, "\(former.message); \(failure.message)", hint: failure.hint ?? former.hint)
}

/// A value for people, on one line.
func plain(_ value: JSON) -> String {
  switch value {
  case .null: "-"
  case .string(let bytes): RawPath.quote(bytes.span)
  case .array(let elements):
    elements.isEmpty ? "-" : elements.map(plain).joined(separator: ", ")
  default: String(decoding: value.line(), as: UTF8.self)
  }
}

/// The address of a store for a configuration file, with an absolute path. Throws `.usage`.
func absoluteStore(_ operand: RawPath) throws(Failure) -> [UInt8] {
  let reference: StoreReference
  do throws(Failure) {
    reference = try StoreReference(operand.bytes)
  } catch {
    if error.hint != nil { throw error }
    throw Failure(.usage, "\(operand.display) is not the address of a store: \(error.message)")
  }
  guard case .directory(let path) = reference else { return operand.bytes }
  return try absolutePath(path).bytes
}

/// Like `absoluteStore`, but a directory must exist: an unmounted disk must not become a new store.
func checkedStore(_ operand: RawPath) throws(Failure) -> [UInt8] {
  let store = try absoluteStore(operand)
  if case .directory(let path) = try StoreReference(store) {
    let found = try Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_DIRECTORY)
    if found == nil {
      throw Failure(
        .inputMissing, "the store \(path.display) does not exist",
        hint: "mount it, or make the directory")
    }
  }
  return store
}
