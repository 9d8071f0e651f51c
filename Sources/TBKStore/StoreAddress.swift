import Glibc
import TBKCore
import TBKFormat

/// Where a store is.
package enum StoreAddress: Hashable, Sendable {
  case directory(RawPath)
  case gitHub(GitHubRepository)
  case helper(HelperAddress)

  /// Reads an operand: `/path`, `./path`, `file:///path`, a relative path,
  /// `github:owner/repo[#branch]`, or `NAME:…` (`[a-z0-9-]+`) for what a program knows; a directory
  /// of such a name is `./NAME:…`.
  ///
  /// Throws `.usage` for what is no address.
  package init(_ operand: RawPath) throws(Failure) {
    let bytes = operand.bytes
    if bytes.isEmpty { throw Failure(.usage, "the address of the store is empty") }
    if bytes.contains(0) { throw Failure(.usage, "the address of the store holds a NUL byte") }
    let host = environment("TERMBACKUP_GITHUB_API").map { String(decoding: $0, as: UTF8.self) }
    try StoreReference.refusePasted(bytes, host: host.flatMap { HTTPURL($0)?.host })
    guard let scheme = StoreAddress.scheme(bytes) else {
      self = .directory(operand)
      return
    }
    let rest = Array(bytes[(scheme.utf8.count + 1)...])
    switch scheme {
    case "file":
      guard rest.starts(with: "///".utf8) else {
        throw Failure(
          .usage, "\(operand.display) is not the address of a store",
          hint: "a directory is /path, ./path or file:///path")
      }
      guard let path = RawPath(percentEncoded: rest[2...]) else {
        throw Failure(.usage, "\(operand.display) has an escape that is not %XX")
      }
      self = .directory(path)
    case "github":
      guard let text = String(validating: rest, as: UTF8.self),
        let repository = GitHubRepository(text)
      else {
        throw Failure(
          .usage, "\(operand.display) does not name a repository",
          hint: "as in github:owner/repo, or github:owner/repo#branch")
      }
      self = .gitHub(repository)
    default:
      if rest.isEmpty {
        throw Failure(.usage, "nothing follows the colon of \(operand.display)")
      }
      // The program gets it in a line's place, and messages name it.
      if bytes.contains(0x0a) {
        throw Failure(.usage, "the address of the store holds a line feed")
      }
      self = .helper(HelperAddress(bytes, name: scheme))
    }
  }

  /// What precedes the first colon, if that is `[a-z0-9-]+`.
  private static func scheme(_ bytes: [UInt8]) -> String? {
    guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), colon > 0 else { return nil }
    let name = bytes[..<colon]
    let allowed = name.allSatisfy {
      switch $0 {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "-"):
        true
      default: false
      }
    }
    return allowed ? String(decoding: name, as: UTF8.self) : nil
  }

  /// What messages call the store.
  package var display: String {
    switch self {
    case .directory(let path): path.display
    case .gitHub(let repository): "github:\(repository.display)"
    case .helper(let helper): helper.display
    }
  }

  /// The same bytes for the same place, however it was spelled: symbolic links and `..` resolved
  /// where the place is there.
  package var canonical: [UInt8] {
    switch self {
    case .directory(let path): Array("file:".utf8) + (resolved(path) ?? path.bytes)
    case .gitHub(let repository): Array(canonical(repository).utf8)
    case .helper(let helper): helper.bytes
    }
  }

  /// GitHub's names do not differ by case; a branch's do. Another server is another place.
  private func canonical(_ repository: GitHubRepository) -> String {
    let root = try? GitHubAPI.configuredRoot()
    let server =
      root == nil || root?.description == HTTPURL(GitHubAPI.standardRoot)?.description
      ? "" : "//\(root?.authority ?? "")/"
    let branch = repository.branch.map { "#\($0)" } ?? ""
    return "github:\(server)\(repository.fullName.lowercased())\(branch)"
  }

  private func resolved(_ path: RawPath) -> [UInt8]? {
    let result = try? unsafe path.withCString { (text) throws(Failure) -> [UInt8]? in
      guard let real = unsafe realpath(text, nil) else { return nil }
      defer { unsafe free(real) }
      return unsafe Array(UnsafeRawBufferPointer(start: real, count: strlen(real)))
    }
    return result ?? nil
  }

  /// The store at this address.
  package func open(_ context: StoreContext) throws(Failure) -> any Store {
    switch self {
    case .directory(let path):
      try DirectoryStore(path, maximumWait: maximumWait(context), rates: context.rates)
    case .gitHub(let repository): try GitHubStore(repository, context)
    case .helper(let helper): try HelperStore(helper, context)
    }
  }

  /// Seconds to wait there for other writers.
  package func maximumWait(_ context: StoreContext) -> Int {
    switch self {
    case .directory: context.maximumWait ?? DirectoryStore.standardWait
    case .gitHub: context.maximumWait ?? GitHubStore.standardWait
    case .helper: context.maximumWait ?? HelperStore.standardWait
    }
  }
}
