import FuzzedParsers
import Glibc
import TBKCore
import Testing

/// `make soak` tries this many times as many inputs.
private let rounds = unsafe getenv("TERMBACKUP_SOAK") == nil ? 1 : 20

/// Nearly valid inputs: seeds with a few bytes changed. Always the same ones; `make soak` tries more of them, and
/// `make fuzz` others.
@Suite struct FuzzTests {
  private struct XorShift: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return state
    }
  }

  private func seeds(_ parser: FuzzedParser) throws(Failure) -> [[UInt8]] {
    let folder = RawPath(#filePath).parent.parent.appending("Fuzz").appending("Seeds").appending(parser.rawValue)
    let directory = try Descriptor.openForReading(folder)
    var seeds: [[UInt8]] = []
    for name in try directory.names().map(\.name).sorted() {
      seeds.append(try readFile(name, in: directory, limit: 1 << 20))
    }
    return seeds
  }

  /// Bytes in texts and headers that parsers base decisions on.
  private static let telling: [[UInt8]] =
    [
      "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-1", "9", ".", "e9", "/", "..", "*", "\n", "\t", " ", "#", "null",
      "\\u0000", "\\ud800",
    ]
    .map { Array($0.utf8) }
    + [
      [0], [0x7f], [0x80], [0xff], [0xc3, 0x28], Array(repeating: 0xff, count: 8), Array("18446744073709551616".utf8),
    ]

  private func mutate(_ bytes: inout [UInt8], _ random: inout XorShift) {
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      let at = Int.random(in: 0...bytes.count, using: &random)
      let end = min(bytes.count, at + Int.random(in: 0...16, using: &random))
      switch random.next() % 6 {
      case 0: if at < bytes.count { bytes[at] ^= 1 << UInt8(random.next() % 8) }
      case 1: if at < bytes.count { bytes[at] = UInt8(truncatingIfNeeded: random.next()) }
      case 2: bytes.replaceSubrange(at..<end, with: Self.telling.randomElement(using: &random)!)
      case 3: bytes.insert(contentsOf: Self.telling.randomElement(using: &random)!, at: at)
      case 4: bytes.removeSubrange(at..<end)
      default: bytes.insert(contentsOf: bytes[at..<end], at: Int.random(in: 0...bytes.count, using: &random))
      }
    }
  }

  @Test(arguments: FuzzedParser.allCases) func everySeedAndNoMutationOfOneIsAFault(_ parser: FuzzedParser) throws {
    let seeds = try seeds(parser)
    #expect(seeds.count >= 3)
    for seed in seeds { #expect(parser.fault(in: seed) == nil) }
    var random = XorShift(state: 0x9e37_79b9_7f4a_7c15)
    // A tenth as many if each input requires a key derivation.
    for _ in 0..<rounds * (parser == .privateKey ? 100 : 1000) {
      var bytes = seeds.randomElement(using: &random)!
      mutate(&bytes, &random)
      if let fault = parser.fault(in: bytes) {
        Issue.record("\(parser.rawValue): \(fault): \(RawPath(bytes).display)")
        return
      }
    }
  }
}
