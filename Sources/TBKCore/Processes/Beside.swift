/// Work on a thread of its own, whose result is taken later. Where there can be no thread it is done at once.
///
/// The work and what it refers to belong to that thread until `value()` has returned. Dropped before that, it waits
/// for the end of the work.
package final class Beside<Value> {
  private let state: State
  private var thread: WorkerThread?

  /// Begins the work. `state` is touched by one side at a time: by the thread until it is joined.
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
