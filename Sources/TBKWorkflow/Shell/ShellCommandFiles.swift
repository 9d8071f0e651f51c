import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKFormat

/// What shell scripts need and a shell does not provide.
extension ShellCommand {
  struct Object: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print one JSON object on one line.")
    @Argument(
      help: ArgumentHelp(
        "KEY=TEXT, KEY:=JSON for a value that is not text, or KEY:=@FILE for the JSON in a file.",
        valueName: "member"))
    var members: [RawPath] = []

    mutating func execute() throws(Failure) -> Int32 {
      var object: [JSON.Member] = []
      for member in members.map(\.bytes) {
        guard let equals = member.firstIndex(of: UInt8(ascii: "=")), equals > 0 else {
          throw Failure(.usage, "\(RawPath(member).display) is not KEY=TEXT or KEY:=JSON")
        }
        let isJSON = member[equals - 1] == UInt8(ascii: ":")
        let name = member[..<(isJSON ? equals - 1 : equals)]
        let rest = Array(member[(equals + 1)...])
        guard let key = String(validating: name, as: UTF8.self), !key.isEmpty,
          !object.contains(where: { $0.key == key })
        else { throw Failure(.usage, "\(RawPath(member).display) has no key, or one given before") }
        let value = isJSON ? try json(rest, of: key) : .string(rest)
        object.append(JSON.Member(key, value))
      }
      try StandardOutput.write(JSON.object(object).line() + [0x0a])
      return ExitStatus.success
    }

    /// The value after `:=`: JSON, or '@' and the name of a JSON file, as systems limit the length of an argument.
    private func json(_ text: [UInt8], of key: String) throws(Failure) -> JSON {
      let what = "the value of '\(key)'"
      guard text.first == UInt8(ascii: "@") else { return try JSON.parse(text, what: what) }
      return try JSON.parse(
        try readFile(RawPath(Array(text.dropFirst())), limit: Ledger.byteLimit), what: what)
    }
  }

  struct Lock: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lock the file that is open on a descriptor, for as long as any process has it open.",
      discussion: "The exit status is 75 if another process holds the lock.")
    @Argument(help: ArgumentHelp("The number of the descriptor.", valueName: "fd"))
    var descriptor: Int32

    mutating func execute() throws(Failure) -> Int32 {
      while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
        switch errno {
        case EINTR: try Interruption.check()
        case EWOULDBLOCK: throw Failure(.tryAgain, "another process holds the lock")
        case EBADF: throw Failure(.usage, "descriptor \(descriptor) is not open")
        default: throw .system("cannot lock descriptor \(descriptor)")
        }
      }
      return ExitStatus.success
    }
  }

  struct Leftovers: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove what killed restores left in a directory.",
      discussion: "Prints the size in bytes and the name of each.")
    @Flag(name: .long, help: "Print them, and remove nothing.")
    var dryRun = false
    @Argument(help: ArgumentHelp("The directory.", valueName: "dir"))
    var directory: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      let place = try Descriptor.workingDirectory.open(directory, O_RDONLY | O_DIRECTORY)
      for (name, bytes) in try RestoreLeftovers.collect(in: place, dryRun: dryRun) {
        try StandardOutput.write("\(bytes)\t\(name.text)\n")
      }
      return ExitStatus.success
    }
  }

  /// Creates files that belong to the owner of their directory: those that a root shell creates would belong to root.
  struct MakeFile: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "make-file",
      abstract: "Make an empty file, or directories, with their directory's owner, unless they exist.")
    @Flag(name: .long, help: "Make directories.")
    var directory = false
    @Flag(name: .long, help: "Make its directory as well, and refuse an existing file that is not a regular one.")
    var lock = false
    @Argument(help: ArgumentHelp("The file.", valueName: "file"))
    var files: [RawPath]

    mutating func execute() throws(Failure) -> Int32 {
      for file in files {
        if directory {
          try make(file)
          continue
        }
        if lock {
          try make(file.parent)
          if let found = try Descriptor.workingDirectory.statusIfPresent(of: file) {
            switch found.st_mode & S_IFMT {
            case S_IFREG: break
            case S_IFLNK: throw Failure(.cannotCreate, "\(file.display) is a symbolic link")
            default: throw Failure(.cannotCreate, "\(file.display) is not a regular file")
            }
          }
        }
        _ = try Descriptor.workingDirectory.openOwned(file, O_WRONLY | O_NOFOLLOW | O_NONBLOCK)
      }
      return ExitStatus.success
    }

    private func make(_ directory: RawPath) throws(Failure) {
      if try Descriptor.workingDirectory.openIfPresent(directory, O_RDONLY | O_DIRECTORY) != nil { return }
      do throws(Failure) {
        try Descriptor.workingDirectory.makeOwnedDirectory(directory)
      } catch {
        // Another process may have created it first.
        guard try Descriptor.workingDirectory.openIfPresent(directory, O_RDONLY | O_DIRECTORY) != nil else {
          throw error
        }
      }
    }
  }
}
