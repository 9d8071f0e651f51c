import TBKCore

/// Runs the stages behind it on a second thread, so that both sides work in parallel; in the calling thread if no
/// thread can be started.
///
/// Written bytes are copied, in pieces of `chunkSize`, into a queue of bounded length, from which the other thread
/// takes them. An error of `next` is thrown by the next `write` or by `finish`.
///
/// Ownership: from the first `write` (or `finish`) until `finish` returns or this object is deinitialised, `next` and
/// everything it refers to belong to the other thread. Before and after, they are the caller's, who then sees all
/// effects. If deinitialised without `finish()`, the queue is dropped, `next` is not finished, and the thread has ended
/// when `deinit` returns.
package final class PipelinedSink: ByteSink, PhasedStage {
  private let queue: Queue
  private let depth: Int
  var phase = StagePhase.open
  private var filling: [UInt8] = []
  private var thread: WorkerThread?
  /// The next stage, if no thread could be started.
  private var direct: (any ByteSink)?

  /// - Parameter depth: how many chunks may wait, at least 1. Memory is at most `depth + 2` chunks.
  package init(depth: Int = 8, into next: any ByteSink) {
    precondition(depth >= 1)
    self.depth = depth
    queue = Queue(depth: depth, next: next)
  }

  deinit { stop() }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    try step { () throws(Failure) in
      var done = 0
      while done < bytes.count {
        if filling.capacity < chunkSize { filling.reserveCapacity(chunkSize) }
        let count = min(chunkSize - filling.count, bytes.count - done)
        filling.append(bytes.extracting(done..<done + count))
        done += count
        if filling.count == chunkSize { try push() }
      }
    }
  }

  package func finish() throws(Failure) {
    try end { () throws(Failure) in
      if !filling.isEmpty { try push() }
      try start()
      if let direct { try direct.finish() } else { try queue.finish(thread) }
    }
    stop()
  }

  private func push() throws(Failure) {
    try start()
    var chunk: [UInt8] = []
    swap(&chunk, &filling)
    if let direct {
      try direct.write(chunk.span)
      chunk.removeAll(keepingCapacity: true)
      filling = chunk
    } else {
      filling = try queue.push(chunk, thread)
    }
  }

  private func start() throws(Failure) {
    if thread != nil || direct != nil { return }
    let queue = self.queue
    do throws(Failure) {
      thread = try WorkerThread(nudgeable: true) { queue.serve() }
    } catch {
      guard error.code == .exhausted else { throw error }
      direct = queue.next
    }
  }

  func stop() {
    guard let thread else { return }
    queue.abandon(thread)
    thread.join()
    self.thread = nil
  }

  /// The chunks passed between the two threads. The monitor guards everything except `next`, which only the thread in
  /// `serve()` uses. So this may be shared.
  private final class Queue: @unchecked Sendable {
    private let monitor = Monitor()
    private let depth: Int
    let next: any ByteSink
    /// A ring buffer; `first` is the index of the oldest chunk.
    private var chunks: [[UInt8]]
    private var first = 0
    private var count = 0
    /// Empty arrays for reuse.
    private var spare: [[UInt8]] = []
    private var ending = false
    private var abandoned = false
    /// The other thread no longer uses `next`.
    private var ended = false
    private var failure: Failure?

    init(depth: Int, next: any ByteSink) {
      self.depth = depth
      self.next = next
      chunks = Array(repeating: [], count: depth)
    }

    /// Adds a chunk and returns an empty array to fill. Waits while the queue is full.
    func push(_ chunk: consuming [UInt8], _ thread: WorkerThread?) throws(Failure) -> [UInt8] {
      monitor.lock()
      defer { monitor.unlock() }
      while count == depth, !ended { try pause(thread) }
      if let failure { throw failure }
      chunks[(first + count) % depth] = chunk
      count += 1
      monitor.announce()
      return spare.popLast() ?? []
    }

    /// Ends the stream and waits until `next` is finished.
    func finish(_ thread: WorkerThread?) throws(Failure) {
      monitor.lock()
      defer { monitor.unlock() }
      ending = true
      monitor.announce()
      while !ended { try pause(thread) }
      if let failure { throw failure }
    }

    /// Drops the queue and waits until the other thread is about to return.
    func abandon(_ thread: WorkerThread) {
      monitor.lock()
      defer { monitor.unlock() }
      abandoned = true
      monitor.announce()
      monitor.wait(interrupting: thread) { ended }
    }

    /// Waits for a change, at most 50 ms. The other thread blocks signals and may be in a system call, so check for a
    /// signal here and pass it on.
    private func pause(_ thread: WorkerThread?) throws(Failure) {
      monitor.wait(milliseconds: 50)
      if Interruption.signal != nil {
        thread?.nudge()
        try Interruption.check()
      }
    }

    /// The body of the other thread.
    func serve() {
      var result: Failure?
      do throws(Failure) {
        while let chunk = take() {
          try next.write(chunk.span)
          recycle(chunk)
        }
        if !isAbandoned { try next.finish() }
      } catch {
        result = error
      }
      monitor.lock()
      failure = result
      ended = true
      monitor.announce()
      monitor.unlock()
    }

    /// The oldest chunk; nil at the end.
    private func take() -> [UInt8]? {
      monitor.lock()
      defer { monitor.unlock() }
      while count == 0, !ending, !abandoned { monitor.wait() }
      if abandoned || count == 0 { return nil }
      var chunk: [UInt8] = []
      swap(&chunk, &chunks[first])
      first = (first + 1) % depth
      count -= 1
      monitor.announce()
      return chunk
    }

    private func recycle(_ chunk: consuming [UInt8]) {
      var chunk = chunk
      chunk.removeAll(keepingCapacity: true)
      monitor.lock()
      spare.append(chunk)
      monitor.unlock()
    }

    private var isAbandoned: Bool {
      monitor.lock()
      defer { monitor.unlock() }
      return abandoned
    }
  }
}
