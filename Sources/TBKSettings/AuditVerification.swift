import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// The result of checking an audit log against its hashes and its state file.
package struct AuditVerification: Sendable {
  package enum Kind: String, Sendable {
    /// Not a valid entry.
    case malformed
    /// An entry without a hash after entries that have one.
    case unhashed
    case changed, missing, inserted, moved
    /// The end was truncated.
    case cut
    /// The state file is missing or unreadable.
    case state
  }

  package struct Problem: Equatable, Sendable {
    package let kind: Kind
    /// From 1, in the current log.
    package let line: UInt64
    /// Names the lines concerned.
    package let message: String
  }

  /// At most this many problems are collected.
  package static let problemLimit = 1000

  package fileprivate(set) var lines: UInt64 = 0
  /// How many lines at the start have no hash: TermBackup 6 wrote them.
  package fileprivate(set) var unhashed: UInt64 = 0
  /// The hash of the last line, or 32 zero bytes.
  package fileprivate(set) var last = AuditState.beforeFirst
  /// In line order.
  package fileprivate(set) var problems: [Problem] = []

  package var holds: Bool { problems.isEmpty }

  fileprivate mutating func add(_ kind: Kind, _ line: UInt64, _ message: String) {
    if problems.count < AuditVerification.problemLimit {
      problems.append(Problem(kind: kind, line: line, message: message))
    }
  }
}

extension AuditFile {
  /// An entry that links to another line than the one before it.
  private struct BrokenLink {
    let line: UInt64
    let previous: Digest
  }

  /// Reads the whole log, twice if something is wrong. If neither the log nor its state exists, it is valid.
  package func verify() throws(Failure) -> AuditVerification {
    var result = AuditVerification()
    let opened = try Descriptor.workingDirectory.openIfPresent(path, O_RDONLY | O_NONBLOCK)
    // Do not read while a line is being written.
    if let opened { try lock(opened, shared: true) }
    var known: AuditState?
    var stateIsBroken = false
    do throws(Failure) {
      known = try storedState()
    } catch {
      guard error.code == .malformed else { throw error }
      stateIsBroken = true
      result.add(.state, 1, "\(statePath.display) cannot be read: lines may be missing")
    }
    guard let file = opened else {
      if let known, known.count > 0 {
        result.add(.cut, 1, "the log is gone: \(Self.counted(known.count)) written")
      }
      return result
    }
    guard try file.status().st_mode & S_IFMT == S_IFREG else {
      throw Failure(.cannotCreate, "\(path.display) is not a regular file")
    }
    var broken: [BrokenLink] = []
    var atCount: Digest?
    var size: UInt64 = 0
    var sizeAtCount: UInt64 = 0
    let endsInNewline = try eachLine(of: file, from: 0) { (line) throws(Failure) in
      try self.read(line, &result, &broken)
      size += UInt64(line.count) + 1
      if result.lines == known?.count { (atCount, sizeAtCount) = (result.last, size) }
    }
    try name(broken, of: file, missing: (known?.count ?? 0) > result.lines, &result)
    if !endsInNewline {
      result.add(.cut, result.lines, "line \(result.lines) has no end: it was cut off")
    }
    if let known {
      compare(known, atCount, sizeAtCount, &result)
    } else if !stateIsBroken, result.unhashed < result.lines {
      result.add(
        .state, result.lines, "\(statePath.display) is gone: lines may have been cut off")
    }
    result.problems.sort { $0.line < $1.line }
    return result
  }

  /// Checks the next line: whether it is an entry, and links to the line before it.
  private func read(
    _ bytes: [UInt8], _ result: inout AuditVerification, _ broken: inout [BrokenLink]
  ) throws(Failure) {
    try Interruption.check()
    let previous = result.last
    let isAtFront = result.unhashed == result.lines
    result.lines += 1
    result.last = try SHA256.hash(bytes)
    let number = result.lines
    guard let line = try? AuditLine(bytes, place: "") else {
      result.add(.malformed, number, "line \(number) is not an entry")
      return
    }
    if let named = line.previous {
      if named != previous, broken.count < AuditVerification.problemLimit {
        broken.append(BrokenLink(line: number, previous: named))
      }
    } else if line.object["previous"] != nil {
      result.add(.malformed, number, "line \(number) holds no hash where one belongs")
    } else if isAtFront {
      result.unhashed += 1
    } else {
      result.add(
        .unhashed, number,
        "line \(number) does not name the line before it: another program wrote it")
    }
  }

  /// Adds the problem that each broken link shows.
  ///
  /// - Parameter missing: whether lines have been lost.
  private func name(
    _ broken: [BrokenLink], of file: Descriptor, missing: Bool,
    _ result: inout AuditVerification
  ) throws(Failure) {
    if broken.isEmpty { return }
    let wanted = Set(broken.map(\.previous.hex))
    var places: [String: UInt64] = [:]
    var number: UInt64 = 0
    _ = try eachLine(of: file, from: 0) { (line) throws(Failure) in
      number += 1
      let hash = try SHA256.hash(line).hex
      if wanted.contains(hash), places[hash] == nil { places[hash] = number }
    }
    for link in broken {
      let line = link.line
      if link.previous == AuditState.beforeFirst {
        result.add(
          .inserted, 1, "line \(line) was written as the first: \(Self.named(1, line - 1)) put in")
      } else if let place = places[link.previous.hex] {
        if place > line {
          result.add(
            .moved, line, "line \(line) was written after line \(place): lines were moved")
        } else {
          result.add(
            .inserted, place + 1,
            "line \(line) was written after line \(place): "
              + "\(Self.named(place + 1, line - 1)) put in, or moved")
        }
      } else if line == 1 {
        result.add(.missing, 1, "line 1 was not the first: lines before it are missing")
      } else if missing {
        result.add(
          .missing, line,
          "line \(line) does not follow line \(line - 1): lines between them are missing, or line "
            + "\(line - 1) was changed")
      } else {
        result.add(
          .changed, line - 1,
          "line \(line - 1) was changed, or the hash in line \(line) was")
      }
    }
  }

  /// Compares the log with its recorded state. The log may have lines that were appended just before a crash and not
  /// recorded.
  ///
  /// - Parameters:
  ///   - last: the hash of the line with the recorded last number, if there is one.
  ///   - size: the offset where that line ends.
  private func compare(
    _ known: AuditState, _ last: Digest?, _ size: UInt64, _ result: inout AuditVerification
  ) {
    let (lines, written) = (result.lines, known.count)
    if written == 0 { return }
    if last == known.last {
      // The lines at the start have no hashes: only the length shows a change.
      if size != known.size, result.problems.isEmpty {
        let front = Self.named(1, max(1, result.unhashed))
        result.add(.changed, 1, "\(front) changed: the log has another length")
      }
    } else if lines < written {
      if result.last != known.last {
        result.add(
          .cut, lines + 1,
          "\(Self.counted(written)) written, and \(lines) are there: the end was cut off")
      } else if result.problems.isEmpty {
        result.add(
          .missing, 1,
          "\(Self.counted(written)) written, and \(lines) are there: lines without a hash are "
            + "missing")
      }
    } else if lines > written {
      if result.problems.isEmpty {
        result.add(
          .inserted, 1,
          "\(Self.counted(written)) written, and \(lines) are there: lines were put in")
      }
    } else {
      result.add(.changed, lines, "line \(lines) is not the one that was written last")
    }
  }

  private static func named(_ first: UInt64, _ last: UInt64) -> String {
    first >= last ? "line \(first) was" : "lines \(first) to \(last) were"
  }

  private static func counted(_ lines: UInt64) -> String {
    lines == 1 ? "1 line was" : "\(lines) lines were"
  }
}
