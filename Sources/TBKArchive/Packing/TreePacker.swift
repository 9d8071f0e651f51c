import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// Packs the files of a manifest into a tar, and updates the manifest to what was packed.
///
/// Each file is read once. The tar's members come in the order of the manifest; the manifest
/// itself comes last (tbk(5), "The tar").
package final class TreePacker {
  /// Why an entry is not in the backup as it is on disk.
  package struct Mishap: Sendable {
    package let path: [UInt8]
    package let reason: String
    /// Whether the entry is in the backup anyway, with what could be read.
    package let kept: Bool
  }

  private let tar: any ByteSink
  /// `tar`, if it records the offsets of members.
  private let frames: ZstdCompressor?
  private let chain: DirectoryChain
  private let names = AccountNames()
  private let progress: (Int) -> Void
  private let report: (Mishap) -> Void
  private var buffer = [UInt8](repeating: 0, count: chunkSize)
  private var dropped: Set<Int> = []
  /// The replacement for each first name that could not be read.
  private var standIns: [[UInt8]: [UInt8]] = [:]
  private var lost: Set<[UInt8]> = []

  /// Bytes of content read so far.
  package private(set) var contentLength: UInt64 = 0
  /// Entries that could not be read, or changed meanwhile.
  package private(set) var mishapCount = 0

  /// The manifest, which describes the bytes in the tar once `pack()` has returned.
  package private(set) var manifest: Manifest

  /// - Parameters:
  ///   - manifest: from tbk-manifest.
  ///   - root: the directory that its paths are relative to.
  ///   - tar: gets the tar; it is not finished.
  ///   - progress: called with the number of bytes read.
  ///   - report: called for each entry that could not be read, or changed meanwhile.
  package init(
    _ manifest: Manifest, root: Descriptor, tar: any ByteSink,
    progress: @escaping (Int) -> Void, report: @escaping (Mishap) -> Void
  ) throws(Failure) {
    try TreePacker.check(manifest)
    self.manifest = manifest
    self.tar = tar
    frames = tar as? ZstdCompressor
    self.progress = progress
    self.report = report
    chain = DirectoryChain(root: root)
    nameMembers()
  }

  /// Throws `.malformed` if the manifest cannot be packed.
  private static func check(_ manifest: Manifest) throws(Failure) {
    guard !manifest.tree.isReadOnly else {
      throw Failure(.malformed, "the manifest is TermBackup 6's, which is only read")
    }
    try manifest.validate()
  }

  /// Bytes of content in the tar, according to the manifest.
  package var contentSize: UInt64 {
    var total: UInt64 = 0
    for index in manifest.files.indices
    where manifest.files.type(index) == .file && manifest.files.storedIn(index) == nil
      && !manifest.files.isHardLink(index)
    {
      total = total.addingReportingOverflow(manifest.files.size(index)).partialValue
    }
    return total
  }

  /// Writes the members. Afterwards `manifest` is ready for `ManifestMember.append`.
  package func pack() throws(Failure) {
    for index in manifest.files.indices {
      try Interruption.check()
      var entry = manifest.files[index]
      switch entry.type {
      case .directory, .symlink: try tar.write(try TarWriter.header(for: TarMember(entry)))
      case .file:
        if entry.hardLink != nil, try link(&entry) {
          manifest.files[index] = entry
        } else if entry.storedIn == nil {
          if try packContent(&entry) {
            manifest.files[index] = entry
          } else {
            dropped.insert(index)
          }
        }
      }
    }
    manifest.files.remove(dropped)
  }

  /// Gives a tree's own `manifest.json` another name in the tar, because that name is reserved.
  private func nameMembers() {
    guard let first = manifest.files.find(Manifest.fileName) else { return }
    var other = Manifest.fileName
    repeat { other.append(UInt8(ascii: "~")) } while manifest.files.find(other) != nil
    let below = Manifest.fileName + [UInt8(ascii: "/")]
    for index in first..<manifest.files.count {
      let path = manifest.files.path(index)
      guard path.starts(with: Manifest.fileName) else { break }
      guard path == Manifest.fileName || path.starts(with: below) else { continue }
      var entry = manifest.files[index]
      entry.storedAs = other + path[Manifest.fileName.count...]
      manifest.files[index] = entry
    }
  }

  // MARK: Hard links

  /// Writes another name of a file that has been packed; false if that file was not packed, and this name must be
  /// packed in its place.
  private func link(_ entry: inout ManifestEntry) throws(Failure) -> Bool {
    guard let listed = entry.hardLink else { return false }
    let first = standIns[listed] ?? listed
    if lost.contains(first) {
      entry.hardLink = nil
      standIns[listed] = entry.path
      return false
    }
    guard let index = manifest.files.find(first) else {
      throw Failure(.malformed, "\(RawPath(entry.path).display) is a hard link to nothing")
    }
    let packed = manifest.files[index]
    guard try isStill(entry.path, packed) else {
      entry.hardLink = nil
      return false
    }
    let (path, storedAs) = (entry.path, entry.storedAs)
    entry = packed
    entry.path = path
    entry.storedAs = storedAs
    entry.storedIn = nil
    entry.offset = nil
    entry.hardLink = first
    // A link to a file stored in another backup is only in the manifest.
    if packed.storedIn == nil {
      var member = TarMember(entry)
      member.linkTarget = packed.tarName
      try tar.write(try TarWriter.header(for: member))
    }
    return true
  }

  /// Whether a name still refers to the file that was packed under another; otherwise it is packed separately.
  private func isStill(_ path: [UInt8], _ packed: ManifestEntry) throws(Failure) -> Bool {
    guard let inode = packed.inode, let device = packed.device else { return true }
    do throws(Failure) {
      let (directory, name) = try chain.parent(of: path)
      guard let facts = try directory.statusIfPresent(of: name) else { return false }
      return UInt64(facts.st_ino) == inode && UInt64(facts.st_dev) == device
    } catch {
      if error.isOfProcess { throw error }
      return false
    }
  }

  // MARK: Content

  /// Packs a file's content; false if it cannot be read.
  private func packContent(_ entry: inout ManifestEntry) throws(Failure) -> Bool {
    let file: Descriptor
    let before: stat
    do throws(Failure) {
      let (directory, name) = try chain.parent(of: entry.path)
      (file, before) = try openRegularFile(name, in: directory)
    } catch {
      if error.isOfProcess { throw error }
      lose(entry.path, reason: error.code == .inputMissing ? "it is gone" : error.reason)
      return false
    }
    let attributes = entry.xattrs
    let storedAs = entry.storedAs
    entry = try ManifestEntry(path: entry.path, type: .file, facts: before, names: names)
    entry.xattrs = attributes
    entry.storedAs = storedAs
    let header = try TarWriter.header(for: TarMember(entry))
    if let frames {
      try frames.beginMember(header: header.count, content: entry.size)
      if entry.size > 0 { entry.offset = frames.position + UInt64(header.count) }
    }
    try tar.write(header)
    let (sha256, ending) = try copy(file, size: entry.size)
    entry.sha256 = sha256
    var reason: String?
    if case .failed(let why) = ending { reason = why }
    if let after = try? file.status(), !FileFacts.unchanged(before, after) {
      reason = reason ?? "it changed while it was read"
    } else if ending == .early {
      reason = "it ended early: zeros replace what is missing"
    }
    if let reason { note(Mishap(path: entry.path, reason: reason, kept: true)) }
    return true
  }

  /// How a file's content ended.
  private enum Ending: Equatable {
    case whole
    /// Before its size was reached.
    case early
    case failed(String)
  }

  /// Copies exactly `size` bytes and the padding, with zeros for missing bytes, and returns their hash.
  private func copy(
    _ file: Descriptor, size: UInt64
  ) throws(Failure) -> (sha256: Digest, ending: Ending) {
    var bytes: [UInt8] = []
    swap(&bytes, &buffer)
    defer { swap(&bytes, &buffer) }
    var hash = try SHA256()
    var remaining = size
    var ending = Ending.whole
    while remaining > 0 {
      let wanted = Int(min(UInt64(bytes.count), remaining))
      var count = 0
      if ending == .whole {
        do throws(Failure) {
          count = min(try file.read(into: &bytes), wanted)
        } catch {
          if error.isOfProcess { throw error }
          ending = .failed(error.reason)
        }
        if count == 0 {
          if ending == .whole { ending = .early }
          bytes = [UInt8](repeating: 0, count: bytes.count)
        }
      }
      if ending != .whole { count = wanted }
      let piece = bytes.span.extracting(0..<count)
      try hash.update(piece)
      try tar.write(piece)
      contentLength += UInt64(count)
      progress(count)
      remaining -= UInt64(count)
    }
    try TarWriter.pad(tar, after: size)
    return (try hash.finish(), ending)
  }

  private func lose(_ path: [UInt8], reason: String) {
    lost.insert(path)
    note(Mishap(path: path, reason: reason, kept: false))
  }

  private func note(_ mishap: Mishap) {
    manifest.unreadable = (manifest.unreadable ?? [])
    manifest.unreadable?.append(UnreadableEntry(path: mishap.path, reason: mishap.reason))
    mishapCount += 1
    report(mishap)
  }
}

extension TarMember {
  /// The member for an entry.
  package init(_ entry: ManifestEntry) {
    let kind: TarKind =
      switch entry.type {
      case .file: entry.hardLink == nil ? .file : .hardlink
      case .directory: .directory
      case .symlink: .symlink
      }
    self.init(
      name: entry.tarName, kind: kind, size: kind == .file ? entry.size : 0,
      mode: entry.mode & 0o7777, mtime: entry.modification ?? FileTime(seconds: 0),
      uid: UInt64(entry.uid ?? 0),
      gid: UInt64(entry.gid ?? 0), userName: entry.user ?? [], groupName: entry.group ?? [],
      linkTarget: entry.linkTarget ?? [], xattrs: kind == .hardlink ? [] : entry.xattrs)
  }
}
