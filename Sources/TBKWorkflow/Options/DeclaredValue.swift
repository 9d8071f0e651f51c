import ArgumentParser

/// A declared option, flag or operand of a verb, with its value.
struct DeclaredValue {
  /// The name of its shell variable, without `opt_`.
  let variable: String
  /// The option as typed, such as `--token-fd`; nil for operands.
  let option: String?
  let word: [UInt8]
  /// Whether the option takes no value.
  let isFlag: Bool
  /// The values of a repeatable option, or the single value of another.
  let words: [[UInt8]]

  /// The values of a verb and its option groups, in declaration order.
  static func all(of command: any ParsableArguments) -> [DeclaredValue] {
    var values: [DeclaredValue] = []
    for child in Mirror(reflecting: command).children {
      guard let label = child.label else { continue }
      if let group = child.value as? any SharedOptions {
        values += all(of: group.members)
      } else if let declared = child.value as? any DeclaredOption {
        let words = words(label)
        let name = words.last == "operand" ? words.dropLast() : words[...]
        values.append(
          DeclaredValue(
            variable: name.joined(separator: "_"),
            option: declared.isOperand ? nil : "--" + name.joined(separator: "-"),
            word: declared.value.shellWord, isFlag: declared.value is Bool,
            words: (declared.value as? any ShellValues)?.shellWords ?? [declared.value.shellWord]))
      }
    }
    return values
  }

  /// Splits a wrapper's label such as `_tokenFd`, for `tokenFd`, into words. A second declaration, such as
  /// `profileOperand` beside `profile`, ends with `operand`.
  private static func words(_ label: String) -> [String] {
    var words = [""]
    for character in label.drop(while: { $0 == "_" }) {
      if character.isUppercase { words.append("") }
      words[words.count - 1] += character.lowercased()
    }
    return words
  }
}

extension ParsableArguments {
  /// The first option of a group that has a value, as typed.
  var firstGiven: String? {
    DeclaredValue.all(of: self).first { !$0.word.isEmpty }?.option
  }
}

/// The wrappers of declared options, as a mirror shows them.
private protocol DeclaredOption {
  var value: any ShellValue { get }
  var isOperand: Bool { get }
}

extension Option: DeclaredOption where Value: ShellValue {
  fileprivate var value: any ShellValue { wrappedValue }
  fileprivate var isOperand: Bool { false }
}

extension Argument: DeclaredOption where Value: ShellValue {
  fileprivate var value: any ShellValue { wrappedValue }
  fileprivate var isOperand: Bool { true }
}

extension Flag: DeclaredOption where Value: ShellValue {
  fileprivate var value: any ShellValue { wrappedValue }
  fileprivate var isOperand: Bool { false }
}

private protocol SharedOptions {
  var members: any ParsableArguments { get }
}

extension OptionGroup: SharedOptions {
  fileprivate var members: any ParsableArguments { wrappedValue }
}
