import ArgumentParser

/// A declared option, flag or operand of a verb, with what it got.
struct DeclaredValue {
  /// Of the variable that a script finds it in, without `opt_`.
  let variable: String
  /// As it is typed, `--token-fd`; nil for operands.
  let option: String?
  let word: [UInt8]
  /// Whether the option stands alone.
  let isFlag: Bool
  /// The values of an option that can be repeated, or the one of another.
  let words: [[UInt8]]

  /// Those of a verb and of the groups in it, in the order of their declaration.
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

  /// `_tokenFd`, as the wrapper of `tokenFd` is called, in words. What is declared a second time, as
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
  /// The first option of a group that has a value, as it is typed.
  var firstGiven: String? {
    DeclaredValue.all(of: self).first { !$0.word.isEmpty }?.option
  }
}

/// The wrappers of declared options, which a mirror shows.
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
