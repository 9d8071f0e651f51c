import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ConfigCommand {
  struct Mbu: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the settings of an mbu config.toml that have a meaning here.",
      discussion: "Neither salt nor password hash is printed. Directories are those that mbu uses "
        + "when it is started in the directory of the file.")
    @OptionGroup var common: CommonOptions
    @Argument(help: ArgumentHelp("The config.toml.", valueName: "file"))
    var file: RawPath
    @Flag(name: .long, help: "Print JSON.")
    var json = false
    @Flag(name: .long, help: "Print assignments for a shell script to evaluate.")
    var shell = false

    func validate() throws {
      if json, shell { throw ValidationError("only one of --json and --shell") }
    }

    mutating func execute() throws(Failure) -> Int32 {
      common.apply()
      let settings = try MbuSettings(
        reading: try Descriptor.openForReading(file), file, needsKey: false)
      let values: [JSON.Member] = [
        .init("package_dir", try json(settings.packageDirectory)),
        .init("restore_dir", try json(settings.restoreDirectory)),
        .init("others", .array(settings.others.map { .string(RawPath($0).quoted) })),
      ]
      if json {
        try StandardOutput.write(JSON.object(values).line() + [0x0a])
        return ExitStatus.success
      }
      for value in values {
        if shell {
          // Names are quoted, so none contains a line feed.
          let others = (value.value.elements ?? []).compactMap(\.bytes).joined(separator: [0x0a])
          let text = value.value.bytes ?? Array(others)
          try StandardOutput.write(ShellScript.assignment(to: "mbu_\(value.key)", text))
        } else {
          try StandardOutput.write("\(value.key): \(plain(value.value))\n")
        }
      }
      return ExitStatus.success
    }

    private func json(_ bytes: [UInt8]?) throws(Failure) -> JSON {
      guard let path = try Mbu.directory(bytes, beside: file) else { return .null }
      return .string(path.bytes)
    }

    /// mbu resolves relative paths from the directory it is started in, where its settings are.
    static func directory(_ bytes: [UInt8]?, beside file: RawPath) throws(Failure) -> RawPath? {
      guard let bytes else { return nil }
      let path = RawPath(bytes)
      return try absolutePath(path.isAbsolute ? path : file.parent.appending(path))
    }
  }
}
