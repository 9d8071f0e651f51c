/// Work that runs on its own thread and whose result is taken later. If no thread can be started, it runs at once.
///
/// The closure and everything it captures belong to that thread until `value()` has returned. Deinitialising this
/// object waits for the work to end.
package final class Beside<Value> {
  private let state: State
  private var thread: WorkerThread?

  /// Begins the work. Only one thread accesses `state` at a time: the worker, until it is joined.
  package init(_ work: @escaping () throws(Failure) -> Value) throws(Failure) {
    let state = State(work)
    self.state = state
    do throws(Failure) {
      thread = try WorkerThread { state.run() }
    } catch {
      guard error.code == .exhausted else { throw error }
      state.run()
    }
  }

  /// Waits for the end of the work, and throws what it threw.
  package func value() throws(Failure) -> Value {
    thread?.join()
    thread = nil
    guard let result = state.result else { throw Failure(.library, "a thread ended without a result") }
    return try result.get()
  }

  private final class State: @unchecked Sendable {
    private var work: (() throws(Failure) -> Value)?
    var result: Result<Value, Failure>?

    init(_ work: @escaping () throws(Failure) -> Value) { self.work = work }

    func run() {
      guard let work else { return }
      do throws(Failure) {
        result = .success(try work())
      } catch {
        result = .failure(error)
      }
      self.work = nil
    }
  }
}
