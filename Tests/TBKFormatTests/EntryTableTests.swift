import TBKCore
@testable import TBKFormat
import Testing

/// An entry with every field that it can have, except those that exclude each other.
func fullEntry(_ path: String) -> ManifestEntry {
  var entry = ManifestEntry(
    path: Array(path.utf8), type: .file, size: .max >> 1, sha256: .ofNothing, mode: 0o104755,
    modifiedAt: -1.5)
  (entry.mtime, entry.ctime) = (FileTime(nanoseconds: .min), FileTime(nanoseconds: .max))
  (entry.inode, entry.device) = (.max, .max)
  (entry.uid, entry.gid) = (.max, 0)
  (entry.user, entry.group) = ([0xff], Array("wheel".utf8))
  entry.storedAs = Array("other".utf8)
  entry.storedIn = String(repeating: "a", count: 64)
  entry.offset = .max >> 1
  entry.xattrs = [ExtendedAttribute(name: Array("user.a".utf8), value: [0, 255])]
  entry.extras = [ManifestEntry.Extra(key: "zz", value: Array("[1]".utf8))]
  return entry
}

func plainEntry(_ path: String, _ type: EntryType = .file, size: UInt64 = 0) -> ManifestEntry {
  var entry = ManifestEntry(
    path: Array(path.utf8), type: type, size: size, sha256: .ofNothing,
    mode: type.modeBits! | 0o644, modifiedAt: 0)
  if type == .symlink { entry.linkTarget = [0x78] }
  return entry
}

@Suite struct EntryTableTests {
  @Test func entriesComeOutAsTheyWentIn() {
    var table = EntryTable()
    var deferred = plainEntry("b")
    deferred.sha256 = nil
    deferred.hasType = false
    var link = plainEntry("c")
    link.hardLink = [0x61]
    let entries = [
      fullEntry("a"), deferred, link, plainEntry("d", .symlink), plainEntry("e", .directory),
    ]
    for entry in entries { table.append(entry) }
    #expect(table.indices.map { table[$0] } == entries)
    #expect(table.isHardLink(2) && !table.isHardLink(0) && table.isRare(0) && !table.isRare(1))
    #expect(table.storedIn(0) == entries[0].storedIn && table.storedIn(1) == nil)
    #expect(table.offset(0) == .max >> 1 && table.offset(1) == nil)
    #expect(!table.hasType(1) && table.type(3) == .symlink && table.size(0) == .max >> 1)
  }

  @Test func settingReplacesAllButThePath() {
    var table = EntryTable()
    for path in ["a", "b"] { table.append(fullEntry(path)) }
    table[0] = plainEntry("a", size: 7)
    #expect(table[0] == plainEntry("a", size: 7))
    #expect(table[1] == fullEntry("b"))
    table[0] = fullEntry("a")
    #expect(table[0] == fullEntry("a"))
  }

  @Test func removingKeepsTheOrderAndWhatBelongsToEach() {
    var table = EntryTable()
    let entries = (0..<20).map { $0 % 3 == 0 ? fullEntry("p\($0)") : plainEntry("p\($0)") }
    for entry in entries { table.append(entry) }
    table.remove([0, 5, 6, 19])
    let kept = entries.indices.filter { ![0, 5, 6, 19].contains($0) }.map { entries[$0] }
    #expect(table.indices.map { table[$0] } == kept)
    table.remove([])
    #expect(table.count == 16)
    table.remove(Set(table.indices))
    #expect(table.isEmpty)
    table.append(fullEntry("x"))
    #expect(table[0] == fullEntry("x"))
  }

  @Test func timesOfAnyYearComeOutAsTheyWentIn() {
    let times: [FileTime?] = [nil, .min, .max, FileTime(seconds: 10_413_792_000), FileTime(seconds: 1)]
    var table = EntryTable()
    var entries: [ManifestEntry] = []
    for mtime in times {
      for ctime in times {
        var entry = plainEntry("\(entries.count)")
        (entry.mtime, entry.ctime) = (mtime, ctime)
        (entry.uid, entry.gid) = (0, 0)
        entries.append(entry)
        table.append(entry)
      }
    }
    #expect(table.indices.map { table[$0] } == entries)
    table.remove([0, 6, 7])
    let kept = entries.indices.filter { ![0, 6, 7].contains($0) }.map { entries[$0] }
    #expect(table.indices.map { table[$0] } == kept)
    for index in table.indices {
      var near = plainEntry(kept[index].path.map { String(UnicodeScalar($0)) }.joined())
      near.mtime = FileTime(nanoseconds: .max)
      (near.uid, near.gid) = (0, 0)
      #expect(!table.isPlainlyEqual(index, near))
      table[index] = near
      #expect(table[index] == near && table.isPlainlyEqual(index, near))
      table[index] = kept[index]
      #expect(table[index] == kept[index])
    }
  }

  @Test func everyPathIsFoundInASortedTable() {
    var table = EntryTable()
    let paths = ["a", "a.b", "a/b", "a/b/c", "ab", "é", "\u{10ffff}"]
    for path in paths { table.append(plainEntry(path)) }
    #expect(table.isSorted())
    for (index, path) in paths.enumerated() { #expect(table.find(Array(path.utf8)) == index) }
    for path in ["", "A", "a.", "a/", "a/b/", "b", "\u{10ffff}x"] {
      #expect(table.find(Array(path.utf8)) == nil)
    }
    #expect(EntryTable().find([0x61]) == nil)
  }

  @Test func everyPathIsFoundInATableThatIsNotSorted() {
    var table = EntryTable()
    let paths = ["b", "a/b", "c", "a", "a.b"]
    for path in paths { table.append(plainEntry(path)) }
    #expect(!table.isSorted())
    let order = table.sortedIndices()
    for (index, path) in paths.enumerated() {
      #expect(table.find(Array(path.utf8), order: order) == index)
    }
    #expect(table.find([0x64], order: order) == nil)
    #expect(
      order.map { table.path(Int($0)) }
        == paths.map { Array($0.utf8) }.sorted { $0.lexicographicallyPrecedes($1) })
  }

  @Test func twoEqualPathsAreNotSorted() {
    var table = EntryTable()
    table.append(plainEntry("a"))
    #expect(table.isSorted())
    table.append(plainEntry("a"))
    #expect(!table.isSorted())
  }

  @Test func pathsBeyondOnePieceSurvive() {
    var table = EntryTable()
    let long = String(repeating: "x", count: 60_000)
    for index in 0..<40 { table.append(plainEntry("\(100 + index)" + long)) }
    for index in 0..<40 {
      #expect(table.path(index) == Array(("\(100 + index)" + long).utf8))
      #expect(table.find(table.path(index)) == index)
    }
  }
}

/// A table must write its entries exactly like an entry itself: the id is a hash of them.
@Test func aTableWritesAnEntryAsTheEntryIsWritten() {
  var table = EntryTable()
  var entries: [ManifestEntry] = []
  for bits in 0..<1 << 9 {
    func has(_ bit: Int) -> Bool { bits & 1 << bit != 0 }
    var entry = ManifestEntry(
      path: Array("dir/\(bits) \u{e9}".utf8) + [0xff], type: has(8) ? .directory : .file,
      size: has(8) ? 0 : UInt64(bits), sha256: has(0) ? nil : .ofNothing, mode: 0o100644,
      modifiedAt: Double(bits) / 7)
    if has(1) { entry.mtime = FileTime(nanoseconds: -1) }
    if has(2) { entry.ctime = bits % 5 == 0 ? .max : FileTime(nanoseconds: .max) }
    if has(3) { (entry.inode, entry.device) = (.max, 1) }
    if has(4) { (entry.uid, entry.user) = (.max, Array("ad\"a".utf8)) }
    if has(5) { (entry.gid, entry.group) = (0, []) }
    if has(6) { entry.storedIn = Digest.ofNothing.hex }
    if has(7) { entry.hasType = false }
    entries.append(entry)
    table.append(entry)
  }
  for (index, entry) in entries.enumerated() {
    var (expected, written): ([UInt8], [UInt8]) = ([], [])
    expected.append(entry: entry)
    table.write(index, to: &written)
    #expect(written == expected)
  }
}
