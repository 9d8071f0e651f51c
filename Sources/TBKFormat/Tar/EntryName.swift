import TBKCore

/// The rules for names of backup entries.
package enum EntryName {
  /// The maximum length of a name in bytes.
  package static let maximumLength = 64 << 10
  /// The maximum length of a component in bytes, as on Linux file systems (NAME_MAX).
  package static let maximumComponent = 255

  /// Throws `.malformed` unless the name is a relative path that is safe to extract.
  ///
  /// Safe means: not empty, not absolute, no empty, "." or ".." component, no NUL, and within the lengths above. A
  /// leading "./" is rejected like any other ".": see `normalised`.
  package static func check(_ name: Span<UInt8>) throws(Failure) {
    if name.isEmpty { throw Failure(.malformed, "an entry has an empty name") }
    if name.count > maximumLength {
      throw Failure(.malformed, "the name of an entry has \(name.count) bytes, more than 64 KiB")
    }
    if name[0] == slash { throw refusal(name, "is absolute") }
    var start = 0
    for index in 0...name.count {
      if index < name.count, name[index] != slash {
        if name[index] == 0 { throw refusal(name, "holds a NUL byte") }
        continue
      }
      switch index - start {
      case 0: throw refusal(name, "has an empty component")
      case 1 where name[start] == dot: throw refusal(name, "has a component '.'")
      case 2 where name[start] == dot && name[start + 1] == dot:
        throw refusal(name, "has a component '..'")
      case (maximumComponent + 1)...: throw refusal(name, "has a component over 255 bytes")
      default: start = index + 1
      }
    }
  }

  /// The name without the leading "./" that other programs write; empty for "." itself, the archived directory. Nothing
  /// else changes.
  package static func normalised(_ name: [UInt8]) -> [UInt8] {
    guard name.first == dot else { return name }
    if name.count == 1 { return [] }
    guard name[1] == slash else { return name }
    var start = 0
    while start + 1 < name.count, name[start] == dot, name[start + 1] == slash {
      start += 2
      while start < name.count, name[start] == slash { start += 1 }
    }
    if start + 1 == name.count, name[start] == dot { return [] }
    return Array(name[start...])
  }

  private static let slash = UInt8(ascii: "/")
  private static let dot = UInt8(ascii: ".")

  /// Truncates long names.
  private static func refusal(_ name: Span<UInt8>, _ what: String) -> Failure {
    let shown = name.count <= 300 ? name : name.extracting(0..<300)
    return Failure(.malformed, "the name \(RawPath(Array(shown)).display) \(what)")
  }
}
