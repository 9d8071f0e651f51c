import TBKCore

extension JSONReader {
  /// Splits the canonical text of one of our objects into its members.
  static func rawMembers(of text: [UInt8]) throws(Failure) -> [ManifestEntry.Extra] {
    var reader = JSONReader(text)
    var members: [ManifestEntry.Extra] = []
    try reader.beginObject()
    var first = true
    while let key = try reader.nextKey(&first) {
      let value = Array(try reader.skip())
      members.append(ManifestEntry.Extra(key: String(decoding: key, as: UTF8.self), value: value))
    }
    try reader.end()
    return members
  }

  /// Parses `"key": value` and nothing else; returns the value in canonical form.
  static func rawMember(of text: [UInt8]) throws(Failure) -> ManifestEntry.Extra {
    var reader = JSONReader(text)
    let key = try reader.string()
    try reader.colon()
    let value = try reader.value().canonical()
    try reader.end()
    guard let name = String(validating: key, as: UTF8.self) else {
      throw Failure(.malformed, "a key is not UTF-8")
    }
    return ManifestEntry.Extra(key: name, value: value)
  }
}

extension ManifestEntry {
  private enum Field: String, CaseIterable {
    case ctime_ns, device, gid, group, hard_link, inode, link_target, modified_at, mtime_ns
    case offset, permissions, relative_path, sha256, size, stored_as, stored_in, type, uid, user, xattrs

    var bit: UInt32 {
      switch self {
      case .ctime_ns: 0
      case .device: 1
      case .gid: 2
      case .group: 3
      case .hard_link: 4
      case .inode: 5
      case .link_target: 6
      case .modified_at: 7
      case .mtime_ns: 8
      case .permissions: 9
      case .relative_path: 10
      case .sha256: 11
      case .size: 12
      case .stored_as: 13
      case .stored_in: 14
      case .type: 15
      case .uid: 16
      case .user: 17
      case .xattrs: 18
      case .offset: 19
      }
    }
  }

  /// The fields, indexed by the length of their names.
  private static let fields: [[(name: [UInt8], field: Field)]] = {
    var table = [[(name: [UInt8], field: Field)]](repeating: [], count: 16)
    for field in Field.allCases {
      let name = Array(field.rawValue.utf8)
      table[name.count].append((name, field))
    }
    return table
  }()

  private static func field(_ key: JSONReader.PlainKey, in reader: JSONReader) -> Field? {
    switch key {
    case .plain(let range):
      guard range.count < fields.count else { return nil }
      for candidate in fields[range.count] where reader.matches(range, candidate.name) {
        return candidate.field
      }
      return nil
    case .decoded(let name):
      guard name.count < fields.count else { return nil }
      return fields[name.count].first { $0.name == name }?.field
    }
  }

  /// The fields parsed so far.
  private struct FieldSet {
    private var bits: UInt32 = 0

    func contains(_ field: Field) -> Bool { bits & 1 << field.bit != 0 }

    /// Returns whether it is new.
    mutating func insert(_ field: Field) -> Bool {
      let isNew = !contains(field)
      bits |= 1 << field.bit
      return isNew
    }
  }

  /// Parses one entry.
  ///
  /// - Parameters:
  ///   - allowsDeferred: whether a file's hash may be null.
  ///   - isRoot: whether it is the manifest's `root`, which has no path, size or hash.
  init(parsing text: [UInt8], allowsDeferred: Bool, isRoot: Bool = false) throws(Failure) {
    self.init(path: [], type: .file, size: 0, sha256: nil, mode: 0, modifiedAt: 0)
    hasType = false
    var reader = JSONReader(text)
    try reader.beginObject()
    var first = true
    var seen = FieldSet()
    var unknown: Set<[UInt8]> = []
    while let key = try reader.nextPlainKey(&first) {
      guard let field = ManifestEntry.field(key, in: reader), !(isRoot && field == .relative_path)
      else {
        let bytes = reader.bytes(of: key)
        guard let name = String(validating: bytes, as: UTF8.self), unknown.insert(bytes).inserted
        else { throw Failure(.malformed, "an entry has a bad or repeated key") }
        extras.append(Extra(key: name, value: try reader.value().canonical()))
        continue
      }
      guard seen.insert(field) else {
        throw Failure(.malformed, "\"\(field.rawValue)\" appears twice in an entry")
      }
      do throws(Failure) {
        try read(field, from: &reader, allowsDeferred: allowsDeferred)
      } catch {
        throw error.within("\"\(field.rawValue)\"")
      }
    }
    try reader.end()
    do throws(Failure) {
      try check(seen, isRoot: isRoot)
    } catch {
      throw error.within("entry \(RawPath(path).display)")
    }
  }

  private mutating func read(
    _ field: Field, from reader: inout JSONReader, allowsDeferred: Bool
  ) throws(Failure) {
    switch field {
    case .ctime_ns: ctime = try reader.time()
    case .device: device = try reader.integer()
    case .gid: gid = try reader.integer()
    case .group: group = try reader.string()
    case .hard_link: hardLink = try reader.name()
    case .inode: inode = try reader.integer()
    case .link_target:
      let target = try reader.string()
      guard !target.isEmpty, target.count < 4096, !target.contains(0) else {
        throw Failure(.malformed, "not the target of a symbolic link")
      }
      linkTarget = target
    case .modified_at:
      let token = String(decoding: try reader.number(), as: UTF8.self)
      guard let value = Double(token), value.isFinite else {
        throw Failure(.malformed, "out of range")
      }
      modifiedAt = value
      if pythonRepresentation(value) != token {
        extras.append(Extra(key: "modified_at", value: Array(token.utf8)))
      }
    case .mtime_ns: mtime = try reader.time()
    case .offset:
      let value: UInt64 = try reader.integer()
      if value > UInt64(Int64.max) { throw Failure(.malformed, "out of range") }
      offset = value
    case .permissions: mode = try reader.integer()
    case .relative_path: path = try reader.name()
    case .sha256:
      if allowsDeferred, try reader.kind() == .null { return try reader.null() }
      guard let digest = Digest(hexDigits: try reader.string()) else {
        throw Failure(.malformed, "not 64 hexadecimal digits")
      }
      sha256 = digest
    case .size:
      size = try reader.integer()
      if size > UInt64(Int64.max) { throw Failure(.malformed, "out of range") }
    case .stored_as: storedAs = try reader.name()
    case .stored_in:
      let id = String(decoding: try reader.string(), as: UTF8.self)
      guard Digest(hex: id) != nil else { throw Failure(.malformed, "not a backup id") }
      storedIn = id
    case .type:
      guard let type = EntryType(try reader.string()) else {
        throw Failure(.malformed, "not a type that is backed up")
      }
      self.type = type
      hasType = true
    case .uid: uid = try reader.integer()
    case .user: user = try reader.string()
    case .xattrs: xattrs = try reader.attributes()
    }
  }

  private func check(_ seen: FieldSet, isRoot: Bool) throws(Failure) {
    for field in [Field.permissions, .modified_at] where !seen.contains(field) {
      throw Failure(.malformed, "\"\(field.rawValue)\" is missing")
    }
    if isRoot {
      if offset != nil { throw Failure(.malformed, "\"offset\" is only allowed on files") }
      return
    }
    for field in [Field.relative_path, .sha256, .size] where !seen.contains(field) {
      throw Failure(.malformed, "\"\(field.rawValue)\" is missing")
    }
    let isLink = type == .symlink
    guard isLink == (linkTarget != nil) else {
      throw Failure(.malformed, isLink ? "\"link_target\" is missing" : "it has a \"link_target\"")
    }
    if type != .file {
      guard size == 0, sha256 == .ofNothing || sha256 == nil else {
        throw Failure(.malformed, "it is not a file, but has content")
      }
      guard hardLink == nil, storedIn == nil, offset == nil else {
        throw Failure(.malformed, "\"hard_link\", \"stored_in\" and \"offset\" are only allowed on files")
      }
    }
    if hasType, let expected = type.modeBits, mode & 0o170000 != expected {
      throw Failure(.malformed, "\"type\" and \"permissions\" contradict each other")
    }
    if hardLink != nil, storedIn != nil || offset != nil {
      throw Failure(.malformed, "a hard link has no content of its own")
    }
    if offset != nil, size == 0 {
      throw Failure(.malformed, "\"offset\" is not allowed on an empty file")
    }
  }
}

extension EntryType {
  /// The type bits of `st_mode`.
  package var modeBits: UInt32? {
    switch self {
    case .file: 0o100000
    case .directory: 0o040000
    case .symlink: 0o120000
    }
  }
}

extension JSONReader {
  /// An integer in its canonical form that fits the type.
  fileprivate mutating func integer<Value: FixedWidthInteger>() throws(Failure) -> Value {
    let token = try number()
    let isNegative = token.first == UInt8(ascii: "-")
    let digits = isNegative ? token.dropFirst() : token
    var value: Value = 0
    var overflow = isNegative && digits.first == UInt8(ascii: "0")
    for digit in digits {
      guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit), !overflow else {
        throw Failure(.malformed, "not an integer in range")
      }
      let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
      let step = Value(digit - UInt8(ascii: "0"))
      let (sum, carried) =
        isNegative ? product.subtractingReportingOverflow(step) : product.addingReportingOverflow(step)
      value = sum
      overflow = tooLarge || carried
    }
    if overflow { throw Failure(.malformed, "not an integer in range") }
    return value
  }

  /// Nanoseconds in their canonical form, in the range of a file's time.
  fileprivate mutating func time() throws(Failure) -> FileTime {
    guard let time = FileTime(decimal: try number()) else {
      throw Failure(.malformed, "not an integer in range")
    }
    return time
  }

  /// A path that is safe to use below a directory.
  fileprivate mutating func name() throws(Failure) -> [UInt8] {
    let name = try string()
    try EntryName.check(name.span)
    return name
  }

  fileprivate mutating func attributes() throws(Failure) -> [ExtendedAttribute] {
    try beginObject()
    var attributes: [ExtendedAttribute] = []
    var names: Set<[UInt8]> = []
    var first = true
    while let name = try nextKey(&first) {
      guard !name.isEmpty, name.count <= 255, !name.contains(0), names.insert(name).inserted else {
        throw Failure(.malformed, "a bad or repeated name")
      }
      guard let value = [UInt8](base64: try string()), value.count <= 1 << 20 else {
        throw Failure(.malformed, "a value is not base64, or too long")
      }
      attributes.append(ExtendedAttribute(name: name, value: value))
    }
    guard !attributes.isEmpty else { throw Failure(.malformed, "an empty object") }
    return attributes
  }
}
