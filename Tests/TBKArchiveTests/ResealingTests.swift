import TBKArchive
import TBKCore
import TBKCrypto
import Testing

@Suite struct ResealingTests {
  @Test(arguments: [0, chunkSize - 1, chunkSize, chunkSize + 1, 9 << 20])
  func thePayloadIsTheSameByteForByte(size: Int) throws {
    let tree = try TestTree()
    try tree.file(RawPath("f"), noise(size))
    let first = try authenticate(try seal(tree).bytes)
    let place = try TestTree()
    let key = try SealingKey(password: try password("new"), cost: cheapCost)
    var told = 0
    let length = try Sealing.again(
      first, key: key, output: try ArchiveOutput(path: place.path.appending("out"))
    ) { told += $0 }
    let bytes = try readFile(RawPath("out"), in: place.root, limit: 64 << 20)
    #expect(UInt64(bytes.count) == length)
    let second = try authenticate(bytes, password: Array("new".utf8))
    let (before, after) = (MemorySink(), MemorySink())
    try first.replay(into: before)
    try second.replay(into: after)
    #expect(before.bytes == after.bytes && told == before.bytes.count)
    #expect(throws: Failure.self) { try authenticate(bytes) }
  }

  /// An archive that cannot be read to its end does not replace another.
  @Test func anArchiveThatChangesIsNotSealedAgain() throws {
    let tree = try TestTree()
    try tree.file(RawPath("f"), noise(9 << 20))
    let bytes = try seal(tree).bytes
    let file = try TemporaryFile.anonymous()
    try file.write(bytes.span)
    try file.seek(to: 0)
    let header = try AuthenticatedArchive.header(of: DescriptorSource(file), limits: OpenLimits())
    let archive = try AuthenticatedArchive.verify(
      file: file, header: header, start: 0, keys: KeyRing(try password()))
    try file.write([bytes[5_000_000] ^ 1].span, at: 5_000_000)
    let place = try TestTree()
    let key = try SealingKey(password: try password("new"), cost: cheapCost)
    let error = #expect(throws: Failure.self) {
      let output = try ArchiveOutput(path: place.path.appending("out"))
      _ = try Sealing.again(archive, key: key, output: output) { _ in }
    }
    #expect(error?.code == .integrity)
    #expect(try place.names == [])
  }
}
