import TBKCore

/// The allowed values of a key of a configuration or profile.
package enum ConfigurationShape: Equatable, Sendable {
  /// Text on one line.
  case line
  case boolean
  case integer(ClosedRange<Int>)
  case choice([String])
  /// One of some numbers.
  case oneOf([Int])
  /// The absolute path of a directory.
  case directory
  /// The absolute path of the source directory, or the placeholder for one that is still to be set.
  case source
  /// A store address: see `StoreReference`.
  case store
  /// Exclude patterns, without line feeds and NUL bytes.
  case patterns
  /// age recipients, `age1…`; checked completely only when something is sealed to them.
  case recipients
  /// `https://…` or `http://…`.
  case url
  /// The name of a profile.
  case name
  /// See `GroupID`.
  case group
  /// A duration: a number and `m`, `h`, `d` or `w`.
  case age
  /// An interval: a count from 1, or a duration.
  case countOrAge
  /// A size in bytes: a number, optionally followed by `K`, `M`, `G` or `T`.
  case size
  /// A command, split into words like a shell does.
  case command

  /// What is wrong with `value`, as words that follow the key; nil if nothing is.
  package func complaint(about value: JSON) -> String? {
    switch self {
    case .line:
      guard let text = value.text else { return "must be a string" }
      if text.isEmpty { return "is empty" }
      return text.utf8.contains { $0 < 0x20 || $0 == 0x7f } ? "holds a control character" : nil
    case .boolean: return value.boolean == nil ? "must be true or false" : nil
    case .integer(let range):
      if let number = value.integer(Int.self), range.contains(number) { return nil }
      if range.upperBound == Int(Int32.max) {
        return "must be a whole number, \(range.lowerBound) or more"
      }
      return range.count == 1
        ? "must be \(range.lowerBound)" : "must be \(range.lowerBound) to \(range.upperBound)"
    case .choice(let words):
      if let text = value.text, words.contains(text) { return nil }
      let others = words.dropLast().joined(separator: ", ")
      return "must be \(others) or \(words.last ?? "")"
    case .oneOf(let numbers):
      if let number = value.integer(Int.self), numbers.contains(number) { return nil }
      return "must be " + numbers.map(String.init).joined(separator: " or ")
    case .directory, .source:
      guard let bytes = value.bytes else { return "must be a string" }
      if self == .source, bytes.elementsEqual(Profile.placeholder.utf8) { return nil }
      if bytes.contains(0) { return "holds a NUL byte" }
      return RawPath(bytes).isAbsolute ? nil : "must be an absolute path"
    case .store:
      guard let bytes = value.bytes else { return "must be a string" }
      do throws(Failure) {
        let reference = try StoreReference(bytes)
        if case .directory(let path) = reference, !path.isAbsolute {
          return "must be an absolute path or the address of a store"
        }
        return nil
      } catch {
        return "is not the address of a store: \(error.message)"
      }
    case .patterns:
      guard let elements = value.elements else { return "must be a list of strings" }
      for element in elements {
        guard let bytes = element.bytes else { return "must be a list of strings" }
        if bytes.isEmpty { return "holds an empty pattern" }
        if bytes.contains(0) || bytes.contains(0x0a) {
          return "holds the pattern \(RawPath(bytes).display), which is not one line"
        }
      }
      return nil
    case .recipients:
      guard let elements = value.elements else { return "must be a list of strings" }
      for element in elements {
        guard let bytes = element.bytes else { return "must be a list of strings" }
        let isWord = bytes.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7a).contains($0) }
        if !isWord || !bytes.starts(with: "age1".utf8) || bytes.count > 4096 {
          return "holds \(RawPath(bytes).display), which is not an age recipient"
        }
      }
      return nil
    case .url:
      guard let text = value.text else { return "must be a string" }
      if text.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7f }) {
        return "holds a character that a URL cannot"
      }
      let host = text.drop { $0 != ":" }.dropFirst(3)
      if text.hasPrefix("https://") || text.hasPrefix("http://"), let first = host.first,
        first != "/"
      {
        return nil
      }
      return "must begin with https:// or http://"
    case .name:
      guard let bytes = value.bytes, Profile.isName(bytes) else {
        return "must consist of letters, digits, '_' and '-'"
      }
      return nil
    case .group:
      if let text = value.text, GroupID(text) != nil { return nil }
      return "must be the name of a group: at most 64 letters, digits and '._~-'"
    case .age:
      return value.text.flatMap(ConfigurationShape.seconds(ofAge:)) == nil
        ? ConfigurationShape.ageComplaint : nil
    case .countOrAge:
      if let count = value.integer(Int.self), (1...Int(Int32.max)).contains(count) { return nil }
      return value.text.flatMap(ConfigurationShape.seconds(ofAge:)) == nil
        ? "must be a number of backups, or a length of time, as 90d" : nil
    case .size:
      return ConfigurationShape.bytes(ofSize: value) == nil ? ConfigurationShape.sizeComplaint : nil
    case .command:
      guard let bytes = value.bytes else { return "must be a string" }
      if bytes.contains(0) { return "holds a NUL byte" }
      do throws(Failure) {
        return try splitShellWords(bytes).isEmpty ? "is empty" : nil
      } catch {
        return "is not a command: \(error.message)"
      }
    }
  }

  package static let sizeComplaint = "must be a size, as 500K, 100M or 2G"

  /// A size in bytes: a number, or a string of at most twelve digits without a leading 0, optionally followed by `K`,
  /// `M`, `G` or `T` for 1024, 1024² and so on.
  package static func bytes(ofSize value: JSON) -> UInt64? {
    if let number = value.integer(UInt64.self) { return number == 0 ? nil : number }
    return value.text.flatMap(bytes(ofSize:))
  }

  package static func bytes(ofSize text: String) -> UInt64? {
    let units: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
    let unit = text.last.flatMap { units[$0] }
    let digits = unit == nil ? text[...] : text.dropLast()
    guard (1...12).contains(digits.utf8.count), digits.first != "0",
      digits.utf8.allSatisfy({ (48...57).contains($0) }), let count = UInt64(digits)
    else { return nil }
    let (product, overflow) = count.multipliedReportingOverflow(by: unit ?? 1)
    return overflow ? nil : product
  }

  package static let ageComplaint = "must be a length of time, as 36h, 2d or 4w"

  /// A duration in seconds: at most six digits without a leading 0, and `m`, `h`, `d` or `w`.
  package static func seconds(ofAge text: String) -> Int64? {
    let units: [Character: Int64] = ["m": 60, "h": 3600, "d": 86_400, "w": 604_800]
    let digits = text.dropLast()
    guard let unit = text.last.flatMap({ units[$0] }), (1...6).contains(digits.utf8.count),
      digits.first != "0", digits.utf8.allSatisfy({ (48...57).contains($0) }),
      let count = Int64(digits)
    else { return nil }
    return count * unit
  }

  /// The value for a text from the command line.
  ///
  /// Throws `.usage` if the value is not allowed.
  package func value(from bytes: [UInt8], key: String) throws(Failure) -> JSON {
    let value: JSON
    switch self {
    case .boolean:
      switch String(decoding: bytes, as: UTF8.self) {
      case "true", "yes", "on": value = .bool(true)
      case "false", "no", "off": value = .bool(false)
      default: value = .null
      }
    case .integer, .oneOf:
      value = Int(String(decoding: bytes, as: UTF8.self)).map { .number($0) } ?? .null
    case .countOrAge, .size:
      let text = String(decoding: bytes, as: UTF8.self)
      value = Int(text).map { .number($0) } ?? .string(bytes)
    case .patterns, .recipients:
      value = .array(bytes.split(separator: 0x0a).map { .string(Array($0)) })
    default: value = .string(bytes)
    }
    if let complaint = complaint(about: value) { throw Failure(.usage, "\(key) \(complaint)") }
    return value
  }
}

/// A known key.
package struct ConfigurationKey: Sendable {
  package let name: String
  package let shape: ConfigurationShape
  /// Whether it may be null or absent.
  package let optional: Bool
  /// The default if it is null or absent.
  package let standard: JSON
  /// Whether it is a secret, shown only on request.
  package let secret: Bool

  init(
    _ name: String, _ shape: ConfigurationShape, optional: Bool = true, standard: JSON = .null,
    secret: Bool = false
  ) {
    self.name = name
    self.shape = shape
    self.optional = optional
    self.standard = standard
    self.secret = secret
  }

  /// What is wrong with the value of this key in `object`, naming the key; nil if nothing is.
  func complaint(in object: JSON) -> String? {
    guard let value = object[name], !value.isNull else {
      return optional ? nil : "\"\(name)\" is missing"
    }
    return shape.complaint(about: value).map { "\"\(name)\" \($0)" }
  }

  /// The value with its secret part masked: of a URL the host stays visible, of a token the prefix that shows its kind.
  package func masked(_ value: JSON) -> JSON {
    guard secret, let text = value.text else { return value }
    if shape == .url {
      let slashes = text.utf8.indices.filter { text.utf8[$0] == UInt8(ascii: "/") }
      guard slashes.count >= 2 else { return .string("***") }
      let host = text[text.index(after: slashes[1])...].prefix { !"/?#".contains($0) }
      let visible = host.split(separator: "@", omittingEmptySubsequences: false).last ?? ""
      return .string("\(text[...slashes[1]])\(visible)/***")
    }
    for prefix in ["github_pat_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"]
    where text.hasPrefix(prefix) {
      return .string(prefix + "***")
    }
    return .string("***")
  }
}
