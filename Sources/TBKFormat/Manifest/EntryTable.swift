import TBKCore

/// The entries of one manifest, packed: about 140 bytes plus the path per entry, so that a tree of a million files
/// needs some 200 MB instead of the 500 MB of its JSON.
///
/// Entries are added and returned as `ManifestEntry`, and keep the order in which they were added.
package struct EntryTable: Sendable {
  /// The fixed part of an entry. Rare fields are in `rare`.
  private struct Record {
    var path: Int
    var pathLength: UInt32
    var mode: UInt32
    var size: UInt64
    var sha256: Digest
    var modifiedAt: Double
    /// Nanoseconds; times out of range are in `farTimes`.
    var mtime: Int64
    var ctime: Int64
    var inode: UInt64
    var offset: UInt64
    var device: UInt32
    var uid: UInt32
    var gid: UInt32
    var user: UInt32
    var group: UInt32
    var storedIn: UInt32
    var type: EntryType
    var present: Presence
  }

  private struct Presence: OptionSet {
    var rawValue: UInt16
    static let sha256 = Presence(rawValue: 1)
    static let mtime = Presence(rawValue: 2)
    static let ctime = Presence(rawValue: 4)
    static let inode = Presence(rawValue: 8)
    static let device = Presence(rawValue: 16)
    static let uid = Presence(rawValue: 32)
    static let gid = Presence(rawValue: 64)
    static let user = Presence(rawValue: 128)
    static let group = Presence(rawValue: 256)
    static let storedIn = Presence(rawValue: 512)
    static let rare = Presence(rawValue: 1024)
    static let type = Presence(rawValue: 2048)
    static let offset = Presence(rawValue: 4096)
    static let farTimes = Presence(rawValue: 8192)
  }

  private struct Rare {
    var linkTarget: [UInt8]?
    var hardLink: [UInt8]?
    var storedAs: [UInt8]?
    var xattrs: [ExtendedAttribute]
    var extras: [ManifestEntry.Extra]
  }

  /// Times of which at least one is outside the years 1677 to 2262, the range of 64-bit nanoseconds.
  private struct FarTimes {
    var mtime: FileTime?
    var ctime: FileTime?
  }

  private var records: [Record] = []
  private var paths = ByteArena()
  private var rare: [Int: Rare] = [:]
  private var farTimes: [Int: FarTimes] = [:]
  private var names = Interned<[UInt8]>()
  private var devices = Interned<UInt64>()
  private var backups = Interned<String>()
  private var ascends = true

  package init() {}

  package var count: Int { records.count }
  package var isEmpty: Bool { records.isEmpty }
  package var indices: Range<Int> { 0..<records.count }

  package mutating func append(_ entry: ManifestEntry) {
    if ascends, count > 0, compare(count - 1, entry.path) >= 0 { ascends = false }
    let record = pack(entry, path: paths.append(entry.path), index: records.count)
    records.append(record)
  }

  /// Puts the rare fields into `rare` and returns the rest.
  private mutating func pack(_ entry: ManifestEntry, path: Int, index: Int) -> Record {
    var present: Presence = []
    func note<Value>(_ value: Value?, _ flag: Presence, _ absent: Value) -> Value {
      if value != nil { present.insert(flag) }
      return value ?? absent
    }
    if entry.hasType { present.insert(.type) }
    if entry.linkTarget != nil || entry.hardLink != nil || entry.storedAs != nil
      || !entry.xattrs.isEmpty || !entry.extras.isEmpty
    {
      present.insert(.rare)
      rare[index] = Rare(
        linkTarget: entry.linkTarget, hardLink: entry.hardLink, storedAs: entry.storedAs,
        xattrs: entry.xattrs, extras: entry.extras)
    } else if !rare.isEmpty {
      rare[index] = nil
    }
    let (mtime, ctime) = (entry.mtime?.inNanoseconds, entry.ctime?.inNanoseconds)
    if (mtime == nil) != (entry.mtime == nil) || (ctime == nil) != (entry.ctime == nil) {
      present.insert(.farTimes)
      farTimes[index] = FarTimes(mtime: entry.mtime, ctime: entry.ctime)
    } else if !farTimes.isEmpty {
      farTimes[index] = nil
    }
    let user = note(entry.user.map { names.index(of: $0) }, .user, 0)
    let group = note(entry.group.map { names.index(of: $0) }, .group, 0)
    let device = note(entry.device.map { devices.index(of: $0) }, .device, 0)
    let storedIn = note(entry.storedIn.map { backups.index(of: $0) }, .storedIn, 0)
    var record = Record(
      path: path, pathLength: UInt32(entry.path.count), mode: entry.mode,
      size: entry.size, sha256: note(entry.sha256, .sha256, .ofNothing),
      modifiedAt: entry.modifiedAt, mtime: note(mtime, .mtime, 0),
      ctime: note(ctime, .ctime, 0), inode: note(entry.inode, .inode, 0),
      offset: note(entry.offset, .offset, 0), device: device,
      uid: note(entry.uid, .uid, 0), gid: note(entry.gid, .gid, 0), user: user, group: group,
      storedIn: storedIn, type: entry.type, present: [])
    record.present = present
    return record
  }

  /// Appends the canonical text of an entry, like `[UInt8].append(entry:)`.
  func write(_ index: Int, to buffer: inout [UInt8]) {
    let record = records[index]
    guard record.present.isDisjoint(with: [.rare, .farTimes]) else {
      return buffer.append(entry: self[index])
    }
    func has(_ flag: Presence) -> Bool { record.present.contains(flag) }
    buffer.append(UInt8(ascii: "{"))
    if has(.ctime) { buffer.appendNumber("\"ctime_ns\":", record.ctime) }
    if has(.device) { buffer.appendNumber("\"device\":", devices[record.device]) }
    if has(.gid) { buffer.appendNumber("\"gid\":", record.gid) }
    if has(.group) { buffer.appendText("\"group\":", names[record.group]) }
    if has(.inode) { buffer.appendNumber("\"inode\":", record.inode) }
    buffer.appendKey("\"modified_at\":")
    buffer += pythonRepresentation(record.modifiedAt).utf8
    buffer.append(UInt8(ascii: ","))
    if has(.mtime) { buffer.appendNumber("\"mtime_ns\":", record.mtime) }
    if has(.offset) { buffer.appendNumber("\"offset\":", record.offset) }
    buffer.appendNumber("\"permissions\":", record.mode)
    buffer.appendText("\"relative_path\":", path(index))
    if has(.sha256) {
      buffer.appendKey("\"sha256\":\"")
      buffer.appendHex(record.sha256)
      buffer.appendKey("\",")
    } else {
      buffer.appendKey("\"sha256\":null,")
    }
    buffer.appendNumber("\"size\":", record.size)
    if has(.storedIn) { buffer.appendText("\"stored_in\":", Array(backups[record.storedIn].utf8)) }
    if has(.type) { buffer.appendText("\"type\":", Array(record.type.rawValue.utf8)) }
    if has(.uid) { buffer.appendNumber("\"uid\":", record.uid) }
    if has(.user) { buffer.appendText("\"user\":", names[record.user]) }
    buffer[buffer.count - 1] = UInt8(ascii: "}")  // In place of the last comma.
  }

  /// Removes the entries at these indices; the others keep their order.
  package mutating func remove(_ unwanted: Set<Int>) {
    if unwanted.isEmpty { return }
    var kept: [Record] = []
    var keptRare: [Int: Rare] = [:]
    var keptTimes: [Int: FarTimes] = [:]
    for index in indices where !unwanted.contains(index) {
      keptRare[kept.count] = rare[index]
      keptTimes[kept.count] = farTimes[index]
      kept.append(records[index])
    }
    records = kept
    rare = keptRare
    farTimes = keptTimes
  }

  package subscript(index: Int) -> ManifestEntry {
    get {
      let record = records[index]
      func take<Value>(_ flag: Presence, _ value: @autoclosure () -> Value) -> Value? {
        record.present.contains(flag) ? value() : nil
      }
      var entry = ManifestEntry(
        path: path(index), type: record.type, size: record.size,
        sha256: take(.sha256, record.sha256), mode: record.mode, modifiedAt: record.modifiedAt)
      entry.mtime = take(.mtime, FileTime(nanoseconds: record.mtime))
      entry.ctime = take(.ctime, FileTime(nanoseconds: record.ctime))
      if record.present.contains(.farTimes), let times = farTimes[index] {
        (entry.mtime, entry.ctime) = (times.mtime, times.ctime)
      }
      entry.inode = take(.inode, record.inode)
      entry.offset = take(.offset, record.offset)
      entry.device = take(.device, devices[record.device])
      entry.uid = take(.uid, record.uid)
      entry.gid = take(.gid, record.gid)
      entry.user = take(.user, names[record.user])
      entry.group = take(.group, names[record.group])
      entry.storedIn = take(.storedIn, backups[record.storedIn])
      entry.hasType = record.present.contains(.type)
      if record.present.contains(.rare), let extra = rare[index] {
        entry.linkTarget = extra.linkTarget
        entry.hardLink = extra.hardLink
        entry.storedAs = extra.storedAs
        entry.xattrs = extra.xattrs
        entry.extras = extra.extras
      }
      return entry
    }
    set {
      // The path must not change, because entries are found by it.
      precondition(newValue.path.count == Int(records[index].pathLength))
      records[index] = pack(newValue, path: records[index].path, index: index)
    }
  }

  /// Only the path; cheaper than the entry.
  package func path(_ index: Int) -> [UInt8] {
    paths.bytes(at: records[index].path, count: Int(records[index].pathLength))
  }

  /// Only the type.
  package func type(_ index: Int) -> EntryType { records[index].type }

  /// Whether the manifest gave a type.
  package func hasType(_ index: Int) -> Bool { records[index].present.contains(.type) }

  /// Only the size.
  package func size(_ index: Int) -> UInt64 { records[index].size }

  /// Only the hash of the content; nil if the manifest has none.
  package func sha256(_ index: Int) -> Digest? {
    records[index].present.contains(.sha256) ? records[index].sha256 : nil
  }

  /// Only the mtime.
  package func mtime(_ index: Int) -> FileTime? {
    let record = records[index]
    if record.present.contains(.farTimes) { return farTimes[index]?.mtime }
    return record.present.contains(.mtime) ? FileTime(nanoseconds: record.mtime) : nil
  }

  /// Only the extended attributes.
  package func xattrs(_ index: Int) -> [ExtendedAttribute] {
    records[index].present.contains(.rare) ? rare[index]?.xattrs ?? [] : []
  }

  /// Whether an entry is the same file as `entry` and unchanged: type, inode and ctime are known and equal.
  package func isUnchanged(_ index: Int, _ entry: ManifestEntry) -> Bool {
    let record = records[index]
    guard record.type == entry.type, record.present.contains(.inode), record.inode == entry.inode,
      let ctime = entry.ctime
    else { return false }
    if record.present.contains(.farTimes) { return farTimes[index]?.ctime == ctime }
    return record.present.contains(.ctime) && record.ctime == ctime.inNanoseconds
  }

  /// The backup that holds the content, if it is not this one.
  package func storedIn(_ index: Int) -> String? {
    records[index].present.contains(.storedIn) ? backups[records[index].storedIn] : nil
  }

  /// The offset of the content in the tar that holds it, if the manifest records it.
  package func offset(_ index: Int) -> UInt64? {
    records[index].present.contains(.offset) ? records[index].offset : nil
  }

  /// Whether the entry is a hard link to an earlier one.
  package func isHardLink(_ index: Int) -> Bool {
    records[index].present.contains(.rare) && rare[index]?.hardLink != nil
  }

  /// Whether the entry has rare fields: a link target, another name, attributes.
  package func isRare(_ index: Int) -> Bool { records[index].present.contains(.rare) }

  /// Whether every path is greater than the one before it, as raw bytes. Takes constant time.
  package func isSorted() -> Bool { ascends }

  /// Whether an entry has the content and metadata of `entry`, comparing only the fixed parts: false may mean that this
  /// cannot decide.
  package func isPlainlyEqual(_ index: Int, _ entry: ManifestEntry) -> Bool {
    let record = records[index]
    guard !record.present.contains(.rare), entry.linkTarget == nil, entry.hardLink == nil,
      entry.xattrs.isEmpty
    else { return false }
    return record.type == entry.type && record.size == entry.size && record.mode == entry.mode
      && record.present.isSuperset(of: [.sha256, .mtime, .uid, .gid])
      && record.sha256 == entry.sha256 && record.mtime == entry.mtime?.inNanoseconds
      && record.uid == entry.uid && record.gid == entry.gid
  }

  /// The indices in path order, for `find` in a table that is not sorted; equal paths in the order in which they were
  /// added.
  package func sortedIndices() -> [UInt32] {
    var order = indices.map { UInt32($0) }
    order.sort { one, other in
      let difference = compare(Int(one), path(Int(other)))
      return difference == 0 ? one < other : difference < 0
    }
    return order
  }

  /// The index of `path`, by binary search.
  ///
  /// - Parameter order: from `sortedIndices()`, or nil if the table itself is sorted.
  package func find(_ path: [UInt8], order: [UInt32]? = nil) -> Int? {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      let index = order.map { Int($0[middle]) } ?? middle
      switch compare(index, path) {
      case 0: return index
      case ..<0: low = middle + 1
      default: high = middle
      }
    }
    return nil
  }
}

extension EntryTable {
  /// The first entry of a sorted table whose path is not less than `path`; `count` if there is none.
  package func firstIndex(from path: [UInt8]) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if compare(middle, path) < 0 { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Negative, zero or positive if the path of the entry is less than, equal to or greater than `path`, as raw bytes.
  package func compare(_ index: Int, _ path: [UInt8]) -> Int {
    let record = records[index]
    return paths.compare(at: record.path, count: Int(record.pathLength), with: path)
  }
}

/// Many short strings in a few large pieces, so that growing never copies.
struct ByteArena: Sendable {
  private static let pieceSize = 1 << 20
  private var pieces: [[UInt8]] = []

  /// Stores `bytes` and returns the position: the piece in the upper 32 bits, the offset in the lower.
  mutating func append(_ bytes: [UInt8]) -> Int {
    if pieces.isEmpty || pieces[pieces.count - 1].count + bytes.count > ByteArena.pieceSize {
      var piece: [UInt8] = []
      // The first piece starts small, because most tables are.
      piece.reserveCapacity(
        max(bytes.count, pieces.isEmpty ? 4096 : ByteArena.pieceSize))
      pieces.append(piece)
    }
    let last = pieces.count - 1
    let offset = pieces[last].count
    pieces[last] += bytes
    return last << 32 | offset
  }

  func compare(at position: Int, count: Int, with other: [UInt8]) -> Int {
    let offset = position & 0xffff_ffff
    let piece = pieces[position >> 32]
    for index in 0..<min(count, other.count) {
      let difference = Int(piece[offset + index]) - Int(other[index])
      if difference != 0 { return difference }
    }
    return count - other.count
  }

  func equals(at position: Int, _ other: ArraySlice<UInt8>) -> Bool {
    let offset = position & 0xffff_ffff
    return pieces[position >> 32][offset..<offset + other.count].elementsEqual(other)
  }

  func bytes(at position: Int, count: Int) -> [UInt8] {
    let offset = position & 0xffff_ffff
    return Array(pieces[position >> 32][offset..<offset + count])
  }
}

/// Repeated values, each stored once and identified by a number.
private struct Interned<Value: Hashable & Sendable>: Sendable {
  private var values: [Value] = []
  private var numbers: [Value: UInt32] = [:]

  mutating func index(of value: Value) -> UInt32 {
    if let number = numbers[value] { return number }
    let number = UInt32(values.count)
    values.append(value)
    numbers[value] = number
    return number
  }

  subscript(number: UInt32) -> Value { values[Int(number)] }
}
