// Plain pthreads: these threads compute and block, which Swift's cooperative thread pool does not allow.

import CSystem
import Glibc

/// A mutex and one condition. Call `announce()` after every change that another thread may wait for.
@safe package final class Monitor: @unchecked Sendable {
  // Allocated, because pthread objects must not move. pthreads makes them safe to share.
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

  /// Waits until the lock is free, without keeping it.
  package func passThrough() {
    lock()
    unlock()
  }

  /// Waits for an `announce()`; may return without one. The caller holds the lock.
  package func wait() { unsafe pthread_cond_wait(changed, mutex) }

  /// Waits at most `milliseconds`, which must be below 1000. The caller holds the lock.
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

  /// Wakes all waiting threads.
  package func announce() { unsafe pthread_cond_broadcast(changed) }
}

/// A running thread. Its owner makes the body end; `deinit` joins it.
package final class WorkerThread {
  private var handle: pthread_t?

  /// Starts `body` with every signal blocked, so that signals go to the main thread. Throws `.exhausted` if no more
  /// threads can be started.
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
      throw .starting("cannot start a thread", errno: result)
    }
    handle = started
  }

  deinit { join() }

  /// Waits for the body to end. Everything the body held has been released when this returns.
  package func join() {
    guard let handle else { return }
    _ = pthread_join(handle, nil)
    self.handle = nil
  }

  /// Makes a system call that blocks the body return EINTR. Call only after `Interruption` has received a signal, when
  /// SIGALRM has a handler.
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

extension Monitor {
  /// Waits until `isDone`. A signal that arrives meanwhile interrupts the thread, which may be blocked in a system call;
  /// it must be nudgeable. The caller holds the lock.
  package func wait(interrupting thread: WorkerThread, until isDone: () -> Bool) {
    while !isDone() {
      if Interruption.signal != nil { thread.nudge() }
      wait(milliseconds: 50)
    }
  }
}

/// How many processors this process may run on, at least 1.
package func processorCount() -> Int { max(1, Int(tbk_processor_count())) }

/// Lets SIGALRM through to the calling thread.
private func unblockNudge() {
  var signals = sigset_t()
  unsafe sigemptyset(&signals)
  unsafe sigaddset(&signals, SIGALRM)
  unsafe _ = pthread_sigmask(SIG_UNBLOCK, &signals, nil)
}
