import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// The audit log: an append-only file, and a small state file beside it that records its end.
package struct AuditFile {
  package let path: RawPath
  let statePath: RawPath
  private let maximumWait: Int

  /// In bytes; our own lines are far shorter.
  private static let lineLimit = 64 * 1024

  /// - Parameter maximumWait: seconds to wait for another process that has the log locked.
  package init(_ path: RawPath, maximumWait: Int = 60) {
    self.path = path
    self.maximumWait = maximumWait
    statePath = RawPath(path.bytes + Array(".state".utf8))
  }

  /// Appends an entry in a single write, under a lock.
  ///
  /// A line truncated by a crash is terminated first. If lines were lost, the new entry links to the missing line, so
  /// that the gap stays visible. Returns what was wrong with the log, or nil.
  package func append(_ entry: AuditEntry) throws(Failure) -> String? {
    let file = try Descriptor.workingDirectory.openOwned(
      path, O_RDWR | O_APPEND | O_NOFOLLOW)
    guard try file.status().st_mode & S_IFMT == S_IFREG else {
      throw Failure(.cannotCreate, "\(path.display) is not a regular file")
    }
    try lock(file)
    let known = try storedState()
    let size = UInt64(try file.status().st_size)
    let (found, complaint) = try survey(file, size: size, known: known)
    let start: [UInt8] = found.endsInNewline ? [] : [0x0a]
    let line = entry.line(previous: found.state.last)
    let bytes = start + line + [0x0a]
    try file.write(bytes.span)
    try file.synchronize()
    let state = AuditState(
      count: found.state.count + 1, size: size + UInt64(bytes.count), last: try SHA256.hash(line))
    try AtomicFile.write(state.bytes, to: statePath, inherits: true)
    return complaint
  }

  /// Passes every line to `body` with its number, and returns what is wrong with the end of the log, or nil. A log that
  /// does not exist has no lines.
  package func read(
    _ body: (_ number: UInt64, _ line: [UInt8]) throws(Failure) -> Void
  ) throws(Failure) -> String? {
    let file = try Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_NONBLOCK)
    let known = try storedState()
    guard let file else {
      return known == nil || known?.count == 0
        ? nil : "\(path.display) is gone: it had \(known?.count ?? 0) entries"
    }
    guard try file.status().st_mode & S_IFMT == S_IFREG else {
      throw Failure(.cannotCreate, "\(path.display) is not a regular file")
    }
    // Do not read while a line is being written.
    try lock(file, shared: true)
    let size = UInt64(try file.status().st_size)
    var number: UInt64 = 0
    _ = try eachLine(of: file, from: 0) { (line) throws(Failure) in
      number += 1
      try body(number, line)
    }
    return try survey(file, size: size, known: try storedState()).complaint
  }

  // MARK: Inside

  /// The current end of the log, and whether its last line is complete.
  private struct End {
    var state: AuditState
    var endsInNewline = true
  }

  func storedState() throws(Failure) -> AuditState? {
    guard let bytes = try readKeptFile(statePath, limit: AuditFile.lineLimit, follows: false) else { return nil }
    return try AuditState(bytes, place: statePath.display)
  }

  /// Throws `.tryAgain` if other processes keep the log locked for too long.
  func lock(_ file: Descriptor, shared: Bool = false) throws(Failure) {
    let deadline = monotonicNanoseconds() + Int64(maximumWait) * 1_000_000_000
    while flock(file.number, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR else {
        throw .system("cannot lock \(path.display)")
      }
      try Interruption.check()
      guard monotonicNanoseconds() < deadline else {
        throw Failure(
          .tryAgain, "\(path.display) has been locked by another process for \(maximumWait) s",
          hint: "try again when it has finished")
      }
      usleep(useconds_t.random(in: 1000...20_000))
    }
  }

  /// Compares the log with its recorded state. Reads only what was added since, and the last known line.
  private func survey(
    _ file: Descriptor, size: UInt64, known: AuditState?
  ) throws(Failure) -> (End, complaint: String?) {
    guard let known else {
      var end = End(state: AuditState())
      var ours = false
      try extend(&end, file, from: 0) { ours = ours || $0 }
      let complaint = ours ? "\(statePath.display) is gone: lines may have been cut off" : nil
      return (end, complaint)
    }
    var end = End(state: known)
    // The line that ends at the recorded size must be the recorded last line.
    var intact = known.size <= size
    if intact, known.count > 0 { intact = try lastHash(file, known) == known.last }
    guard intact else {
      let complaint =
        "\(path.display) has been altered: entries up to number \(known.count) were cut off or "
        + "changed"
      if size > 0 { end.endsInNewline = try read(file, at: size - 1, count: 1) == [0x0a] }
      return (end, complaint)
    }
    // What follows was written just before a crash, or by TermBackup 6.
    try extend(&end, file, from: known.size) { _ in }
    return (end, nil)
  }

  /// Counts the lines from an offset into `end`; calls `body` for each with whether it is a hashed entry.
  private func extend(
    _ end: inout End, _ file: Descriptor, from offset: UInt64, _ body: (Bool) -> Void
  ) throws(Failure) {
    var count: UInt64 = 0
    var last = end.state.last
    end.endsInNewline = try eachLine(of: file, from: offset) { (line) throws(Failure) in
      count += 1
      last = try SHA256.hash(line)
      body((try? AuditLine(line, place: ""))?.previous != nil)
    }
    end.state.count += count
    end.state.last = last
  }

  /// The hash of the line that ends at `state.size`; nil if no line ends there.
  private func lastHash(_ file: Descriptor, _ state: AuditState) throws(Failure) -> Digest? {
    let length = Int(min(state.size, UInt64(AuditFile.lineLimit + 2)))
    if length == 0 { return nil }
    var tail = try read(file, at: state.size - UInt64(length), count: length)
    guard tail.popLast() == 0x0a else { return nil }
    if let newline = tail.lastIndex(of: 0x0a) { tail.removeFirst(newline + 1) }
    return try SHA256.hash(tail)
  }

  private func read(_ file: Descriptor, at offset: UInt64, count: Int) throws(Failure) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      var buffer = [UInt8](repeating: 0, count: count - bytes.count)
      let more = try file.read(into: &buffer, at: offset + UInt64(bytes.count))
      if more == 0 { break }
      bytes.append(buffer.span.extracting(0..<more))
    }
    return bytes
  }

  /// Passes on the lines from an offset, each without its newline; returns whether the last one had one. An overlong
  /// line is passed in pieces, none of which is a valid entry.
  func eachLine(
    of file: Descriptor, from start: UInt64, _ body: ([UInt8]) throws(Failure) -> Void
  ) throws(Failure) -> Bool {
    var offset = start
    var line: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: chunkSize)
    while true {
      let count = try file.read(into: &buffer, at: offset)
      if count == 0 { break }
      offset += UInt64(count)
      for byte in buffer[..<count] {
        if byte == 0x0a {
          try body(line)
          line.removeAll(keepingCapacity: true)
        } else {
          line.append(byte)
          if line.count > AuditFile.lineLimit {
            try body(line)
            line.removeAll(keepingCapacity: true)
          }
        }
      }
    }
    if !line.isEmpty { try body(line) }
    return line.isEmpty
  }
}
