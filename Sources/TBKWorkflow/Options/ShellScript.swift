import ArgumentParser
import TBKCore

/// Text of a POSIX shell, for `eval`.
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

  /// A line that calls a function with these words.
  static func call(_ function: String, _ words: [String]) -> [UInt8] {
    var line = Array(function.utf8)
    for word in words { line += [UInt8(ascii: " ")] + quote(word.shellWord) }
    return line + [UInt8(ascii: "\n")]
  }

  /// A line that gives `opt_NAME` a value.
  static func assignment(_ name: String, _ value: [UInt8]) -> [UInt8] {
    Array("opt_\(name)=".utf8) + quote(value) + [UInt8(ascii: "\n")]
  }

  /// The options of a verb as variables: `opt_NAME='VALUE'` for each that it declares, given or not,
  /// with the property's name in lower case and underscores. One option may be declared twice, as an
  /// operand and by name: the one that has a value counts.
  static func assignments(_ verb: any ParsableArguments) -> [UInt8] {
    var values: [String: [UInt8]] = [:]
    var order: [String] = []
    for declared in DeclaredValue.all(of: verb) {
      if values[declared.variable] == nil { order.append(declared.variable) }
      if (values[declared.variable] ?? []).isEmpty { values[declared.variable] = declared.word }
    }
    return order.flatMap { assignment($0, values[$0]!) }
  }
}
