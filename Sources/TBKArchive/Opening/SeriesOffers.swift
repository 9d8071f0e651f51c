import TBKCore
import TBKCrypto
import TBKFormat

/// What the backups of a series that have been verified offer to those that come after them.
///
/// Of what others may take from an archive, 16 bytes for each file, or 32, are kept.
struct SeriesOffers {
  /// The content that a backup holds itself.
  private struct Held {
    var prints: [Fingerprint]
    /// How many backups are still to be checked against it; nil if unknown.
    var dependents: UInt64?
  }

  private var held: [String: Held] = [:]
  /// Backups that were verified with all those before them, over which others can be laid.
  private var wholeChains: Set<String> = []

  /// The backups that hold content of a manifest's tree, and have not offered it.
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

  /// The backup that a manifest's tree is laid over, unless that was verified with all before it.
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

  /// Notes that a backup which takes content from `ids` has been checked, and forgets what no other will ask for.
  mutating func release(_ ids: Set<String>) {
    for id in ids {
      guard let left = held[id]?.dependents else { continue }
      held[id]?.dependents = left > 0 ? left - 1 : 0
      if left <= 1 { held[id] = nil }
    }
  }
}

/// What a file's content can be found by, in 16 bytes: its size and hash, and its path or its place in the tar.
private struct Fingerprint: Comparable {
  private let high: UInt64
  private let low: UInt64

  /// By its path, and by its place where the manifest has it. None without a hash, which only a manifest has
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
