import Glibc
import TBKCore

/// A small file to write into a staging directory, and the result.
final class StagedFileJob {
  fileprivate let directory: Descriptor
  fileprivate let name: RawPath
  fileprivate let path: [UInt8]
  fileprivate let content: [UInt8]
  fileprivate(set) var failure: Failure?

  /// - Parameters:
  ///   - directory: where to create it; nothing else creates that name there.
  ///   - path: its name in messages.
  init(_ name: RawPath, in directory: Descriptor, _ content: [UInt8], path: [UInt8]) {
    self.name = name
    self.directory = directory
    self.content = content
    self.path = path
  }
}

/// Writes small files. Creating, writing and closing them is mostly kernel work, so several threads help.
final class StagedFileWriter: PoolWorker {
  /// The largest file written this way, in bytes; larger ones are streamed.
  static let limit = 1 << 20

  func run(_ job: StagedFileJob) {
    do throws(Failure) {
      var file: Descriptor?
      try Staging.refusing(job.path) { () throws(Failure) in
        file = try Staging.newFile(job.name, in: job.directory)
      }
      do throws(Failure) {
        let content = job.content
        try file?.write(content.span)
      } catch {
        throw error.within(RawPath(job.path).display)
      }
    } catch {
      job.failure = error
    }
  }
}

/// The small files of one staging directory, several at a time. Used from one thread at a time.
final class StagedFiles {
  private var pool: OrderedPool<StagedFileWriter>?
  /// Jobs per thread that may be in the pool.
  private static let depth = 4
  private static let mostThreads = 8

  /// Writes a file, now or later. Throws the failure of an earlier one.
  func write(_ job: StagedFileJob) throws(Failure) {
    let pool = try started()
    while pool.inFlight == pool.window { try takeOldest(pool) }
    pool.submit(job)
  }

  /// Waits until all files are written. Throws the first failure.
  func settle() throws(Failure) {
    guard let pool else { return }
    while pool.inFlight > 0 { try takeOldest(pool) }
  }

  /// Ends the threads and drops files that are not yet written.
  func stop() {
    pool?.stop()
    pool = nil
  }

  private func started() throws(Failure) -> OrderedPool<StagedFileWriter> {
    if let pool { return pool }
    let threads = max(1, min(processorCount(), StagedFiles.mostThreads))
    let made = try OrderedPool(
      workers: (0..<threads).map { _ in StagedFileWriter() }, window: threads * StagedFiles.depth)
    pool = made
    return made
  }

  private func takeOldest(_ pool: OrderedPool<StagedFileWriter>) throws(Failure) {
    try Interruption.check()
    guard let job = pool.takeOldest(waiting: true) else {
      throw Failure(.library, "a file in the staging directory was forgotten")
    }
    if let failure = job.failure { throw failure }
  }
}
