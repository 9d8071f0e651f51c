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

  @Test func wipingLeavesZeros() {
    var bytes: [UInt8] = [1, 2, 3]
    wipe(&bytes)
    #expect(bytes == [0, 0, 0])
    var none: [UInt8] = []
    wipe(&none)
    #expect(none.isEmpty)
  }
}
