import Glibc
import TBKCore
import TBKFormat

/// The address of a store.
package enum StoreAddress: Hashable, Sendable {
  case directory(RawPath)
  case gitHub(GitHubRepository)
  case helper(HelperAddress)

  /// Parses an operand: `/path`, `./path`, `file:///path`, a relative path, `github:owner/repo[#branch]`, or `NAME:…`
  /// (`[a-z0-9-]+`) for a helper program; a directory of such a name is `./NAME:…`.
  ///
  /// Throws `.usage` for an invalid address.
  package init(_ operand: RawPath) throws(Failure) {
    let host = environment("TERMBACKUP_GITHUB_API").map { String(decoding: $0, as: UTF8.self) }
    let reference = try StoreReference(
      operand.bytes, isOperand: true, host: host.flatMap { HTTPURL($0)?.host })
    switch reference {
    case .directory, .file:
      self = .directory(reference.path ?? operand)
    case .gitHub(let name):
      guard let repository = GitHubRepository(name) else {
        throw Failure(.library, "the repository \(name) has two grammars")
      }
      self = .gitHub(repository)
    case .helper(let name, let bytes): self = .helper(HelperAddress(bytes, name: name))
    }
  }

  /// The store's name in messages.
  package var display: String {
    switch self {
    case .directory(let path): path.display
    case .gitHub(let repository): "github:\(repository.display)"
    case .helper(let helper): helper.display
    }
  }

  /// The same bytes for the same place, however it was spelled: symbolic links and `..` are resolved if the place
  /// exists.
  package var canonical: [UInt8] {
    switch self {
    case .directory(let path): Array("file:".utf8) + (resolved(path) ?? path.bytes)
    case .gitHub(let repository): Array(canonical(repository).utf8)
    case .helper(let helper): helper.bytes
    }
  }

  /// GitHub's names are case-insensitive, except those of branches. Another server is another place.
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

  /// Seconds to wait for other writers of this store.
  package func maximumWait(_ context: StoreContext) -> Int {
    switch self {
    case .directory: context.maximumWait ?? DirectoryStore.standardWait
    case .gitHub: context.maximumWait ?? GitHubStore.standardWait
    case .helper: context.maximumWait ?? HelperStore.standardWait
    }
  }
}
