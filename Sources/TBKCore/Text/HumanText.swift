/// A size for people: powers of 1024, one decimal.
package func humanSize(_ bytes: UInt64) -> String {
  if bytes < 1024 { return "\(bytes) B" }
  var value = Double(bytes)
  var unit = -1
  let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
  while value >= 1023.95, unit < units.count - 1 {
    value /= 1024
    unit += 1
  }
  let tenths = Int((value * 10).rounded())
  return "\(tenths / 10).\(tenths % 10) \(units[unit])"
}

/// A duration for people: `40 s`, `3 min 5 s`, `2 h 10 min`.
package func humanDuration(_ seconds: UInt64) -> String {
  switch seconds {
  case ..<60: "\(seconds) s"
  case ..<3600: "\(seconds / 60) min \(seconds % 60) s"
  default: "\(seconds / 3600) h \(seconds / 60 % 60) min"
  }
}

/// A number with its digits grouped by three.
package func groupedDigits(_ number: UInt64) -> String {
  var text = ""
  let digits = String(number)
  for (index, digit) in digits.enumerated() {
    if index > 0, (digits.count - index) % 3 == 0 { text += "," }
    text.append(digit)
  }
  return text
}
