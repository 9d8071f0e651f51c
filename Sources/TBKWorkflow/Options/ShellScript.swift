import ArgumentParser
import TBKCore

/// POSIX shell code for `eval`.
package enum ShellScript {
  /// A word in single quotes: nothing in it is expanded.
  package static func quote(_ word: [UInt8]) -> [UInt8] {
    let quote = UInt8(ascii: "'")
    var quoted = [quote]
    for byte in word {
      if byte == quote { quoted += Array("'\\''".utf8) } else { quoted.append(byte) }
    }
    return quoted + [quote]
  }

  /// A line that calls a function with these arguments.
  static func call(_ function: String, _ words: [String]) -> [UInt8] {
    var line = Array(function.utf8)
    for word in words { line += [UInt8(ascii: " ")] + quote(word.shellWord) }
    return line + [UInt8(ascii: "\n")]
  }

  /// A line that assigns a value to a variable.
  static func assignment(to variable: String, _ value: [UInt8]) -> [UInt8] {
    Array("\(variable)=".utf8) + quote(value) + [UInt8(ascii: "\n")]
  }

  static func assignment(to variable: String, _ value: String) -> [UInt8] {
    assignment(to: variable, Array(value.utf8))
  }
}

/// All options of a verb as shell variables, named after the properties in lower case with underscores. An option may
/// be declared twice, as an operand and by name: the one with a value counts.
struct OptionValues {
  var members: [(name: String, value: [UInt8])] = []
  /// For each option with a value, given or not: the option and value as typed, quoted.
  private(set) var typed: [(name: String, words: [UInt8])] = []
  /// For a verb that seals, the options for a suite other than the profile's.
  private(set) var sealing: SuiteOptions?

  init(_ verb: any ParsableArguments) {
    sealing = (verb as? any SealingVerb)?.suite
    for declared in DeclaredValue.all(of: verb) {
      // Paths in a backup are operands here, and an option of tbk-open. No path is taken for an option.
      let arePaths = declared.variable == "paths"
      if let option = arePaths ? "--path" : declared.option, !declared.isFlag {
        var words: [UInt8] = []
        for word in declared.words where !word.isEmpty {
          words += Array(option.utf8) + [0x20] + ShellScript.quote(arePaths ? Array("./".utf8) + word : word) + [0x20]
        }
        typed.append((declared.variable, words))
      }
      if let place = members.firstIndex(where: { $0.name == declared.variable }) {
        if members[place].value.isEmpty { members[place].value = declared.word }
      } else {
        members.append((declared.variable, declared.word))
      }
    }
  }

  /// Nil if it was not given, or the verb has no such option.
  subscript(name: String) -> [UInt8]? {
    members.first { $0.name == name && !$0.value.isEmpty }?.value
  }

  /// `opt_NAME='VALUE'` for each, and `args_NAME='--NAME VALUE'` for options with values.
  var script: [UInt8] {
    members.flatMap { ShellScript.assignment(to: "opt_\($0.name)", $0.value) }
      + typed.flatMap { ShellScript.assignment(to: "args_\($0.name)", $0.words) }
  }
}
