import CSystem
import Glibc
import Synchronization
import TBKCore

/// The controlling terminal, independent of standard input and output.
package final class Terminal {
  private let descriptor: Descriptor
  /// Non-blocking: input that poll reported may have been discarded since, as by Ctrl-Z and a shell.
  private let input: Descriptor
  private var turn: TerminalTurn?

  /// Throws if there is no terminal.
  package init() throws(Failure) {
    descriptor = try Descriptor.workingDirectory.open(RawPath("/dev/tty"), O_RDWR)
    input = try Descriptor.workingDirectory.open(RawPath("/dev/tty"), O_RDONLY | O_NONBLOCK)
  }

  /// Prompts for a line without echo; the line may be empty.
  ///
  /// When stopped at the prompt (Ctrl-Z), restores the terminal; when continued, turns echo off again and repeats the
  /// prompt. Throws `.brokenPipe` if standard output has no reader any more, so that a pipeline whose other commands
  /// have failed does not wait for input.
  ///
  /// - Parameter limit: the most bytes; a longer line is a `.usage` failure.
  package func secret(_ prompt: String, limit: Int) throws(Failure) -> Secret {
    try takeTurn()
    let shown = try settings()
    let stops = StopSignals()
    defer { stops.end() }
    defer {
      set(shown)
      // After a signal too.
      descriptor.writeMessage(Array("\n".utf8).span)
    }
    var line = [UInt8](repeating: 0, count: limit + 1)
    defer { wipe(&line) }
    var one: [UInt8] = [0]
    defer { wipe(&one) }
    while true {
      var hidden = shown
      hidden.c_lflag &= ~tcflag_t(ECHO)
      set(hidden)
      try descriptor.write(Array(prompt.utf8).span)
      var count = 0
      while try !wasStopped(stops, shown) {
        guard try isReady(), let found = try read(into: &one) else { continue }
        guard found == 1, one[0] != UInt8(ascii: "\n") else {
          return try Secret(copying: line.span.extracting(0..<count))
        }
        guard count < limit else {
          throw Failure(.usage, "the input is longer than \(limit) bytes")
        }
        line[count] = one[0]
        count += 1
      }
    }
  }

  /// Reads what is available. Returns the number of bytes, 0 at the end, or nil if nothing is available.
  private func read(into buffer: inout [UInt8]) throws(Failure) -> Int? {
    let count = unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(input.number, $0.baseAddress, $0.count) }
    if count >= 0 { return count }
    if errno == EAGAIN || errno == EINTR { return nil }
    throw .system("cannot read")
  }

  /// Shows a line before the next prompt.
  package func show(_ line: String) throws(Failure) {
    try takeTurn()
    try descriptor.write(Array("\(line)\n".utf8).span)
  }

  /// Waits until no other command prompts or draws, and erases what one has drawn.
  private func takeTurn() throws(Failure) {
    guard turn == nil else { return }
    turn = try TerminalTurn.take()
    // Another command's progress may be on the line.
    let terminal = environment("TERM") ?? []
    if turn != nil, !terminal.isEmpty, terminal != Array("dumb".utf8) {
      try descriptor.write(Array("\r\u{1b}[K".utf8).span)
    }
  }

  private func settings() throws(Failure) -> termios {
    var settings = termios()
    guard unsafe tcgetattr(descriptor.number, &settings) == 0 else {
      throw .system("cannot set up the terminal")
    }
    return settings
  }

  /// In the background this blocks until the command is in the foreground again.
  private func set(_ settings: termios) {
    var settings = settings
    while unsafe tcsetattr(descriptor.number, TCSAFLUSH, &settings) != 0, errno == EINTR {}
  }

  /// Turns echo back on, unless the shell has already reclaimed and reset the terminal: it does so as soon as the
  /// command that started this one has stopped.
  private func giveBack(_ shown: termios) {
    // Changing the terminal from the background would stop this process too early.
    Terminal.withBlocked(SIGTTOU) {
      guard var now = try? settings(), now.c_lflag & tcflag_t(ECHO) == 0, now.c_lflag & tcflag_t(ICANON) != 0 else {
        return
      }
      now.c_lflag = shown.c_lflag
      let action = tcgetpgrp(descriptor.number) == getpgrp() ? TCSAFLUSH : TCSANOW
      unsafe tcsetattr(descriptor.number, action, &now)
    }
  }

  /// Runs `body` with a signal blocked in this thread.
  fileprivate static func withBlocked(_ number: Int32, _ body: () -> Void) {
    var blocked = sigset_t()
    var before = sigset_t()
    unsafe sigemptyset(&blocked)
    unsafe sigaddset(&blocked, number)
    unsafe pthread_sigmask(SIG_BLOCK, &blocked, &before)
    body()
    unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
  }

  /// Stops the process if the terminal has requested it, with its settings restored. Returns whether the prompt must be
  /// repeated: the process was stopped, by this or otherwise.
  private func wasStopped(_ stops: StopSignals, _ shown: termios) throws(Failure) -> Bool {
    try Interruption.check()
    if stops.isStopping {
      giveBack(shown)
      // Other commands may prompt meanwhile.
      turn = nil
      stops.stop()
      turn = try TerminalTurn.take()
      return true
    }
    return stops.wasContinued
  }

  /// Waits a moment, and returns whether input is available. Throws `.brokenPipe` if standard output is a pipe without
  /// a reader.
  private func isReady() throws(Failure) -> Bool {
    var waiting = [
      pollfd(fd: descriptor.number, events: Int16(POLLIN), revents: 0),
      pollfd(fd: 1, events: 0, revents: 0),
    ]
    let found = unsafe waiting.withUnsafeMutableBufferPointer { buffer in
      unsafe poll(buffer.baseAddress, nfds_t(buffer.count), 100)
    }
    guard found > 0 else { return false }
    if Int32(waiting[1].revents) & (POLLERR | POLLHUP) != 0 {
      throw Failure(.brokenPipe, "standard output: nobody reads it")
    }
    return waiting[0].revents != 0
  }
}

/// Job control signals during a prompt.
private final class StopSignals {
  private static let stopping = Atomic<Bool>(false)
  private static let continued = Atomic<Bool>(false)
  /// Whether the shell has job control; otherwise stop signals are ignored.
  private let isHeeded = tbk_signal_is_ignored(SIGTSTP) == 0

  init() {
    Self.stopping.store(false, ordering: .relaxed)
    Self.continued.store(false, ordering: .relaxed)
    _ = tbk_handle_signal(SIGCONT) { _ in StopSignals.continued.store(true, ordering: .relaxed) }
    handle()
  }

  private func handle() {
    guard isHeeded else { return }
    _ = tbk_handle_signal(SIGTSTP) { _ in
      StopSignals.continued.store(false, ordering: .relaxed)
      StopSignals.stopping.store(true, ordering: .relaxed)
    }
  }

  func end() {
    _ = tbk_default_signal(SIGCONT)
    if isHeeded { _ = tbk_default_signal(SIGTSTP) }
  }

  var isStopping: Bool { Self.stopping.load(ordering: .relaxed) }

  /// Whether the process was continued since the last call.
  var wasContinued: Bool { Self.continued.exchange(false, ordering: .relaxed) }

  /// Stops the process, unless it was continued since the stop request; returns when it is continued.
  func stop() {
    // A SIGCONT discards a pending stop signal, so none arrives late.
    Terminal.withBlocked(SIGTSTP) {
      _ = tbk_default_signal(SIGTSTP)
      raise(SIGTSTP)
      if Self.continued.load(ordering: .relaxed) { _ = tbk_ignore_signal(SIGTSTP) }
    }
    Self.stopping.store(false, ordering: .relaxed)
    Self.continued.store(false, ordering: .relaxed)
    handle()
  }
}
