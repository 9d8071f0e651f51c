/// The state of one thread of a pool.
package protocol PoolWorker: AnyObject, SendableMetatype {
  associatedtype Job: AnyObject
  /// Does the work and records errors in the job. It must not block.
  func run(_ job: Job)
}

/// Runs jobs on several threads and returns them in the order in which they were submitted.
///
/// A job belongs to the pool from `submit` until it is taken; nothing else may access the job, or anything it refers
/// to, in between. The workers belong to the pool for good. With one worker, or if no thread can be started, `submit`
/// does the work itself; if only some threads can be started, those do it. Use from one thread at a time.
package final class OrderedPool<Worker: PoolWorker> {
  private let shared: Shared
  private var threads: [WorkerThread]
  private let inlineWorker: Worker?
  private var inlineJobs: [Worker.Job] = []

  /// The maximum number of jobs in the pool.
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

  /// Takes the oldest job once it is done.
  ///
  /// - Parameter waiting: whether to wait for it; otherwise nil if it is not done yet.
  /// - Returns: nil also if there is no job, or the pool has been stopped.
  package func takeOldest(waiting: Bool) -> Worker.Job? {
    if inlineWorker != nil { return inlineJobs.isEmpty ? nil : inlineJobs.removeFirst() }
    return shared.takeOldest(waiting: waiting)
  }

  /// Takes the oldest jobs in order, and passes them on, until there is room for one more.
  package func makeRoom(_ pass: (Worker.Job) throws(Failure) -> Void) throws(Failure) {
    while inFlight == window, let job = takeOldest(waiting: true) { try pass(job) }
  }

  /// Passes on the oldest jobs that are done.
  package func passDone(_ pass: (Worker.Job) throws(Failure) -> Void) throws(Failure) {
    while let job = takeOldest(waiting: false) { try pass(job) }
  }

  /// Passes on all jobs.
  package func passAll(_ pass: (Worker.Job) throws(Failure) -> Void) throws(Failure) {
    while let job = takeOldest(waiting: true) { try pass(job) }
  }

  /// Ends the threads after their current jobs and drops all others. May be called again.
  package func stop() {
    shared.stop()
    threads.removeAll()  // `deinit` joins each.
    inlineJobs.removeAll()
  }

  /// What a thread receives: the shared state, which has a lock, and the worker, which only this thread uses.
  private struct Handover: @unchecked Sendable {
    let shared: Shared
    let worker: Worker
  }

  /// The queue. The monitor guards everything in it.
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

    /// The body of one thread.
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
