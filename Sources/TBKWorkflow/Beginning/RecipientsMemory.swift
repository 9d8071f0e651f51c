import Glibc
import TBKCore

/// Records which sealed identity a group had in its store when this home first sealed to its current recipients.
///
/// Only with the password can a machine tell which recipients belong to an identity; without it, it can only see that
/// the identity has changed. A file of lines `IDENTITY RECIPIENT…`, one for each list of recipients, newest last.
struct RecipientsMemory {
  private let file: RawPath
  private static let limit = 16

  init(of group: String, in state: RawPath) {
    file = state.appending(RawPath("\(RecipientsMemory.prefix)\(group)"))
  }

  /// The prefix of these files' names; the id of the group follows.
  static let prefix = "recipients-"

  /// Whether the group's identity differs from the one when `recipients` were first used. Records the first use.
  ///
  /// - Parameters:
  ///   - recipients: options that name them, always in the same order.
  ///   - identity: the SHA-256 of the sealed identity, or a hyphen for none.
  func areOutdated(_ recipients: String, identity: String) throws(Failure) -> Bool {
    var lines = try known()
    if let line = lines.first(where: { $0.recipients == recipients }) { return line.identity != identity }
    lines.append((identity, recipients))
    let text = lines.suffix(RecipientsMemory.limit).map { "\($0.identity) \($0.recipients)\n" }.joined()
    try AtomicFile.write(Array(text.utf8), to: file)
    return false
  }

  /// Forgets the identity recorded for `recipients`, if it differs from `identity`.
  ///
  /// Returns whether it differed.
  func forget(_ recipients: String, unlessFor identity: String) throws(Failure) -> Bool {
    let lines = try known()
    guard lines.contains(where: { $0.recipients == recipients && $0.identity != identity }) else { return false }
    let text = lines.filter { $0.recipients != recipients }.map { "\($0.identity) \($0.recipients)\n" }.joined()
    try AtomicFile.write(Array(text.utf8), to: file)
    return true
  }

  private func known() throws(Failure) -> [(identity: String, recipients: String)] {
    guard let there = try Descriptor.workingDirectory.openIfPresent(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) else {
      return []
    }
    let bytes = try DescriptorSource(there, name: file).readAll(limit: 1 << 20, what: file.display)
    return bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
      let words = line.split(separator: UInt8(ascii: " "), maxSplits: 1)
      guard words.count == 2 else { return nil }
      return (String(decoding: words[0], as: UTF8.self), String(decoding: words[1], as: UTF8.self))
    }
  }
}
