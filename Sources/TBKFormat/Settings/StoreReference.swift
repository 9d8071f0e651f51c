import TBKCore

/// The address of a store. This is the only parser of such addresses.
package enum StoreReference: Equatable, Sendable {
  /// `owner/repo` or `github:owner/repo`, optionally with `#branch`; stored without the scheme.
  case gitHub(String)
  /// A path; a relative one is meaningful only in the directory where it was typed.
  case directory(RawPath)
  /// `file:///path`, unchanged.
  case file([UInt8])
  /// `NAME:…`, for the program `tbk-store-NAME`.
  case helper(String, [UInt8])

  /// Throws `.usage` if it is not an address.
  ///
  /// - Parameters:
  ///   - isOperand: whether it is a command's operand: then `owner/repo` is a directory, and a directory name may
  ///     contain a line feed.
  ///   - host: another GitHub host, besides github.com.
  package init(_ bytes: [UInt8], isOperand: Bool = false, host: String? = nil) throws(Failure) {
    if bytes.isEmpty { throw Failure(.usage, "the address of the store is empty") }
    if bytes.contains(0) { throw Failure(.usage, "the address of the store holds a NUL byte") }
    try StoreReference.refusePasted(bytes, host: host)
    let scheme = StoreReference.scheme(bytes)
    // Helper programs and settings files store it on one line.
    if scheme != nil || !isOperand, bytes.contains(0x0a) {
      throw Failure(.usage, "the address of the store holds a line feed")
    }
    let place = RawPath(bytes).display
    guard let scheme else {
      if !isOperand, let text = String(validating: bytes, as: UTF8.self), try StoreReference.isRepository(text) {
        self = .gitHub(text)
      } else {
        self = .directory(RawPath(bytes))
      }
      return
    }
    let rest = Array(bytes[(scheme.utf8.count + 1)...])
    switch scheme {
    case "file":
      guard rest.starts(with: "///".utf8) else {
        throw Failure(
          .usage, "\(place) is not the address of a store", hint: "a directory is /path, ./path or file:///path")
      }
      guard RawPath(percentEncoded: rest[2...]) != nil else {
        throw Failure(.usage, "\(place) has an escape that is not %XX")
      }
      self = .file(bytes)
    case "github":
      let name = String(decoding: rest, as: UTF8.self)
      guard try StoreReference.isRepository(name) else {
        throw Failure(
          .usage, "\(place) does not name a repository",
          hint: "as in github:owner/repo, or github:owner/repo#branch")
      }
      self = .gitHub(name)
    default:
      if rest.isEmpty { throw Failure(.usage, "nothing follows the colon of \(place)") }
      self = .helper(scheme, bytes)
    }
  }

  /// The operand for `tbk-push` and `tbk-pull`.
  package var operand: [UInt8] {
    switch self {
    case .gitHub(let name): Array("github:\(name)".utf8)
    case .directory(let path): path.bytes
    case .file(let bytes), .helper(_, let bytes): bytes
    }
  }

  /// The path of the directory, if it is one.
  package var path: RawPath? {
    switch self {
    case .directory(let path): path
    case .file(let bytes): RawPath(percentEncoded: bytes["file://".utf8.count...])
    case .gitHub, .helper: nil
    }
  }

  /// Throws `.usage` for a repository's address for browsers or git, such as `https://github.com/owner/repo` and
  /// `git@github.com:owner/repo.git`, and suggests the right one. It is not quoted, because it may contain a token.
  ///
  /// - Parameter host: another GitHub host, besides github.com.
  static func refusePasted(_ bytes: [UInt8], host: String? = nil) throws(Failure) {
    let text = String(decoding: bytes, as: UTF8.self)
    var rest: Substring
    var end: Character = "/"
    let schemes = ["https://", "http://", "git://", "ssh://", "git+ssh://"]
    if let scheme = schemes.first(where: { text.lowercased().hasPrefix($0) }) {
      rest = text.dropFirst(scheme.count)
    } else if text.hasPrefix("git@") {
      (rest, end) = (text[...], ":")
    } else {
      return
    }
    var place = rest.prefix { $0 != end }
    rest = rest.dropFirst(place.count + 1)
    if let at = place.lastIndex(of: "@") { place = place[place.index(after: at)...] }
    let name = place.prefix { $0 != ":" }.lowercased()
    guard [name, "www.\(name)"].contains("www.github.com") || name == host else { return }
    let names = rest.prefix { $0 != "?" && $0 != "#" }.split(separator: "/")
    var repository = names.prefix(2).joined(separator: "/")
    if repository.hasSuffix(".git") { repository.removeLast(4) }
    if try !isRepository(repository) { repository = "owner/repo" }
    throw Failure(
      .usage, "this is the address of a repository for browsers and git",
      hint: "write github:\(repository)")
  }

  /// The part before the first colon, if it matches `[a-z0-9-]+`.
  private static func scheme(_ bytes: [UInt8]) -> String? {
    guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), colon > 0 else { return nil }
    let isScheme = bytes[..<colon].allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): true
      default: false
      }
    }
    return isScheme ? String(decoding: bytes[..<colon], as: UTF8.self) : nil
  }

  /// Whether it is `owner/repo` by GitHub's naming rules, with or without `#branch`. The owner may contain an
  /// underscore if an enterprise manages the account, and cannot begin with a dot, as a path does. Throws `.usage` for
  /// an invalid branch.
  private static func isRepository(_ text: String) throws(Failure) -> Bool {
    let pieces = text.utf8.split(
      separator: UInt8(ascii: "#"), maxSplits: 1, omittingEmptySubsequences: false)
    let parts = pieces[0].split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard parts.count == 2 else { return false }
    let (owner, name) = (parts[0], parts[1])
    guard (1...39).contains(owner.count), (1...100).contains(name.count),
      let first = owner.first, isLetterOrDigit(first)
    else { return false }
    guard owner.allSatisfy({ isLetterOrDigit($0) || "-_".utf8.contains($0) }) else { return false }
    if name.elementsEqual(".".utf8) || name.elementsEqual("..".utf8) { return false }
    guard name.allSatisfy({ isLetterOrDigit($0) || "-_.".utf8.contains($0) }) else { return false }
    if pieces.count == 2, !BranchName.isValid(pieces[1], inAddress: true) {
      throw Failure(
        .usage, "\(RawPath(Array(pieces[1])).display) cannot be the name of a branch")
    }
    return true
  }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
    default: false
    }
  }
}

/// Branch names.
package enum BranchName {
  /// Whether git accepts it (git-check-ref-format(1)), and it is safe in a URL.
  ///
  /// - Parameter inAddress: whether only letters, digits and `._/-` are allowed, as in an address, which a shell may
  ///   interpret.
  package static func isValid(_ name: some Collection<UInt8>, inAddress: Bool) -> Bool {
    guard (1...255).contains(name.count), name.first != UInt8(ascii: "-") else { return false }
    return name.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).allSatisfy { part in
      let bytes = Array(part)
      guard let first = bytes.first, first != UInt8(ascii: "."), bytes.last != UInt8(ascii: ".") else { return false }
      return !bytes.suffix(5).elementsEqual(".lock".utf8)
        && !zip(bytes, bytes.dropFirst()).contains { $0 == UInt8(ascii: ".") && $1 == UInt8(ascii: ".") }
        && bytes.allSatisfy { byte in
          switch byte {
          case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."): true
          default: !inAddress && byte > 0x20 && byte < 0x7f && !"~^:?*[\\".utf8.contains(byte)
          }
        }
    }
  }
}
