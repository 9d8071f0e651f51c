import Glibc

/// A copy of a stream that no other process can change: an unnamed file, for data that is read twice or as a whole.
///
/// It is created by `TemporaryFile.anonymous()` and disappears with this object.
package final class PrivateCopy {
  private let file: Descriptor
  /// In bytes.
  package let length: UInt64

  /// Copies the rest of `source`.
  ///
  /// If `source` is a regular file whose size or times change meanwhile, throws `.integrity`. The copy itself never
  /// changes.
  ///
  /// - Parameters:
  ///   - name: the name of the source in messages; standard input if nil.
  ///   - progress: called with the number of bytes of each read.
  package init(
    of source: Descriptor, name: RawPath? = nil, progress: (Int) -> Void = { _ in }
  ) throws(Failure) {
    file = try TemporaryFile.anonymous()
    let before = try source.status()
    let input = DescriptorSource(source, name: name)
    let output = DescriptorSink(file, name: RawPath("temporary file"))
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    var total: UInt64 = 0
    while true {
      let count = try input.read(into: &buffer)
      if count == 0 { break }
      try output.write(buffer.span.extracting(0..<count))
      total += UInt64(count)
      progress(count)
    }
    try output.finish()
    length = total
    let after = try source.status()
    if before.st_mode & S_IFMT == S_IFREG, !isUnchanged(before, after) {
      throw Failure(
        .integrity, "\(name?.display ?? "standard input") changed while it was read",
        hint: "try again when nothing writes to it")
    }
  }

  /// Copies the rest of a source that other processes cannot write to.
  package init(of source: any ByteSource) throws(Failure) {
    file = try TemporaryFile.anonymous()
    let output = DescriptorSink(file, name: RawPath("temporary file"))
    length = try source.copy(to: output)
    try output.finish()
  }

  /// Takes over a file of `TemporaryFile.anonymous()` with `length` bytes, which is no longer written to.
  package init(adopting file: Descriptor, length: UInt64) {
    self.file = file
    self.length = length
  }

  /// Up to this many bytes may stay in memory; no thread is started to release them.
  private static let smallLength = 8 << 20

  /// Lends the bytes, which are mapped. The mapped pages are released every few milliseconds, so that memory use does
  /// not grow with the length.
  ///
  /// - Parameter meanwhile: called from another thread each time, because `body` cannot be interrupted. Not called if
  ///   the copy is small or no thread can be started; then the kernel reclaims the pages when it needs to.
  package func withBytes<R>(
    meanwhile: @escaping @Sendable () -> Void = {},
    _ body: (Span<UInt8>) throws(Failure) -> R
  ) throws(Failure) -> R {
    let nothing: [UInt8] = []
    if length == 0 { return try body(nothing.span) }
    guard let count = Int(exactly: length) else {
      throw Failure(.library, "\(length) bytes cannot be mapped")
    }
    let mapping = try Mapping(file, count: count)
    guard count > PrivateCopy.smallLength else { return try mapping.withBytes(body) }
    let thread: WorkerThread?
    do throws(Failure) {
      thread = try WorkerThread { mapping.serve(meanwhile) }
    } catch {
      guard error.code == .exhausted else { throw error }
      thread = nil
    }
    defer {
      mapping.end()
      thread?.join()
    }
    return try mapping.withBytes(body)
  }

  /// A whole file, mapped; unmapped with the last reference.
  @safe private final class Mapping: @unchecked Sendable {
    // Safe to share: mapped read-only, and the file is no longer written.
    private let bytes: UnsafeMutableRawBufferPointer
    private let monitor = Monitor()
    private var ended = false

    init(_ file: Descriptor, count: Int) throws(Failure) {
      guard let start = unsafe mmap(nil, count, PROT_READ, MAP_SHARED, file.number, 0),
        unsafe start != MAP_FAILED
      else { throw .system("cannot map the temporary file") }
      unsafe madvise(start, count, MADV_SEQUENTIAL)
      unsafe bytes = UnsafeMutableRawBufferPointer(start: start, count: count)
    }

    deinit { unsafe _ = munmap(bytes.baseAddress!, bytes.count) }

    func withBytes<R>(_ body: (Span<UInt8>) throws(Failure) -> R) throws(Failure) -> R {
      try unsafe body(Span<UInt8>(_unsafeBytes: UnsafeRawBufferPointer(bytes)))
    }

    /// The body of the thread: releases the pages, which come back from the file if they are read again.
    func serve(_ meanwhile: () -> Void) {
      monitor.lock()
      defer { monitor.unlock() }
      while !ended {
        monitor.wait(milliseconds: 5)
        monitor.unlock()
        unsafe madvise(bytes.baseAddress!, bytes.count, MADV_DONTNEED)
        meanwhile()
        monitor.lock()
      }
    }

    func end() {
      monitor.lock()
      ended = true
      monitor.announce()
      monitor.unlock()
    }
  }
}

/// Whether size, mtime and ctime are the same.
private func isUnchanged(_ one: stat, _ other: stat) -> Bool {
  one.st_size == other.st_size && one.st_mtim.tv_sec == other.st_mtim.tv_sec
    && one.st_mtim.tv_nsec == other.st_mtim.tv_nsec && one.st_ctim.tv_sec == other.st_ctim.tv_sec
    && one.st_ctim.tv_nsec == other.st_ctim.tv_nsec
}
