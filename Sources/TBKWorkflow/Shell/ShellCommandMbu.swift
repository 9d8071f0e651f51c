import ArgumentParser
import Glibc
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension ShellCommand {
  struct MbuSettingsImport: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "mbu-settings",
      abstract: "Import the settings of an mbu config.toml, and write assignments for a shell into a file.",
      discussion: """
        mbu_carried and mbu_others count the settings that were set and those without a counterpart. Standard output \
        lists for people what was done.
        """)
    @Flag(name: .long, help: "Print nothing for people.")
    var quiet = false
    @Option(name: .long, help: ArgumentHelp("Where the assignments go.", valueName: "file"))
    var into: RawPath
    @Argument(help: ArgumentHelp("The config.toml.", valueName: "file"))
    var file: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      let settings = try MbuSettings(reading: try Descriptor.openForReading(file), file, needsKey: false)
      let home = try Home.ofProcess()
      var configuration = try home.configuration()
      let packages = try ConfigCommand.Mbu.directory(settings.packageDirectory, beside: file)
      let carried = MbuCarrying.carry(
        [
          ("package_dir", packages),
          ("restore_dir", try ConfigCommand.Mbu.directory(settings.restoreDirectory, beside: file)),
        ], into: &configuration)
      if carried.count > 0 { try home.write(configuration) }
      let lines = carried.lines + MbuCarrying.others(settings.others)
      var script: [UInt8] = []
      for (name, value) in [
        ("mbu_package_dir", packages?.bytes ?? []), ("mbu_carried", Array("\(carried.count)".utf8)),
        ("mbu_others", Array("\(settings.others.count)".utf8)),
      ] {
        script += ShellScript.assignment(to: name, value)
      }
      let output = try Descriptor.workingDirectory.open(
        into, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600, missing: .cannotCreate)
      try output.write(script.span)
      if !quiet { try StandardOutput.write(lines.map { $0 + "\n" }.joined()) }
      return ExitStatus.success
    }
  }
}

extension ShellCommand {
  struct MbuOutcome: ParsableCommand, SuiteCommand {
    static let configuration = CommandConfiguration(
      commandName: "mbu-outcome",
      abstract: "Print what came of the packages of mbu, as assignments for a shell.",
      discussion: "Of each a line with a word, sealed, left, failed, removed or unremoved, and a status.")
    @Argument(help: ArgumentHelp("The lines.", valueName: "file"))
    var file: RawPath

    mutating func execute() throws(Failure) -> Int32 {
      let rows = try cells(try readFile(file, limit: 64 << 20), atLeast: 2)
      let status = rows.compactMap { Int32($0[1]) }.first { $0 != 0 } ?? 0
      let outcome = status == 0 ? "success" : status == 3 ? "partial" : "failure"
      for (name, value) in [("status", "\(status)"), ("outcome", outcome)] {
        try StandardOutput.write(ShellScript.assignment(to: name, value))
      }
      for (name, word) in [("resealed", "sealed"), ("skipped", "left"), ("failed", "failed"), ("removed", "removed")] {
        try StandardOutput.write(ShellScript.assignment(to: name, "\(rows.count { $0[0] == word })"))
      }
      return ExitStatus.success
    }
  }
}

/// Migrates mbu's settings.
enum MbuCarrying {
  /// Sets what the configuration lacks, and reports what was done with each setting.
  static func carry(
    _ settings: [(key: String, value: RawPath?)], into configuration: inout Configuration
  ) -> (count: Int, lines: [String]) {
    var count = 0
    var lines: [String] = []
    for (key, value) in settings {
      guard let value else { continue }
      switch configuration[key]?.bytes {
      case nil:
        configuration.set(key, .string(value.bytes))
        count += 1
        lines.append("set     \(key): \(value.quoted)")
      case value.bytes?: lines.append("as is   \(key): \(value.quoted)")
      case let other?: lines.append("kept    \(key): \(RawPath(other).quoted), where mbu has \(value.quoted)")
      }
    }
    return (count, lines)
  }

  /// Reports settings that have no equivalent here.
  static func others(_ keys: [String]) -> [String] {
    keys.map { key in
      let name = RawPath(key).quoted
      return name == "user_password"
        ? "not set \(name): a sealed password check takes its place" : "not set \(name): it has no counterpart"
    }
  }
}
