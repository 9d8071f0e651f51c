import CSystem
import Glibc

/// Bytes that must not leak: locked in memory, kept out of core dumps, wiped when dropped.
///
/// It has no description. `withBytes` lends the bytes; a borrower must not copy them anywhere but into another `Secret`
/// or a library call.
@safe package struct Secret: ~Copyable, @unchecked Sendable {
  private let storage: UnsafeMutableRawBufferPointer

  /// How many bytes it holds.
  package let count: Int

  /// `count` zero bytes, to be filled by `withMutableBytes`. Throws `.exhausted` if out of memory.
  package init(count: Int) throws(Failure) {
    let page = 4096
    let capacity = (max(count, 1) + page - 1) / page * page
    guard
      let memory = unsafe mmap(
        nil, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      unsafe memory != MAP_FAILED
    else {
      throw .system("cannot hold a secret")
    }
    // Both can fail because of the user's limits; a secret in pageable memory is better than none, and the command
    // disables core dumps for the whole process.
    _ = unsafe mlock(memory, capacity)
    _ = unsafe madvise(memory, capacity, 16 /* MADV_DONTDUMP */)
    unsafe storage = UnsafeMutableRawBufferPointer(start: memory, count: capacity)
    self.count = count
  }

  /// Copies the bytes; the caller wipes its own copy.
  package init(copying bytes: Span<UInt8>) throws(Failure) {
    try self.init(count: bytes.count)
    withMutableBytes { $0.copy(from: bytes) }
  }

  /// Reads a file to its end; `.malformed` past `limit` bytes.
  ///
  /// - Parameter name: the name of the file in messages.
  package init(reading file: Descriptor, limit: Int, name: RawPath) throws(Failure) {
    let source = DescriptorSource(file, name: name)
    let whole = try Secret(count: limit)
    var buffer = [UInt8](repeating: 0, count: 4096)
    defer { wipe(&buffer) }
    var count = 0
    while true {
      let more = try source.read(into: &buffer)
      if more == 0 { break }
      guard more <= limit - count else {
        throw Failure(.malformed, "\(name.display) is larger than \(limit) bytes")
      }
      whole.withMutableBytes { bytes in
        for index in 0..<more { bytes[count + index] = buffer[index] }
      }
      count += more
    }
    let read = count
    self = try whole.withBytes { (bytes) throws(Failure) in
      try Secret(copying: bytes.extracting(0..<read))
    }
  }

  deinit {
    unsafe tbk_wipe(storage.baseAddress!, storage.count)
    _ = unsafe munmap(storage.baseAddress!, storage.count)
  }

  package borrowing func withBytes<R: ~Copyable, E: Error>(
    _ body: (Span<UInt8>) throws(E) -> R
  ) throws(E) -> R {
    let bytes = unsafe UnsafeRawBufferPointer(rebasing: storage[..<count])
    return try unsafe body(Span<UInt8>(_unsafeBytes: bytes))
  }

  package borrowing func withMutableBytes<R: ~Copyable, E: Error>(
    _ body: (inout MutableSpan<UInt8>) throws(E) -> R
  ) throws(E) -> R {
    let bytes = unsafe UnsafeMutableRawBufferPointer(rebasing: storage[..<count])
    var span = unsafe MutableSpan<UInt8>(_unsafeBytes: bytes)
    return try body(&span)
  }

  /// A second owner of the same bytes.
  package borrowing func copy() throws(Failure) -> Secret {
    try withBytes { (bytes) throws(Failure) in try Secret(copying: bytes) }
  }
}

/// Wipes an array that held a secret on its way into a `Secret`.
package func wipe(_ bytes: inout [UInt8]) {
  unsafe bytes.withUnsafeMutableBytes { raw in
    if let base = raw.baseAddress { unsafe tbk_wipe(base, raw.count) }
  }
}
