/// A path or name as the bytes that the file system holds: never normalised, never case-folded,
/// not necessarily UTF-8.
package struct RawPath: Hashable, Comparable, Sendable {
  package var bytes: [UInt8]

  package init(_ bytes: [UInt8]) { self.bytes = bytes }
  package init(_ text: String) { bytes = Array(text.utf8) }

  /// The path of a URL (RFC 3986, 2.1); nil for an invalid escape or a NUL byte.
  package init?(percentEncoded text: ArraySlice<UInt8>) {
    bytes = []
    var index = text.startIndex
    while index < text.endIndex {
      if text[index] != UInt8(ascii: "%") {
        bytes.append(text[index])
        index += 1
        continue
      }
      guard text.endIndex - index >= 3, let high = hexValue(text[index + 1]),
        let low = hexValue(text[index + 2])
      else { return nil }
      bytes.append(high << 4 | low)
      index += 3
    }
    if bytes.contains(0) { return nil }
  }

  package static func < (one: RawPath, other: RawPath) -> Bool {
    one.bytes.lexicographicallyPrecedes(other.bytes)
  }

  package var isEmpty: Bool { bytes.isEmpty }
  package var isAbsolute: Bool { bytes.first == UInt8(ascii: "/") }

  /// What follows the last slash.
  package var lastComponent: RawPath {
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return self }
    return RawPath(Array(bytes[(slash + 1)...]))
  }

  /// What precedes the last slash: "." without one, "/" for a name in the root.
  package var parent: RawPath {
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return RawPath(".") }
    return slash == 0 ? RawPath("/") : RawPath(Array(bytes[..<slash]))
  }

  package func appending(_ component: RawPath) -> RawPath {
    if isEmpty { return component }
    let separator: [UInt8] = bytes.last == UInt8(ascii: "/") ? [] : [UInt8(ascii: "/")]
    return RawPath(bytes + separator + component.bytes)
  }

  package func appending(_ component: String) -> RawPath { appending(RawPath(component)) }

  /// The bytes as text, each byte that is not UTF-8 replaced: for people, never for lookups.
  package var text: String { String(decoding: bytes, as: UTF8.self) }

  /// As git quotes names (`core.quotePath`): unchanged if plain ASCII, else in double quotes with
  /// C escapes and octal bytes.
  package var quoted: String { RawPath.quote(bytes.span) }

  /// Whether it stands for standard input or output.
  package var isStandardStream: Bool { bytes == [UInt8(ascii: "-")] }

  /// In single quotes, for messages; control characters and bytes that are not ASCII escaped.
  package var display: String {
    let plain = quoted
    return plain.first == "\"" ? plain : "'\(plain)'"
  }

  package static func quote(_ bytes: Span<UInt8>) -> String {
    var output: [UInt8] = []
    var special = false
    for index in bytes.indices {
      let byte = bytes[index]
      let letter: UInt8? =
        switch byte {
        case 7: UInt8(ascii: "a")
        case 8: UInt8(ascii: "b")
        case 9: UInt8(ascii: "t")
        case 10: UInt8(ascii: "n")
        case 11: UInt8(ascii: "v")
        case 12: UInt8(ascii: "f")
        case 13: UInt8(ascii: "r")
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): byte
        default: nil
        }
      if let letter {
        special = true
        output += [UInt8(ascii: "\\"), letter]
      } else if byte < 0x20 || byte >= 0x7f {
        special = true
        output.append(UInt8(ascii: "\\"))
        for shift in [6, 3, 0] { output.append(UInt8(ascii: "0") + (byte >> UInt8(shift)) & 7) }
      } else {
        output.append(byte)
      }
    }
    let text = String(decoding: output, as: UTF8.self)
    return special ? "\"\(text)\"" : text
  }

  /// Lends the bytes as a C string. They must hold no NUL: the kernel would see a shorter name.
  package func withCString<R>(_ body: (UnsafePointer<CChar>) throws(Failure) -> R) throws(Failure) -> R {
    if bytes.contains(0) { throw Failure(.malformed, "a name holds a NUL byte") }
    let terminated = bytes + [0]
    return try unsafe withPointer(terminated, body)
  }
}

/// A typed-throws bridge: the closures of the standard library rethrow any error.
private func withPointer<R>(
  _ bytes: [UInt8], _ body: (UnsafePointer<CChar>) throws(Failure) -> R
) throws(Failure) -> R {
  let result: Result<R, Failure> = unsafe bytes.withUnsafeBytes { raw in
    do throws(Failure) {
      return .success(try unsafe body(raw.baseAddress!.assumingMemoryBound(to: CChar.self)))
    } catch {
      return .failure(error)
    }
  }
  return try result.get()
}
