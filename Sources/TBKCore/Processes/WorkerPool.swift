/// What a pool has one of for each thread.
package protocol PoolWorker: AnyObject, SendableMetatype {
  associatedtype Job: AnyObject
  /// Does the work; errors are noted in the job. It must not wait for anything.
  func run(_ job: Job)
}

/// Runs jobs on several threads and gives them back in the order in which they were submitted.
///
/// A job belongs to the pool from `submit` until it is taken, and must not be touched between;
/// nothing that it refers to may be reached from elsewhere. Likewise a worker, for good. With one
/// worker no thread is started and `submit` does the work; so it does where no thread can be started,
/// and where there can be only some, these do. Used from one thread at a time.
package final class OrderedPool<Worker: PoolWorker> {
  private let shared: Shared
  private var threads: [WorkerThread]
  private let inlineWorker: Worker?
  private var inlineJobs: [Worker.Job] = []

  /// The most jobs that may be in the pool.
  package let window: Int

  /// - Parameters:
  ///   - workers: at least one.
  ///   - window: at least one.
  package init(workers: [Worker], window: Int) throws(Failure) {
    self.window = window
    let shared = Shared(window: window)
    self.shared = shared
    var started: [WorkerThread] = []
    if workers.count > 1 {
      do throws(Failure) {
        for worker in workers {
          let parts = Handover(shared: shared, worker: worker)
          started.append(try WorkerThread { parts.shared.serve(parts.worker) })
        }
      } catch {
        guard error.code == .exhausted else {
          shared.stop()
          throw error
        }
      }
    }
    inlineWorker = started.isEmpty ? workers[0] : nil
    threads = started
  }

  deinit { stop() }

  /// How many jobs have been submitted and not taken.
  package var inFlight: Int {
    inlineWorker == nil ? shared.inFlight : inlineJobs.count
  }

  /// Adds a job; `inFlight` must be below `window`.
  package func submit(_ job: Worker.Job) {
    precondition(inFlight < window, "the pool is full")
    if let inlineWorker {
      inlineWorker.run(job)
      inlineJobs.append(job)
    } else {
      shared.submit(job)
    }
  }

  /// The oldest job of those submitted, once it is done.
  ///
  /// - Parameter waiting: whether to wait for it; else nil if it is not done yet.
  /// - Returns: nil also when there is none, or the pool has been stopped.
  package func takeOldest(waiting: Bool) -> Worker.Job? {
    if inlineWorker != nil { return inlineJobs.isEmpty ? nil : inlineJobs.removeFirst() }
    return shared.takeOldest(waiting: waiting)
  }

  /// Passes on the oldest jobs, in their order, until there is room for one more.
  package func makeRoom(_ pass: (Worker.Job) throws(Failure) -> Void) throws(Failure) {
    while inFlight == window, let job = takeOldest(waiting: true) { try pass(job) }
  }

  /// Passes on the oldest jobs as far as they are done.
  package func passDone(_ pass: (Worker.Job) throws(Failure) -> Void) throws(Failure) {
    while let job = takeOldest(waiting: false) { try pass(job) }
  }

  /// Passes on all jobs.
  package func passAll(_ pass: (Worker.Job) throws(Failure) -> Void) throws(Failure) {
    while let job = takeOldest(waiting: true) { try pass(job) }
  }

  /// Ends the threads after the jobs they are at, forgetting the others. May be called again.
  package func stop() {
    shared.stop()
    threads.removeAll()  // Each joins.
    inlineJobs.removeAll()
  }

  /// What goes to a thread: the state behind its lock, and the worker, which nobody else uses.
  private struct Handover: @unchecked Sendable {
    let shared: Shared
    let worker: Worker
  }

  /// The queue. Everything in it is read and written under its monitor.
  private final class Shared: @unchecked Sendable {
    private let monitor = Monitor()
    private let window: Int
    /// Job number n is in slot n modulo `window`.
    private var jobs: [Worker.Job?]
    private var done: [Bool]
    private var taken = 0
    private var started = 0
    private var submitted = 0
    private var stopped = false

    init(window: Int) {
      self.window = window
      jobs = Array(repeating: nil, count: window)
      done = Array(repeating: false, count: window)
    }

    var inFlight: Int {
      monitor.lock()
      defer { monitor.unlock() }
      return submitted - taken
    }

    func submit(_ job: Worker.Job) {
      monitor.lock()
      defer { monitor.unlock() }
      jobs[submitted % window] = job
      done[submitted % window] = false
      submitted += 1
      monitor.announce()
    }

    func takeOldest(waiting: Bool) -> Worker.Job? {
      monitor.lock()
      defer { monitor.unlock() }
      while taken < submitted, !stopped {
        let slot = taken % window
        if done[slot] {
          taken += 1
          defer { jobs[slot] = nil }
          return jobs[slot]
        }
        if !waiting { return nil }
        monitor.wait()
      }
      return nil
    }

    func stop() {
      monitor.lock()
      stopped = true
      monitor.announce()
      monitor.unlock()
    }

    /// The life of one thread.
    func serve(_ worker: Worker) {
      monitor.lock()
      defer { monitor.unlock() }
      while true {
        while started == submitted, !stopped { monitor.wait() }
        if stopped { return }
        let slot = started % window
        started += 1
        guard let job = jobs[slot] else { return }
        monitor.unlock()
        worker.run(job)
        monitor.lock()
        done[slot] = true
        monitor.announce()
      }
    }
  }
}
