import ArgumentParser
import TBKCommand
import TBKCore
import TBKSettings

extension ShellCommand {
  /// Runs `termbackup run` for several profiles.
  struct Each: SuiteCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run a verb for one profile after the other, and exit with the worst of their statuses.",
      discussion: "What comes from a descriptor or a pipe is read once and passed to each run.")

    @Argument(help: ArgumentHelp("The script of the verb.", valueName: "script"))
    var script: RawPath
    @Argument(
      parsing: .captureForPassthrough,
      help: ArgumentHelp("The arguments of 'termbackup run'.", valueName: "argument"))
    var arguments: [String] = []

    mutating func execute() throws(Failure) -> Int32 {
      Messages.program = "termbackup run"
      let run: Run
      do {
        run = try Run.parse(arguments)
      } catch {
        throw Failure(.usage, Run.message(for: error))
      }
      Messages.json = run.report.json
      Messages.quiet = run.report.quiet
      let names = run.all ? try Home.ofProcess().profileNames() : run.profiles
      if names.isEmpty {
        throw Failure(
          .usage, "there are no profiles",
          hint: "make one with 'termbackup profile create NAME --source DIR'")
      }
      var handed = [
        try HandedSecret("--password", run.password.passwordFd?.number, run.password.passwordFile),
        try HandedSecret("--key-password", run.keyPassword.keyPasswordFd?.number, run.keyPassword.keyPasswordFile),
        try HandedSecret("--token", run.token.tokenFd?.number, run.token.tokenFile),
      ]
      for value in DeclaredValue.all(of: run) where Run.filesReadOnce.contains(value.option ?? "") {
        for word in value.words where !word.isEmpty && !SecretFiles.lasts(RawPath(word)) {
          handed.append(try HandedSecret(value.option ?? "", contentOf: RawPath(word)))
        }
      }
      let secrets = HandedSecrets(handed)
      let options = run.options(without: secrets.options)
      var failed: [String] = []
      var worst: Int32 = 0
      for name in names {
        let status = try secrets.run([script.bytes] + options + secrets.arguments + [Array("--profile=\(name)".utf8)])
        try Interruption.check()
        // 3 is a partial backup: less severe than any failure.
        worst = max(worst, status)
        if status != 0, status != 3 { failed.append("\(name) (status \(status))") }
      }
      if !failed.isEmpty {
        Messages.warning(
          "\(failed.count) of \(names.count) profiles were not backed up: \(failed.joined(separator: ", "))")
      }
      return worst
    }
  }
}

extension Run {
  /// Options whose file may be a pipe.
  static let filesReadOnce = ["--identity", "--recipients-file"]

  /// The options as typed, except those that name profiles and those to be left out.
  func options(without others: Set<String>) -> [[UInt8]] {
    var words: [[UInt8]] = []
    for value in DeclaredValue.all(of: self) where !value.word.isEmpty {
      guard let option = value.option, option != "--profile", option != "--all", !others.contains(option)
      else { continue }
      if value.isFlag {
        words.append(Array(option.utf8))
      } else {
        for word in value.words {
          // It is passed by descriptor instead.
          if Run.filesReadOnce.contains(option), !SecretFiles.lasts(RawPath(word)) { continue }
          words.append(Array(option.utf8) + [UInt8(ascii: "=")] + word)
        }
      }
    }
    return words
  }
}
