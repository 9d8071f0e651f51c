import TBKCore

/// The fields that a pax header sets for a member; nil if the header block's field applies.
struct PaxHeader {
  static let attributePrefix: [UInt8] = Array("SCHILY.xattr.".utf8)

  var path: [UInt8]?
  var linkPath: [UInt8]?
  var userName: [UInt8]?
  var groupName: [UInt8]?
  var size: UInt64?
  var uid: UInt64?
  var gid: UInt64?
  var mtime: FileTime?
  var xattrs: [ExtendedAttribute] = []

  private enum Key {
    case path, linkPath, userName, groupName, size, uid, gid, mtime, characterSet, attribute
    case sparse, ignored
  }

  /// Adds the records in `bytes`, each "LENGTH KEY=VALUE\n"; the last record of a key wins.
  ///
  /// - Parameter isGlobal: whether they apply to all following members; then a path, size or attribute, which can apply
  ///   only to one member, is rejected.
  mutating func add(
    records bytes: Span<UInt8>, isGlobal: Bool, limits: TarLimits
  ) throws(Failure) {
    var start = 0
    while start < bytes.count {
      var index = start
      var length = 0
      while index < bytes.count, case let digit = bytes[index] &- UInt8(ascii: "0"), digit < 10 {
        length = length * 10 + Int(digit)
        if length > bytes.count - start { throw broken(start, "is longer than its header") }
        index += 1
      }
      guard index > start, index < bytes.count, bytes[index] == UInt8(ascii: " ") else {
        throw broken(start, "has no length")
      }
      let end = start + length - 1
      guard end > index, bytes[end] == UInt8(ascii: "\n") else {
        throw broken(start, "does not end where its length says")
      }
      let keyStart = index + 1
      var equals = keyStart
      while equals < end, bytes[equals] != UInt8(ascii: "=") { equals += 1 }
      guard equals < end, equals > keyStart else { throw broken(start, "has no key") }
      try set(
        bytes.extracting(keyStart..<equals), bytes.extracting(equals + 1..<end),
        isGlobal: isGlobal, limits: limits)
      start = end + 1
    }
    if xattrs.count > 1 {
      let names = xattrs.map { RawPath($0.name) }.sorted()
      for (one, next) in zip(names, names.dropFirst()) where one == next {
        throw Failure(.malformed, "the extended attribute \(one.display) appears twice")
      }
    }
  }

  private func broken(_ offset: Int, _ what: String) -> Failure {
    Failure(.malformed, "the record at byte \(offset) of a pax header \(what)")
  }

  private mutating func set(
    _ key: Span<UInt8>, _ value: Span<UInt8>, isGlobal: Bool, limits: TarLimits
  ) throws(Failure) {
    let known = PaxHeader.known(key)
    if isGlobal {
      switch known {
      case .path, .linkPath, .size, .attribute:
        throw Failure(
          .malformed, "a global header sets \(text(key)), which can only be one member's")
      default: break
      }
    }
    switch known {
    case .path: path = try PaxHeader.name(value, "path")
    case .linkPath: linkPath = try PaxHeader.name(value, "linkpath")
    case .userName: userName = try PaxHeader.words(value, "uname")
    case .groupName: groupName = try PaxHeader.words(value, "gname")
    case .size: size = try PaxHeader.number(value, "size")
    case .uid: uid = try PaxHeader.number(value, "uid")
    case .gid: gid = try PaxHeader.number(value, "gid")
    case .mtime: mtime = try PaxHeader.time(value)
    case .attribute:
      if xattrs.count >= limits.attributes {
        throw Failure(.malformed, "a member has over \(limits.attributes) extended attributes")
      }
      let name = try PaxHeader.attributeName(key)
      xattrs.append(ExtendedAttribute(name: name, value: Array(value)))
    case .characterSet:
      // Both mean raw bytes here; any other character set is unsupported.
      if !value.elementsEqual(PaxHeader.binary), !value.elementsEqual(PaxHeader.utf8),
        !value.isEmpty
      {
        throw Failure(.malformed, "a pax header has the unknown character set \(text(value))")
      }
    case .sparse:
      throw Failure(
        .malformed, "a sparse file in GNU's format cannot be read",
        hint: "make the tar without --sparse")
    case .ignored: break
    }
  }

  private func text(_ bytes: Span<UInt8>) -> String {
    RawPath(Array(bytes.count <= 100 ? bytes : bytes.extracting(0..<100))).display
  }

  private static let binary = Array("BINARY".utf8)
  private static let utf8 = Array("ISO-IR 10646 2000 UTF-8".utf8)
  private static let sparsePrefix = Array("GNU.sparse.".utf8)
  private static let keys: [(name: [UInt8], key: Key)] = [
    (Array("mtime".utf8), .mtime), (Array("path".utf8), .path),
    (Array("linkpath".utf8), .linkPath), (Array("size".utf8), .size), (Array("uid".utf8), .uid),
    (Array("gid".utf8), .gid), (Array("uname".utf8), .userName),
    (Array("gname".utf8), .groupName), (Array("hdrcharset".utf8), .characterSet),
  ]

  private static func known(_ key: Span<UInt8>) -> Key {
    for (name, known) in keys where key.elementsEqual(name) { return known }
    if key.starts(with: attributePrefix) { return .attribute }
    return key.starts(with: sparsePrefix) ? .sparse : .ignored
  }

  /// An empty value, which in POSIX deletes a field, is rejected: every member has a name.
  private static func name(_ value: Span<UInt8>, _ key: String) throws(Failure) -> [UInt8] {
    if value.isEmpty { throw Failure(.malformed, "a pax header has an empty \(key)") }
    return try words(value, key)
  }

  private static func words(_ value: Span<UInt8>, _ key: String) throws(Failure) -> [UInt8] {
    let bytes = Array(value)
    if bytes.contains(0) { throw Failure(.malformed, "a pax header has a NUL byte in its \(key)") }
    return bytes
  }

  /// Decimal digits; nil for an empty value, so that the header block's field applies.
  private static func number(_ value: Span<UInt8>, _ key: String) throws(Failure) -> UInt64? {
    if value.isEmpty { return nil }
    var number: UInt64 = 0
    for index in value.indices {
      let digit = value[index] &- UInt8(ascii: "0")
      let (scaled, high) = number.multipliedReportingOverflow(by: 10)
      let (sum, low) = scaled.addingReportingOverflow(UInt64(digit))
      if digit > 9 || high || low {
        throw Failure(.malformed, "a pax header has a \(key) that is not a number")
      }
      number = sum
    }
    return number
  }

  /// "[-]SECONDS[.DECIMALS]"; more than nine decimals are rounded down. For times close to 1970, and very far from it,
  /// Python writes an exponent, as in "1e-09" and "1e+16".
  private static func time(_ value: Span<UInt8>) throws(Failure) -> FileTime? {
    if value.isEmpty { return nil }
    if let plain = withoutExponent(value) { return try time(plain.span) }
    let invalid = Failure(.malformed, "a pax header has an mtime that is not a number")
    let outOfRange = Failure(.malformed, "a pax header has an mtime that no file can have")
    let isNegative = value[0] == UInt8(ascii: "-")
    var index = isNegative ? 1 : 0
    let first = index
    var seconds: UInt64 = 0
    while index < value.count, case let digit = value[index] &- UInt8(ascii: "0"), digit < 10 {
      let (scaled, high) = seconds.multipliedReportingOverflow(by: 10)
      let (sum, low) = scaled.addingReportingOverflow(UInt64(digit))
      if high || low { throw outOfRange }
      seconds = sum
      index += 1
    }
    if index == first { throw invalid }
    var nanoseconds: UInt32 = 0
    var unit: UInt32 = 100_000_000
    var roundsAway = false
    if index < value.count {
      guard value[index] == UInt8(ascii: ".") else { throw invalid }
      index += 1
      while index < value.count {
        let digit = value[index] &- UInt8(ascii: "0")
        if digit > 9 { throw invalid }
        nanoseconds += UInt32(digit) * unit
        // For negative times, down is away from zero.
        if unit == 0, digit != 0 { roundsAway = isNegative }
        unit /= 10
        index += 1
      }
    }
    if roundsAway {
      nanoseconds += 1
      if nanoseconds == 1_000_000_000 {
        if seconds == .max { throw outOfRange }
        (seconds, nanoseconds) = (seconds + 1, 0)
      }
    }
    guard let time = FileTime(isNegative: isNegative, seconds: seconds, nanoseconds: nanoseconds)
    else { throw outOfRange }
    return time
  }

  /// The same number without an exponent; nil unless it has one as Python writes it: negative, of two or three digits,
  /// for numbers below 0.0001, or positive, from 16 on, for numbers with more digits than a double.
  private static func withoutExponent(_ value: Span<UInt8>) -> [UInt8]? {
    guard let end = value.indices.first(where: { value[$0] == UInt8(ascii: "e") }),
      case let exponent = value.extracting((end + 1)...), (3...4).contains(exponent.count),
      exponent[0] == UInt8(ascii: "-") || exponent[0] == UInt8(ascii: "+")
    else { return nil }
    var places = 0
    for index in 1..<exponent.count {
      let digit = exponent[index] &- UInt8(ascii: "0")
      if digit > 9 { return nil }
      places = places * 10 + Int(digit)
    }
    let sign = value[0] == UInt8(ascii: "-") ? 1 : 0
    // One digit before the point, as Python writes it.
    guard end > sign, end == sign + 1 || end > sign + 2 && value[sign + 1] == UInt8(ascii: "."),
      places > 0
    else { return nil }
    let decimals = end > sign + 2 ? Array(value.extracting(sign + 2..<end)) : []
    var plain = sign == 1 ? [UInt8(ascii: "-")] : []
    if exponent[0] == UInt8(ascii: "+") {
      // Two digits are more than enough for any file's time.
      guard exponent.count == 3, places >= 16, decimals.count <= places,
        decimals.allSatisfy({ $0 &- UInt8(ascii: "0") < 10 })
      else { return nil }
      plain.append(value[sign])
      plain += decimals
      plain += Array(repeating: UInt8(ascii: "0"), count: places - decimals.count)
      return plain
    }
    plain += Array("0.".utf8)
    plain += Array(repeating: UInt8(ascii: "0"), count: places - 1)
    plain.append(value[sign])
    return plain + decimals
  }

  /// The name after `SCHILY.xattr.`, with GNU tar's two escapes decoded.
  private static func attributeName(_ key: Span<UInt8>) throws(Failure) -> [UInt8] {
    var name: [UInt8] = []
    var index = attributePrefix.count
    while index < key.count {
      let byte = key[index]
      if byte == 0 { throw Failure(.malformed, "an extended attribute has a NUL in its name") }
      if byte == UInt8(ascii: "%"), index + 2 < key.count {
        switch (key[index + 1], key[index + 2]) {
        case (UInt8(ascii: "2"), UInt8(ascii: "5")):
          name.append(UInt8(ascii: "%"))
          index += 3
          continue
        case (UInt8(ascii: "3"), UInt8(ascii: "D")):
          name.append(UInt8(ascii: "="))
          index += 3
          continue
        default: break
        }
      }
      name.append(byte)
      index += 1
    }
    if name.isEmpty { throw Failure(.malformed, "an extended attribute has no name") }
    return name
  }
}

extension Span where Element == UInt8 {
  fileprivate func starts(with prefix: [UInt8]) -> Bool {
    count >= prefix.count && extracting(0..<prefix.count).elementsEqual(prefix)
  }
}
