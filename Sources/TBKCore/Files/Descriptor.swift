import CSystem
import Glibc

/// An open file descriptor, closed with the last reference unless it is borrowed.
///
/// Reads, writes and opens check for signals and retry after EINTR. Paths are bytes; the `at` calls take a name or a
/// path relative to this directory.
package final class Descriptor: Sendable {
  package let number: Int32
  private let owned: Bool

  /// Takes over `number`.
  package init(owning number: Int32) {
    self.number = number
    owned = true
  }

  /// Uses `number`, which its owner closes.
  package init(borrowing number: Int32) {
    self.number = number
    owned = false
  }

  deinit {
    if owned { close(number) }
  }

  package static let standardInput = Descriptor(borrowing: 0)
  package static let standardOutput = Descriptor(borrowing: 1)
  package static let standardError = Descriptor(borrowing: 2)
  /// The directory that paths are relative to by default.
  package static let workingDirectory = Descriptor(borrowing: AT_FDCWD)

  // MARK: Opening

  /// Opens `path` relative to this directory.
  ///
  /// - Parameters:
  ///   - flags: `O_CLOEXEC` is always added.
  ///   - missing: the failure code if it does not exist.
  ///   - name: its name in messages, if not `path`.
  package func open(
    _ path: RawPath, _ flags: Int32, mode: UInt32 = 0o600,
    missing: Failure.Code = .inputMissing, name: RawPath? = nil
  ) throws(Failure) -> Descriptor {
    guard let opened = try openIfPresent(path, flags, mode: mode, name: name) else {
      throw .system("cannot open \((name ?? path).display)", errno: ENOENT, missing: missing)
    }
    return opened
  }

  /// Like `open`, but returns nil for a file that does not exist.
  package func openIfPresent(
    _ path: RawPath, _ flags: Int32, mode: UInt32 = 0o600, name: RawPath? = nil
  ) throws(Failure) -> Descriptor? {
    let result = try unsafe path.withCString { (text) throws(Failure) -> Int32 in
      while true {
        let opened = unsafe tbk_openat(number, text, flags | O_CLOEXEC, mode)
        if opened >= 0 { return opened }
        if errno != EINTR { return -1 }
        try Interruption.check()
      }
    }
    if result >= 0 { return Descriptor(owning: result) }
    if errno == ENOENT { return nil }
    throw .system("cannot open \((name ?? path).display)")
  }

  /// Opens a path relative to the working directory, for reading.
  package static func openForReading(
    _ path: RawPath, missing: Failure.Code = .inputMissing
  ) throws(Failure) -> Descriptor {
    try workingDirectory.open(path, O_RDONLY, missing: missing)
  }

  // MARK: Bytes

  /// Reads at most `buffer.count` bytes; 0 at the end.
  package func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    while true {
      try Interruption.check()
      let count = unsafe buffer.withUnsafeMutableBytes { raw in
        unsafe Glibc.read(number, raw.baseAddress, raw.count)
      }
      if count >= 0 { return count }
      try waitOrThrow("cannot read", POLLIN)
    }
  }

  /// Reads at most `buffer.count` bytes from `offset`; 0 at the end.
  package func read(into buffer: inout [UInt8], at offset: UInt64) throws(Failure) -> Int {
    guard let position = off_t(exactly: offset) else {
      throw Failure(.malformed, "file offset \(offset) is out of range")
    }
    while true {
      try Interruption.check()
      let count = unsafe buffer.withUnsafeMutableBytes { raw in
        unsafe pread(number, raw.baseAddress, raw.count, position)
      }
      if count >= 0 { return count }
      if errno != EINTR { throw .system("cannot read") }
    }
  }

  /// Writes all of `bytes`.
  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    var done = 0
    while done < bytes.count {
      try Interruption.check()
      let rest = bytes.extracting(done..<bytes.count)
      let count = unsafe rest.withUnsafeBytes { raw in
        unsafe Glibc.write(number, raw.baseAddress, raw.count)
      }
      if count >= 0 {
        done += count
      } else {
        try waitOrThrow("cannot write", POLLOUT)
      }
    }
  }

  /// Writes a message for a person, even after a signal, as far as it can be written. Ignores errors.
  package func writeMessage(_ bytes: Span<UInt8>) {
    var done = 0
    while done < bytes.count {
      let count = unsafe bytes.extracting(done..<bytes.count).withUnsafeBytes { raw in
        unsafe Glibc.write(number, raw.baseAddress, raw.count)
      }
      if count >= 0 {
        done += count
      } else if errno == EAGAIN, Interruption.signal == nil {
        var entry = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
        _ = unsafe poll(&entry, 1, -1)
      } else if errno != EINTR || Interruption.signal != nil {
        return
      }
    }
  }

  /// Whether a read would return bytes, the end or an error without waiting.
  package var isReadable: Bool {
    var entry = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&entry, 1, 0) > 0
  }

  /// Whether all writers of this pipe have closed it, and nothing is left to read; true if it is not a pipe.
  package var hasEnded: Bool {
    guard let facts = try? status(), facts.st_mode & S_IFMT == S_IFIFO else { return true }
    var entry = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
    guard unsafe poll(&entry, 1, 0) > 0 else { return false }
    return Int32(entry.revents) & POLLIN == 0
  }

  /// After a failed call: returns if the call should be retried, else throws.
  ///
  /// Another process that shares a terminal or pipe with us may have made it non-blocking.
  private func waitOrThrow(_ action: String, _ event: Int32) throws(Failure) {
    switch errno {
    case EINTR: return
    case EAGAIN:
      var entry = pollfd(fd: number, events: Int16(event), revents: 0)
      _ = unsafe poll(&entry, 1, -1)
    case EISDIR: throw Failure(.inputMissing, "\(action): it is a directory")
    default: throw .system(action)
    }
  }

  /// Writes all of `bytes` at `offset`, without moving the file's position.
  package func write(_ bytes: Span<UInt8>, at offset: UInt64) throws(Failure) {
    var done = 0
    while done < bytes.count {
      try Interruption.check()
      let rest = bytes.extracting(done..<bytes.count)
      let position = off_t(offset) + off_t(done)
      let count = unsafe rest.withUnsafeBytes { raw in
        unsafe pwrite(number, raw.baseAddress, raw.count, position)
      }
      if count >= 0 {
        done += count
      } else if errno != EINTR {
        throw .system("cannot write")
      }
    }
  }

  /// Flushes written data to the disk.
  package func synchronize() throws(Failure) {
    while fsync(number) != 0 {
      // A pipe or a special file has nothing to flush.
      if errno == EINVAL || errno == EROFS { return }
      if errno != EINTR { throw .system("cannot flush to disk") }
      try Interruption.check()
    }
  }

  package func truncate(to length: UInt64) throws(Failure) {
    while ftruncate(number, off_t(length)) != 0 {
      if errno != EINTR { throw .system("cannot truncate") }
    }
  }

  /// The current position, or nil where there is none (a pipe, a terminal).
  package var position: UInt64? {
    let offset = lseek(number, 0, SEEK_CUR)
    return offset < 0 ? nil : UInt64(offset)
  }

  package func seek(to offset: UInt64) throws(Failure) {
    if lseek(number, off_t(offset), SEEK_SET) < 0 { throw .system("cannot seek") }
  }

  // MARK: Facts

  package func status() throws(Failure) -> stat {
    var facts = stat()
    if unsafe fstat(number, &facts) != 0 { throw .system("cannot stat") }
    return facts
  }

  package var isTerminal: Bool { isatty(number) == 1 }

  /// Free bytes on the file system for this user; nil if unknown.
  package var freeBytes: UInt64? { UInt64(exactly: tbk_free_bytes(number)) }

  // MARK: Below this directory

  /// The status of a name, without following a link; nil if there is no such name.
  package func statusIfPresent(of path: RawPath) throws(Failure) -> stat? {
    var facts = stat()
    let result = try unsafe path.withCString { (text) throws(Failure) in
      unsafe fstatat(number, text, &facts, AT_SYMLINK_NOFOLLOW)
    }
    if result == 0 { return facts }
    if errno == ENOENT || errno == ENOTDIR { return nil }
    throw .system("cannot stat \(path.display)")
  }

  /// Creates a directory; an existing name is `.cannotCreate`.
  package func makeDirectory(_ path: RawPath, mode: UInt32 = 0o700) throws(Failure) {
    let result = try unsafe path.withCString { (text) throws(Failure) in
      unsafe mkdirat(number, text, mode)
    }
    if result != 0 { throw .system("cannot create directory \(path.display)", missing: .cannotCreate) }
  }

  /// Removes a file or link; false if it did not exist.
  @discardableResult
  package func unlink(_ path: RawPath, directory: Bool = false) throws(Failure) -> Bool {
    let result = try unsafe path.withCString { (text) throws(Failure) in
      unsafe unlinkat(number, text, directory ? AT_REMOVEDIR : 0)
    }
    if result == 0 { return true }
    if errno == ENOENT { return false }
    throw .system("cannot remove \(path.display)")
  }

  /// Renames `path` to `target` below `directory`, replacing an existing file unless `replacing` is false.
  package func rename(
    _ path: RawPath, to directory: Descriptor, _ target: RawPath, replacing: Bool = true
  ) throws(Failure) {
    let result = try unsafe path.withCString { (old) throws(Failure) in
      try unsafe target.withCString { (new) throws(Failure) in
        if replacing { return unsafe renameat(number, old, directory.number, new) }
        return unsafe tbk_rename_noreplace(number, old, directory.number, new)
      }
    }
    if result != 0, !replacing, [EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) {
      return try renameWithoutFlags(path, to: directory, target)
    }
    if result != 0 {
      throw .system("cannot rename \(path.display) to \(target.display)", missing: .cannotCreate)
    }
  }

  /// For file systems whose rename supports no flags (NFS, FUSE): a link fails if the name is taken. Only for a file
  /// that cannot be linked is the name checked first.
  private func renameWithoutFlags(
    _ path: RawPath, to directory: Descriptor, _ target: RawPath
  ) throws(Failure) {
    let linked = try unsafe path.withCString { (old) throws(Failure) in
      try unsafe target.withCString { (new) throws(Failure) in
        unsafe linkat(number, old, directory.number, new, 0)
      }
    }
    if linked == 0 {
      try unlink(path)
      return
    }
    if try directory.statusIfPresent(of: target) != nil {
      throw .system(
        "cannot rename \(path.display) to \(target.display)", errno: EEXIST,
        missing: .cannotCreate)
    }
    try rename(path, to: directory, target, replacing: true)
  }

  /// Where a symlink points, as stored.
  package func readLink(_ path: RawPath) throws(Failure) -> RawPath {
    var target = [UInt8](repeating: 0, count: Int(PATH_MAX) + 1)
    let capacity = target.count
    let length = try unsafe path.withCString { (text) throws(Failure) in
      unsafe target.withUnsafeMutableBytes { raw in
        unsafe readlinkat(
          number, text, raw.baseAddress!.assumingMemoryBound(to: CChar.self), capacity)
      }
    }
    if length < 0 { throw .system("cannot read link \(path.display)") }
    return RawPath(Array(target[..<length]))
  }

  /// The names in this directory, in the file system's order, with their `d_type`.
  package func names() throws(Failure) -> [(name: RawPath, type: UInt8)] {
    guard let stream = unsafe tbk_list(number) else { throw .system("cannot list directory") }
    defer { unsafe _ = closedir(stream) }
    var names: [(name: RawPath, type: UInt8)] = []
    while true {
      var name: UnsafePointer<CChar>?
      var inode: UInt64 = 0
      var type: UInt8 = 0
      switch unsafe tbk_readdir(stream, &name, &inode, &type) {
      case 0: return names
      case 1:
        let length = unsafe strlen(name!)
        let bytes = unsafe UnsafeRawBufferPointer(start: name!, count: length)
        unsafe names.append((RawPath(Array(bytes)), type))
      default: throw .system("cannot list directory")
      }
    }
  }
}

/// Writes to a descriptor through a buffer; `finish()` flushes it and throws if that fails.
package final class DescriptorSink: ByteSink {
  package let descriptor: Descriptor
  private var buffer: [UInt8] = []
  private let name: RawPath?

  /// - Parameter name: the name of the file in messages; standard output if nil.
  package init(_ descriptor: Descriptor, name: RawPath? = nil) {
    self.descriptor = descriptor
    self.name = name
    buffer.reserveCapacity(chunkSize)
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    if buffer.count + bytes.count > chunkSize { try flush() }
    if bytes.count >= chunkSize {
      try put(bytes)
    } else {
      buffer.append(bytes)
    }
  }

  /// Passes everything written so far to the kernel.
  package func flush() throws(Failure) {
    if buffer.isEmpty { return }
    // Swapped out while it is lent, and put back empty to keep its storage.
    var pending: [UInt8] = []
    swap(&pending, &buffer)
    try put(pending.span)
    pending.removeAll(keepingCapacity: true)
    swap(&pending, &buffer)
  }

  package func finish() throws(Failure) { try flush() }

  private func put(_ bytes: Span<UInt8>) throws(Failure) {
    do throws(Failure) {
      try descriptor.write(bytes)
    } catch {
      throw error.within(name?.display ?? "standard output")
    }
  }
}

/// Reads from a descriptor's current position.
package final class DescriptorSource: ByteSource {
  package let descriptor: Descriptor
  private let name: RawPath?

  /// - Parameter name: the name of the file in messages; standard input if nil.
  package init(_ descriptor: Descriptor, name: RawPath? = nil) {
    self.descriptor = descriptor
    self.name = name
  }

  package func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    do throws(Failure) {
      return try descriptor.read(into: &buffer)
    } catch {
      throw error.within(name?.display ?? "standard input")
    }
  }
}
