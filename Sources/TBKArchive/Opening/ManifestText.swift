import TBKCore
import TBKCrypto
import TBKFormat

/// Parses the text of a manifest, and hashes it unchanged.
///
/// The id is the hash of the canonical text with null in place of the id. If the text itself has that hash, the
/// manifest need not be serialised again, which would take longer than parsing.
final class ManifestText: ByteSink {
  private let parser = ManifestParser()
  private var hash: SHA256
  /// The text so far, until the id is found in it.
  private var front: [UInt8] = []
  private var phase = Phase.seeking

  private enum Phase { case seeking, found, lost }

  /// In canonical order nothing long precedes the id.
  private static let frontLimit = 4096
  private static let key = Array("\"backup_id\":\"".utf8)

  init() throws(Failure) { hash = try SHA256() }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    try parser.write(bytes)
    switch phase {
    case .found: try hash.update(bytes)
    case .lost: break
    case .seeking:
      front.append(bytes)
      if front.count >= Self.frontLimit { try seek() }
    }
  }

  func finish() throws(Failure) {
    try parser.finish()
    if phase == .seeking { try seek() }
  }

  /// The parsed manifest; after `finish()`.
  func manifest() throws(Failure) -> Manifest { try parser.manifest() }

  /// Whether the unchanged text has this id; call once, after `finish()`.
  func hasID(_ id: String) throws(Failure) -> Bool {
    guard phase == .found else { return false }
    return try hash.finish().hex == id
  }

  private func seek() throws(Failure) {
    phase = .lost
    let (front, key) = (front, Self.key)
    let last = min(front.count, Self.frontLimit) - key.count - 65
    guard last >= 0,
      let start = (0...last).first(where: { front[$0..<$0 + key.count].elementsEqual(key) })
    else { return }
    let id = start + key.count
    guard front[id + 64] == UInt8(ascii: "\"") else { return }
    try hash.update(front.span.extracting(0..<id - 1))
    try hash.update(Array("null".utf8).span)
    try hash.update(front.span.extracting(id + 65..<front.count))
    self.front = []
    phase = .found
  }
}
