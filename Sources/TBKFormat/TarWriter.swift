import TBKCore

/// Headers of a POSIX tar: ustar, preceded by a pax header where ustar cannot say it.
package enum TarWriter {
  /// The two zero blocks that end an archive.
  package static let end = [UInt8](repeating: 0, count: 2 * TarBlock.size)

  /// Zero bytes that follow a body of `size` bytes.
  package static func padding(after size: UInt64) -> Int {
    let used = Int(size % UInt64(TarBlock.size))
    return used == 0 ? 0 : TarBlock.size - used
  }

  /// What goes before the body of `member`.
  ///
  /// A pax header carries: a name that does not fit name and prefix, a link target over 100 bytes,
  /// user and group names over 31, any of these that is not ASCII, 8 GiB and more, an mtime before
  /// 1970, past 2242 or with a fraction, ids over seven octal digits, and extended attributes. If
  /// a text is not UTF-8, `hdrcharset=BINARY` comes first, so that raw bytes stand.
  ///
  /// - Throws: `.malformed` for what a tar cannot hold: an empty name or target, NUL in a text, a
  ///   name that ends in a slash, an mode over 0o7777, a body where none can be, and the kinds
  ///   that `TarMember` does not describe fully (devices, unknown ones).
  package static func header(for member: TarMember) throws(Failure) -> [UInt8] {
    try check(member)
    var path = member.name
    if member.kind == .directory { path.append(UInt8(ascii: "/")) }

    var pax = PaxWriter()
    let fields = isASCII(path) ? split(path) : nil
    if fields == nil { pax.add(text: "path", path) }
    if !fits(member.linkTarget, TarBlock.linkName) { pax.add(text: "linkpath", member.linkTarget) }
    // These two fields are strings in C: the last byte stays NUL.
    if !fits(member.userName, TarBlock.userName.dropLast()) {
      pax.add(text: "uname", member.userName)
    }
    if !fits(member.groupName, TarBlock.groupName.dropLast()) {
      pax.add(text: "gname", member.groupName)
    }
    if member.size > TarBlock.maximumOctal11 { pax.add(number: "size", member.size) }
    if member.uid > TarBlock.maximumOctal7 { pax.add(number: "uid", member.uid) }
    if member.gid > TarBlock.maximumOctal7 { pax.add(number: "gid", member.gid) }
    let (seconds, fraction) = member.mtime.quotientAndRemainder(dividingBy: 1_000_000_000)
    let plainTime = fraction == 0 && seconds >= 0 && seconds <= Int64(TarBlock.maximumOctal11)
    if !plainTime { pax.add(time: "mtime", member.mtime) }
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
    // Where the pax header overrides a field, what fits of it is for readers without pax.
    let (prefix, name) = fields ?? ([], path.prefix(TarBlock.name.count))
    appendBlock(
      to: &output, name: name, prefix: prefix, type: try typeFlag(member.kind), mode: member.mode,
      size: member.size > TarBlock.maximumOctal11 ? 0 : member.size,
      seconds: seconds < 0 || seconds > Int64(TarBlock.maximumOctal11) ? 0 : UInt64(seconds),
      member: member)
    return output
  }

  /// The name that readers without pax give the extended header, as Python's tarfile writes it.
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
      throw refusal(member, isLink ? "has no link target" : "is no link and has a target")
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

  /// The two fields of ustar that `path` fits, cut at a slash that neither holds; nil if none do.
  private static func split(
    _ path: [UInt8]
  ) -> (prefix: ArraySlice<UInt8>, name: ArraySlice<UInt8>)? {
    if path.count <= TarBlock.name.count { return ([], path[...]) }
    // The first slash that leaves little enough for `name`; `prefix` is then the shortest.
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
    let base = output.count
    output.append(zeros: TarBlock.size)
    func put(_ bytes: some Collection<UInt8>, _ field: Range<Int>) {
      var index = base + field.lowerBound
      for byte in bytes.prefix(field.count) {
        output[index] = byte
        index += 1
      }
    }
    /// Octal, zero-padded, with one NUL at the end of the field.
    func put(octal value: UInt64, _ field: Range<Int>) {
      var rest = value
      for index in field.dropLast().reversed() {
        output[base + index] = UInt8(ascii: "0") + UInt8(rest & 7)
        rest >>= 3
      }
    }
    func id(_ value: UInt64) -> UInt64 { value > TarBlock.maximumOctal7 ? 0 : value }
    put(name, TarBlock.name)
    put(octal: UInt64(mode), TarBlock.mode)
    put(octal: id(member?.uid ?? 0), TarBlock.uid)
    put(octal: id(member?.gid ?? 0), TarBlock.gid)
    put(octal: size, TarBlock.bodySize)
    put(octal: seconds, TarBlock.mtime)
    output[base + TarBlock.type] = type
    put(TarBlock.ustarMagic, TarBlock.magic)
    if let member {
      put(member.linkTarget, TarBlock.linkName)
      put(member.userName, TarBlock.userName.dropLast())
      put(member.groupName, TarBlock.groupName.dropLast())
    }
    put(octal: 0, TarBlock.deviceMajor)
    put(octal: 0, TarBlock.deviceMinor)
    put(prefix, TarBlock.prefix)
    let sum = TarBlock.checksums(output.span.extracting(base..<base + TarBlock.size)).unsigned
    // Six digits, NUL, space: the form that every tar since the seventh edition has written.
    put(octal: UInt64(sum), TarBlock.checksum.dropLast())
    output[base + TarBlock.checksum.upperBound - 1] = UInt8(ascii: " ")
  }
}

extension Array where Element == UInt8 {
  fileprivate mutating func append(zeros count: Int) {
    append(contentsOf: repeatElement(0, count: count))
  }
}

/// Collects the records of one pax header.
private struct PaxWriter {
  private var records: [UInt8] = []
  private var binary = false

  mutating func add(text key: String, _ value: [UInt8]) {
    if String(validating: value, as: UTF8.self) == nil { binary = true }
    add(Array(key.utf8), value)
  }

  mutating func add(number key: String, _ value: UInt64) {
    add(Array(key.utf8), Array(String(value).utf8))
  }

  /// Seconds, with nine decimals if there is a fraction; a sign covers both parts.
  mutating func add(time key: String, _ nanoseconds: Int64) {
    let (seconds, fraction) = nanoseconds.magnitude.quotientAndRemainder(dividingBy: 1_000_000_000)
    var text = (nanoseconds < 0 ? "-" : "") + String(seconds)
    if fraction != 0 {
      let digits = String(fraction)
      text += "." + String(repeating: "0", count: 9 - digits.utf8.count) + digits
    }
    add(Array(key.utf8), Array(text.utf8))
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
    add(key, attribute.value)
  }

  /// "LENGTH KEY=VALUE\n", where the length counts the whole record, itself included.
  private mutating func add(_ key: [UInt8], _ value: [UInt8]) {
    let rest = key.count + value.count + 3
    var length = rest + String(rest).utf8.count
    if rest + String(length).utf8.count != length { length = rest + String(length).utf8.count }
    records += Array(String(length).utf8)
    records.append(UInt8(ascii: " "))
    records += key
    records.append(UInt8(ascii: "="))
    records += value
    records.append(UInt8(ascii: "\n"))
  }

  /// All records, the character set first; empty if there is none to write.
  consuming func finished() -> [UInt8] {
    if !binary { return records }
    var first = PaxWriter()
    first.add(Array("hdrcharset".utf8), Array("BINARY".utf8))
    return first.records + records
  }
}
