extension Array where Element == UInt8 {
  /// Appends a span; one copy.
  package mutating func append(_ span: Span<UInt8>) {
    unsafe span.withUnsafeBufferPointer { bytes in
      unsafe append(contentsOf: bytes)
    }
  }

  package init(_ span: Span<UInt8>) {
    self = []
    append(span)
  }

  /// Overwrites the first `source.count` bytes, which must exist.
  package mutating func replaceFront(with source: Span<UInt8>) {
    var front = mutableSpan
    front.copy(from: source)
  }

  /// An integer of `width` bytes, most significant first.
  package mutating func append(bigEndian value: UInt64, width: Int) {
    for shift in stride(from: (width - 1) * 8, through: 0, by: -8) {
      append(UInt8(truncatingIfNeeded: value >> UInt64(shift)))
    }
  }

  /// Lower-case hexadecimal.
  package var hex: String { span.hex }

  /// Decodes an even number of hexadecimal digits in either case; nil for anything else.
  package init?(hex: some StringProtocol) {
    self = []
    var high: UInt8?
    for digit in hex.utf8 {
      guard let value = hexValue(digit) else { return nil }
      if let first = high {
        append(first << 4 | value)
        high = nil
      } else {
        high = value
      }
    }
    guard high == nil else { return nil }
  }
}

/// The value of one hexadecimal digit.
package func hexValue(_ digit: UInt8) -> UInt8? {
  switch digit {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
  case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
  case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
  default: nil
  }
}

/// The digits of lower-case hexadecimal.
package let hexDigits: [UInt8] = Array("0123456789abcdef".utf8)

extension Span where Element == UInt8 {
  /// Lower-case hexadecimal.
  package var hex: String {
    var text: [UInt8] = []
    text.reserveCapacity(count * 2)
    for index in indices {
      text.append(hexDigits[Int(self[index] >> 4)])
      text.append(hexDigits[Int(self[index] & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }

  package func elementsEqual(_ other: Span<UInt8>) -> Bool {
    guard count == other.count else { return false }
    for index in indices where self[index] != other[index] { return false }
    return true
  }

  package func elementsEqual(_ other: [UInt8]) -> Bool { elementsEqual(other.span) }
}

extension MutableSpan where Element == UInt8 {
  /// Copies `source` to the front; `source` must fit.
  package mutating func copy(from source: Span<UInt8>) {
    precondition(source.count <= count)
    if source.isEmpty { return }
    unsafe withUnsafeMutableBufferPointer { target in
      unsafe source.withUnsafeBufferPointer { bytes in
        unsafe target.baseAddress!.update(from: bytes.baseAddress!, count: bytes.count)
      }
    }
  }
}

extension FixedWidthInteger {
  /// `self + other`, or `.malformed` naming the value that overflowed.
  package func adding(_ other: Self, _ what: @autoclosure () -> String) throws(Failure) -> Self {
    let (sum, overflow) = addingReportingOverflow(other)
    if overflow { throw Failure(.malformed, "\(what()) is out of range") }
    return sum
  }
}
