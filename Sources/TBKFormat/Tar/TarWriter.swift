import TBKCore

/// Writes headers of a POSIX tar: ustar, preceded by a pax header if ustar is not enough.
package enum TarWriter {
  /// The two zero blocks that end an archive.
  package static let end = [UInt8](repeating: 0, count: 2 * TarBlock.size)

  /// The number of zero bytes after a body of `size` bytes.
  package static func padding(after size: UInt64) -> Int {
    let used = Int(size % UInt64(TarBlock.size))
    return used == 0 ? 0 : TarBlock.size - used
  }

  /// The header blocks of `member`.
  ///
  /// A pax header contains: a name that does not fit name and prefix, a link target over 100 bytes, user and group
  /// names over 31 bytes, any of these that is not ASCII, a size from 8 GiB on, an mtime before 1970, after 2242 or
  /// with a fraction, ids over seven octal digits, and extended attributes. If a text is not UTF-8, `hdrcharset=BINARY`
  /// comes first, so that raw bytes are kept.
  ///
  /// - Throws: `.malformed` for what a tar cannot represent: an empty name or target, a NUL in a text, a trailing slash
  ///   in a name, a mode over 0o7777, a body where none is allowed, and the kinds that `TarMember` does not describe
  ///   fully (devices, unknown ones).
  package static func header(for member: TarMember) throws(Failure) -> [UInt8] {
    try check(member)
    var path = member.name
    if member.kind == .directory { path.append(UInt8(ascii: "/")) }

    var pax = PaxWriter()
    let fields = isASCII(path) ? split(path) : nil
    if fields == nil { pax.add(text: "path", path) }
    if !fits(member.linkTarget, TarBlock.linkName) { pax.add(text: "linkpath", member.linkTarget) }
    // These two fields are C strings: the last byte stays NUL.
    if !fits(member.userName, TarBlock.userName.dropLast()) {
      pax.add(text: "uname", member.userName)
    }
    if !fits(member.groupName, TarBlock.groupName.dropLast()) {
      pax.add(text: "gname", member.groupName)
    }
    if member.size > TarBlock.maximumOctal11 { pax.add(number: "size", member.size) }
    if member.uid > TarBlock.maximumOctal7 { pax.add(number: "uid", member.uid) }
    if member.gid > TarBlock.maximumOctal7 { pax.add(number: "gid", member.gid) }
    let plainTimes = 0...Int64(TarBlock.maximumOctal11)
    let fitsTime = plainTimes.contains(member.mtime.seconds)
    if !fitsTime || member.mtime.nanoseconds != 0 { pax.add(time: "mtime", member.mtime) }
    for attribute in member.xattrs { pax.add(attribute) }

    var output: [UInt8] = []
    let records = pax.finished()
    if !records.isEmpty {
      output.reserveCapacity(2 * TarBlock.size + records.count + TarBlock.size)
      appendBlock(
        to: &output, name: paxName, prefix: [], type: UInt8(ascii: "x"), mode: 0o644,
        size: UInt64(records.count))
      output += records
      output.append(zeros: padding(after: UInt64(records.count)))
    }
    // If the pax header overrides a field, write what fits for readers without pax support.
    let (prefix, name) = fields ?? ([], path.prefix(TarBlock.name.count))
    appendBlock(
      to: &output, name: name, prefix: prefix, type: try typeFlag(member.kind), mode: member.mode,
      size: member.size > TarBlock.maximumOctal11 ? 0 : member.size,
      seconds: fitsTime ? member.mtime.seconds.magnitude : 0,
      member: member)
    return output
  }

  /// The name of the extended header for readers without pax support, the same as Python's tarfile.
  private static let paxName: ArraySlice<UInt8> = Array("././@PaxHeader".utf8)[...]

  private static func check(_ member: TarMember) throws(Failure) {
    if member.name.isEmpty { throw Failure(.malformed, "a tar member has an empty name") }
    let texts = [member.name, member.linkTarget, member.userName, member.groupName]
    if texts.contains(where: { $0.contains(0) }) {
      throw refusal(member, "has a NUL byte in a name")
    }
    if member.name.last == UInt8(ascii: "/") { throw refusal(member, "ends in a slash") }
    if member.mode > 0o7777 { throw refusal(member, "has a mode over 7777") }
    if member.size > UInt64(Int64.max) || member.kind != .file && member.size > 0 {
      throw refusal(member, "cannot have \(member.size) bytes of body")
    }
    let isLink = member.kind == .symlink || member.kind == .hardlink
    if isLink == member.linkTarget.isEmpty {
      throw refusal(member, isLink ? "has no link target" : "is not a link, but has a target")
    }
    for attribute in member.xattrs where attribute.name.isEmpty || attribute.name.contains(0) {
      throw refusal(member, "has an extended attribute without a valid name")
    }
  }

  private static func refusal(_ member: TarMember, _ what: String) -> Failure {
    Failure(.malformed, "tar member \(RawPath(member.name).display) \(what)")
  }

  private static func typeFlag(_ kind: TarKind) throws(Failure) -> UInt8 {
    switch kind {
    case .file: UInt8(ascii: "0")
    case .hardlink: UInt8(ascii: "1")
    case .symlink: UInt8(ascii: "2")
    case .directory: UInt8(ascii: "5")
    case .fifo: UInt8(ascii: "6")
    case .characterDevice, .blockDevice, .other:
      throw Failure(.malformed, "a tar member of kind \(kind) cannot be written")
    }
  }

  private static func isASCII(_ bytes: [UInt8]) -> Bool { bytes.allSatisfy { $0 < 0x80 } }

  private static func fits(_ text: [UInt8], _ field: Range<Int>) -> Bool {
    text.count <= field.count && isASCII(text)
  }

  /// Splits `path` at a slash into ustar's prefix and name; nil if it does not fit.
  private static func split(
    _ path: [UInt8]
  ) -> (prefix: ArraySlice<UInt8>, name: ArraySlice<UInt8>)? {
    if path.count <= TarBlock.name.count { return ([], path[...]) }
    // Find the first slash after which the rest fits `name`; this makes `prefix` as short as possible.
    let first = max(1, path.count - TarBlock.name.count - 1)
    guard first <= TarBlock.prefix.count, first < path.count - 1,
      let slash = path[first..<path.count - 1].firstIndex(of: UInt8(ascii: "/")),
      slash <= TarBlock.prefix.count
    else { return nil }
    return (path[..<slash], path[(slash + 1)...])
  }

  private static func appendBlock(
    to output: inout [UInt8], name: ArraySlice<UInt8>, prefix: ArraySlice<UInt8>, type: UInt8,
    mode: UInt32, size: UInt64, seconds: UInt64 = 0, member: TarMember? = nil
  ) {
    var bytes = blankBlock
    var block = bytes.mutableSpan
    block.put(name, TarBlock.name)
    block.put(octal: UInt64(mode), TarBlock.mode)
    block.put(octal: size, TarBlock.bodySize)
    block.put(octal: seconds, TarBlock.mtime)
    block[TarBlock.type] = type
    if let member {
      if member.uid <= TarBlock.maximumOctal7 { block.put(octal: member.uid, TarBlock.uid) }
      if member.gid <= TarBlock.maximumOctal7 { block.put(octal: member.gid, TarBlock.gid) }
      block.put(member.linkTarget[...], TarBlock.linkName)
      block.put(member.userName[...], TarBlock.userName.dropLast())
      block.put(member.groupName[...], TarBlock.groupName.dropLast())
    }
    block.put(prefix, TarBlock.prefix)
    // Six digits, NUL, space: the form that every tar has written since the seventh edition.
    let sum = TarBlock.checksums(block.span).unsigned
    block.put(octal: UInt64(sum), TarBlock.checksum.dropLast())
    output += bytes
  }

  /// The common part of all blocks: the magic, and zero ids and device numbers.
  private static let blankBlock: [UInt8] = {
    var bytes = [UInt8](repeating: 0, count: TarBlock.size)
    var block = bytes.mutableSpan
    for field in [TarBlock.uid, TarBlock.gid, TarBlock.deviceMajor, TarBlock.deviceMinor] {
      block.put(octal: 0, field)
    }
    block.put(TarBlock.ustarMagic[...], TarBlock.magic)
    block[TarBlock.checksum.upperBound - 1] = UInt8(ascii: " ")
    return bytes
  }()
}

extension MutableSpan where Element == UInt8 {
  /// Writes as much of `bytes` as fits `field`.
  fileprivate mutating func put(_ bytes: ArraySlice<UInt8>, _ field: Range<Int>) {
    var index = field.lowerBound
    for byte in bytes.prefix(field.count) {
      self[index] = byte
      index += 1
    }
  }

  /// Writes octal digits, zero-padded, with one NUL at the end of the field.
  fileprivate mutating func put(octal value: UInt64, _ field: Range<Int>) {
    var rest = value
    var index = field.upperBound - 1
    self[index] = 0
    while index > field.lowerBound {
      index -= 1
      self[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest & 7)
      rest >>= 3
    }
  }
}

extension Array where Element == UInt8 {
  fileprivate mutating func append(zeros count: Int) {
    append(contentsOf: repeatElement(0, count: count))
  }

  /// Appends decimal digits, zero-padded to `width`.
  fileprivate mutating func append(decimal value: UInt64, width: Int = 1) {
    let start = count
    var rest = value
    repeat {
      append(UInt8(ascii: "0") + UInt8(rest % 10))
      rest /= 10
    } while rest != 0 || count - start < width
    self[start...].reverse()
  }
}

/// Collects the records of one pax header.
private struct PaxWriter {
  private var records: [UInt8] = []
  private var binary = false

  mutating func add(text key: StaticString, _ value: [UInt8]) {
    if String(validating: value, as: UTF8.self) == nil { binary = true }
    begin(key, valueCount: value.count)
    end(value)
  }

  mutating func add(number key: StaticString, _ value: UInt64) {
    var digits: [UInt8] = []
    digits.append(decimal: value)
    begin(key, valueCount: digits.count)
    end(digits)
  }

  /// Seconds, with nine decimals if there is a fraction; the sign applies to both.
  mutating func add(time key: StaticString, _ time: FileTime) {
    let (isNegative, seconds, fraction) = time.magnitude
    var text: [UInt8] = []
    text.reserveCapacity(24)
    if isNegative { text.append(UInt8(ascii: "-")) }
    text.append(decimal: seconds)
    if fraction != 0 {
      text.append(UInt8(ascii: "."))
      text.append(decimal: UInt64(fraction), width: 9)
    }
    begin(key, valueCount: text.count)
    end(text)
  }

  /// `SCHILY.xattr.NAME`, with "%" and "=" in the name escaped as GNU tar does.
  mutating func add(_ attribute: ExtendedAttribute) {
    var key = PaxHeader.attributePrefix
    for byte in attribute.name {
      switch byte {
      case UInt8(ascii: "%"): key += Array("%25".utf8)
      case UInt8(ascii: "="): key += Array("%3D".utf8)
      default: key.append(byte)
      }
    }
    begin(key.span, valueCount: attribute.value.count)
    end(attribute.value)
  }

  private mutating func begin(_ key: StaticString, valueCount: Int) {
    let bytes = unsafe UnsafeBufferPointer(start: key.utf8Start, count: key.utf8CodeUnitCount)
    unsafe begin(Span(_unsafeElements: bytes), valueCount: valueCount)
  }

  /// "LENGTH KEY=", where the length is that of the whole record, including itself.
  private mutating func begin(_ key: Span<UInt8>, valueCount: Int) {
    let rest = key.count + valueCount + 3
    var width = 1
    var bound = 10
    while rest + width >= bound {
      width += 1
      bound *= 10
    }
    records.append(decimal: UInt64(rest + width))
    records.append(UInt8(ascii: " "))
    records.append(key)
    records.append(UInt8(ascii: "="))
  }

  private mutating func end(_ value: [UInt8]) {
    records += value
    records.append(UInt8(ascii: "\n"))
  }

  /// All records, the character set first; empty if there are none.
  consuming func finished() -> [UInt8] {
    if !binary { return records }
    var first = PaxWriter()
    first.add(text: "hdrcharset", Array("BINARY".utf8))
    return first.records + records
  }
}
