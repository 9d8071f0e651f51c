import CSystem
import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// A directory inside the destination in which a tree grows until all of it has been verified.
///
/// It belongs to us, nobody else can enter it, and it is held by its descriptor: whoever owns the
/// destination can move or remove it, and not change what is in it. Nothing in it is reached through a
/// link. What is left in it when the object is dropped is removed.
final class Staging {
  private let destination: Descriptor
  private let name: RawPath
  let directory: Descriptor
  let chain: DirectoryChain
  /// Whether others are kept out; see `PrivateDirectory`.
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

  /// A new directory, locked so that it is not mistaken for a leftover.
  private static func make(
    in destination: Descriptor
  ) throws(Failure) -> (RawPath, PrivateDirectory) {
    while true {
      let name = RestoreLeftovers.stagingName()
      let made = try PrivateDirectory(making: name, in: destination)
      // Somebody who collects leftovers in this very instant takes it for one, and removes it.
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

  /// Removes what is left in the directory, and its name if that is still its own.
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
    // It may have been made on the way to something that came before it.
    if let facts = try parent.statusIfPresent(of: name), facts.st_mode & S_IFMT == S_IFDIR {
      return
    }
    try Staging.refusing(path) { () throws(Failure) in try parent.makeDirectory(name) }
  }

  /// Makes a file of this content, on another thread; see `settle`.
  func write(_ path: [UInt8], _ content: [UInt8]) throws(Failure) {
    let (parent, name) = try chain.parent(of: path)
    try files.write(StagedFileJob(name, in: parent, content, path: path))
  }

  /// Waits for what `write` was given. Throws what it could not do.
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
    // Two chains at once would disturb each other: the first name's directory is kept aside.
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

  /// Gives what lies at `path` another name, which must be free.
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

  /// Removes a directory unless something is in it; returns whether it did.
  func removeIfEmpty(_ path: [UInt8]) -> Bool {
    chain.forget()
    guard let (parent, name) = try? chain.parent(of: path) else { return false }
    return (try? parent.unlink(name, directory: true)) != nil
  }

  /// EEXIST here means that the archive names something twice: nobody else writes in here.
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

/// Lets a tree grow in a staging directory out of the members of a tar.
final class StagingConsumer: MemberConsumer {
  /// What becomes of a member: content that is not wanted is only hashed.
  enum Wish {
    case take
    case leave
    /// As this member, with another name or another target.
    case takeAs(TarMember)
    /// Content that may turn out to be none of these, and is dropped again then. Not empty.
    case offer([Offer])
  }

  /// Content that is wanted.
  struct Offer {
    let sha256: Digest
    /// Where it is staged.
    let name: [UInt8]
    /// The entry of the newest manifest that it is for.
    let index: Int
  }

  private let staging: Staging
  private let wish: (TarMember) throws(Failure) -> Wish
  private let accepted: (Offer) -> Void
  private var member = TarMember(name: [], kind: .file)
  private var file: Descriptor?
  /// What there is of a small file; nil where none is being collected.
  private var small: [UInt8]?
  private var offers: [Offer] = []

  /// - Parameters:
  ///   - wish: asked for each member, in order.
  ///   - accepted: told of each offer that is taken.
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

  /// A file that cannot fit is refused before the disk is full of it.
  private func checkSpace() throws(Failure) {
    guard member.size >= 1 << 20, let free = staging.directory.freeBytes, member.size > free else {
      return
    }
    throw Failure(
      .io, "\(RawPath(member.name).display) needs \(member.size) bytes, and \(free) are free",
      hint: "free some space and try again")
  }
}
