import ArgumentParser
import TBKCommand
import TBKCore

/// The output of `tbk-sh options` for a verb: text for its shell.
package enum VerbOptions {
  /// The options of a verb as assignments; or a call that shows its help or reports a usage error. For a verb with
  /// subcommands, `opt_verb` is the one given.
  ///
  /// - Parameters:
  ///   - verb: the verb as typed.
  ///   - arguments: the arguments after it.
  /// - Throws: `.usage` if there is no such verb.
  package static func script(
    of verb: String, _ arguments: [String]
  ) throws(Failure) -> [UInt8] {
    switch try answer(to: verb, arguments) {
    case .end(let text): text
    case .options(let values): values.script
    }
  }

  /// The result of parsing a verb's arguments.
  enum Answer {
    /// A call that ends the verb: it shows help or reports a usage error.
    case end([UInt8])
    /// The values of all options, given or not.
    case options(OptionValues)
  }

  /// Throws `.usage` if there is no such verb.
  static func answer(to verb: String, _ arguments: [String]) throws(Failure) -> Answer {
    guard let command = command(verb) else { throw unknown(verb) }
    if arguments.first == "--version" {
      return .end(ShellScript.call("tb_help", ["termbackup \(verb) \(suiteVersion)"]))
    }
    let verbs = command.configuration.subcommands
    if verbs.isEmpty { return answer(to: verb, command, arguments) }
    guard let word = arguments.first else { return .end(refusal(Failure(.usage, "no verb is given"))) }
    if ["-h", "--help"].contains(word) {
      return .end(ShellScript.call("tb_help", [help(of: verb)]))
    }
    guard let chosen = verbs.first(where: { $0._commandName == word }) else {
      if word.hasPrefix("-"), let fault = DeclaredOptions.fault(in: [word], of: command) {
        return .end(refusal(fault))
      }
      return .end(refusal(Failure(.usage, "'\(word)' is not a verb of \(verb)")))
    }
    switch answer(to: "\(verb) \(word)", chosen, Array(arguments.dropFirst())) {
    case .end(let text):
      return .end(ShellScript.assignment(to: "opt_verb", word) + text)
    case .options(var values):
      values.members.insert(("verb", Array(word.utf8)), at: 0)
      return .options(values)
    }
  }

  private static func answer(
    to verb: String, _ command: any ParsableCommand.Type, _ arguments: [String]
  ) -> Answer {
    if let complaint = complaintOfEmptyValue(arguments) {
      return .end(ShellScript.call("tb_usage_error", [complaint]))
    }
    do {
      let parsed = try command.parse(arguments)
      if DeclaredOptions.mayRepeat(arguments),
        let fault = DeclaredOptions.fault(in: arguments, of: command)
      {
        return .end(refusal(fault))
      }
      return .options(OptionValues(parsed))
    } catch {
      if let joined = DeclaredOptions.joiningValues(arguments, of: command) {
        return answer(to: verb, command, joined)
      }
      if command.exitCode(for: error).rawValue == 0 {
        return .end(ShellScript.call("tb_help", [Termbackup.helpMessage(for: command)]))
      }
      if let fault = DeclaredOptions.fault(in: arguments, of: command) {
        return .end(refusal(fault.hint == nil ? withHint(fault, of: verb, command) : fault))
      }
      let message = UsageMessage(command.message(for: error), of: verb, command, arguments)
      return .end(ShellScript.call("tb_usage_error", [message.text] + (message.hint.map { [$0] } ?? [])))
    }
  }

  /// For a verb with operands, adds how to pass one that begins with a hyphen.
  private static func withHint(
    _ fault: Failure, of verb: String, _ command: any ParsableCommand.Type
  ) -> Failure {
    guard fault.message.hasPrefix("unknown option"), command.helpMessage().contains("\nARGUMENTS:") else {
      return fault
    }
    return Failure(
      fault.code, fault.message,
      hint: "see 'termbackup \(verb) --help'; an argument that begins with '-' comes after '--'")
  }

  private static func refusal(_ fault: Failure) -> [UInt8] {
    ShellScript.call("tb_usage_error", [fault.message] + (fault.hint.map { [$0] } ?? []))
  }

  /// The help of a verb, or of `termbackup` itself.
  package static func help(of verb: String?) -> String {
    guard let verb, let command = command(verb) else {
      return Termbackup.helpMessage().replacing(" SUBCOMMANDS:", with: ":")
        .replacing("help <subcommand>", with: "help <verb>")
    }
    return Termbackup.helpMessage(for: command)
  }

  /// The failure for an unknown verb, with a suggestion.
  package static func unknown(_ verb: String) -> Failure {
    if verb.hasPrefix("-") {
      return Failure(.usage, "unknown option '\(verb)'", hint: "see 'termbackup --help'")
    }
    let hint = VerbNames.meant(by: verb, among: names) ?? "see 'termbackup --help'"
    return Failure(.usage, "'\(verb)' is not a termbackup verb", hint: hint)
  }

  /// The verbs, in the order of the help.
  package static var names: [String] {
    Termbackup.verbs.map(name)
  }

  /// No option or operand of a verb accepts an empty value: an empty shell variable would otherwise be mistaken for an
  /// option that was not given.
  private static func complaintOfEmptyValue(_ arguments: [String]) -> String? {
    var before: String?
    for argument in arguments {
      if argument == "--" { return nil }
      if argument.isEmpty { return "\(before ?? "an operand") \(before == nil ? "is empty" : "needs a value")" }
      if argument.hasPrefix("--"), argument.firstIndex(of: "=") == argument.indices.last {
        return "\(argument.dropLast()) needs a value"
      }
      before = argument.hasPrefix("-") && argument != "-" ? argument : nil
    }
    return nil
  }

  static func command(_ verb: String) -> (any Verb.Type)? {
    Termbackup.verbs.first { name($0) == verb }
  }

  static func name(_ command: any Verb.Type) -> String {
    command.configuration.commandName ?? String(describing: command).lowercased()
  }
}
