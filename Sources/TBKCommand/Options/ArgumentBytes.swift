import ArgumentParser
import CSystem
import TBKCore

/// Arguments are bytes to the kernel and strings to the parser. Bytes that are not UTF-8 are represented by private-use
/// code points, and converted back unchanged.
package enum ArgumentBytes {
  /// U+10FF00 stands for byte 0, U+10FFFF for byte 255.
  private static let base: UInt32 = 0x10_ff00

  package static func encode(_ bytes: [UInt8]) -> String {
    if let text = String(validating: bytes, as: UTF8.self),
      !text.unicodeScalars.contains(where: { $0.value >= base })
    {
      return text
    }
    var text = String.UnicodeScalarView()
    var index = 0
    while index < bytes.count {
      var length = 1
      var scalar = Unicode.Scalar(base + UInt32(bytes[index]))!
      // The longest valid UTF-8 character at this position, if any.
      for candidate in 1...4 where index + candidate <= bytes.count {
        let piece = bytes[index..<index + candidate]
        if let valid = String(validating: piece, as: UTF8.self)?.unicodeScalars.first,
          valid.value < base
        {
          (scalar, length) = (valid, candidate)
          break
        }
      }
      text.append(scalar)
      index += length
    }
    return String(text)
  }

  package static func decode(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    for scalar in text.unicodeScalars {
      if scalar.value >= base {
        bytes.append(UInt8(scalar.value - base))
      } else {
        bytes += UTF8.encode(scalar)!
      }
    }
    return bytes
  }

  /// The process's own arguments, without the program name.
  package static func ofProcess() -> [String] {
    var arguments: [String] = []
    while let pointer = unsafe tbk_argument(Int32(arguments.count + 1)) {
      var bytes: [UInt8] = []
      var cursor = unsafe pointer
      while unsafe cursor.pointee != 0 {
        unsafe bytes.append(UInt8(bitPattern: cursor.pointee))
        unsafe cursor = unsafe cursor.successor()
      }
      arguments.append(encode(bytes))
    }
    return arguments
  }
}

/// Paths, names and patterns can be options and operands as bytes.
extension RawPath: ExpressibleByArgument {
  package init?(argument: String) {
    self.init(ArgumentBytes.decode(argument))
  }

  package var defaultValueDescription: String { text }
}
