import Glibc
import TBKCore
import Testing

@Suite struct SecretTests {
  @Test(arguments: [0, 1, 4095, 4096, 4097])
  func itKeepsItsBytes(count: Int) throws {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
    let secret = try Secret(copying: bytes.span)
    #expect(secret.count == count)
    let same = secret.withBytes { $0.elementsEqual(bytes) }
    #expect(same)
    let copy = try secret.copy()
    let copied = copy.withBytes { $0.elementsEqual(bytes) }
    #expect(copied)
  }

  @Test func aCopyIsAnotherOwner() throws {
    let secret = try Secret(copying: [1, 2, 3].span)
    let copy = try secret.copy()
    copy.withMutableBytes { $0[0] = 9 }
    let unchanged = secret.withBytes { $0.elementsEqual([1, 2, 3]) }
    #expect(unchanged)
  }

  @Test func aNewOneIsZero() throws {
    let secret = try Secret(count: 5)
    let zero = secret.withBytes { $0.elementsEqual([0, 0, 0, 0, 0]) }
    #expect(zero)
  }

  @Test(arguments: [0, 1, 4096, 5000])
  func aFileIsReadUpToTheLimit(count: Int) throws {
    let place = try TestDirectory()
    try place.put("a", [UInt8](repeating: 3, count: count))
    func read(limit: Int) throws(Failure) -> Int {
      let file = try place.descriptor.open(RawPath("a"), O_RDONLY)
      let secret = try Secret(reading: file, limit: limit, name: RawPath("a"))
      return secret.withBytes { bytes in bytes.indices.count { bytes[$0] == 3 } }
    }
    #expect(try read(limit: count) == count)
    if count > 0 {
      let error = #expect(throws: Failure.self) { try read(limit: count - 1) }
      #expect(error?.code == .malformed)
    }
  }

  @Test func wipingLeavesZeros() {
    var bytes: [UInt8] = [1, 2, 3]
    wipe(&bytes)
    #expect(bytes == [0, 0, 0])
    var none: [UInt8] = []
    wipe(&none)
    #expect(none.isEmpty)
  }
}
