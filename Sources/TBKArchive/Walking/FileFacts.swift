import CSystem
import Glibc
import TBKCore
import TBKFormat

/// Translates what the kernel reports about a file into the terms of a manifest.
package enum FileFacts {
  package static let typeBits: UInt32 = 0o170000

  /// The type of entry for a mode; nil for sockets, devices and FIFOs.
  package static func type(ofMode mode: UInt32) -> EntryType? {
    [EntryType.file, .directory, .symlink].first { $0.modeBits == mode & typeBits }
  }

  /// Whether a file is unchanged between two stat calls, by identity, size, mtime and ctime.
  package static func unchanged(_ one: stat, _ other: stat) -> Bool {
    one.st_ino == other.st_ino && one.st_dev == other.st_dev && one.st_size == other.st_size
      && FileTime(one.st_mtim) == FileTime(other.st_mtim)
      && FileTime(one.st_ctim) == FileTime(other.st_ctim)
  }

  /// Reads all extended attributes of a name in an open directory, without following a link, sorted by name.
  ///
  /// - Parameter name: one component, or empty for the directory itself.
  package static func attributes(
    of name: RawPath, in directory: Descriptor
  ) throws(Failure) -> [ExtendedAttribute] {
    // There is no listxattrat: the path goes through the open directory, and its last component is not followed.
    if !hasProc {
      guard let file = try openWithoutProc(name, in: directory) else { return [] }
      return try attributes(of: file)
    }
    let path = pathThroughDescriptor(directory, name)
    return try unsafe attributes(
      list: { (buffer, capacity) throws(Failure) in
        try unsafe path.withCString { (text) throws(Failure) in
          unsafe tbk_list_attributes(text, buffer, capacity)
        }
      },
      get: { (key, buffer, capacity) throws(Failure) in
        try unsafe path.withCString { (text) throws(Failure) in
          try unsafe key.withCString { (key) throws(Failure) in
            unsafe tbk_get_attribute(text, key, buffer, capacity)
          }
        }
      })
  }

  /// Reads all extended attributes of an open file or directory, sorted by name.
  package static func attributes(of file: Descriptor) throws(Failure) -> [ExtendedAttribute] {
    try unsafe attributes(
      list: { (buffer, capacity) in
        unsafe tbk_list_attributes_of(file.number, buffer, capacity)
      },
      get: { (key, buffer, capacity) throws(Failure) in
        try unsafe key.withCString { (key) throws(Failure) in
          unsafe tbk_get_attribute_of(file.number, key, buffer, capacity)
        }
      })
  }

  private static func attributes(
    list: (UnsafeMutablePointer<CChar>?, Int) throws(Failure) -> Int,
    get: (RawPath, UnsafeMutablePointer<CChar>?, Int) throws(Failure) -> Int
  ) throws(Failure) -> [ExtendedAttribute] {
    var names = [UInt8](repeating: 0, count: 1024)
    guard let length = try unsafe sized(&names, list) else { return [] }
    var attributes: [ExtendedAttribute] = []
    for name in names[..<length].split(separator: 0) {
      var value = [UInt8](repeating: 0, count: 256)
      let key = RawPath(Array(name))
      guard
        let count = try unsafe sized(
          &value,
          { (buffer, capacity) throws(Failure) in
            try unsafe get(key, buffer, capacity)
          })
      else { continue }
      attributes.append(ExtendedAttribute(name: key.bytes, value: Array(value[..<count])))
    }
    return attributes.sorted { $0.name.lexicographicallyPrecedes($1.name) }
  }

  /// Sets an extended attribute of a name in an open directory. Throws if the file system or the kernel refuses.
  package static func setAttribute(
    _ attribute: ExtendedAttribute, of name: RawPath, in directory: Descriptor
  ) throws(Failure) {
    let file = hasProc ? nil : try openWithoutProc(name, in: directory)
    let result = try unsafe pathThroughDescriptor(directory, name).withCString { (path) throws(Failure) in
      try unsafe RawPath(attribute.name).withCString { (key) throws(Failure) in
        unsafe attribute.value.withUnsafeBytes { value in
          if let file {
            return unsafe tbk_set_attribute_of(file.number, key, value.baseAddress, value.count)
          }
          return unsafe tbk_set_attribute(path, key, value.baseAddress, value.count)
        }
      }
    }
    if result != 0 {
      throw .system("cannot set attribute \(RawPath(attribute.name).display)")
    }
  }

  /// Sets an extended attribute of an open file or directory. Throws if the file system or the kernel refuses.
  package static func setAttribute(
    _ attribute: ExtendedAttribute, of file: Descriptor
  ) throws(Failure) {
    let result = try unsafe RawPath(attribute.name).withCString { (key) throws(Failure) in
      unsafe attribute.value.withUnsafeBytes { value in
        unsafe tbk_set_attribute_of(file.number, key, value.baseAddress, value.count)
      }
    }
    if result != 0 {
      throw .system("cannot set attribute \(RawPath(attribute.name).display)")
    }
  }

  /// A path through an open directory to a name in it, or to the directory itself.
  private static func pathThroughDescriptor(_ directory: Descriptor, _ name: RawPath) -> RawPath {
    RawPath("/proc/self/fd/\(directory.number)").appending(name.isEmpty ? RawPath(".") : name)
  }

  /// Whether such paths work: /proc may not be mounted.
  private static let hasProc = unsafe access("/proc/self/fd", X_OK) == 0

  /// Opens a file or directory; nil for anything else, such as a link, which has no user attributes, and for what is
  /// gone or may not be opened.
  private static func openWithoutProc(
    _ name: RawPath, in directory: Descriptor
  ) throws(Failure) -> Descriptor? {
    if name.isEmpty { return directory }
    guard let facts = try directory.statusIfPresent(of: name),
      [S_IFREG, S_IFDIR].contains(facts.st_mode & S_IFMT)
    else { return nil }
    do throws(Failure) {
      return try directory.openIfPresent(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
    } catch {
      if error.code == .denied { return nil }
      throw error
    }
  }

  /// Retries with larger buffers, up to 1 MiB; nil if there are no attributes or they may not be read.
  private static func sized(
    _ buffer: inout [UInt8],
    _ call: (UnsafeMutablePointer<CChar>?, Int) throws(Failure) -> Int
  ) throws(Failure) -> Int? {
    while true {
      let capacity = buffer.count
      let result: Result<(Int, Int32), Failure> = unsafe buffer.withUnsafeMutableBytes { raw in
        do throws(Failure) {
          let text = unsafe raw.baseAddress?.assumingMemoryBound(to: CChar.self)
          let count = try unsafe call(text, capacity)
          return .success((count, errno))
        } catch {
          return .failure(error)
        }
      }
      let (count, number) = try result.get()
      if count >= 0 { return count }
      switch number {
      case ERANGE where capacity < 1 << 20:
        buffer = [UInt8](repeating: 0, count: capacity * 4)
      case ENOTSUP, ENODATA, ENOENT, EPERM, EACCES: return nil
      default: throw .system("cannot read extended attributes", errno: number)
      }
    }
  }
}

/// User and group names and ids, each looked up once.
package final class AccountNames {
  private var users: [UInt32: [UInt8]?] = [:]
  private var groups: [UInt32: [UInt8]?] = [:]
  private var userIDs: [[UInt8]: UInt32?] = [:]
  private var groupIDs: [[UInt8]: UInt32?] = [:]

  package init() {}

  /// The user's name; nil if the system has none for the id.
  package func user(_ id: UInt32) throws(Failure) -> [UInt8]? {
    if let known = users[id] { return known }
    let name = try lookUp { unsafe getpwuid(id).map { unsafe bytes(of: $0.pointee.pw_name) } }
    users[id] = .some(name)
    return name
  }

  package func group(_ id: UInt32) throws(Failure) -> [UInt8]? {
    if let known = groups[id] { return known }
    let name = try lookUp { unsafe getgrgid(id).map { unsafe bytes(of: $0.pointee.gr_name) } }
    groups[id] = .some(name)
    return name
  }

  /// The user's id; nil if the system does not know the name.
  package func userID(_ name: [UInt8]) -> UInt32? {
    if let known = userIDs[name] { return known }
    let id = unsafe getpwnam(String(decoding: name, as: UTF8.self)).map { unsafe $0.pointee.pw_uid }
    userIDs[name] = .some(id)
    return id
  }

  package func groupID(_ name: [UInt8]) -> UInt32? {
    if let known = groupIDs[name] { return known }
    let id = unsafe getgrnam(String(decoding: name, as: UTF8.self)).map { unsafe $0.pointee.gr_gid }
    groupIDs[name] = .some(id)
    return id
  }

  /// The result of a lookup; throws, rather than returning nil, if a resource has run out.
  private func lookUp<T>(_ ask: () -> T?) throws(Failure) -> T? {
    errno = 0
    if let answer = ask() { return answer }
    let failure = Failure.system("cannot look up an account")
    if failure.code == .exhausted { throw failure }
    return nil
  }

  private func bytes(of text: UnsafePointer<CChar>) -> [UInt8] {
    unsafe Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
  }
}

extension ManifestEntry {
  /// An entry with the metadata of `facts`. The hash is set only for entries without content.
  ///
  /// - Parameter type: from `FileFacts.type(ofMode:)`.
  package init(
    path: [UInt8], type: EntryType, facts: stat, names: AccountNames
  ) throws(Failure) {
    self.init(
      path: path, type: type, size: type == .file ? UInt64(clamping: facts.st_size) : 0,
      sha256: type == .file ? nil : .ofNothing, mode: facts.st_mode, modifiedAt: 0)
    setModification(FileTime(facts.st_mtim))
    ctime = FileTime(facts.st_ctim)
    inode = UInt64(facts.st_ino)
    device = UInt64(facts.st_dev)
    uid = facts.st_uid
    gid = facts.st_gid
    user = try names.user(facts.st_uid)
    group = try names.group(facts.st_gid)
  }
}
