import Glibc
import TBKCore
import TBKWatch
import Testing

@Suite struct WatchingTests {
  private func event(_ watch: UInt32, _ mask: UInt32, _ name: String, padding: Int) -> [UInt8] {
    func number(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(value >> ($0 * 8) & 0xff) } }
    let text = Array(name.utf8) + [UInt8](repeating: 0, count: padding)
    return number(watch) + number(mask) + number(0) + number(UInt32(text.count)) + text
  }

  @Test func eventsComeOutAsTheyWentIn() {
    let bytes =
      event(1, 2, "name", padding: 12) + event(7, 0x4000_0000, "", padding: 0)
      + event(UInt32.max, 0x4000, "", padding: 0)
    let events = Inotify.parse(bytes[...])
    #expect(events.map(\.watch) == [1, 7, -1])
    #expect(events.map(\.name) == [Array("name".utf8), [], []])
    #expect(events[2].has(Int(IN_Q_OVERFLOW)) && !events[1].has(Int(IN_Q_OVERFLOW)))
    // From a truncated buffer, only complete events are read; the kernel never truncates one.
    for length in 0..<bytes.count {
      let cut = Inotify.parse(bytes[..<length])
      #expect(cut == Array(events.prefix(cut.count)) && cut.count < 3)
    }
  }

  @Test func aSubtreeMovesAsAWholeAndGoesAsAWhole() {
    var tree = WatchedTree()
    tree.insertRoot(1)
    for (watch, name, parent) in [(2, "a", 1), (3, "b", 2), (4, "c", 3), (5, "d", 1)] as [(Int32, String, Int32)] {
      #expect(tree.insert(watch, RawPath(name), under: parent) == [])
    }
    #expect(tree.path(of: 4) == Array("a/b/c".utf8))
    #expect(tree.insert(3, RawPath("e"), under: 5) == [])
    #expect(tree.path(of: 4) == Array("d/e/c".utf8))
    #expect(tree.child(RawPath("b"), of: 2) == nil)
    // The directory that it replaces is removed.
    #expect(tree.insert(2, RawPath("e"), under: 5).map(Set.init) == [3, 4])
    // A directory cannot be moved into itself.
    #expect(tree.insert(5, RawPath("loop"), under: 2) == nil)
    #expect(Set(tree.remove(5)) == [5, 2])
    #expect(tree.count == 1 && tree.path(of: 1).isEmpty)
  }

  @Test func whatCameAndWentIsNotReported() throws {
    var pending = PendingChanges()
    let (here, gone, passing) = (Array("b".utf8), Array("a".utf8), Array("c".utf8))
    pending.note(here, isNew: true)
    pending.note(gone)
    pending.note(gone, isNew: true)
    pending.note(passing, isNew: true)
    let report = try pending.report { (path) throws(Failure) in path == here }
    #expect(report.map(\.path) == [gone, here])
    #expect(report.map(\.kind) == [.deleted, .changed])
  }

  @Test func moreNamesThanTheLimitAreEverything() throws {
    var pending = PendingChanges()
    for number in 0..<PendingChanges.limit { pending.note(Array("\(number)".utf8)) }
    #expect(!pending.isUnknown)
    pending.note([])
    let report = try pending.report { (_) throws(Failure) in true }
    #expect(report == [.everything])
  }

  @Test func aBurstEndsWhenItIsQuietOrTooLong() {
    var debounce = Debounce(quiet: 10, longest: 25)
    #expect(debounce.due == nil)
    debounce.note(at: 100)
    #expect(debounce.due == 110)
    debounce.note(at: 109)
    #expect(debounce.due == 119)
    debounce.note(at: 118)
    #expect(debounce.due == 125)
  }
}
