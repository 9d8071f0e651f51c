import CSystem
import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// A directory inside the destination in which the tree is built until all of it has been verified.
///
/// It belongs to us, no one else can enter it, and it is held by its descriptor: the owner of the destination can move
/// or remove it, but not change its content. Nothing in it is reached through a link. Its content is removed when the
/// object is deinitialised.
final class Staging {
  private let destination: Descriptor
  private let name: RawPath
  let directory: Descriptor
  let chain: DirectoryChain
  /// Whether others cannot enter it; see `PrivateDirectory`.
  let isClosed: Bool
  private let files = StagedFiles()
  private var isDiscarded = false

  init(in destination: Descriptor) throws(Failure) {
    self.destination = destination
    let (name, made) = try Staging.make(in: destination)
    self.name = name
    directory = made.directory
    isClosed = made.isClosed
    chain = DirectoryChain(root: directory, missing: .create(mode: 0o700))
  }

  /// Creates a directory, locked so that it is not mistaken for a leftover.
  private static func make(
    in destination: Descriptor
  ) throws(Failure) -> (RawPath, PrivateDirectory) {
    while true {
      let name = RestoreLeftovers.stagingName()
      let made = try PrivateDirectory(making: name, in: destination)
      // Before the lock is held, a process that collects leftovers may remove it: then retry.
      while flock(made.directory.number, LOCK_EX) != 0, errno == EINTR { try Interruption.check() }
      if let there = try destination.statusIfPresent(of: name),
        there.st_ino == (try made.directory.status()).st_ino
      {
        return (name, made)
      }
      try Interruption.check()
    }
  }

  deinit { discard() }

  /// Removes the directory's content, and the directory if its name still refers to it.
  func discard() {
    if isDiscarded { return }
    isDiscarded = true
    files.stop()
    chain.forget()
    contents(of: directory, removing: true)
    guard let ours = try? directory.status(), let named = try? destination.statusIfPresent(of: name),
      named.st_ino == ours.st_ino, named.st_dev == ours.st_dev
    else { return }
    _ = try? destination.unlink(name, directory: true)
  }

  func makeDirectory(_ path: [UInt8]) throws(Failure) {
    let (parent, name) = try chain.parent(of: path)
    // It may have been created on the way to an earlier entry.
    if let facts = try parent.statusIfPresent(of: name), facts.st_mode & S_IFMT == S_IFDIR {
      return
    }
    try Staging.refusing(path) { () throws(Failure) in try parent.makeDirectory(name) }
  }

  /// Creates a file with this content, on another thread; see `settle`.
  func write(_ path: [UInt8], _ content: [UInt8]) throws(Failure) {
    let (parent, name) = try chain.parent(of: path)
    try files.write(StagedFileJob(name, in: parent, content, path: path))
  }

  /// Waits for all files given to `write`. Throws the first failure.
  func settle() throws(Failure) { try files.settle() }

  static func newFile(_ name: RawPath, in directory: Descriptor) throws(Failure) -> Descriptor {
    try directory.open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
  }

  func createFile(_ path: [UInt8]) throws(Failure) -> Descriptor {
    let (parent, name) = try chain.parent(of: path)
    var file: Descriptor?
    try Staging.refusing(path) { () throws(Failure) in file = try Staging.newFile(name, in: parent) }
    guard let file else { throw Failure(.library, "no file") }
    return file
  }

  func makeSymlink(_ path: [UInt8], target: [UInt8]) throws(Failure) {
    let (parent, name) = try chain.parent(of: path)
    try Staging.refusing(path) { () throws(Failure) in
      let result = try unsafe RawPath(target).withCString { (target) throws(Failure) in
        try unsafe name.withCString { (name) throws(Failure) in
          unsafe symlinkat(target, parent.number, name)
        }
      }
      if result != 0 {
        throw .system("cannot create link \(RawPath(path).display)", missing: .cannotCreate)
      }
    }
  }

  func makeHardLink(_ path: [UInt8], to first: [UInt8]) throws(Failure) {
    try settle()
    // The chain holds one path at a time: keep the first name's directory.
    let (firstParent, firstName) = try chain.parent(of: first)
    let (parent, name) = try chain.parent(of: path)
    guard let facts = try firstParent.statusIfPresent(of: firstName),
      facts.st_mode & S_IFMT == S_IFREG
    else {
      throw Failure(
        .malformed, "\(RawPath(path).display) is a hard link to something that is not an earlier file")
    }
    let result = try unsafe firstName.withCString { (first) throws(Failure) in
      try unsafe name.withCString { (name) throws(Failure) in
        unsafe linkat(firstParent.number, first, parent.number, name, 0)
      }
    }
    if result != 0 {
      let number = errno
      if number == EEXIST {
        throw Failure(.malformed, "\(RawPath(path).display) is in the archive twice")
      }
      throw .system("cannot link \(RawPath(path).display)", errno: number, missing: .cannotCreate)
    }
  }

  /// Renames `path` to `other`, which must not exist.
  func move(_ path: [UInt8], to other: [UInt8]) throws(Failure) {
    try settle()
    let (from, name) = try chain.parent(of: path)
    let (to, target) = try chain.parent(of: other)
    try from.rename(name, to: to, target, replacing: false)
  }

  func remove(_ path: [UInt8]) throws(Failure) {
    try settle()
    let (parent, name) = try chain.parent(of: path)
    try parent.unlink(name)
  }

  /// Removes a directory if it is empty; returns whether it did.
  func removeIfEmpty(_ path: [UInt8]) -> Bool {
    chain.forget()
    guard let (parent, name) = try? chain.parent(of: path) else { return false }
    return (try? parent.unlink(name, directory: true)) != nil
  }

  /// EEXIST here means that the archive contains a name twice: no other process writes in here.
  static func refusing(
    _ path: [UInt8], _ body: () throws(Failure) -> Void
  ) throws(Failure) {
    do throws(Failure) {
      try body()
    } catch {
      if error.code == .cannotCreate, errno == EEXIST {
        throw Failure(.malformed, "\(RawPath(path).display) is in the archive twice")
      }
      throw error
    }
  }
}

/// Builds a tree in a staging directory from the members of a tar.
final class StagingConsumer: MemberConsumer {
  /// What to do with a member. Content that is not wanted is only hashed.
  enum Wish {
    case take
    case leave
    /// Stage it as this member, with another name or target.
    case takeAs(TarMember)
    /// Stage it if its hash is one of these, otherwise drop it. Not empty.
    case offer([Offer])
  }

  /// Content that is wanted.
  struct Offer {
    let sha256: Digest
    /// The name to stage it under.
    let name: [UInt8]
    /// The index of its entry in the newest manifest.
    let index: Int
  }

  private let staging: Staging
  private let wish: (TarMember) throws(Failure) -> Wish
  private let accepted: (Offer) -> Void
  private var member = TarMember(name: [], kind: .file)
  private var file: Descriptor?
  /// The content of a small file so far; nil for other members.
  private var small: [UInt8]?
  private var offers: [Offer] = []

  /// - Parameters:
  ///   - wish: called for each member, in order.
  ///   - accepted: called with each offer that is taken.
  init(
    _ staging: Staging, wish: @escaping (TarMember) throws(Failure) -> Wish,
    accepted: @escaping (Offer) -> Void = { _ in }
  ) {
    self.staging = staging
    self.wish = wish
    self.accepted = accepted
  }

  func begin(_ member: TarMember) throws(Failure) -> Bool { try begin(member, try wish(member)) }

  func begin(_ member: TarMember, _ wish: Wish) throws(Failure) -> Bool {
    var member = member
    offers = []
    small = nil
    switch wish {
    case .leave: return false
    case .offer(let offered): offers = offered
    case .take: break
    case .takeAs(let other): member = other
    }
    self.member = member
    switch member.kind {
    case .directory: try staging.makeDirectory(member.name)
    case .symlink: try staging.makeSymlink(member.name, target: member.linkTarget)
    case .hardlink: try staging.makeHardLink(member.name, to: member.linkTarget)
    default:
      if offers.isEmpty, member.size <= StagedFileWriter.limit {
        small = []
        small?.reserveCapacity(Int(member.size))
        return true
      }
      try checkSpace()
      file = try staging.createFile(offers.first?.name ?? member.name)
      return true
    }
    return false
  }

  func body(_ bytes: Span<UInt8>) throws(Failure) {
    if small != nil {
      small?.append(bytes)
      return
    }
    do throws(Failure) {
      try file?.write(bytes)
    } catch {
      throw error.within(RawPath(member.name).display)
    }
  }

  func end(_ sha256: Digest) throws(Failure) {
    if let content = small {
      small = nil
      try staging.write(member.name, content)
    }
    file = nil
    guard let staged = offers.first else { return }
    guard let taken = offers.first(where: { $0.sha256 == sha256 }) else {
      try staging.remove(staged.name)
      return
    }
    if taken.name != staged.name { try staging.move(staged.name, to: taken.name) }
    accepted(taken)
  }

  /// Rejects a file that cannot fit before it fills the disk.
  private func checkSpace() throws(Failure) {
    guard member.size >= 1 << 20, let free = staging.directory.freeBytes, member.size > free else {
      return
    }
    throw Failure(
      .io, "\(RawPath(member.name).display) needs \(member.size) bytes, and \(free) are free",
      hint: "free some space and try again")
  }
}
