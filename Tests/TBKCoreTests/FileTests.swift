import Glibc
import Synchronization
import TBKCore
import Testing

@Suite struct AtomicFileTests {
  @Test func nothingIsThereBeforeCommit() throws {
    let place = try TestDirectory()
    let file = try AtomicFile(RawPath("a"), in: place.descriptor)
    try file.descriptor.write([1, 2, 3].span)
    #expect(try !place.names.contains("a"))
    try file.commit()
    #expect(try place.names == ["a"])
    #expect(try place.content("a") == [1, 2, 3])
  }

  @Test func aDroppedFileLeavesNothing() throws {
    let place = try TestDirectory()
    try place.put("a", [7])
    do {
      let file = try AtomicFile(RawPath("a"), in: place.descriptor)
      try file.descriptor.write([1, 2, 3].span)
    }
    #expect(try place.names == ["a"])
    #expect(try place.content("a") == [7])
  }

  @Test func whatMustNotBeReplacedStays() throws {
    let place = try TestDirectory()
    try place.put("a", [7])
    let error = #expect(throws: Failure.self) {
      try AtomicFile.write([1], to: RawPath("a"), in: place.descriptor, replacing: false)
    }
    #expect(error?.code == .cannotCreate)
    #expect(try place.names == ["a"])
    #expect(try place.content("a") == [7])
    try AtomicFile.write([1], to: RawPath("b"), in: place.descriptor, replacing: false)
    #expect(try place.content("b") == [1])
  }

  @Test func itReplacesALinkAndNotItsTarget() throws {
    let place = try TestDirectory()
    try place.put("target", [7])
    let made = try unsafe place.path.appending("link").withCString { link in
      unsafe symlink("target", link)
    }
    #expect(made == 0)
    try AtomicFile.write([1], to: RawPath("link"), in: place.descriptor)
    #expect(try place.content("target") == [7])
    #expect(try place.content("link") == [1])
  }

  @Test func itsModeIsThatOfTheOwnerAlone() throws {
    let place = try TestDirectory()
    try AtomicFile.write([1], to: RawPath("a"), in: place.descriptor)
    #expect(try place.descriptor.statusIfPresent(of: RawPath("a"))?.st_mode == 0o100600)
  }

  @Test(arguments: ["", ".", "..", "d/", "d/.."])
  func whatIsNoFileNameIsRefused(name: String) throws {
    let place = try TestDirectory()
    try place.descriptor.makeDirectory(RawPath("d"))
    #expect(throws: Failure.self) { try AtomicFile(RawPath(name), in: place.descriptor) }
    #expect(try place.names == ["d"])
  }

  @Test func aMissingDirectoryCannotBeCreatedIn() throws {
    let place = try TestDirectory()
    let error = #expect(throws: Failure.self) {
      try AtomicFile(RawPath("no/a"), in: place.descriptor)
    }
    #expect(error?.code == .cannotCreate)
  }

  /// A file must not replace a device or a FIFO: `-o /dev/null` would break the system.
  @Test func whatIsNoRegularFileIsNotReplaced() throws {
    let place = try TestDirectory()
    let made = try unsafe place.path.appending("fifo").withCString { path in
      unsafe mkfifo(path, 0o600)
    }
    #expect(made == 0)
    let error = #expect(throws: Failure.self) {
      try AtomicFile(RawPath("fifo"), in: place.descriptor)
    }
    #expect(error?.code == .cannotCreate)
    #expect(try place.names == ["fifo"])
  }
}

@Suite struct TemporaryFileTests {
  @Test func itHasNoNameAndKeepsBytes() throws {
    let file = try TemporaryFile.anonymous()
    try file.write([1, 2, 3, 4].span)
    #expect(try file.status().st_nlink == 0)
    try file.seek(to: 1)
    #expect(try DescriptorSource(file).readAll(limit: 9, what: "x") == [2, 3, 4])
  }
}

@Suite struct DescriptorTests {
  @Test func writingAtAnOffsetLeavesThePosition() throws {
    let place = try TestDirectory()
    let file = try place.descriptor.open(RawPath("f"), O_RDWR | O_CREAT)
    try file.write([1, 2, 3, 4].span)
    try file.write([9].span, at: 1)
    #expect(file.position == 4)
    var two: [UInt8] = [0, 0]
    #expect(try file.read(into: &two, at: 1) == 2)
    #expect(two == [9, 3])
    #expect(try file.read(into: &two, at: 4) == 0)
    #expect(throws: Failure.self) { try file.read(into: &two, at: .max) }
  }

  @Test func absenceIsNoFailureWhereItIsAsked() throws {
    let place = try TestDirectory()
    #expect(try place.descriptor.openIfPresent(RawPath("no"), O_RDONLY) == nil)
    #expect(try place.descriptor.statusIfPresent(of: RawPath("no")) == nil)
    #expect(try place.descriptor.unlink(RawPath("no")) == false)
    let error = #expect(throws: Failure.self) {
      try place.descriptor.open(RawPath("no"), O_RDONLY, missing: .profile)
    }
    #expect(error?.code == .profile)
  }

  /// EISDIR is reported for the input, not for an output that cannot be created.
  @Test func aDirectoryIsNoInput() throws {
    let place = try TestDirectory()
    let error = #expect(throws: Failure.self) {
      try readFile(RawPath("."), in: place.descriptor, limit: 9)
    }
    #expect(error?.exitStatus == 66)
  }

  @Test func aPipeHasNoPosition() throws {
    let child = try ChildProcess([Array("true".utf8)])
    #expect(child.output.position == nil)
    #expect(try child.wait() == nil)
  }

  @Test func namesAreBytes() throws {
    let place = try TestDirectory()
    let odd = RawPath([0xff, 0x0a, 0x22])
    try place.descriptor.open(odd, O_WRONLY | O_CREAT).write([1].span)
    #expect(try place.descriptor.names().map(\.name) == [odd])
  }

  @Test func aLongLinkIsReadWhole() throws {
    let place = try TestDirectory()
    let target = RawPath([UInt8](repeating: 0x61, count: 4095))
    let made = try unsafe target.withCString { (target) throws(Failure) in
      try unsafe place.path.appending("l").withCString { link in unsafe symlink(target, link) }
    }
    #expect(made == 0)
    #expect(try place.descriptor.readLink(RawPath("l")) == target)
  }

  @Test func aSinkHoldsNothingBackAtItsEnd() throws {
    let place = try TestDirectory()
    let file = try place.descriptor.open(RawPath("f"), O_RDWR | O_CREAT)
    let sink = DescriptorSink(file)
    var expected: [UInt8] = []
    for count in [1, chunkSize - 1, 1, chunkSize, chunkSize + 1, 0, 5] {
      let piece = [UInt8](repeating: UInt8(count % 251), count: count)
      expected += piece
      try sink.write(piece)
    }
    try sink.finish()
    #expect(try place.content("f") == expected)
  }
}

@Suite struct TwoFilesTests {
  private let place: TestDirectory

  init() throws { place = try TestDirectory() }

  private func file(_ name: String, _ bytes: [UInt8]) throws(Failure) -> AtomicFile {
    let file = try AtomicFile(RawPath(name), in: place.descriptor)
    try file.descriptor.write(bytes.span)
    return file
  }

  @Test func bothTakeTheirNames() throws {
    try AtomicFile.commit(file("a", [1]), file("b", [2]), replacing: false)
    #expect(try place.names == ["a", "b"])
    try AtomicFile.commit(file("a", [3]), file("b", [4]), replacing: true)
    #expect(try place.names == ["a", "b"])
    #expect(try place.content("a") == [3])
    #expect(try place.content("b") == [4])
  }

  @Test(arguments: ["a", "b"])
  func neitherDoesWhereOneIsTaken(taken: String) throws {
    try place.put(taken, [7])
    do {
      let (one, other) = (try file("a", [1]), try file("b", [2]))
      let error = #expect(throws: Failure.self) {
        try AtomicFile.commit(one, other, replacing: false)
      }
      #expect(error?.code == .cannotCreate)
    }
    #expect(try place.names == [taken])
    #expect(try place.content(taken) == [7])
  }

  @Test(arguments: [true, false])
  func theFirstIsPutBackWhereTheSecondCannotTakeItsName(isThere: Bool) throws {
    if isThere { try place.put("a", [7]) }
    do {
      let (one, other) = (try file("a", [1]), try file("b", [2]))
      try place.descriptor.makeDirectory(RawPath("b"))
      #expect(throws: Failure.self) { try AtomicFile.commit(one, other, replacing: true) }
    }
    #expect(try place.names == (isThere ? ["a", "b"] : ["b"]))
    if isThere { #expect(try place.content("a") == [7]) }
  }

  @Test(arguments: [true, false])
  func nothingIsInPlaceWhereTheFirstCannotTakeItsName(replacing: Bool) throws {
    do {
      let (one, other) = (try file("a", [1]), try file("b", [2]))
      try place.descriptor.makeDirectory(RawPath("a"))
      #expect(throws: Failure.self) { try AtomicFile.commit(one, other, replacing: replacing) }
    }
    #expect(try place.names == ["a"])
  }

  @Test(arguments: [true, false])
  func oneNameIsNotTwoFiles(replacing: Bool) throws {
    do {
      let (one, other) = (try file("a", [1]), try file("./a", [2]))
      let error = #expect(throws: Failure.self) {
        try AtomicFile.commit(one, other, replacing: replacing)
      }
      #expect(error?.code == .usage)
    }
    #expect(try place.names.isEmpty)
  }
}

@Suite struct PrivateCopyTests {
  private let place: TestDirectory

  init() throws { place = try TestDirectory() }

  private func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
  }

  @Test(arguments: [0, 1, 4096, chunkSize, chunkSize + 1, (8 << 20) + 1])
  func itHoldsWhatWasRead(count: Int) throws {
    try place.put("a", bytes(count))
    let file = try place.descriptor.open(RawPath("a"), O_RDONLY)
    var told = 0
    let copy = try PrivateCopy(of: file) { told += $0 }
    #expect(copy.length == UInt64(count) && told == count)
    let file2 = try place.descriptor.open(RawPath("a"), O_WRONLY | O_TRUNC)
    try file2.write([1, 2, 3].span)
    // It can be read repeatedly.
    for _ in 0..<2 {
      let same = try copy.withBytes { $0.elementsEqual(bytes(count)) }
      #expect(same)
    }
  }

  @Test func whatLiesBehindIsLetGoAndComesBack() throws {
    let large = bytes(32 << 20)
    try place.put("a", large)
    let copy = try PrivateCopy(of: try place.descriptor.open(RawPath("a"), O_RDONLY))
    let calls = Counter()
    let equal = try copy.withBytes(meanwhile: { calls.add() }) { found in
      var rounds = 0
      while calls.count < 3 {
        if !found.elementsEqual(large) { return false }
        rounds += 1
      }
      return rounds > 0
    }
    #expect(equal)
  }

  private final class Counter: Sendable {
    private let calls = Mutex(0)
    var count: Int { calls.withLock { $0 } }
    func add() { calls.withLock { $0 += 1 } }
  }

  @Test func aFailureOfTheReaderIsPassedOn() throws {
    try place.put("a", bytes((8 << 20) + 1))
    let copy = try PrivateCopy(of: try place.descriptor.open(RawPath("a"), O_RDONLY))
    let error = #expect(throws: Failure.self) {
      try copy.withBytes { (_) throws(Failure) in throw Failure(.library, "x") }
    }
    #expect(error?.message == "x")
  }

  @Test func aFileThatChangesWhileItIsReadIsRefused() throws {
    try place.put("a", bytes(3 * chunkSize))
    let file = try place.descriptor.open(RawPath("a"), O_RDWR)
    var isFirst = true
    let error = #expect(throws: Failure.self) {
      try PrivateCopy(of: file) { _ in
        if isFirst { try? file.write([9].span, at: 0) }
        isFirst = false
      }
    }
    #expect(error?.code == .integrity)
  }

  @Test func aPipeIsReadToItsEnd() throws {
    let child = try ChildProcess([Array("echo".utf8), Array("hello".utf8)])
    let copy = try PrivateCopy(of: child.output)
    let same = try copy.withBytes { $0.elementsEqual(Array("hello\n".utf8)) }
    #expect(same)
  }
}

@Suite struct EndOfAPipeTests {
  @Test func aPipeHasEndedWhenItsWritersAreGoneAndAllIsRead() throws {
    var ends: [Int32] = [-1, -1]
    #expect(unsafe pipe(&ends) == 0)
    let reader = Descriptor(owning: ends[0])
    var writer: Descriptor? = Descriptor(owning: ends[1])
    #expect(!reader.hasEnded)
    try writer?.write([1].span)
    #expect(!reader.hasEnded)
    writer = nil
    #expect(!reader.hasEnded)
    var buffer: [UInt8] = [0, 0]
    #expect(try reader.read(into: &buffer) == 1)
    #expect(reader.hasEnded)
  }

  @Test func aFileHasNoWriterToWaitFor() throws {
    let place = try TestDirectory()
    try place.put("a", [7])
    #expect(try place.descriptor.open(RawPath("a"), O_RDONLY).hasEnded)
  }
}
