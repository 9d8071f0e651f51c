import ArgumentParser
import TBKCore
import TBKFormat

/// The options and operands of a command, from the argument parser's description.
struct CommandShape {
  /// An option, a flag or an operand.
  struct Taken {
    /// With their dashes; empty for an operand.
    let names: [String]
    /// The value's name in the help, in lower case; nil for a flag.
    let value: String?
    /// All possible values, if there is a fixed set.
    let values: [String]
    let isRepeating: Bool
    let about: String
  }

  let name: String
  let about: String
  let commands: [CommandShape]
  /// Whether a default command runs if none is named; its options and operands are then accepted here too.
  let hasDefault: Bool
  let options: [Taken]
  let operands: [Taken]

  /// Parses what `--experimental-dump-help` prints. Throws `.malformed`.
  init(dump: [UInt8], what: String) throws(Failure) {
    guard let command = try JSON.parse(dump, what: what)["command"] else {
      throw Failure(.malformed, "\(what) describes no command")
    }
    self.init(command)
  }

  /// Throws `.malformed`, which would be a bug in the parser.
  init(_ command: any ParsableCommand.Type) throws(Failure) {
    try self.init(dump: Array(command._dumpHelp().utf8), what: "the description of a command")
  }

  private init(_ command: JSON) {
    let taken = (command["arguments"]?.elements ?? []).filter(Self.isShown)
    name = command["commandName"]?.text ?? ""
    about = command["abstract"]?.text ?? ""
    // The parser adds a help command even to commands without others.
    commands = (command["subcommands"]?.elements ?? []).filter(Self.isShown)
      .map { CommandShape($0) }.filter { $0.name != "help" }
    let named = command["defaultSubcommand"]?.text
    let other = commands.first { $0.name == named }
    hasDefault = other != nil
    let own = taken.filter { $0["kind"]?.text != "positional" }.map { Taken($0) }
    let known = Set(own.flatMap(\.names))
    options = own + (other?.options ?? []).filter { known.isDisjoint(with: $0.names) }
    operands =
      taken.filter { $0["kind"]?.text == "positional" }.map { Taken($0) } + (other?.operands ?? [])
  }

  /// `termbackup`, with all of its verbs, or, which is faster, only one of them.
  static func termbackup(choosing verb: String?) throws(Failure) -> CommandShape {
    guard let verb else {
      let all = try CommandShape(Termbackup.self)
      let help = CommandShape(
        name: "help", about: "Show the manual.", commands: [], options: [], operands: [])
      return CommandShape(
        name: all.name, about: all.about, commands: all.commands + [help], options: all.options,
        operands: [])
    }
    var chosen: [CommandShape] = []
    if verb == "help" {
      let operand = Taken(names: [], value: "verb", values: [], isRepeating: false, about: "")
      chosen = [
        CommandShape(name: verb, about: "", commands: [], options: [], operands: [operand])
      ]
    } else if let command = VerbOptions.command(verb) {
      chosen = [try CommandShape(command)]
    }
    return CommandShape(name: "termbackup", about: "", commands: chosen, options: [], operands: [])
  }

  private init(
    name: String, about: String, commands: [CommandShape], options: [Taken], operands: [Taken]
  ) {
    self.name = name
    self.about = about
    self.commands = commands
    hasDefault = false
    self.options = options
    self.operands = operands
  }

  private static func isShown(_ part: JSON) -> Bool { part["shouldDisplay"]?.boolean ?? true }

  func option(_ name: some StringProtocol) -> Taken? {
    options.first { option in option.names.contains { $0 == name } }
  }

  func command(_ name: String) -> CommandShape? { commands.first { $0.name == name } }

  /// The operand at this position, counted from 0; the last one may repeat.
  func operand(_ index: Int) -> Taken? {
    if index < operands.count { return operands[index] }
    return operands.last.flatMap { $0.isRepeating ? $0 : nil }
  }
}

extension CommandShape.Taken {
  fileprivate init(_ argument: JSON) {
    names = (argument["names"]?.elements ?? []).map { name in
      (name["kind"]?.text == "long" ? "--" : "-") + (name["name"]?.text ?? "")
    }
    value = argument["kind"]?.text == "flag" ? nil : argument["valueName"]?.text?.lowercased() ?? ""
    let listed = argument["completionKind"]?["list"]?["values"] ?? argument["allValues"]
    values = (listed?.elements ?? []).compactMap(\.text)
    isRepeating = argument["isRepeating"]?.boolean ?? false
    about = argument["abstract"]?.text ?? ""
  }
}
