import Glibc
import TBKCore
import TBKFormat
import Testing

@Suite struct TarFuzzTests {
  private struct XorShift: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return state
    }
  }

  /// Discards everything, so that only the parser is tested.
  private final class Deaf: TarHandler {
    func begin(_ member: TarMember) throws(Failure) { try? EntryName.check(member.name.span) }
    func body(_ bytes: Span<UInt8>) {}
    func end() {}
  }

  /// Corrects the checksum of a block, so that the parser accepts the mutation.
  private func sign(_ tar: inout [UInt8], at offset: Int) {
    guard offset + 512 <= tar.count else { return }
    for index in 148..<156 { tar[offset + index] = 32 }
    let sum = tar[offset..<offset + 512].reduce(0) { $0 + Int($1) }
    let octal = Array(String(sum, radix: 8).utf8)
    for index in 0..<6 {
      tar[offset + 148 + index] = index < 6 - octal.count ? 48 : octal[index - 6 + octal.count]
    }
    tar[offset + 154] = 0
  }

  @Test func noMutationTraps() throws {
    var random = XorShift(state: 0x9e37_79b9_7f4a_7c15)
    let seeds = try vectorFiles("tar", ".tar").map { Array($0.bytes.prefix(3584)) }
    let digits: [UInt8] = Array("0179 =-.\n/".utf8) + [0, 0x7f, 0x80, 0xff]
    for _ in 0..<(unsafe getenv("TERMBACKUP_SOAK") == nil ? 4000 : 100_000) {
      var tar = seeds.randomElement(using: &random)!
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let at = Int.random(in: 0..<tar.count, using: &random)
        switch random.next() % 5 {
        case 0: tar[at] ^= 1 << UInt8(random.next() % 8)
        case 1: tar[at] = UInt8(truncatingIfNeeded: random.next())
        case 2: tar[at] = digits.randomElement(using: &random)!
        case 3: tar.removeSubrange(at..<min(tar.count, at + Int(random.next() % 9)))
        default: tar.insert(digits.randomElement(using: &random)!, at: at)
        }
        if tar.isEmpty { break }
        sign(&tar, at: at / 512 * 512)
      }
      let parser = TarParser(handler: Deaf(), limits: TarLimits(maximumSize: 1 << 40))
      let half = tar.count / 2
      do throws(Failure) {
        try parser.write(tar.span.extracting(0..<half))
        try parser.write(tar.span.extracting(half..<tar.count))
        try parser.finish()
      } catch {
        #expect(error.code == .malformed || error.code == .truncated)
      }
    }
  }
}
