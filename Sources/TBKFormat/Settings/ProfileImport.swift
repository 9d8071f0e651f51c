import TBKCore

/// What an imported profile does, for the person who imports it.
extension Profile {
  /// Effects beyond backing up: who is notified of each backup, where a restore goes, what is excluded. Sentences
  /// without a full stop, with names quoted.
  package var consequences: [String] {
    var found: [String] = []
    for (field, does) in [
      ("webhook_url", "receives the name, size and times of each backup"),
      ("ping_url", "is notified when a run begins and of how it ends"),
    ] {
      if let url = self[field]?.bytes {
        found.append("\(field): \(RawPath(Profile.host(of: url)).display) \(does)")
      }
    }
    if let place = self["restore_dir"]?.bytes {
      found.append("restore_dir: 'termbackup restore' puts files into \(RawPath(place).display)")
    }
    if let pattern = patternForEverything {
      found.append(
        "exclude_patterns: \(RawPath(pattern).display) leaves out everything, or nearly so")
    }
    if let path = self["exclude_from"]?.bytes {
      found.append("exclude_from: what matches a line of \(RawPath(path).display) is left out")
    }
    if let size = self["exclude_larger_than"], !size.isNull {
      found.append("exclude_larger_than: files larger than \(Profile.shown(size)) are left out")
    }
    for recipient in recipientTexts {
      found.append("recipients: anyone who has the identity of \(RawPath(recipient).display) can open each backup")
    }
    return found
  }

  /// The recipients, as written.
  package var recipientTexts: [[UInt8]] { self["recipients"]?.elements?.compactMap(\.bytes) ?? [] }

  /// All other fields that differ from the defaults, each as `field: value`.
  package var particulars: [String] {
    Profile.fields.compactMap { field in
      switch field.name {
      case "name", "group", "webhook_url", "ping_url", "restore_dir", "exclude_from", "exclude_larger_than",
        "recipients":
        return nil
      default: break
      }
      guard let value = self[field.name], !value.isNull, value != field.standard else { return nil }
      return "\(field.name): \(Profile.shown(value))"
    }
  }

  /// The pattern that makes the list exclude nearly everything, tested on unrelated names, or nil.
  private var patternForEverything: [UInt8]? {
    func leavesOutAll(_ patterns: some Sequence<[UInt8]>) -> Bool {
      var rules = IgnoreRules()
      for pattern in patterns { rules.add(pattern: pattern) }
      return ["q", "Zebra 1.txt", "0", "deep/er/w.odt", "_.x"].allSatisfy {
        rules.excludesPart(of: Array($0.utf8), isDirectory: false)
      }
    }
    // A later pattern may re-include what an earlier one excludes.
    guard leavesOutAll(excludePatterns) else { return nil }
    return excludePatterns.indices.first { leavesOutAll(excludePatterns[...$0]) }.map { excludePatterns[$0] }
  }

  /// Scheme, host and port. The rest, and anything before an `@`, may be secret.
  private static func host(of url: [UInt8]) -> [UInt8] {
    guard let colon = url.firstIndex(of: UInt8(ascii: ":")) else { return [] }
    let rest = url[colon...].drop { $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "/") }
    let authority = rest.prefix { !Array("/?#\\".utf8).contains($0) }
    let host = authority.split(separator: UInt8(ascii: "@"), omittingEmptySubsequences: false).last
    return Array(url[..<colon]) + "://".utf8 + (host ?? [])
  }

  private static func shown(_ value: JSON) -> String {
    switch value {
    case .string(let bytes): RawPath(bytes).display
    case .array(let elements): elements.map(shown).joined(separator: ", ")
    default: String(decoding: value.line(), as: UTF8.self)
    }
  }
}
