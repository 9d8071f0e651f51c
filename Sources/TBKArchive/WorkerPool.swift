// Threads, and a pool of them that keeps the order of its work. Plain pthreads: what runs here is
// computation and blocking calls, which the cooperative pool of Swift's tasks must not be given.

import CSystem
import Glibc
import TBKCore

/// A mutex and one condition. Every change that somebody may wait for is followed by `announce()`.
@safe package final class Monitor: @unchecked Sendable {
  // Allocated, because pthread objects must not move. The mutex is what makes them sendable.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  package init() {
    unsafe pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    unsafe pthread_condattr_init(&attributes)
    unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    unsafe pthread_cond_init(changed, &attributes)
    unsafe pthread_condattr_destroy(&attributes)
  }

  deinit {
    unsafe pthread_cond_destroy(changed)
    unsafe pthread_mutex_destroy(mutex)
    unsafe changed.deallocate()
    unsafe mutex.deallocate()
  }

  package func lock() { unsafe pthread_mutex_lock(mutex) }
  package func unlock() { unsafe pthread_mutex_unlock(mutex) }

  /// Waits for an `announce()`; returns without one at times. The caller holds the lock.
  package func wait() { unsafe pthread_cond_wait(changed, mutex) }

  /// Waits no longer than `milliseconds`, which is below 1000. The caller holds the lock.
  package func wait(milliseconds: Int) {
    var deadline = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &deadline)
    deadline.tv_nsec += milliseconds * 1_000_000
    if deadline.tv_nsec >= 1_000_000_000 {
      deadline.tv_nsec -= 1_000_000_000
      deadline.tv_sec += 1
    }
    unsafe _ = pthread_cond_timedwait(changed, mutex, &deadline)
  }

  /// Wakes all who wait.
  package func announce() { unsafe pthread_cond_broadcast(changed) }
}

/// One running thread. Its owner sees to it that the body ends, and joins it.
package final class WorkerThread {
  private var handle: pthread_t?

  /// Starts `body`, with every signal blocked, so that signals arrive where they are awaited.
  ///
  /// - Parameter nudgeable: whether `nudge()` may interrupt the system calls of `body`.
  package init(nudgeable: Bool = false, _ body: @escaping @Sendable () -> Void) throws(Failure) {
    let box = unsafe Unmanaged.passRetained(Body(nudgeable: nudgeable, run: body))
    var started = pthread_t()
    let result = unsafe pthread_create(
      &started, nil,
      { argument in
        guard let argument = unsafe argument else { return nil }
        tbk_block_signals()
        let body = unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
        if body.nudgeable { unblockNudge() }
        body.run()
        return nil
      }, unsafe box.toOpaque())
    guard result == 0 else {
      unsafe box.release()
      throw .system("cannot start a thread", errno: result)
    }
    handle = started
  }

  deinit { join() }

  /// Waits for the body to end. What the body held has been released when this returns.
  package func join() {
    guard let handle else { return }
    _ = pthread_join(handle, nil)
    self.handle = nil
  }

  /// Makes a system call that the body is blocked in return EINTR. Only after `Interruption` has
  /// noted a signal: then SIGALRM has a handler.
  package func nudge() {
    if let handle { pthread_kill(handle, SIGALRM) }
  }

  private final class Body: Sendable {
    let nudgeable: Bool
    let run: @Sendable () -> Void

    init(nudgeable: Bool, run: @escaping @Sendable () -> Void) {
      self.nudgeable = nudgeable
      self.run = run
    }
  }
}

/// Lets SIGALRM through to the calling thread.
private func unblockNudge() {
  var signals = sigset_t()
  unsafe sigemptyset(&signals)
  unsafe sigaddset(&signals, SIGALRM)
  unsafe _ = pthread_sigmask(SIG_UNBLOCK, &signals, nil)
}

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
/// worker no thread is started and `submit` does the work. Used from one thread at a time.
package final class OrderedPool<Worker: PoolWorker> {
  private let shared: Shared
  private var threads: [WorkerThread] = []
  private let inlineWorker: Worker?
  private var inlineJobs: [Worker.Job] = []

  /// The most jobs that may be in the pool.
  package let window: Int

  /// - Parameters:
  ///   - workers: at least one.
  ///   - window: at least one.
  package init(workers: [Worker], window: Int) throws(Failure) {
    self.window = window
    shared = Shared(window: window)
    inlineWorker = workers.count == 1 ? workers[0] : nil
    if workers.count == 1 { return }
    for worker in workers {
      let parts = Handover(shared: shared, worker: worker)
      do throws(Failure) {
        threads.append(try WorkerThread { parts.shared.serve(parts.worker) })
      } catch {
        stop()
        throw error
      }
    }
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
