import Glibc
import TBKArchive
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

/// An archive of one incompressible file.
private func archive(of size: Int) throws(Failure) -> [UInt8] {
  let tree = try TestTree()
  try tree.file(RawPath("f"), noise(size))
  return try seal(tree).bytes
}

/// Authenticates an archive in a file, starting at `start`.
private func authenticate(file: Descriptor, start: UInt64 = 0) throws(Failure)
  -> AuthenticatedArchive
{
  try file.seek(to: start)
  let header = try AuthenticatedArchive.header(of: DescriptorSource(file), limits: OpenLimits())
  return try AuthenticatedArchive.verify(
    file: file, header: header, start: start, keys: KeyRing(try password()))
}

private func payload(_ archive: AuthenticatedArchive) throws(Failure) -> Digest {
  let hashing = try HashingSink(into: CountingSink())
  try archive.replay(into: hashing)
  return try hashing.digest()
}

/// Too large for its ciphertext to be kept in memory.
private let large = 9 << 20

@Suite struct AuthenticatedArchiveTests {
  @Test(arguments: [0, 100, large])
  func allBackingsGiveTheSameAnyNumberOfTimes(size: Int) throws {
    let bytes = try archive(of: size)
    let file = try TemporaryFile.anonymous()
    try file.write([1, 2, 3].span)
    try file.write(bytes.span)
    let (streamed, seekable) = (try authenticate(bytes), try authenticate(file: file, start: 3))
    let first = try payload(streamed)
    #expect(try payload(streamed) == first)
    #expect(try payload(seekable) == first)
    #expect(try payload(seekable) == first)
  }

  @Test(arguments: [0, 300_000, large - 1])
  func aFileThatChangesAfterItsTagWasVerifiedIsCaught(position: Int) throws {
    let bytes = try archive(of: large)
    let file = try TemporaryFile.anonymous()
    try file.write(bytes.span)
    let opened = try authenticate(file: file)
    let place = UInt64(100 + position)
    try file.write([bytes[Int(place)] ^ 1].span, at: place)
    let sink = CountingSink()
    let error = #expect(throws: Failure.self) { try opened.replay(into: sink) }
    #expect(error?.code == .integrity)
    // Nothing of the changed block was passed on, nor anything after it.
    #expect(sink.count <= place)
  }

  @Test func aFileThatShrinksAfterItsTagWasVerifiedIsCaught() throws {
    let bytes = try archive(of: large)
    let file = try TemporaryFile.anonymous()
    try file.write(bytes.span)
    let opened = try authenticate(file: file)
    try file.truncate(to: 1000)
    let error = #expect(throws: Failure.self) { try opened.replay(into: CountingSink()) }
    #expect(error?.code == .integrity)
  }

  @Test func aFileOfAnotherLengthIsRefused() throws {
    let bytes = try archive(of: 100)
    for altered in [bytes + [0], Array(bytes.dropLast())] {
      let file = try TemporaryFile.anonymous()
      try file.write(altered.span)
      let error = #expect(throws: Failure.self) { try authenticate(file: file) }
      #expect(error?.exitStatus == 65)
    }
  }

  @Test func bytesThatFollowAreRefusedBeforeTheTag() throws {
    let bytes = try archive(of: 100)
    let error = #expect(throws: Failure.self) {
      try TBKArchiveTests.authenticate(bytes + [0], password: [1])
    }
    #expect(error?.code == .malformed)
  }

  @Test func archivesBackToBackAreReadOneByOne() throws {
    let (one, two) = (try archive(of: 100), try archive(of: large))
    let source = MemorySource(one + two)
    let keys = KeyRing(try password())
    for expected in [one, two] {
      let header = try AuthenticatedArchive.header(of: source, limits: OpenLimits())
      let opened = try AuthenticatedArchive.verify(
        stream: source, header: header, keys: keys, alone: false)
      #expect(try payload(opened) == payload(try TBKArchiveTests.authenticate(expected)))
    }
    #expect(try source.read(upTo: 1) == [])
  }

  @Test func costsAreRefusedBeforeThePassword() throws {
    let bytes = try archive(of: 10)
    var limits = OpenLimits()
    limits.argon2.memory = 63
    let error = #expect(throws: Failure.self) {
      try AuthenticatedArchive.header(of: MemorySource(bytes), limits: limits)
    }
    #expect(error?.code == .malformed)
  }

  @Test func whatIsMissingIsCounted() throws {
    let bytes = try archive(of: 10)
    let error = #expect(throws: Failure.self) {
      try TBKArchiveTests.authenticate(Array(bytes.dropLast(5)))
    }
    #expect(error?.message.contains(": 5 of \(bytes.count) bytes are missing") == true)
  }
}

@Suite struct EncryptedSpoolTests {
  @Test(arguments: [0, 1, chunkSize - 1, chunkSize, chunkSize + 1])
  func itGivesBackWhatWasWritten(count: Int) throws {
    let spool = try EncryptedSpool()
    let bytes = noise(count)
    try feed(bytes, to: spool, piece: 100_000)
    #expect(spool.count == UInt64(count))
    for _ in 0..<2 {
      let sink = MemorySink()
      try spool.replay(into: sink)
      #expect(sink.bytes == bytes)
    }
  }

  @Test func afterItsEndItTakesNothing() throws {
    let spool = try EncryptedSpool()
    try spool.finish()
    #expect(throws: Failure.self) { try spool.write([1]) }
    #expect(throws: Failure.self) { try spool.finish() }
  }
}

@Suite struct ArchiveOutputTests {
  private func sealed(_ output: ArchiveOutput) throws(Failure) -> Sealer {
    let sealer = try Sealer(try SealingKey(password: try password(), cost: cheapCost), to: output)
    let gzip = try GzipCompressor(level: 1, threads: 1, into: sealer)
    try gzip.write(noise(1000))
    try gzip.finish()
    return sealer
  }

  @Test func outputInPlaceIsEmptiedOnFailure() throws {
    let place = try TestTree()
    try place.file("out", "before and after")
    do {
      let file = try place.root.open(RawPath("out"), O_RDWR)
      try file.seek(to: 6)
      _ = try sealed(try ArchiveOutput(to: file))
    }
    #expect(try place.content("out") == "before")
  }

  /// Existing bytes of the file beyond the archive's end would follow it.
  @Test(arguments: [false, true])
  func outputInPlaceEndsWithTheArchive(lengthIsKnown: Bool) throws {
    let place = try TestTree()
    try place.file(RawPath("out"), noise(9000))
    let file = try place.root.open(RawPath("out"), O_RDWR)
    if lengthIsKnown {
      try Sealing.stream(
        MemorySource([1]), name: RawPath("x"),
        key: try SealingKey(password: try password(), cost: cheapCost), compression: Compression(),
        output: try ArchiveOutput(to: file, lengthIsKnown: true), progress: { _ in }, ended: {}
      ).commit()
    } else {
      try sealed(try ArchiveOutput(to: file)).commit()
    }
    let bytes = try readFile(RawPath("out"), in: place.root, limit: 1 << 20)
    _ = try TBKArchiveTests.authenticate(bytes)
  }

  @Test func outputThatIsAppendedToIsKept() throws {
    let place = try TestTree()
    try place.file("out", "before")
    let file = try place.root.open(RawPath("out"), O_WRONLY | O_APPEND)
    try sealed(try ArchiveOutput(to: file)).commit()
    let bytes = try readFile(RawPath("out"), in: place.root, limit: 1 << 20)
    #expect(bytes.starts(with: Array("before".utf8)))
    _ = try TBKArchiveTests.authenticate(Array(bytes.dropFirst(6)))
  }

  @Test func aNamedOutputAppearsWhenItIsComplete() throws {
    let place = try TestTree()
    do { _ = try sealed(try ArchiveOutput(path: place.path.appending("out"))) }
    #expect(try place.names == [])
    let sealer = try sealed(try ArchiveOutput(path: place.path.appending("out")))
    #expect(try !place.names.contains("out"))
    try sealer.commit()
    let bytes = try readFile(RawPath("out"), in: place.root, limit: 1 << 20)
    #expect(UInt64(bytes.count) == sealer.archiveLength)
    _ = try TBKArchiveTests.authenticate(bytes)
  }

  @Test func aSealerThatHasEndedTakesNothing() throws {
    let sealer = try sealed(try ArchiveOutput(to: try TemporaryFile.anonymous()))
    #expect(throws: Failure.self) { try sealer.write([1]) }
    #expect(throws: Failure.self) { try sealer.finish() }
  }

  @Test func everyArchiveHasItsOwnSaltAndNonce() throws {
    let tree = try TestTree()
    let (one, two) = (try seal(tree).bytes, try seal(tree).bytes)
    #expect(one[14..<46] != two[14..<46])
    #expect(one[47..<59] != two[47..<59])
  }
}
