import TBKCore
import TBKCrypto
import TBKFormat

/// The last known state of a branch, cached so that it is not fetched again while it is unchanged.
///
/// Stored below `TERMBACKUP_HOME/cache/github`: a file of facts; the ledger, whose SHA-256 is in the facts; and the
/// file sizes of a tree, which never change in git. Damaged cache files count as missing.
struct GitHubCache {
  /// The state of a branch at one moment.
  struct Facts: Equatable {
    var branch: String
    var head: GitHubStore.Head?
    /// The ETag of the response that named the head (RFC 9110, 8.8.3).
    var tag: String?
    /// The hash of the ledger at the head; nil if it was not read, or there is none.
    var ledger: Digest?
  }

  private static let factsLimit = 64 << 10

  private let directory: RawPath?
  private let factsName: RawPath
  private let ledgerName: RawPath
  private let listingName: RawPath
  private static let listingLimit = 32 << 20

  /// - Parameter directory: nil to cache nothing.
  init(_ directory: RawPath?, address: StoreAddress) throws(Failure) {
    self.directory = directory?.appending("github")
    let stem = try SHA256.hash(address.canonical).hex
    factsName = RawPath("\(stem).json")
    ledgerName = RawPath("\(stem).ledger")
    listingName = RawPath("\(stem).listing")
  }

  /// Whether a server's tag can be sent back to it; if not, it is not used.
  static func isTag(_ text: String) -> Bool {
    text.utf8.count <= 256 && text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f }
  }

  func facts() -> Facts? {
    guard let directory,
      let bytes = try? readKeptFile(directory.appending(factsName), limit: GitHubCache.factsLimit),
      let json = try? JSON.parse(bytes, what: "cache"), let branch = json["branch"]?.text
    else { return nil }
    var facts = Facts(branch: branch)
    if let commit = GitObjectID(json["commit"]?.text), let tree = GitObjectID(json["tree"]?.text) {
      facts.head = GitHubStore.Head(commit: commit, tree: tree)
      facts.tag = json["etag"]?.text
      facts.ledger = json["ledger"]?.text.flatMap { Digest(hex: $0) }
    }
    return facts
  }

  /// The cached ledger, if it has this hash.
  func ledger(_ digest: Digest) -> [UInt8]? {
    guard let directory,
      let bytes = try? readKeptFile(directory.appending(ledgerName), limit: Ledger.byteLimit),
      (try? SHA256.hash(bytes)) == digest
    else { return nil }
    return bytes
  }

  /// Caches the state. A failure costs only another request later on.
  ///
  /// - Parameter ledger: nil to leave the cached ledger unchanged.
  func keep(_ facts: Facts, ledger: [UInt8]?) {
    guard let directory else { return }
    var json = JSON.object(["branch": .string(facts.branch)])
    if let head = facts.head {
      json["commit"] = .string(head.commit.description)
      json["tree"] = .string(head.tree.description)
    }
    if let tag = facts.tag { json["etag"] = .string(tag) }
    if let digest = facts.ledger { json["ledger"] = .string(digest.hex) }
    do throws(Failure) {
      try makeDirectory(directory)
      if let ledger { try AtomicFile.write(ledger, to: directory.appending(ledgerName), inherits: true) }
      try AtomicFile.write(json.pretty(), to: directory.appending(factsName), inherits: true)
    } catch {
      // As if nothing had been cached.
    }
  }

  /// The sizes of all files of a tree, by path; nil if the last tree listed was another.
  func sizes(of tree: GitObjectID) -> [String: UInt64]? {
    guard let directory,
      let bytes = try? readKeptFile(directory.appending(listingName), limit: GitHubCache.listingLimit),
      let json = try? JSON.parse(bytes, what: "cache"), json["tree"]?.text == tree.description,
      let members = json["sizes"]?.members
    else { return nil }
    var sizes: [String: UInt64] = [:]
    for member in members {
      guard let size: UInt64 = member.value.integer() else { return nil }
      sizes[member.key] = size
    }
    return sizes
  }

  /// Caches the file sizes of a tree. Failures are ignored, as in the other `keep`.
  func keep(_ sizes: [String: UInt64], of tree: GitObjectID) {
    guard let directory else { return }
    let members = sizes.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .number($0.value)) }
    let json = JSON.object(["tree": .string(tree.description), "sizes": .object(members)])
    do throws(Failure) {
      try makeDirectory(directory)
      try AtomicFile.write(json.line(), to: directory.appending(listingName), inherits: true)
    } catch {
      // As if nothing had been cached.
    }
  }

  /// Creates the home directory too: what was last seen of the store is kept there as well.
  private func makeDirectory(_ directory: RawPath) throws(Failure) {
    for path in [directory.parent.parent, directory.parent, directory] {
      do throws(Failure) {
        try Descriptor.workingDirectory.makeOwnedDirectory(path)
      } catch  where error.code == .cannotCreate {
        // It already exists, or the next step fails.
      }
    }
  }
}
