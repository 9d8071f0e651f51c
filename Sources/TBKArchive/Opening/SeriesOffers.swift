import TBKCore
import TBKCrypto
import TBKFormat

/// What the verified backups of a series offer to later ones.
///
/// Keeps 16 or 32 bytes for each file that others may use.
struct SeriesOffers {
  /// The content that a backup contains itself.
  private struct Held {
    var prints: [Fingerprint]
    /// How many backups are still to be checked against it; nil if unknown.
    var dependents: UInt64?
  }

  private var held: [String: Held] = [:]
  /// Backups that were verified together with all their parents, as a base for others.
  private var wholeChains: Set<String> = []

  /// The backups that should hold content of a manifest's tree, but do not offer it.
  func lackingContent(of manifest: Manifest) -> [String] {
    var lacking: Set<String> = []
    for index in manifest.files.indices {
      guard let id = manifest.files.storedIn(index), !lacking.contains(id) else { continue }
      let isHeld = held[id].map { held in
        Fingerprint.all(manifest.files, index).contains { Fingerprint.contains(held.prints, $0) }
      }
      if isHeld != true { lacking.insert(id) }
    }
    return lacking.sorted()
  }

  /// The manifest's parent backup, unless it was verified with all of its parents.
  func lackingParent(of manifest: Manifest) -> [String] {
    guard let parent = manifest.parentBackupID, !wholeChains.contains(parent) else { return [] }
    return [parent]
  }

  /// - Parameter dependents: how many backups are still to be checked against it; nil if unknown.
  mutating func addContent(of verified: VerifiedManifest, dependents: UInt64?) {
    if dependents == 0 { return }
    let files = verified.manifest.files
    var prints: [Fingerprint] = []
    for index in files.indices where files.type(index) == .file {
      guard !files.isHardLink(index), files.storedIn(index) == nil else { continue }
      prints += Fingerprint.all(files, index)
    }
    prints.sort()
    held[verified.id] = Held(prints: prints, dependents: dependents)
  }

  mutating func addChain(endingIn verified: VerifiedManifest) { wholeChains.insert(verified.id) }

  /// Records that a backup that uses content of `ids` has been checked, and drops what no other needs.
  mutating func release(_ ids: Set<String>) {
    for id in ids {
      guard let left = held[id]?.dependents else { continue }
      held[id]?.dependents = left > 0 ? left - 1 : 0
      if left <= 1 { held[id] = nil }
    }
  }
}

/// A 16-byte fingerprint of a file: its size and hash, and its path or its offset in the tar.
private struct Fingerprint: Comparable {
  private let high: UInt64
  private let low: UInt64

  /// By its path, and by its offset if the manifest has one. None without a hash, which is missing only in a manifest
  /// that no archive holds.
  static func all(_ files: EntryTable, _ index: Int) -> [Fingerprint] {
    guard let sha256 = files[index].sha256 else { return [] }
    var front: [UInt8] = []
    front.append(bigEndian: files.size(index), width: 8)
    front += sha256.bytes
    var found = [Fingerprint(front + [0] + files.path(index))]
    if let offset = files.offset(index) {
      var place = front + [1]
      place.append(bigEndian: offset, width: 8)
      found.append(Fingerprint(place))
    }
    return found.compactMap(\.self)
  }

  private init?(_ bytes: [UInt8]) {
    guard let hash = try? SHA256.hash(bytes).bytes else { return nil }
    high = hash[0..<8].reduce(0) { $0 << 8 | UInt64($1) }
    low = hash[8..<16].reduce(0) { $0 << 8 | UInt64($1) }
  }

  static func < (one: Fingerprint, other: Fingerprint) -> Bool {
    (one.high, one.low) < (other.high, other.low)
  }

  static func contains(_ sorted: [Fingerprint], _ print: Fingerprint) -> Bool {
    var (low, high) = (0, sorted.count)
    while low < high {
      let middle = (low + high) / 2
      if sorted[middle] < print { low = middle + 1 } else { high = middle }
    }
    return low < sorted.count && sorted[low] == print
  }
}
