import ArgumentParser
import TBKCommand
import TBKCore

/// A value of an option or operand that a shell variable can contain.
///
/// An option that was not given is the empty word, a flag is `1`, and several values are words quoted for `eval`.
protocol ShellValue {
  var shellWord: [UInt8] { get }
}

extension Bool: ShellValue {
  var shellWord: [UInt8] { self ? [UInt8(ascii: "1")] : [] }
}

extension Int: ShellValue {
  var shellWord: [UInt8] { Array(String(self).utf8) }
}

extension String: ShellValue {
  /// Bytes that are not UTF-8 are preserved.
  var shellWord: [UInt8] { ArgumentBytes.decode(self) }
}

extension RawPath: ShellValue {
  var shellWord: [UInt8] { bytes }
}

extension Optional: ShellValue where Wrapped: ShellValue {
  var shellWord: [UInt8] { self?.shellWord ?? [] }
}

extension Array: ShellValue where Element: ShellValue {
  var shellWord: [UInt8] {
    let words: [[UInt8]] = map { ShellScript.quote($0.shellWord) }
    return [UInt8](words.joined(separator: [UInt8(ascii: " ")]))
  }
}

/// Several values as separate words.
protocol ShellValues {
  var shellWords: [[UInt8]] { get }
}

extension Array: ShellValues where Element: ShellValue {
  var shellWords: [[UInt8]] { map(\.shellWord) }
}

extension ShellValue where Self: RawRepresentable, RawValue == String {
  var shellWord: [UInt8] { Array(rawValue.utf8) }
}
