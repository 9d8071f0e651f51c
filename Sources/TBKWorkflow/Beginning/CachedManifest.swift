import Glibc
import TBKCore
import TBKSettings

/// The sealed manifest of a group's last backup, cached in the home so that the next run need not fetch it.
struct CachedManifest {
  private let home: RawPath
  private let group: String

  init(of group: String, in home: Home) {
    self.home = home.path
    self.group = group
  }

  /// Replaces the file of an earlier backup with this one, which is moved. Root caches nothing in another user's home:
  /// that user could not replace root's file.
  ///
  /// - Parameters:
  ///   - readers: the recipients of the backup, which are recorded beside it; nil for a password.
  ///   - isLocal: whether the file is only for this machine, and is not the one in the store.
  func replace(by file: RawPath, of id: String, readers: String?, isLocal: Bool) throws(Failure) {
    let place = try Descriptor.workingDirectory.open(home, O_RDONLY | O_DIRECTORY)
    if geteuid() == 0, try place.status().st_uid != 0 { return }
    let cache = try directory(RawPath("cache"), in: place)
    let directory = try directory(RawPath(group), in: cache)
    let noted = RawPath("recipients")
    for (name, _) in try directory.names()
    where name == noted || [".tbk", ".age"].contains(where: { name.bytes.suffix(4).elementsEqual($0.utf8) }) {
      try directory.unlink(name)
    }
    if let readers {
      try AtomicFile.write(Array("\(id) \(readers)\n".utf8), to: noted, in: directory)
    }
    try Descriptor.workingDirectory.rename(file, to: directory, RawPath("\(id).\(isLocal ? "age" : "tbk")"))
  }

  /// The id of the backup with the cached manifest, and the recipients of that; nil if nothing is recorded.
  func readers() throws(Failure) -> String? {
    let path = home.appending("cache").appending(RawPath(group)).appending("recipients")
    guard let file = try Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_NONBLOCK) else { return nil }
    let text = try DescriptorSource(file, name: path).readAll(limit: 1 << 20, what: path.display)
    return String(decoding: text.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
  }

  private func directory(_ name: RawPath, in parent: Descriptor) throws(Failure) -> Descriptor {
    if let there = try parent.openIfPresent(name, O_RDONLY | O_DIRECTORY) { return there }
    try parent.makeDirectory(name)
    return try parent.open(name, O_RDONLY | O_DIRECTORY)
  }
}
