import ArgumentParser

/// An error of the argument parser, in the style of the suite's messages.
struct UsageMessage {
  let text: String
  /// The next step; nil for "see --help".
  let hint: String?

  init(
    _ message: String, of verb: String, _ command: any ParsableCommand.Type, _ arguments: [String]
  ) {
    var text = message.split(separator: "\n").first.map(String.init) ?? message
    if text.hasPrefix("Error: ") { text.removeFirst("Error: ".count) }
    var hint: String?
    if let range = text.firstRange(of: ". Did you mean ") {
      hint = "did you mean " + text[range.upperBound...]
      text = String(text[..<range.lowerBound])
    }
    if text.hasSuffix(".") { text.removeLast() }
    text = text.prefix(1).lowercased() + text.dropFirst()
    if text.hasPrefix("missing value for '") {
      let option = Self.option(in: text, after: "missing value for '")
      text = "\(option) needs a value"
      if let value = Self.argument(behind: option, in: arguments), value.hasPrefix("-"), value != "--",
        Int(value) == nil,
        let long = option == "-p" ? "--profile" : option.hasPrefix("--") ? String(option) : nil
      {
        hint = "'\(value)' is an option; as a value it is given as in \(long)=\(value)"
      }
    } else if let range = text.firstRange(of: "Please provide one of ") {
      let words = text[range.upperBound...].replacing("'", with: "")
      text = "\(Self.option(in: text, after: "is invalid for '")) takes \(words)"
    }
    let hasProfile = arguments.prefix { $0 != "--" }.contains { $0.hasPrefix("-p") || $0.hasPrefix("--profile") }
    if hint == nil, !hasProfile, let words = (command as? any Verb.Type)?.wordsBeforeProfile,
      let operand = Self.unexpected(text),
      Self.mayBeProfile(operand)
    {
      let line = arguments.prefix { $0 != operand } + words + ["-p", operand]
      hint = "a profile is given with -p, as in: termbackup \(verb) \(line.joined(separator: " "))"
    }
    self.text = text
    self.hint = hint
  }

  /// The option named after some words, without its value's name.
  private static func option(in text: String, after words: String) -> Substring {
    guard let range = text.firstRange(of: words) else { return "" }
    return text[range.upperBound...].prefix { $0 != " " && $0 != "'" }
  }

  /// The argument after the last occurrence of an option.
  private static func argument(behind option: Substring, in arguments: [String]) -> String? {
    guard
      let place = arguments.lastIndex(where: { $0 == option && $0 != arguments.last })
        ?? arguments.firstIndex(where: { $0 == option }), place + 1 < arguments.count
    else { return nil }
    return arguments[place + 1]
  }

  /// The operand that a message calls unexpected.
  private static func unexpected(_ text: String) -> String? {
    let beginning = "unexpected argument '"
    guard text.hasPrefix(beginning), text.hasSuffix("'") else { return nil }
    return String(text.dropFirst(beginning.count).dropLast())
  }

  private static func mayBeProfile(_ operand: String) -> Bool {
    !operand.isEmpty
      && operand.unicodeScalars.allSatisfy {
        $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || $0 == "_" || $0 == "-")
      }
  }
}
