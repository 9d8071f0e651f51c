import TBKCore
import TBKFormat

/// The findings of doctor, for people and as JSON.
struct DoctorReport {
  let findings: [Finding]
  /// Names and values that describe the machine and the suite.
  let environment: [(name: String, value: String)]

  var isInOrder: Bool { !findings.contains { $0.result == .fail } }

  var json: JSON {
    .object([
      "ok": .bool(isInOrder),
      "environment": .object(environment.map { JSON.Member($0.name, .string($0.value)) }),
      "checks": .array(
        findings.map {
          .object([
            "check": .string($0.check), "result": .string($0.result.rawValue), "message": .string($0.message),
            "hint": $0.hint.isEmpty ? .null : .string($0.hint),
          ])
        }),
    ])
  }

  /// - Parameters:
  ///   - quiet: whether to show only problems.
  ///   - coloured: whether to show results in colour.
  func text(quiet: Bool, coloured: Bool) -> String {
    func padded(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(width - text.utf8.count, 0))
    }
    var text = ""
    if !quiet {
      for (name, value) in environment { text += padded(name, 14) + value + "\n" }
      text += "\n"
    }
    for finding in findings where !quiet || finding.result == .fail || finding.result == .warn {
      let word = finding.result.rawValue
      let colour = coloured ? Self.colours[finding.result] : nil
      text += colour.map { "\u{1b}[\($0)m\(word)\u{1b}[0m" } ?? word
      text += padded("", 6 - word.utf8.count) + padded(finding.check, 15) + Self.line(finding.message) + "\n"
      if !finding.hint.isEmpty { text += padded("", 21) + Self.line(finding.hint) + "\n" }
    }
    if quiet { return text }
    func count(_ result: Finding.Result) -> UInt64 { UInt64(findings.count { $0.result == result }) }
    return text
      + "\n\(count(.ok)) in order, \(counted(count(.note), "note")), \(counted(count(.warn), "warning")), "
      + "\(count(.fail)) failed\n"
  }

  private static let colours: [Finding.Result: Int] = [.ok: 32, .warn: 33, .fail: 31]

  /// On one line, with control characters escaped: names in it are untrusted.
  private static func line(_ text: String) -> String {
    var out = ""
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0x09: out += "\\t"
      case 0x0a: out += "\\n"
      case ..<0x20, 0x7f..<0xa0:
        for byte in String(scalar).utf8 {
          let digits = String(byte, radix: 8)
          out += "\\" + String(repeating: "0", count: 3 - digits.count) + digits
        }
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out
  }
}
