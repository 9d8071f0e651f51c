import ArgumentParser
import TBKCore

/// A command with options that were removed.
package protocol FormerOptions {
  /// For each removed option, a hint at its replacement.
  static var formerOptions: [String: String] { get }
}

/// The options of one command, as it declares them to the parser.
///
/// The parser keeps the last value of a repeated option, and reports a missing operand before an unknown option.
/// `fault(in:)` finds the errors that it should have reported.
///
/// Values and operands that look like options are not supported: no command accepts any, except after `--`.
package struct DeclaredOptions {
  private struct Declaration {
    /// False for flags.
    let takesValue: Bool
    let mayRepeat: Bool
  }

  private var declarations: [Declaration] = []
  /// With their dashes: `--output`, `-o`.
  private var names: [String: Int] = [:]
  /// Hints at the replacements of removed options.
  private var former: [String: String] = [:]
  /// How many operands precede one that takes all remaining arguments verbatim, or nil.
  private var operandsBeforeRest: Int?

  /// The command below `root` that `arguments` selects, and the arguments after its name.
  private static func chosen(
    _ root: any ParsableCommand.Type, _ arguments: [String]
  ) -> (any ParsableCommand.Type, ArraySlice<String>) {
    var command = root
    var rest = arguments[...]
    while !command.configuration.subcommands.isEmpty {
      let named = command.configuration.subcommands.first { $0._commandName == rest.first }
      guard let next = named ?? command.configuration.defaultSubcommand else { break }
      if named != nil { rest.removeFirst() }
      command = next
    }
    return (command, rest)
  }

  /// The failure for the first option from the left that is unknown to the command, or repeated though only one value
  /// is kept; nil if there is none, or if there is another error before it.
  package static func fault(
    in arguments: [String], of root: any ParsableCommand.Type
  ) -> Failure? {
    let (command, rest) = chosen(root, arguments)
    var options = DeclaredOptions(command)
    options.former = (root as? any FormerOptions.Type)?.formerOptions ?? [:]
    return options.fault(in: rest)
  }

  /// Whether an option may be repeated in these arguments. A definite answer takes longer.
  package static func mayRepeat(_ arguments: [String]) -> Bool {
    var seen: Set<Substring> = []
    var short = false
    for argument in arguments.prefix(while: { $0 != "--" }) where isOption(argument) {
      let isShort = !argument.hasPrefix("--")
      // A short name may be an alias of any other option.
      if short || isShort && !seen.isEmpty { return true }
      short = short || isShort
      if !seen.insert(name(of: argument)).inserted || isShort && argument.count > 2 { return true }
    }
    return false
  }

  /// Joins values that begin with a hyphen to their options, as the parser would take them for options; nil if there
  /// are none. A word that is an option of the command is never taken for a value.
  ///
  /// - Parameter isValue: whether a word that begins with a hyphen may be a value.
  package static func joiningValues(
    _ arguments: [String], of root: any ParsableCommand.Type, where isValue: (String) -> Bool = { _ in true }
  ) -> [String]? {
    let (command, rest) = chosen(root, arguments)
    let declared = DeclaredOptions(command)
    var joined = Array(arguments.dropLast(rest.count))
    var pending = rest
    while let argument = pending.popFirst() {
      joined.append(argument)
      if argument == "--" { break }
      guard declared.takesValue(argument), let value = pending.first else { continue }
      if !isOption(value) {
        joined.append(value)
      } else if value == "--" || !isValue(value) || declared.names[String(name(of: value))] != nil {
        continue
      } else {
        joined[joined.count - 1] += (argument.hasPrefix("--") ? "=" : "") + value
      }
      pending.removeFirst()
    }
    joined += pending
    return joined == arguments ? nil : joined
  }

  /// Reads the parser's description of a command.
  init(_ command: any ParsableCommand.Type) {
    add(Declaration(takesValue: false, mayRepeat: true), ["--help", "-h", "--version"])
    var reader = HelpReader(command._dumpHelp())
    var operands = 0
    for argument in reader.arguments() {
      if argument.kind == "positional" {
        if argument.takesRest { operandsBeforeRest = operands }
        operands += 1
        continue
      }
      let isFlag = argument.kind == "flag"
      add(
        Declaration(takesValue: !isFlag, mayRepeat: isFlag || argument.isRepeating), argument.names)
    }
  }

  private mutating func add(_ declaration: Declaration, _ names: [String]) {
    for name in names { self.names[name] = declarations.count }
    declarations.append(declaration)
  }

  private static func isOption(_ argument: String) -> Bool {
    argument.hasPrefix("-") && argument != "-"
  }

  private static func name(of argument: String) -> Substring { argument.prefix { $0 != "=" } }

  private func fault(in arguments: ArraySlice<String>) -> Failure? {
    var given: Set<Int> = []
    var rest = arguments
    var operands = 0
    while operands != operandsBeforeRest, let argument = rest.popFirst(), argument != "--" {
      guard DeclaredOptions.isOption(argument) else {
        operands += 1
        continue
      }
      let name = DeclaredOptions.name(of: argument)
      let isShort = !argument.hasPrefix("--")
      let isJoined = isShort && name.count > 2 && takesValue(String(argument.prefix(2)))
      let isCluster = isShort && argument.count > 2 && (isJoined || name.count == argument.count)
      let letters = argument.dropFirst().map { "-\($0)" }
      for (index, name) in (isCluster ? letters : [String(name)]).enumerated() {
        let isLast = !isCluster || index == letters.count - 1
        guard let declared = names[name] else {
          return unknown(name == "-" || name == "--" ? argument : name)
        }
        let declaration = declarations[declared]
        if !given.insert(declared).inserted, !declaration.mayRepeat {
          return Failure(.usage, "option '\(name)' was given more than once")
        }
        // The rest of a word after a letter that takes a value is the value.
        if declaration.takesValue, !isLast { break }
        if declaration.takesValue, isCluster || name.count == argument.count {
          guard let value = rest.popFirst(), !DeclaredOptions.isOption(value) else { return nil }
        }
      }
    }
    return nil
  }

  private func takesValue(_ name: String) -> Bool {
    names[name].map { declarations[$0].takesValue } ?? false
  }

  private func unknown(_ name: String) -> Failure {
    if let hint = former[name] { return Failure(.usage, "unknown option '\(name)'", hint: hint) }
    let close = names.keys.filter { $0.hasPrefix("--") }
      .map { (distance: editDistance($0, name), name: $0) }
      .filter { $0.distance <= 1 + name.count / 6 }
      .min { ($0.distance, $0.name) < ($1.distance, $1.name) }
    return Failure(
      .usage, "unknown option '\(name)'", hint: close.map { "did you mean '\($0.name)'?" })
  }
}

/// Extracts the arguments from the parser's JSON description of a command. As it is the parser's own output, anything
/// unexpected is ignored.
private struct HelpReader {
  struct Argument {
    var kind = ""
    var isRepeating = false
    var takesRest = false
    var names: [String] = []
  }

  private enum Value {
    case object([String: Value])
    case array([Value])
    case text(String)
    case word(String)

    subscript(key: String) -> Value? {
      if case .object(let members) = self { members[key] } else { nil }
    }

    var elements: [Value] { if case .array(let elements) = self { elements } else { [] } }
    var text: String { if case .text(let text) = self { text } else { "" } }
    var isTrue: Bool { if case .word(let word) = self { word == "true" } else { false } }
  }

  private let bytes: [UInt8]
  private var position = 0

  init(_ text: String) { bytes = Array(text.utf8) }

  mutating func arguments() -> [Argument] {
    (value()["command"]?["arguments"]?.elements ?? []).map { argument in
      Argument(
        kind: argument["kind"]?.text ?? "",
        isRepeating: argument["isRepeating"]?.isTrue ?? false,
        takesRest: argument["parsingStrategy"]?.text == "allRemainingInput",
        names: (argument["names"]?.elements ?? []).map { name in
          (name["kind"]?.text == "long" ? "--" : "-") + (name["name"]?.text ?? "")
        })
    }
  }

  /// The next byte that is not a space, without consuming it.
  private mutating func next() -> UInt8? {
    while position < bytes.count, bytes[position] <= 0x20 { position += 1 }
    return position < bytes.count ? bytes[position] : nil
  }

  private mutating func skip(_ character: Character) -> Bool {
    guard next() == character.asciiValue else { return false }
    position += 1
    return true
  }

  private mutating func value() -> Value {
    if skip("{") {
      var members: [String: Value] = [:]
      while !skip("}"), next() != nil {
        let key = string()
        _ = skip(":")
        members[key] = value()
        _ = skip(",")
      }
      return .object(members)
    }
    if skip("[") {
      var elements: [Value] = []
      while !skip("]"), next() != nil {
        elements.append(value())
        _ = skip(",")
      }
      return .array(elements)
    }
    if next() == UInt8(ascii: "\"") { return .text(string()) }
    let start = position
    while position < bytes.count, !Array(",]} \n".utf8).contains(bytes[position]) { position += 1 }
    if position == start { position += 1 }
    return .word(String(decoding: bytes[start..<min(position, bytes.count)], as: UTF8.self))
  }

  /// The content of a quoted string. Escapes are not decoded: no name has any.
  private mutating func string() -> String {
    guard skip("\"") else {
      position += 1
      return ""
    }
    let start = position
    while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
      position += bytes[position] == UInt8(ascii: "\\") ? 2 : 1
    }
    let end = min(position, bytes.count)
    position = end + 1
    return String(decoding: bytes[start..<end], as: UTF8.self)
  }
}
