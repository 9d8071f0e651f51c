/// Makes elements on a thread of its own, a few before they are asked for; in the calling thread where there can be no
/// other.
///
/// What makes them, what it refers to, and an element until it is taken belong to that thread, which has ended when
/// `next()` has returned nil or thrown, or this object is gone. Used from one thread.
package final class Ahead<Element> {
  private let queue: Queue
  private var thread: WorkerThread?
  /// Where there can be no thread: what it would have called.
  private var alone: (() throws(Failure) -> Element?)?

  /// - Parameters:
  ///   - depth: how many elements may wait, at least 1.
  ///   - make: makes the next element; nil at the end. Not called again after that, nor after it has thrown.
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

  /// The next element; nil at the end. Throws what making it threw, after all before it have been taken.
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

  /// Elements between two threads. All but `make`, which one of them uses at a time, is read and written under the
  /// monitor.
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

    /// The life of the other thread.
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

    /// Adds an element when there is room; false if nobody takes it.
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
        // A signal does not reach the other thread.
        try Interruption.check()
      }
      if elements.isEmpty {
        if let failure { throw failure }
        return nil
      }
      monitor.announce()
      return elements.removeFirst()
    }

    /// Waits until the other thread is about to return. It may be blocked in a system call, which a signal ends.
    func abandon(_ thread: WorkerThread) {
      monitor.lock()
      defer { monitor.unlock() }
      abandoned = true
      elements.removeAll()
      monitor.announce()
      while !ended {
        if Interruption.signal != nil { thread.nudge() }
        monitor.wait(milliseconds: 50)
      }
    }
  }
}
