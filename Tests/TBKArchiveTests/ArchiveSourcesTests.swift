import Glibc
import TBKArchive
import TBKCore
import Testing

@Suite struct ArchiveSourcesTests {
  private func archives(_ place: TestTree) throws -> [RawPath] {
    let tree = try TestTree()
    var names: [RawPath] = []
    for name in ["old", "damaged", "new"] {
      try tree.file("f", name)
      var bytes = try seal(tree).bytes
      if name == "damaged" { bytes[bytes.count - 1] ^= 1 }
      names.append(place.path.appending(try place.file(RawPath(name), bytes)))
    }
    return names
  }

  private func keys() throws(Failure) -> OpeningKeys { OpeningKeys(password: try password()) }

  @Test func theLastOperandIsTheFirstThatIsGiven() throws {
    let place = try TestTree()
    let names = try archives(place)
    let sources = ArchiveSources(
      [names[0], names[2]], isChain: false, limits: OpenLimits(), keys: try keys(), warn: { _ in })
    var contents: [[UInt8]] = []
    while let archive = try sources.next() {
      var given: (any OpenedArchive)? = archive
      let reader = try BackupReader(progress: { _ in }, warn: { _ in }) { (_) throws(Failure) in given.take() }
      let sink = MemorySink()
      try reader.send(path: Array("f".utf8), to: sink)
      contents.append(sink.bytes)
    }
    #expect(contents == [Array("new".utf8), Array("old".utf8)])
  }

  @Test func aDamagedOneIsSkippedAndNamedWherePartsWillDo() throws {
    let place = try TestTree()
    let names = try archives(place)
    var warnings: [String] = []
    let sources = ArchiveSources(
      names, isChain: false, isPartial: true, limits: OpenLimits(), keys: try keys(), warn: { warnings.append($0) })
    var count = 0
    while try sources.next() != nil { count += 1 }
    #expect(count == 2)
    #expect(warnings.count == 1 && warnings[0].contains("damaged") && warnings[0].hasSuffix(": skipped"))
    let strict = ArchiveSources(
      names, isChain: false, limits: OpenLimits(), keys: try keys(), warn: { _ in })
    _ = try strict.next()
    #expect(throws: Failure.self) { try strict.finish() }
  }

  @Test func theNewestIsNeverSkipped() throws {
    let place = try TestTree()
    let names = try archives(place)
    let sources = ArchiveSources(
      [names[0], names[1]], isChain: false, isPartial: true, limits: OpenLimits(), keys: try keys(), warn: { _ in })
    #expect(throws: Failure.self) { try sources.next() }
  }
}

@Suite struct RestoreDestinationTests {
  @Test func itIsMadeForItsOwnerAloneAndGoesAgainUnlessItIsKept() throws {
    let place = try TestTree()
    let path = place.path.appending("new")
    do {
      let destination = try RestoreDestination(path)
      #expect(destination.isNew)
      #expect(try place.facts("new").map { $0.st_mode & 0o7777 } == 0o700)
    }
    #expect(try place.names == [])
    try RestoreDestination(path).keep()
    #expect(try place.names == ["new"])
  }

  @Test func oneThatExistsStays() throws {
    let place = try TestTree()
    try place.directory("there")
    do {
      #expect(try !RestoreDestination(place.path.appending("there/")).isNew)
    }
    #expect(try place.names == ["there"])
  }

  @Test(arguments: ["file", "no/such"]) func whatCannotBeOneIsRefused(name: String) throws {
    let place = try TestTree()
    try place.file("file", "x")
    let error = #expect(throws: Failure.self) { try RestoreDestination(place.path.appending(name)) }
    #expect(error?.exitStatus == 73)
  }
}
