/// A double as Python's `repr` writes it: the shortest digits that parse to the same value, with an exponent below 1e-4
/// and from 1e16 on.
///
/// - Parameter value: must be finite.
package func pythonRepresentation(_ value: Double) -> String {
  let shortest = "\(value)"  // Shortest round-trip digits; only the notation may differ.
  let magnitude = abs(value)
  if magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16) {
    guard shortest.utf8.contains(UInt8(ascii: "e")),
      let exponent = shortest.firstIndex(of: "e")
    else { return shortest }
    return expanded(shortest[..<exponent], exponent: Int(shortest[shortest.index(after: exponent)...]) ?? 0)
  }
  guard let position = shortest.firstIndex(of: "e") else { return shortest }
  var mantissa = shortest[..<position]
  if mantissa.hasSuffix(".0") { mantissa = mantissa.dropLast(2) }
  let exponent = Int(shortest[shortest.index(after: position)...]) ?? 0
  let digits = String(abs(exponent))
  return "\(mantissa)e\(exponent < 0 ? "-" : "+")\(digits.count < 2 ? "0" : "")\(digits)"
}

/// `mantissa` × 10^`exponent` without an exponent, for exponents that only append digits.
private func expanded(_ mantissa: Substring, exponent: Int) -> String {
  let negative = mantissa.first == "-"
  let digits = mantissa.filter { $0 != "-" && $0 != "." }
  let whole = mantissa.drop { $0 == "-" }.prefix { $0 != "." }.count
  let point = whole + exponent
  let sign = negative ? "-" : ""
  if point <= 0 { return "\(sign)0.\(String(repeating: "0", count: -point))\(digits)" }
  if point >= digits.count {
    return "\(sign)\(digits)\(String(repeating: "0", count: point - digits.count)).0"
  }
  return "\(sign)\(digits.prefix(point)).\(digits.dropFirst(point))"
}
