import ArgumentParser
import CSystem
import Glibc
import Synchronization
import TBKCore

/// When to show progress.
package enum ProgressMode: String, ExpressibleByArgument, CaseIterable, Sendable {
  /// On a terminal that can move its cursor.
  case auto
  case always
  case never
}

/// A line on standard error that shows the progress of long work. Drawn at most ten times a second.
package final class ProgressMeter: Sendable {
  private struct State {
    /// When bytes began to flow, how many were done before, and when the last ones moved.
    var started: Int64
    var before: UInt64 = 0
    var last: Int64 = 0
    var drawn: Int64 = 0
    var done: UInt64 = 0
    var total: UInt64?
    var visible = false
    var columns = 80
    /// Nothing is drawn before this pipe has ended, nor before this time.
    var input: Descriptor?
    var earliest: Int64 = 0
  }

  /// If the rest takes less than this after the end of the input, nothing is shown: a line that is gone at once flickers.
  private static let delay: Int64 = 500_000_000

  private static let current = Mutex<ProgressMeter?>(nil)

  private let label: String
  private let enabled: Bool
  /// The terminal shared with prompts; nil if standard error is not one.
  private let terminal: Descriptor?
  private let state: Mutex<State>

  /// - Parameters:
  ///   - label: the activity, such as "sealing".
  ///   - total: in bytes, if known.
  ///   - input: a pipe whose writers may show progress on the same terminal: nothing is drawn before they have
  ///     closed it.
  package init(_ label: String, mode: ProgressMode, total: UInt64? = nil, after input: Descriptor? = nil) {
    self.label = label
    let able = Descriptor.standardError.isTerminal && environment("TERM") != Array("dumb".utf8)
    enabled =
      switch mode {
      case .auto: able && !Messages.quiet
      case .always: true
      case .never: false
      }
    terminal = enabled && Descriptor.standardError.isTerminal ? TerminalTurn.open() : nil
    state = Mutex(State(started: Timestamp.now().nanoseconds, total: total, input: input))
    if enabled { ProgressMeter.current.withLock { $0 = self } }
  }

  package func setTotal(_ total: UInt64) {
    state.withLock { $0.total = total }
  }

  /// Counts `bytes` more; negative if they must be sent again.
  package func advance(_ bytes: Int) {
    guard enabled else { return }
    let now = Timestamp.now().nanoseconds
    let line: String? = state.withLock { state in
      // A delay at the start, such as for key derivation, does not count for the rate.
      if now - state.last > 300_000_000, state.last - state.started < 1_000_000_000 {
        (state.started, state.before) = (now, state.done)
      }
      state.last = now
      state.done =
        bytes < 0 ? state.done - min(state.done, UInt64(bytes.magnitude)) : state.done + UInt64(bytes)
      if let input = state.input {
        guard input.hasEnded else { return nil }
        (state.input, state.earliest) = (nil, now + ProgressMeter.delay)
        (state.started, state.before) = (now, state.done)
      }
      guard now >= state.earliest, now - state.drawn >= 100_000_000 else { return nil }
      state.drawn = now
      state.visible = true
      let columns = Int(tbk_terminal_columns(2))
      state.columns = columns > 0 ? columns : 80
      return render(state, now)
    }
    if let line { put("\r" + line + "\u{1b}[K") }
  }

  /// Erases the line, before anything else is written to the terminal.
  package static func eraseCurrent() {
    current.withLock { $0 }?.erase()
  }

  package func finish() {
    erase()
    ProgressMeter.current.withLock { $0 = nil }
  }

  private func erase() {
    let visible = state.withLock { state in
      defer { state.visible = false }
      return state.visible
    }
    if visible { put("\r\u{1b}[K") }
  }

  private func put(_ text: String) {
    TerminalTurn.borrow(terminal) {
      // After a signal too: the line must be erased.
      Descriptor.standardError.writeMessage(Array(text.utf8).span)
    }
  }

  private func render(_ state: State, _ now: Int64) -> String {
    let seconds = max(0.001, Double(now - state.started) / 1e9)
    let rate = state.done > state.before ? Double(state.done - state.before) / seconds : 0
    return ProgressMeter.line(
      label, done: state.done, total: state.total, rate: rate, columns: state.columns,
      estimates: now - state.started >= 1_000_000_000)
  }

  /// The line for a terminal of this width, leaving three columns free, such as for "^C": if it is too narrow, first
  /// the bar is left out, then the amounts, then the rate.
  ///
  /// - Parameters:
  ///   - rate: bytes per second.
  ///   - estimates: whether the rate is stable enough to estimate the remaining time.
  package static func line(
    _ label: String, done: UInt64, total: UInt64?, rate: Double, columns: Int, estimates: Bool = true
  ) -> String {
    let room = max(0, columns - 3)
    let speed = "\(humanSize(UInt64(max(0, min(rate, 1e18)))))/s"
    guard let total, total > 0 else {
      let lines = ["\(label)  \(humanSize(done))  \(speed)", "\(label)  \(humanSize(done))"]
      return lines.first { $0.count <= room } ?? String(humanSize(done).prefix(room))
    }
    let fraction = min(1, Double(done) / Double(total))
    let percent = "\(Int(fraction * 100))%"
    let rest = rate > 0 && total > done ? Double(total - done) / rate : 0
    let left = rest >= 0.5 && estimates ? "  \(duration(rest)) left" : ""
    let front = "\(label)  \(humanSize(done)) of \(humanSize(total))  \(percent)"
    let width = room - front.count - speed.count - left.count - 6
    if width >= 10 {
      let filled = Int(fraction * Double(width))
      let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: width - filled)
      return "\(front)  [\(bar)]  \(speed)\(left)"
    }
    let lines = [
      "\(front)  \(speed)\(left)", "\(label)  \(percent)  \(speed)\(left)", "\(label)  \(percent)\(left)",
      "\(label)  \(percent)",
    ]
    return lines.first { $0.count <= room } ?? String(percent.prefix(room))
  }

  private static func duration(_ seconds: Double) -> String {
    let whole = Int(min(seconds, 359_999).rounded())
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : String(value) }
    if whole >= 3600 { return "\(whole / 3600):\(two(whole / 60 % 60)):\(two(whole % 60))" }
    return "\(whole / 60):\(two(whole % 60))"
  }
}
