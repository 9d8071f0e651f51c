// How a profile seals its backups: suite, recipients and compression level.

import TBKCore

/// The cipher suites of backups.
package enum BackupSuite: String, Sendable {
  case whole = "1"
  case chunked = "3"
  /// An age file, sealed to recipients instead of with a password.
  case recipients = "age"

  fileprivate var inWords: String { self == .recipients ? "with recipients" : "in cipher suite \(rawValue)" }
}

/// How a backup is sealed.
package struct BackupSealing: Sendable {
  package fileprivate(set) var suite: BackupSuite
  /// `age1…`.
  package fileprivate(set) var recipients: [[UInt8]]
  /// Nil for the default of the suite.
  package fileprivate(set) var level: Int?

  /// The options of `tbk-seal` for the recipients, sorted and without duplicates, separated by spaces.
  package var recipientWords: [UInt8] {
    let sorted = recipients.sorted { $0.lexicographicallyPrecedes($1) }
    var words: [[UInt8]] = []
    for recipient in sorted where words.last != recipient { words += [Array("-r".utf8), recipient] }
    return Array(words.joined(separator: [UInt8(ascii: " ")]))
  }

  /// All options of `tbk-seal` for this.
  package var words: [UInt8] {
    var words: [[UInt8]] = []
    if suite == .chunked { words.append(Array("--suite 3".utf8)) }
    if suite == .recipients { words.append(recipientWords) }
    if let level { words.append(Array("--level \(level)".utf8)) }
    return Array(words.joined(separator: [UInt8(ascii: " ")]))
  }
}

extension Profile {
  /// Why suite and level do not fit together; nil if they do, as far as the profile sets them.
  var sealingComplaint: String? {
    let isForRecipients = self["recipients"]?.elements?.isEmpty == false
    let suite: BackupSuite? =
      switch self["cipher_suite"]?.integer(Int.self) {
      case _ where isForRecipients: .recipients
      case 1: .whole
      case 3: .chunked
      default: nil
      }
    return suite.flatMap(levelComplaint)
  }

  /// What is wrong with `compression_level` in a suite; nil if nothing is.
  private func levelComplaint(in suite: BackupSuite) -> String? {
    let levels = suite == .whole ? 0...9 : 1...19
    guard let level = compressionLevel, !levels.contains(level) else { return nil }
    return "\"compression_level\" must be \(levels.lowerBound) to \(levels.upperBound) \(suite.inWords)"
  }

  /// Nil for the default of the suite.
  private var compressionLevel: Int? { self["compression_level"]?.integer(Int.self) }

  /// How new backups are sealed.
  ///
  /// - Parameters:
  ///   - configuration: used where the profile sets nothing.
  ///   - suite: overrides the profile's suite; with a password.
  ///   - recipients: override the profile's recipients.
  package func sealing(
    _ configuration: Configuration, suite: BackupSuite? = nil, recipients: [[UInt8]] = []
  ) -> BackupSealing {
    var own = BackupSealing(suite: .whole, recipients: [], level: compressionLevel)
    let named = self["recipients"]?.elements ?? configuration["recipients"]?.elements ?? []
    own.recipients = named.compactMap(\.bytes)
    let number = self["cipher_suite"]?.integer(Int.self) ?? configuration["cipher_suite"]?.integer(Int.self)
    own.suite = !own.recipients.isEmpty ? .recipients : number == 3 ? .chunked : .whole
    guard let used = recipients.isEmpty ? suite : .recipients else { return own }
    return BackupSealing(
      suite: used, recipients: used == .recipients ? recipients : [],
      level: used == own.suite ? own.level : nil)
  }

  /// Throws `.profile` for a level that the suite does not have.
  package func check(_ sealing: BackupSealing, place: String) throws(Failure) {
    guard sealing.level != nil, let complaint = levelComplaint(in: sealing.suite) else { return }
    throw Failure(
      .profile, "\(place): \(complaint)",
      hint: "'termbackup profile edit \(name) --unset compression_level' restores the default")
  }
}
