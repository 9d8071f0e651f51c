import TBKCore

/// The layout of a header block (POSIX pax, "ustar Interchange Format"), and parsing of its fields.
package enum TarBlock {
  package static let size = 512

  static let name = 0..<100
  static let mode = 100..<108
  static let uid = 108..<116
  static let gid = 116..<124
  static let bodySize = 124..<136
  static let mtime = 136..<148
  static let checksum = 148..<156
  static let type = 156
  static let linkName = 157..<257
  /// Magic and version.
  static let magic = 257..<265
  static let userName = 265..<297
  static let groupName = 297..<329
  static let deviceMajor = 329..<337
  static let deviceMinor = 337..<345
  static let prefix = 345..<500

  static let ustarMagic: [UInt8] = Array("ustar\0".utf8) + Array("00".utf8)

  /// The maximum of 7 and 11 octal digits.
  static let maximumOctal7: UInt64 = 0o7777777
  static let maximumOctal11: UInt64 = 0o77777777777

  enum Dialect { case v7, ustar, gnu }

  /// Only ustar has a prefix field; the seventh edition's format lacks user and group names too.
  static func dialect(_ block: Span<UInt8>) -> Dialect {
    let start = magic.lowerBound
    for index in 0..<5 where block[start + index] != ustarMagic[index] { return .v7 }
    return switch block[start + 5] {
    case 0: .ustar
    case UInt8(ascii: " "): .gnu
    default: .v7
    }
  }

  /// The sum of the block's bytes, with the checksum field counted as spaces; old tars added signed chars.
  static func checksums(_ block: Span<UInt8>) -> (unsigned: Int, signed: Int) {
    var sum = 0
    var high = 0
    for index in 0..<size {
      let byte = block[index]
      sum &+= Int(byte)
      high &+= Int(byte >> 7)
    }
    for index in checksum {
      let byte = block[index]
      sum &-= Int(byte)
      high &-= Int(byte >> 7)
    }
    sum += checksum.count * 0x20
    return (sum, sum - 256 * high)
  }

  static func isZero(_ block: Span<UInt8>) -> Bool {
    for index in 0..<size where block[index] != 0 { return false }
    return true
  }

  /// The range of a field's text: up to its first NUL.
  static func text(_ block: Span<UInt8>, _ field: Range<Int>) -> Range<Int> {
    var end = field.lowerBound
    while end < field.upperBound, block[end] != 0 { end += 1 }
    return field.lowerBound..<end
  }

  /// Parses a number: octal digits after any spaces and before any NULs and spaces, or, for larger numbers as GNU and
  /// star write them, a big-endian two's complement number after 0x80 or 0xff.
  ///
  /// - Parameter blank: the value of a field with only NULs and spaces.
  /// - Returns: nil if it is neither, or does not fit 64 bits.
  static func number(_ block: Span<UInt8>, _ field: Range<Int>, blank: Int64? = 0) -> Int64? {
    let first = block[field.lowerBound]
    if first == 0x80 || first == 0xff {
      var value: Int64 = first == 0xff ? -1 : 0
      for index in field.dropFirst() {
        let (shifted, overflow) = value.multipliedReportingOverflow(by: 256)
        if overflow { return nil }
        value = shifted | Int64(block[index])
      }
      return value
    }
    var index = field.lowerBound
    while index < field.upperBound, block[index] == UInt8(ascii: " ") { index += 1 }
    let digits = index
    var value: Int64 = 0
    while index < field.upperBound, case let digit = block[index] &- UInt8(ascii: "0"), digit < 8 {
      value = value << 3 | Int64(digit)  // 12 digits at most
      index += 1
    }
    let isBlank = index == digits
    while index < field.upperBound {
      if block[index] != 0 && block[index] != UInt8(ascii: " ") { return nil }
      index += 1
    }
    return isBlank ? blank : value
  }
}
