import TBKCore
import TBKCrypto
import Testing

@Suite struct CipherTests {
  private let nonce = [UInt8](repeating: 3, count: 12)
  private func key() throws -> Secret { try secret([UInt8](repeating: 5, count: 32)) }

  @Test(arguments: [0, 1, 15, 16, 17, 4096, chunkSize - 1, chunkSize, chunkSize + 1])
  func sizesAtEdgesSurvive(count: Int) throws {
    let plaintext = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let (ciphertext, tag) = try gcmSeal(plaintext, try key(), nonce)
    #expect(ciphertext.count == count && tag.count == 16)
    #expect(try gcmOpen(ciphertext, tag, try key(), nonce) == plaintext)
    #expect(try gcmOpen(ciphertext, tag, try key(), nonce, piece: 1000) == plaintext)
  }

  @Test func everyFlippedBitIsRefused() throws {
    let (ciphertext, tag) = try gcmSeal(Array("a small message".utf8), try key(), nonce)
    for bit in 0..<ciphertext.count * 8 {
      var altered = ciphertext
      altered[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(try gcmOpen(altered, tag, try key(), nonce) == nil)
    }
    for bit in 0..<tag.count * 8 {
      var altered = tag
      altered[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(try gcmOpen(ciphertext, altered, try key(), nonce) == nil)
    }
    for bit in 0..<nonce.count * 8 {
      var altered = nonce
      altered[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(try gcmOpen(ciphertext, tag, try key(), altered) == nil)
    }
    for bit in 0..<256 {
      var altered = [UInt8](repeating: 5, count: 32)
      altered[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(try gcmOpen(ciphertext, tag, try secret(altered), nonce) == nil)
    }
  }

  @Test func everyTruncationIsRefused() throws {
    let (ciphertext, tag) = try gcmSeal(Array("a small message".utf8), try key(), nonce)
    for count in 0..<ciphertext.count {
      #expect(try gcmOpen(Array(ciphertext[..<count]), tag, try key(), nonce) == nil)
    }
    for count in 0..<tag.count {
      #expect(try gcmOpen(ciphertext, Array(tag[..<count]), try key(), nonce) == nil)
    }
    #expect(try gcmOpen(ciphertext, tag + [0], try key(), nonce) == nil)
  }

  @Test(arguments: [0, 129, 255])
  func noncesOutOfRangeAreRefused(count: Int) throws {
    let key = try key()
    let refused =
      (try? AESGCM(key: key, nonce: [UInt8](repeating: 1, count: count), encrypting: true)) == nil
    #expect(refused)
  }

  @Test(arguments: [0, 16, 31, 33])
  func keysOfOtherLengthsAreRefused(count: Int) throws {
    let key = try secret([UInt8](repeating: 1, count: count))
    let refused = (try? AESGCM(key: key, nonce: nonce, encrypting: true)) == nil
    #expect(refused)
  }

  @Test func wrongPaddingIsMalformed() throws {
    let key = [UInt8](repeating: 1, count: 32)
    for length in [0, 1, 15, 16, 33] {
      let error = #expect(throws: Failure.self) {
        try cbcOpen(
          [UInt8](repeating: 9, count: length), key, [UInt8](repeating: 2, count: 16), piece: 16)
      }
      #expect(error?.code == .malformed, "\(length)")
    }
  }

  @Test func aMACOfAnotherLengthDoesNotHold() throws {
    for count in [0, 31, 33] {
      #expect(try !hmacHolds([1], [], [UInt8](repeating: 0, count: count)))
    }
  }
}

@Suite struct HashTests {
  @Test(arguments: [0, 1, 55, 56, 63, 64, 65, 4096])
  func piecesGiveTheHashOfTheWhole(count: Int) throws {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
    #expect(try hashes(of: bytes.map { [$0] }, ending: [bytes.count]) == [SHA256.hash(bytes)])
  }

  @Test func itCanBeUsedAgain() throws {
    #expect(try hashes(of: [[1], [2]], ending: [1, 2]) == [SHA256.hash([1]), SHA256.hash([2])])
  }

  /// The hashes of pieces; each count in `ending` ends a hash and starts the next one.
  private func hashes(of pieces: [[UInt8]], ending: [Int]) throws(Failure) -> [Digest] {
    var running = try SHA256()
    var found: [Digest] = []
    if ending.contains(0) { found.append(try running.finish()) }
    for (index, piece) in pieces.enumerated() {
      try running.update(piece.span)
      if ending.contains(index + 1) { found.append(try running.finish()) }
    }
    return found
  }

  @Test func aHashingSinkPassesOnWhatItHashes() throws {
    let memory = MemorySink()
    let sink = try HashingSink(into: memory)
    try sink.write([1, 2])
    try sink.write([3])
    try sink.finish()
    #expect(memory.bytes == [1, 2, 3] && sink.count == 3)
    #expect(try sink.digest() == SHA256.hash([1, 2, 3]))
  }

  @Test func randomBytesDiffer() throws {
    #expect(try randomBytes(32) != randomBytes(32))
    #expect(try randomBytes(0).isEmpty)
  }
}

@Suite struct KeyLimitTests {
  @Test(
    arguments: [
      (0, 1, 1), (8, 0, 1), (8, 1, 0), (7, 1, 1), (15, 1, 2), (2 * 1024 * 1024 + 1, 1, 1),
      (64, 65, 1), (65_536, 1, 65), (.max, .max, .max),
    ] as [(UInt32, UInt32, UInt32)])
  func costsThatNobodyChoosesAreRefused(memory: UInt32, passes: UInt32, lanes: UInt32) {
    let cost = Argon2Cost(memory: memory, passes: passes, lanes: lanes)
    let error = #expect(throws: Failure.self) { try Argon2Limits().check(cost) }
    #expect(error?.code == .malformed)
  }

  @Test func theLimitsThemselvesAreAllowed() throws {
    let limits = Argon2Limits()
    try limits.check(.standard)
    try limits.check(Argon2Cost(memory: limits.memory, passes: limits.passes, lanes: limits.lanes))
    try limits.check(Argon2Cost(memory: 8, passes: 1, lanes: 1))
  }

  @Test func aHigherLimitIsNamedInTheHint() {
    let error = #expect(throws: Failure.self) {
      try Argon2Limits().check(Argon2Cost(memory: .max, passes: 1, lanes: 1))
    }
    #expect(error?.hint?.contains("--max-memory") == true)
  }

  @Test(arguments: [0, UInt32(Int32.max) + 1, .max] as [UInt32])
  func iterationsOutOfRangeAreRefused(count: UInt32) throws {
    let password = try secret([1])
    let refused =
      (try? KeyDerivation.pbkdf2SHA256(password, salt: [1], iterations: count, length: 8)) == nil
    #expect(refused)
  }

  @Test func aShortSaltIsRefused() throws {
    let cost = Argon2Cost(memory: 64, passes: 1, lanes: 1)
    let password = try secret([1])
    let refused =
      (try? KeyDerivation.argon2id(password, salt: [1, 2, 3, 4, 5, 6, 7], cost: cost)) == nil
    #expect(refused)
  }

  @Test func anEmptyPasswordHasAKey() throws {
    let cost = Argon2Cost(memory: 64, passes: 1, lanes: 1)
    let key = try KeyDerivation.argon2id(
      try secret([]), salt: [UInt8](repeating: 1, count: 8), cost: cost)
    let count = key.count
    #expect(count == 32)
  }
}
