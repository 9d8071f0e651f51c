/// Produces elements on its own thread, a few ahead of the consumer; in the calling thread if no thread can be started.
///
/// The closure, everything it captures, and each element until it is taken belong to that thread. The thread has ended
/// once `next()` has returned nil or thrown, or this object is deinitialised. Use from one thread only.
package final class Ahead<Element> {
  private let queue: Queue
  private var thread: WorkerThread?
  /// The closure, if no thread could be started.
  private var alone: (() throws(Failure) -> Element?)?

  /// - Parameters:
  ///   - depth: how many finished elements may wait, at least 1.
  ///   - make: produces the next element; nil at the end. Not called again after it returned nil or threw.
  package init(depth: Int, _ make: @escaping () throws(Failure) -> Element?) throws(Failure) {
    precondition(depth >= 1)
    let queue = Queue(depth: depth, make)
    self.queue = queue
    do throws(Failure) {
      thread = try WorkerThread(nudgeable: true) { queue.serve() }
    } catch {
      guard error.code == .exhausted else { throw error }
      alone = make
    }
  }

  deinit { stop() }

  /// The next element; nil at the end. Throws the error of `make` once all earlier elements have been taken.
  package func next() throws(Failure) -> Element? {
    if let alone { return try alone() }
    do throws(Failure) {
      if let element = try queue.take() { return element }
    } catch {
      stop()
      throw error
    }
    stop()
    return nil
  }

  private func stop() {
    guard let thread else { return }
    queue.abandon(thread)
    thread.join()
    self.thread = nil
  }

  /// The elements passed between the two threads. The monitor guards everything except `make`, which only one thread
  /// uses at a time.
  private final class Queue: @unchecked Sendable {
    private let monitor = Monitor()
    private let depth: Int
    private let make: () throws(Failure) -> Element?
    private var elements: [Element] = []
    private var failure: Failure?
    /// No more will be made.
    private var ended = false
    /// No more will be taken.
    private var abandoned = false

    init(depth: Int, _ make: @escaping () throws(Failure) -> Element?) {
      self.depth = depth
      self.make = make
    }

    /// The body of the producing thread.
    func serve() {
      var result: Failure?
      do throws(Failure) {
        while let element = try make() {
          if !give(element) { break }
        }
      } catch {
        result = error
      }
      monitor.lock()
      failure = result
      ended = true
      monitor.announce()
      monitor.unlock()
    }

    /// Adds an element, waiting for room; false if the consumer has stopped.
    private func give(_ element: Element) -> Bool {
      monitor.lock()
      defer { monitor.unlock() }
      while elements.count >= depth, !abandoned { monitor.wait() }
      if abandoned { return false }
      elements.append(element)
      monitor.announce()
      return true
    }

    func take() throws(Failure) -> Element? {
      monitor.lock()
      defer { monitor.unlock() }
      while elements.isEmpty, !ended {
        monitor.wait(milliseconds: 50)
        // The producing thread blocks signals, so check here.
        try Interruption.check()
      }
      if elements.isEmpty {
        if let failure { throw failure }
        return nil
      }
      monitor.announce()
      return elements.removeFirst()
    }

    /// Waits until the producing thread is about to return. If a signal has arrived, interrupts its blocked system
    /// call.
    func abandon(_ thread: WorkerThread) {
      monitor.lock()
      defer { monitor.unlock() }
      abandoned = true
      elements.removeAll()
      monitor.announce()
      monitor.wait(interrupting: thread) { ended }
    }
  }
}
