// The stages that a `BackupReader` passes its archives through.

import TBKCore
import TBKCrypto
import TBKFormat

/// Finds entries by their name in the tar.
final class NameLookup {
  private let files: EntryTable
  private let order: [UInt32]?
  private var renamed: [[UInt8]: Int] = [:]
  /// Entries whose content is in another backup's tar, by its offset there.
  private lazy var places = files.indices.reduce(into: [UInt64: [Int]]()) {
    if files.storedIn($1) != nil, let offset = files.offset($1) { $0[offset, default: []].append($1) }
  }

  init(_ manifest: Manifest) {
    files = manifest.files
    order = files.isSorted() ? nil : files.sortedIndices()
    for index in files.indices where files.isRare(index) {
      if let name = files[index].storedAs { renamed[name] = index }
    }
  }

  func find(_ name: [UInt8]) -> Int? { renamed[name] ?? files.find(name, order: order) }

  /// Whether the content of an entry, or of its hard link target, is in another backup's tar.
  func isStoredElsewhere(_ entry: ManifestEntry) -> Bool {
    if entry.storedIn != nil { return true }
    guard let first = entry.hardLink, let target = files.find(first, order: order) else {
      return false
    }
    return files.storedIn(target) != nil
  }

  /// The entries whose content another backup's tar may hold under this name and at this offset: the entry of that
  /// name; for a stand-in for "manifest.json" or something below it, the entry it stands for; and the entries with that
  /// offset.
  func entries(heldAs name: [UInt8], at offset: UInt64) -> [Int] {
    var found = Set(places[offset] ?? [])
    if let index = files.find(name, order: order) { found.insert(index) }
    if name.starts(with: Manifest.fileName) {
      let rest = name[Manifest.fileName.count...].drop { $0 == UInt8(ascii: "~") }
      if let index = files.find(Manifest.fileName + rest, order: order) { found.insert(index) }
    }
    return found.sorted()
  }
}

/// Which entries have been staged so far.
final class Gathered {
  private var flags: [Bool]
  init(_ count: Int) { flags = Array(repeating: false, count: count) }
  subscript(index: Int) -> Bool {
    get { flags[index] }
    set { flags[index] = newValue }
  }
}

/// Offers content of an older archive, which is taken if its hash is one that the newest manifest needs.
final class OfferConsumer: MemberConsumer {
  private let wish: (TarMember, UInt64) -> [StagingConsumer.Offer]
  private let accepted: (StagingConsumer.Offer) -> Void
  private let staging: StagingConsumer?
  private var offers: [StagingConsumer.Offer] = []

  init(
    _ staging: Staging?, wish: @escaping (TarMember, UInt64) -> [StagingConsumer.Offer],
    accepted: @escaping (StagingConsumer.Offer) -> Void
  ) {
    self.wish = wish
    self.accepted = accepted
    self.staging = staging.map { staging in
      StagingConsumer(staging, wish: { _ in .leave }, accepted: accepted)
    }
  }

  func begin(_ member: TarMember) throws(Failure) -> Bool { try begin(member, contentAt: 0) }

  func begin(_ member: TarMember, contentAt offset: UInt64) throws(Failure) -> Bool {
    offers = wish(member, offset)
    if offers.isEmpty { return false }
    return try staging?.begin(member, .offer(offers)) ?? true
  }

  func body(_ bytes: Span<UInt8>) throws(Failure) { try staging?.body(bytes) }

  func end(_ sha256: Digest) throws(Failure) {
    if let staging { return try staging.end(sha256) }
    if let offer = offers.first(where: { $0.sha256 == sha256 }) { accepted(offer) }
  }
}

/// Copies members into a new tar, which is not finished.
final class MemberCopier: MemberConsumer {
  private let tar: any ByteSink
  private var size: UInt64 = 0

  init(_ tar: any ByteSink) { self.tar = tar }

  func begin(_ member: TarMember) throws(Failure) -> Bool {
    size = member.size
    let header = try TarWriter.header(for: member)
    if let frames = tar as? ZstdCompressor { try frames.beginMember(header: header.count, content: size) }
    try tar.write(header)
    return member.kind == .file
  }

  func body(_ bytes: Span<UInt8>) throws(Failure) { try tar.write(bytes) }
  func end(_ sha256: Digest) throws(Failure) { try TarWriter.pad(tar, after: size) }
}

/// Reports the bytes written, for the progress meter.
package final class TickingSink: ByteSink {
  private let next: any ByteSink
  private let progress: (Int) -> Void

  package init(into next: any ByteSink, _ progress: @escaping (Int) -> Void) {
    self.next = next
    self.progress = progress
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    try next.write(bytes)
    progress(bytes.count)
  }

  package func finish() throws(Failure) { try next.finish() }
}
