import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ShellCommand {
  struct PackagePlan: SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "package-plan",
      abstract: "Print what a package is made of and where it goes, as assignments for a shell.",
      discussion: """
        'name' is the name of a directory's package, 'source' the directory's real path, and 'output' where the \
        package goes; 'sealing', in quoted words, is how it is sealed, and 'is_locked' 1 if that is under a password. \
        Patterns for what to leave out go into a file. Without a directory, 'tb_packages' is the directory of packages.
        """)

    @Option(name: .long, help: ArgumentHelp("The directory of packages, not that of config.json.", valueName: "dir"))
    var to: RawPath?
    @Option(name: .long, help: ArgumentHelp("The package.", valueName: "file"))
    var output: RawPath?
    @OptionGroup var suite: SuiteOptions
    @Option(name: .long, help: ArgumentHelp("Write the patterns there.", valueName: "file"))
    var leftOut: RawPath?
    @Argument(help: ArgumentHelp("What is packaged.", valueName: "dir"))
    var directory: RawPath?

    mutating func execute() throws(Failure) -> Int32 {
      let home = try Home.ofProcess()
      guard let directory else { return try print(["tb_packages": packages(of: home)]) }
      let source = try entered(directory, .inputMissing)
      let name = name(of: directory, source)
      if name.isEmpty, output == nil { throw Failure(.usage, "'/' has no name", hint: "give -o FILE") }
      let (sealing, isLocked) = try self.sealing(by: try home.configuration())
      var file: RawPath
      if let output {
        file = output
      } else {
        file = try packages(of: home).appending(RawPath(name.bytes + Array((isLocked ? ".tbk" : ".age").utf8)))
      }
      if file.bytes.first == UInt8(ascii: "-"), file.bytes.count > 1 { file = RawPath("./").appending(file) }
      if let leftOut { try write(to: leftOut, source, file, home) }
      return try print([
        "source": source, "name": name, "output": file, "sealing": RawPath(sealing),
        "is_locked": RawPath(isLocked ? "1" : ""),
      ])
    }

    /// The options for tbk-seal, as given or else as configured, and whether they use a password.
    private func sealing(by configuration: Configuration) throws(Failure) -> (words: [UInt8], isLocked: Bool) {
      var words: [(option: String, value: [UInt8])] = suite.recipients.recipient.map { ("--recipient", $0.bytes) }
      words += suite.recipients.recipientsFile.map { ("--recipients-file", $0.bytes) }
      if words.isEmpty, suite.suite == nil {
        words = configuration["recipients"]?.elements?.compactMap(\.bytes).map { ("--recipient", $0) } ?? []
      }
      let isLocked = words.isEmpty
      if isLocked {
        let suite = suite.suite.map { $0.rawValue } ?? plain(configuration["cipher_suite"] ?? .null)
        words = [("--suite", Array(suite.utf8))]
      }
      return (words.flatMap { Array("\($0.option) ".utf8) + ShellScript.quote($0.value) + [0x20] }, isLocked)
    }

    private func print(_ values: KeyValuePairs<String, RawPath>) throws(Failure) -> Int32 {
      for (variable, path) in values {
        try StandardOutput.write(ShellScript.assignment(to: variable, path.bytes))
      }
      return ExitStatus.success
    }

    private func packages(of home: Home) throws(Failure) -> RawPath {
      let configured = to == nil ? try home.configuration()["package_dir"]?.bytes : nil
      guard var found = to ?? configured.map({ RawPath($0) }), !found.isEmpty else {
        throw Failure(
          .configuration, "there is no directory for packages",
          hint: "choose one: tbk-config set package_dir DIR")
      }
      if found.bytes.first == UInt8(ascii: "-") { found = RawPath("./").appending(found) }
      guard (try? Descriptor.workingDirectory.openIfPresent(found, O_RDONLY | O_DIRECTORY)) ?? nil != nil else {
        throw Failure(
          .cannotCreate, "the directory \(found.display) does not exist", hint: "mount it, or make it")
      }
      return found
    }

    /// The real path of a directory. Throws if it cannot be accessed.
    private func entered(_ directory: RawPath, _ code: Failure.Code) throws(Failure) -> RawPath {
      let real = LeftOut.real(directory)
      let found = (try? Descriptor.workingDirectory.statusIfPresent(of: real)) ?? nil
      let mayEnter = try unsafe real.withCString { (text) throws(Failure) in unsafe access(text, X_OK) == 0 }
      guard let found, found.st_mode & S_IFMT == S_IFDIR, mayEnter else {
        throw Failure(code, "the directory \(directory.display) does not exist, or cannot be entered")
      }
      return real
    }

    /// The name that was given, without trailing slashes.
    private func name(of directory: RawPath, _ source: RawPath) -> RawPath {
      var bytes = directory.bytes
      while bytes.count > 1, bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
      let given = bytes.split(separator: UInt8(ascii: "/")).last.map { Array($0) } ?? []
      if !given.isEmpty, given != Array(".".utf8), given != Array("..".utf8) { return RawPath(given) }
      return RawPath(source.bytes.split(separator: UInt8(ascii: "/")).last.map { Array($0) } ?? [])
    }

    /// Excludes packages and working files below the directory.
    private func write(to leftOut: RawPath, _ source: RawPath, _ file: RawPath, _ home: Home) throws(Failure) {
      var lines: [[UInt8]] = []
      func add(_ path: RawPath, _ ending: String) {
        if let pattern = LeftOut.pattern(for: path, below: source) { lines.append(pattern + Array(ending.utf8)) }
      }
      if !file.isStandardStream {
        let folder = try entered(file.parent, .cannotCreate)
        if folder != source, output == nil {
          add(folder, "/")
        } else {
          add(folder.appending(file.lastComponent), "")
          add(folder.appending(".tbk-"), "*.tmp")
        }
      }
      let real = LeftOut.real(home.path)
      add(real.appending("tmp"), "/")
      add(real.appending("cache"), "/")
      let text = Array(lines.map { $0 + [0x0a] }.joined())
      let output = try Descriptor.workingDirectory.open(
        leftOut, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600, missing: .cannotCreate)
      try output.write(text.span)
    }
  }

  struct UnpackPlan: SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "unpack-plan",
      abstract: "Print which package is meant and where to unpack it, as assignments for a shell.",
      discussion: "file is the package, target the directory.")

    @Option(name: .long, help: ArgumentHelp("Unpack to this directory.", valueName: "dir"))
    var to: RawPath?
    @Option(name: .long, help: ArgumentHelp("The package is one of mbu, with its settings there.", valueName: "file"))
    var mbuConfig: RawPath?
    @Argument(help: ArgumentHelp("The argument of 'termbackup unpack'.", valueName: "package"))
    var package: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      let configuration = try Home.ofProcess().configuration()
      func directory(_ key: String) -> RawPath? { configuration[key]?.bytes.map { RawPath($0) } }
      var (packages, restores) = (directory("package_dir"), directory("restore_dir"))
      if let mbuConfig {
        let settings = try MbuSettings(reading: try Descriptor.openForReading(mbuConfig), mbuConfig, needsKey: false)
        if let own = try ConfigCommand.Mbu.directory(settings.packageDirectory, beside: mbuConfig) { packages = own }
        if restores == nil { restores = try ConfigCommand.Mbu.directory(settings.restoreDirectory, beside: mbuConfig) }
      }
      let file = package.isStandardStream ? package : beginningSafely(try find(in: packages))
      guard let parent = to ?? restores else {
        throw Failure(
          .configuration, "there is no directory to unpack into",
          hint: "choose one: tbk-config set restore_dir DIR, or give --to DIR")
      }
      var name = file.lastComponent.bytes
      if [".age", ".tbk"].contains(where: { name.suffix(4).elementsEqual($0.utf8) }) { name.removeLast(4) }
      let target = to ?? parent.appending(RawPath(name))
      try StandardOutput.write(
        ShellScript.assignment(to: "file", file.bytes)
          + ShellScript.assignment(to: "target", beginningSafely(target).bytes))
      return ExitStatus.success
    }

    private func find(in packages: RawPath?) throws(Failure) -> RawPath {
      guard package.bytes.contains(UInt8(ascii: "/")) else {
        var places = packages.map { [$0.appending(package)] } ?? []
        if mbuConfig == nil, let packages {
          let both = [".tbk", ".age"].map { packages.appending(RawPath(package.bytes + Array($0.utf8))) }
          if both.allSatisfy({ kind(of: $0) == S_IFREG }) {
            throw Failure(
              .usage, "there are two packages \(package.display)", hint: "give one as a file: \(both[1].quoted)")
          }
          places = both + places
        }
        places.append(RawPath("./").appending(package))
        for place in places where kind(of: place) == S_IFREG { return place }
        throw Failure(
          .inputMissing, "there is no package \(package.display)",
          hint: "it is looked for in \(packages?.display ?? "'package_dir'") and here")
      }
      guard let kind = kind(of: package), kind != S_IFDIR else {
        throw Failure(.inputMissing, "there is no package \(package.display)")
      }
      return package
    }

    private func kind(of path: RawPath) -> mode_t? {
      var facts = stat()
      let found = (try? unsafe path.withCString { (text) throws(Failure) in unsafe stat(text, &facts) == 0 }) ?? false
      return found ? facts.st_mode & S_IFMT : nil
    }

    /// A path that no command takes for an option.
    private func beginningSafely(_ path: RawPath) -> RawPath {
      path.bytes.first == UInt8(ascii: "-") && path.bytes.count > 1 ? RawPath("./").appending(path) : path
    }
  }

  struct MbuPackages: SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "mbu-packages",
      abstract: "Print a call for each package of mbu in directories: reseal_package OLD NEW, or skip_package.")

    @Option(name: .long, help: ArgumentHelp("Where the new ones go.", valueName: "dir"))
    var to: RawPath
    @Argument(help: ArgumentHelp("Where mbu's are.", valueName: "dir"))
    var folders: [RawPath]

    mutating func execute() throws(Failure) -> Int32 {
      for folder in folders {
        guard let place = try? Descriptor.workingDirectory.open(folder, O_RDONLY | O_DIRECTORY) else {
          throw Failure(
            .inputMissing, "the directory \(folder.display) does not exist", hint: "name others with --packages")
        }
        var names: [RawPath] = []
        for (name, _) in try place.names() where name.bytes.first != UInt8(ascii: ".") {
          if let facts = try place.statusIfPresent(of: name), facts.st_mode & S_IFMT == S_IFREG { names.append(name) }
        }
        names.sort { $0.bytes.lexicographicallyPrecedes($1.bytes) }
        for name in names where !name.bytes.suffix(4).elementsEqual(".tbk".utf8) {
          var old = folder.appending(name)
          if old.bytes.first == UInt8(ascii: "-") { old = RawPath("./").appending(old) }
          if name.bytes.suffix(7).elementsEqual(".tar.gz".utf8) {
            Messages.warning("\(old.display) looks like an unencrypted archive that mbu left behind")
            continue
          }
          let new = to.appending(RawPath(name.bytes + Array(".tbk".utf8)))
          let isThere = try Descriptor.workingDirectory.statusIfPresent(of: new) != nil
          try StandardOutput.write(
            Array((isThere ? "skip_package " : "reseal_package ").utf8) + ShellScript.quote(old.bytes) + [0x20]
              + ShellScript.quote(new.bytes) + [0x0a])
        }
      }
      return ExitStatus.success
    }
  }
}
