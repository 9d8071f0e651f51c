import TBKCommand
import TBKCore

/// A command line up to the cursor: what it contains, and how its last word may be completed.
struct CompletedLine {
  private(set) var command: CommandShape
  /// Whether it is a verb of `termbackup`.
  let isVerb: Bool
  /// The profile named on the line.
  private(set) var profile: String?
  /// The backup named as an operand.
  private(set) var backup: String?
  private var operands = 0
  private var isPastOptions = false
  private var awaited: CommandShape.Taken?
  /// Whether a word in the position of a command is not one.
  private var isUnknown = false

  /// - Parameter words: the words after the command name, except the unfinished one.
  init(_ command: CommandShape, _ words: ArraySlice<String>) {
    self.command = command
    isVerb = command.name == "termbackup"
    for word in words { take(word) }
  }

  private mutating func take(_ word: String) {
    if let option = awaited {
      note(word, of: option)
      awaited = nil
    } else if !isPastOptions, word == "--" {
      isPastOptions = true
    } else if !isPastOptions, word.hasPrefix("-"), word != "-" {
      takeOption(word)
    } else if operands == 0, !isPastOptions, let chosen = command.command(word) {
      command = chosen
    } else if operands == 0, !isPastOptions, !command.commands.isEmpty, !command.hasDefault {
      isUnknown = true
    } else {
      if let operand = command.operand(operands) { note(word, of: operand) }
      operands += 1
    }
  }

  private mutating func takeOption(_ word: String) {
    let name = word.prefix { $0 != "=" }
    if let option = command.option(name), option.value != nil {
      if name.endIndex == word.endIndex {
        awaited = option
      } else {
        note(String(word[word.index(after: name.endIndex)...]), of: option)
      }
    } else if !word.hasPrefix("--"), let option = command.option(word.prefix(2)), option.value != nil {
      note(String(word.dropFirst(2)), of: option)
    }
  }

  private mutating func note(_ word: String, of taken: CommandShape.Taken) {
    switch taken.value {
    case "profile"?, "profile|dir"?: profile = profile ?? word
    case "id"? where taken.names.isEmpty: backup = backup ?? word
    // The operand of the `profile` verbs.
    case "name"? where taken.names.isEmpty: profile = profile ?? word
    default: break
    }
  }

  /// How the unfinished word can be completed: as an option, or as a value, with the part of the word before it.
  enum Unfinished {
    case option
    case command
    case value(of: CommandShape.Taken, before: String)
    case nothing
  }

  /// Sets `word` to the part to be completed.
  func unfinished(_ word: inout String) -> Unfinished {
    if let awaited { return .value(of: awaited, before: "") }
    if isUnknown { return .nothing }
    if !isPastOptions, word.hasPrefix("-") {
      guard word.hasPrefix("--"), let equals = word.firstIndex(of: "=") else { return .option }
      guard let option = command.option(word[..<equals]), option.value != nil else {
        return .nothing
      }
      let before = String(word[...equals])
      word = String(word[equals...].dropFirst())
      return .value(of: option, before: before)
    }
    if operands == 0, !isPastOptions, !command.commands.isEmpty {
      // A word that is no prefix of a command is an operand of the default one.
      let isOperand = command.hasDefault && !command.commands.contains { $0.name.hasPrefix(word) }
      if !isOperand { return .command }
    }
    guard let operand = command.operand(operands) else { return .nothing }
    return .value(of: operand, before: "")
  }
}
