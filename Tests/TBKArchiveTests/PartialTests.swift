import TBKArchive
import TBKCore
import TBKFormat
import Testing

/// A backup with a missing archive.
@Suite struct PartialTests {
  private let tree: TestTree
  private let full: TestArchive
  private let one: TestArchive
  private let two: TestArchive

  init() throws {
    tree = try TestTree()
    try tree.directory("d")
    try tree.file("a", "in the first")
    try tree.file("d/b", "in the first as well")
    try tree.link("link", to: "a")
    full = try seal(tree)
    try tree.file("c", "in the second")
    one = try Self.increment(tree, over: full)
    try tree.file("e", "in the third")
    two = try Self.increment(tree, over: one)
  }

  private static func increment(_ tree: TestTree, over previous: TestArchive) throws -> TestArchive {
    try seal(
      tree,
      try tree.manifest {
        $0.previous = previous.manifest
        $0.incremental = true
      })
  }

  private func id(_ archive: TestArchive) throws -> String { try #require(archive.manifest.backupID) }

  @Test func whatIsThereIsRestoredAndTheRestNamed() throws {
    let copy = try TestTree()
    let summary = try restore([two.bytes, one.bytes], to: copy, isPartial: true)
    #expect(try copy.names == ["c", "d", "e"])
    #expect(try copy.content("c") == "in the second" && copy.content("e") == "in the third")
    #expect(try copy.facts("d/b") == nil)
    #expect(summary.backup.missing.map { RawPath($0).text } == ["a", "d/b", "link"])
    #expect(summary.backup.absent == [try id(full)] && summary.files == 2)
  }

  @Test func aGapInTheMiddleIsOneToo() throws {
    let copy = try TestTree()
    let summary = try restore([two.bytes, full.bytes], to: copy, isPartial: true)
    #expect(try copy.names == ["a", "d", "e", "link"])
    #expect(try copy.inode("a") == copy.inode("link"))
    #expect(summary.backup.missing.map { RawPath($0).text } == ["c"])
    #expect(summary.backup.absent == [try id(one)])
  }

  @Test func ofAChoiceOnlyWhatWasChosenIsMissing() throws {
    let copy = try TestTree()
    var summary = try restore([two.bytes, one.bytes], to: copy, isPartial: true) {
      $0.include.add(pattern: Array("c".utf8))
    }
    #expect(summary.backup.absent.isEmpty && summary.backup.missing.isEmpty)
    #expect(try copy.names == ["c"])
    summary = try restore([two.bytes, one.bytes], to: try TestTree(), isPartial: true) {
      $0.include.add(pattern: Array("link".utf8))
    }
    #expect(summary.backup.missing.contains(Array("link".utf8)) && summary.files == 0)
  }

  @Test func whatIsThereAlreadyStaysWhereNothingReplacesIt() throws {
    let copy = try TestTree()
    try copy.file("a", "mine")
    _ = try restore([two.bytes, one.bytes], to: copy, isNew: false, isPartial: true) {
      $0.policy = .always
    }
    #expect(try copy.content("a") == "mine")
  }

  @Test func aPreviewShowsWhatARestoreDoes() throws {
    var options = RestoreOptions()
    options.policy = .always
    for destination in [nil, try TestTree().root] {
      var shown: [String] = []
      let verified = try reader([two.bytes, one.bytes], isPartial: true).preview(
        to: destination, options
      ) { _, path in shown.append(RawPath(path).text) }
      #expect(shown == ["c", "d", "e"] && verified.missing.count == 3)
    }
  }

  @Test func theTarOfOneArchiveIsSentAsFarAsItGoes() throws {
    #expect(throws: Failure.self) { try reader([two.bytes]).sendTar(to: MemorySink()) }
    let sink = MemorySink()
    let verified = try reader([two.bytes], isPartial: true).sendTar(to: sink)
    #expect(verified.absent == [try id(full), try id(one)].sorted())
    #expect(verified.missing.map { RawPath($0).text } == ["a", "c", "d/b", "link"])
    #expect(String(decoding: sink.bytes, as: UTF8.self).contains("in the third"))
  }

  /// The newest archive describes the tree: without it nothing can be restored, and a fault in it is never ignored.
  @Test func nothingStandsInForTheNewest() throws {
    var broken = two.bytes
    broken[broken.count - 1] ^= 1
    let copy = try TestTree()
    #expect(throws: Failure.self) { try restore([broken, one.bytes], to: copy, isPartial: true) }
    #expect(try copy.names.isEmpty)
  }
}

@Suite struct ChainReaderTests {
  private let id = String(repeating: "ab", count: 32)

  private func frame(_ frame: ChainFrame, _ body: String) -> [UInt8] { frame.bytes + Array(body.utf8) }

  private func archive(_ body: String) -> [UInt8] {
    frame(.archive(length: UInt64(body.utf8.count)), body)
  }

  private func entry(_ text: String) -> [UInt8] {
    frame(.entry(length: UInt64(text.utf8.count)), text)
  }

  private func read(_ bytes: [UInt8], whole: Bool = true) throws(Failure) -> [String] {
    let reader = ChainReader(MemorySource(bytes))
    var found: [String] = []
    while let link = try reader.next(manifest: { (_, source) throws(Failure) in
      found.append("manifest " + String(decoding: try source.readAll(limit: 100, what: "m"), as: UTF8.self))
    }) {
      let text = try link.archive.map { (source) throws(Failure) in
        String(decoding: try source.read(upTo: whole ? 1000 : 1), as: UTF8.self)
      }
      found.append("\(link.claims?.id.prefix(2) ?? "-") \(text ?? "gone")")
    }
    return found
  }

  @Test func framesAndGapsComeInTheirOrder() throws {
    let chain =
      entry(#"{"id":"\#(id)"}"#) + archive("one") + archive("two")
      + entry(#"{"id":"\#(id)","presence":{"archive":"missing"}}"#) + archive("")
      + entry(#"{"id":"\#(id)"}"#) + frame(.manifest(length: 3), "sub") + archive("three")
    #expect(try read(chain) == ["ab one", "- two", "ab gone", "manifest sub", "ab three"])
    #expect(try read(chain, whole: false) == ["ab o", "- t", "ab gone", "manifest sub", "ab t"])
    #expect(try read([]) == [])
  }

  @Test func anArchiveMayStandAlone() throws {
    #expect(try read(Array("TBK2 and all that follows".utf8)) == ["- TBK2 and all that follows"])
  }

  /// A cut is noticed anywhere, except between two archives.
  @Test func aCutIsNoticed() throws {
    let chain = entry(#"{"id":"\#(id)"}"#) + frame(.manifest(length: 3), "sub") + archive("three")
    // Anything shorter is the beginning of an archive.
    for length in ChainFrame.prefixSize..<chain.count {
      let failure = #expect(throws: Failure.self) { try read(Array(chain[..<length]), whole: false) }
      #expect(failure?.code == .truncated, "\(length)")
    }
  }

  @Test func whatIsNoChainIsRefused() throws {
    let head = entry(#"{"id":"\#(id)"}"#)
    for chain in [
      head + head + archive("x"), head + Array("TBK2 bare".utf8), entry("{}") + archive("x"),
      entry("[") + archive("x"), frame(.manifest(length: 1), "x") + frame(.manifest(length: 1), "x"),
      Array("TBKCHAOS".utf8) + [0, 0, 0, 0, 0, 0, 0, 0], ChainFrame.entry(length: 1 << 40).bytes,
      ChainFrame.archive(length: .max).bytes,
    ] {
      let failure = #expect(throws: Failure.self) { try read(chain) }
      #expect(failure?.code == .malformed)
    }
  }

  @Test func framesAreReadAsTheyAreWritten() throws {
    for frame in [ChainFrame.entry(length: 7), .manifest(length: 0x0102_0304_0506), .archive(length: 0)] {
      #expect(try ChainFrame(parsing: frame.bytes) == frame && frame.bytes.count == ChainFrame.size)
    }
  }
}
