import CSystem
import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// Opens a regular file for reading, without following links and, if allowed, without changing its access time.
///
/// Throws `.inputMissing` if it is gone, `.malformed` if it is no longer a regular file.
package func openRegularFile(
  _ name: RawPath, in directory: Descriptor
) throws(Failure) -> (file: Descriptor, facts: stat) {
  // O_NONBLOCK: a FIFO in the file's place must not block us.
  let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
  let file: Descriptor
  if let quiet = try? directory.openIfPresent(name, flags | tbk_o_noatime) {
    file = quiet
  } else {
    file = try directory.open(name, flags)
  }
  let facts = try file.status()
  guard FileFacts.type(ofMode: facts.st_mode) == .file else {
    throw Failure(.malformed, "\(name.display) is not a regular file any more")
  }
  // Smaller files are read in one go.
  if facts.st_size > 1 << 17 { tbk_advise_sequential(file.number) }
  return (file, facts)
}

/// The hash of a file from its current position to its end.
func hashOfFile(_ file: Descriptor) throws(Failure) -> Digest {
  let hashing = try HashingSink(into: CountingSink())
  try DescriptorSource(file).copy(to: hashing)
  return try hashing.digest()
}

/// Hashes files on several threads and returns the entries in order.
final class HashingPool {
  /// An entry in the pool. The worker fills in the metadata and hash of `visit`, or `failure`.
  final class Job {
    var visit: TreeWalker.Visit
    /// Whether to read the file. Other entries only keep their place in the order.
    let reads: Bool
    /// The hash of stored content that may be this file's, or nil.
    let stored: Digest?
    var failure: Failure?

    init(_ visit: TreeWalker.Visit, reads: Bool, stored: Digest? = nil) {
      self.visit = visit
      self.reads = reads
      self.stored = stored
    }
  }

  final class Worker: PoolWorker {
    private var storage = [UInt8](repeating: 0, count: chunkSize)

    func run(_ job: Job) {
      guard job.reads else { return }
      var buffer: [UInt8] = []
      swap(&buffer, &storage)
      defer { swap(&buffer, &storage) }
      do throws(Failure) {
        let (file, facts) = try openRegularFile(job.visit.name, in: job.visit.directory)
        var hash = try SHA256()
        var count: UInt64 = 0
        while true {
          let more = try file.read(into: &buffer)
          if more == 0 { break }
          try hash.update(buffer.span.extracting(0..<more))
          count += UInt64(more)
        }
        // Times and mode from before reading, so that a later change shows.
        job.visit.entry.mode = facts.st_mode
        job.visit.entry.setModification(FileTime(facts.st_mtim))
        job.visit.entry.ctime = FileTime(facts.st_ctim)
        job.visit.entry.size = count
        job.visit.entry.sha256 = try hash.finish()
      } catch {
        job.failure = error
      }
    }
  }

  private let pool: OrderedPool<Worker>
  private let deliver: (Job) throws(Failure) -> Void

  init(threads: Int, deliver: @escaping (Job) throws(Failure) -> Void) throws(Failure) {
    pool = try OrderedPool(
      workers: (0..<max(1, threads)).map { _ in Worker() }, window: max(1, threads) * 16)
    self.deliver = deliver
  }

  func add(_ job: Job) throws(Failure) {
    if !job.reads, pool.inFlight == 0 { return try deliver(job) }
    while pool.inFlight >= pool.window, let done = pool.takeOldest(waiting: true) {
      try deliver(done)
    }
    pool.submit(job)
    while let done = pool.takeOldest(waiting: false) { try deliver(done) }
  }

  func finish() throws(Failure) {
    while let done = pool.takeOldest(waiting: true) { try deliver(done) }
  }
}
