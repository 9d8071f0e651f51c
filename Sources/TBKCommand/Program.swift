import ArgumentParser
import CSystem
import Glibc
import TBKCore

/// The version of the suite.
package let suiteVersion = "7.0.0"

/// One command of the suite.
package protocol SuiteCommand: ParsableCommand {
  /// Does the work; returns the exit status.
  mutating func execute() throws(Failure) -> Int32
}

/// A program that contains several commands and runs the one whose name it was called by.
package enum Program {
  /// Runs the command and ends the process.
  ///
  /// - Parameters:
  ///   - name: the program's own name; if called so, the first argument selects the command.
  ///   - commands: the commands by the names under which they are installed.
  package static func run(_ name: String, _ commands: [String: any ParsableCommand.Type]) -> Never {
    tbk_hold_standard_streams()
    tbk_raise_file_limit()
    Interruption.install()
    tbk_protect_process()
    beginStage()
    var arguments = ArgumentBytes.ofProcess()
    var called = nameCalled(commands)
    if called == nil, let first = arguments.first, commands[first] != nil {
      called = first
      arguments.removeFirst()
    }
    guard let called, let command = commands[called] else {
      Messages.program = name
      let names = commands.keys.sorted().joined(separator: ", ")
      end(
        Failure(.usage, "called by a name that is not a command of the suite", hint: "one of \(names)")
      )
    }
    Messages.program = called
    // A verb's messages through tbk-sh appear under the verb's name.
    if called == "tbk-sh", let verb = environment("TERMBACKUP_VERB") {
      Messages.program = "termbackup " + String(decoding: verb, as: UTF8.self)
    } else if called == "tbk-sh", arguments.first == "version" {
      Messages.program = "termbackup"
    }
    Messages.json =
      arguments.prefix { $0 != "--" }.contains("--json")
      || environment("TERMBACKUP_ERRORS") == Array("json".utf8)
    prepareExhaustion()
    do {
      var parsed = try parse(&arguments, for: command)
      if DeclaredOptions.mayRepeat(arguments),
        let fault = DeclaredOptions.fault(in: arguments, of: command)
      {
        end(hinted(fault))
      }
      if var suite = parsed as? any SuiteCommand {
        let status = try execute(&suite)
        flushAndExit(status)
      }
      try parsed.run()  // The parser's own help command.
      flushAndExit(0)
    } catch let failure as Failure {
      end(failure)
    } catch {
      let code = command.exitCode(for: error).rawValue
      // A misspelt "-nosuch" contains the letter "h", and would show the help.
      let isAsked =
        arguments.contains("-h") || arguments.contains("--help")
        || !arguments.contains { $0.hasPrefix("-") && !$0.hasPrefix("--") && $0.count > 2 }
      if code != 0 || !isAsked,
        let fault = DeclaredOptions.fault(in: arguments, of: command)
      {
        end(hinted(fault))
      }
      if code == 0 {
        do throws(Failure) {
          try StandardOutput.write(completed(command.fullMessage(for: error), of: command) + "\n")
        } catch {
          end(error)
        }
        flushAndExit(0)
      }
      end(hinted(Failure(.usage, reworded(command.message(for: error)))))
    }
  }

  /// A negative number after an option is its value, even if invalid; the parser takes it for an option.
  private static func parse(
    _ arguments: inout [String], for command: any ParsableCommand.Type
  ) throws -> any ParsableCommand {
    do {
      return try command.parseAsRoot(arguments)
    } catch {
      guard let joined = DeclaredOptions.joiningValues(arguments, of: command, where: { Int($0) != nil }) else {
        throw error
      }
      arguments = joined
      return try command.parseAsRoot(joined)
    }
  }

  /// The help of a command, with the options of its default subcommand, which may follow its own name directly.
  private static func completed(_ help: String, of command: any ParsableCommand.Type) -> String {
    guard let defaultCommand = command.configuration.defaultSubcommand,
      let subcommands = help.firstIndex(of: "\nSUBCOMMANDS:"), let options = help.firstIndex(of: "\nOPTIONS:")
    else { return help }
    let detail = command.helpMessage(for: defaultCommand)
    guard let start = detail.firstIndex(of: "\nARGUMENTS:") ?? detail.firstIndex(of: "\nOPTIONS:") else { return help }
    let gap = detail.hasSuffix("\n") ? "" : "\n"
    return help[..<options] + detail[start...] + gap + help[subcommands...]
  }

  /// Adds a hint to a usage error that has none. A user who runs a verb need not know the commands that it uses.
  private static func hinted(_ failure: Failure) -> Failure {
    let asked = environment("TERMBACKUP_VERB").map { "termbackup " + String(decoding: $0, as: UTF8.self) }
    return Failure(failure.code, failure.message, hint: failure.hint ?? "see '\(asked ?? Messages.program) --help'")
  }

  private static func execute(_ command: inout any SuiteCommand) throws(Failure) -> Int32 {
    try command.execute()
  }

  /// Writes the process id, and later the result, to the file in `TERMBACKUP_STAGE`, for a script that cannot wait for
  /// each of its commands. Child processes do not inherit this.
  private static func beginStage() {
    guard let path = unsafe getenv("TERMBACKUP_STAGE"), unsafe path.pointee != 0 else { return }
    let begun = unsafe tbk_begin_stage(path)
    unsafe _ = unsetenv("TERMBACKUP_STAGE")
    if begun != 0 { _exit(Failure(.io, "").exitStatus) }
  }

  /// The report for exhausted memory must be allocated in advance.
  private static func prepareExhaustion() {
    let failure = Failure.exhaustedProcess
    let report = Array(Messages.text(of: failure).utf8)
    unsafe report.withUnsafeBufferPointer { bytes in
      unsafe bytes.withMemoryRebound(to: CChar.self) { text in
        unsafe tbk_set_exhausted(text.baseAddress!, text.count, failure.exitStatus)
      }
    }
  }

  /// The parser's messages in the style of ours.
  private static func reworded(_ message: String) -> String {
    var text = message.split(separator: "\n").first.map(String.init) ?? message
    if text.hasPrefix("Error: ") { text.removeFirst(7) }
    if text.hasSuffix(".") { text.removeLast() }
    guard let first = text.first else { return "wrong usage" }
    return first.lowercased() + text.dropFirst()
  }

  /// The command's name: the last component of the executed path, or of a symbolic link on the way.
  private static func nameCalled(_ commands: [String: any ParsableCommand.Type]) -> String? {
    func known(_ path: RawPath) -> String? {
      let name = path.lastComponent.text
      return commands[name] == nil ? nil : name
    }
    if let argument = unsafe tbk_argument(0) {
      let bytes = unsafe UnsafeRawBufferPointer(start: argument, count: strlen(argument))
      if let name = unsafe known(RawPath(Array(bytes))) { return name }
    }
    guard let executed = unsafe tbk_executed_path() else { return nil }
    var path = unsafe RawPath(
      Array(UnsafeRawBufferPointer(start: executed, count: strlen(executed))))
    for _ in 0..<32 {
      if let name = known(path) { return name }
      guard let target = try? Descriptor.workingDirectory.readLink(path) else { return nil }
      path = target.isAbsolute ? target : path.parent.appending(target)
    }
    return nil
  }

  /// Reports a failure and ends the process with its status.
  package static func end(_ failure: Failure) -> Never {
    ProgressMeter.eraseCurrent()
    switch failure.code {
    case .brokenPipe:
      // As if SIGPIPE had not been ignored: the shell sees the status it expects.
      tbk_end_stage(141)
      _ = tbk_default_signal(SIGPIPE)
      raise(SIGPIPE)
      tbk_end(141)
    case .interrupted:
      guard let said = Interruption.failure else { tbk_end(failure.exitStatus) }
      Messages.report(said)
      tbk_end(said.exitStatus)
    default:
      Messages.report(failure)
      tbk_end(failure.exitStatus)
    }
  }

  private static func flushAndExit(_ status: Int32) -> Never {
    do throws(Failure) {
      try StandardOutput.flush()
    } catch {
      end(error)
    }
    tbk_end(status)
  }
}

extension String {
  /// The start of the first occurrence of `text`.
  fileprivate func firstIndex(of text: String) -> Index? {
    indices.first { self[$0...].hasPrefix(text) }
  }
}
