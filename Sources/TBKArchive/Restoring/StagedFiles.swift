import Glibc
import TBKCore

/// A small file that is to be written into a staging directory, and what became of it.
final class StagedFileJob {
  fileprivate let directory: Descriptor
  fileprivate let name: RawPath
  fileprivate let path: [UInt8]
  fileprivate let content: [UInt8]
  fileprivate(set) var failure: Failure?

  /// - Parameters:
  ///   - directory: where it is made; nobody else makes anything of that name there.
  ///   - path: what messages call it.
  init(_ name: RawPath, in directory: Descriptor, _ content: [UInt8], path: [UInt8]) {
    self.name = name
    self.directory = directory
    self.content = content
    self.path = path
  }
}

/// Writes small files. To make one, fill it and close it is nearly all the kernel's work, and goes on side by side.
final class StagedFileWriter: PoolWorker {
  /// The largest file that is written so, in bytes; larger ones are written as they come.
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
  /// Jobs for each thread that may wait.
  private static let depth = 4
  private static let mostThreads = 8

  /// Takes a file, and writes it now or later. Throws what became of an earlier one.
  func write(_ job: StagedFileJob) throws(Failure) {
    let pool = try started()
    while pool.inFlight == pool.window { try takeOldest(pool) }
    pool.submit(job)
  }

  /// Returns when all files are written. Throws the first failure.
  func settle() throws(Failure) {
    guard let pool else { return }
    while pool.inFlight > 0 { try takeOldest(pool) }
  }

  /// Ends the threads; what is not written yet is forgotten.
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
