import TBKCore
import TBKFormat
import Testing

private let salt = [UInt8](1...32)
private let nonce = [UInt8](101...112)

/// The example written out by hand, so that the writer is not checked against itself.
private let tbk2 =
  Array("TBK2".utf8) + [2, 1, 0, 1, 0, 0, 0, 3, 4, 32] + salt + [12] + nonce
  + [1, 0, 0, 0, 0, 0, 0, 1, 0]
private let tbk1 =
  Array("TBK1".utf8) + [1, 0, 1, 0x86, 0xa0, 16] + salt[..<16] + [16] + salt[16...]
  + [0, 0, 0, 0, 0, 0, 0, 48]

private func failure(_ bytes: [UInt8]) -> Failure? {
  do throws(Failure) {
    _ = try ArchiveHeader(parsing: bytes.span)
    return nil
  } catch {
    return error
  }
}

/// The example with another payload length, the last 8 bytes.
private func with(payloadLength: UInt64, _ header: [UInt8]) -> [UInt8] {
  var bytes = Array(header.dropLast(8))
  bytes.append(bigEndian: payloadLength, width: 8)
  return bytes
}

private func with(_ value: UInt8, at offset: Int, _ header: [UInt8]) -> [UInt8] {
  var bytes = header
  bytes[offset] = value
  return bytes
}

struct ArchiveHeaderTests {
  @Test func tbk2IsReadToTheField() throws {
    guard case .tbk2(let header) = try ArchiveHeader(parsing: tbk2.span) else {
      Issue.record("not TBK2")
      return
    }
    #expect(header.kdf == 1 && header.cipher == 1)
    #expect(header.memory == 65536 && header.passes == 3 && header.lanes == 4)
    #expect(header.salt == salt && header.nonce == nonce)
    #expect(header.payloadLength == 256)
    #expect(header.headerLength == tbk2.count)
    #expect(header.payloadLengthOffset == tbk2.count - 8)
    let whole = try ArchiveHeader(parsing: tbk2.span)
    #expect(whole.totalLength == UInt64(tbk2.count) + 256)
    #expect(whole.format == "TBK2" && whole.version == 2)
  }

  @Test func tbk1IsReadToTheField() throws {
    let whole = try ArchiveHeader(parsing: tbk1.span)
    guard case .tbk1(let header) = whole else {
      Issue.record("not TBK1")
      return
    }
    #expect(header.iterations == 100_000)
    #expect(header.salt == Array(salt[..<16]) && header.iv == Array(salt[16...]))
    #expect(header.payloadLength == 48 && header.headerLength == tbk1.count)
    #expect(whole.totalLength == UInt64(tbk1.count) + 48 + 32)
    #expect(whole.format == "TBK1" && whole.version == 1)
  }

  @Test func writingGivesTheExample() throws {
    let header = try TBK2Header(
      memory: 65536, passes: 3, lanes: 4, salt: salt, nonce: nonce, payloadLength: 256)
    #expect(header.bytes == tbk2)
  }

  @Test(arguments: [tbk2, tbk1]) func whatWasParsedIsWrittenBack(_ bytes: [UInt8]) throws {
    #expect(try ArchiveHeader(parsing: (bytes + [9, 9]).span).bytes == bytes)
  }

  @Test(arguments: [tbk2, tbk1]) func everyTruncationIsTruncated(_ bytes: [UInt8]) {
    for length in 0..<bytes.count {
      #expect(failure(Array(bytes[..<length]))?.code == .truncated, "at \(length)")
    }
  }

  /// A flipped bit either makes the header invalid or changes a parsed value.
  @Test(arguments: [tbk2, tbk1]) func everyBitCounts(_ bytes: [UInt8]) throws {
    let original = try ArchiveHeader(parsing: bytes.span)
    for offset in bytes.indices {
      for bit in 0..<8 {
        let flipped = with(bytes[offset] ^ 1 << UInt8(bit), at: offset, bytes)
        guard let header = try? ArchiveHeader(parsing: flipped.span) else { continue }
        #expect(header != original, "byte \(offset), bit \(bit)")
        #expect(header.bytes == Array(flipped[..<header.headerLength]))
      }
    }
  }

  @Test func bothIdsOfTermBackup6AreRead() throws {
    #expect(failure(with(2, at: 5, tbk2)) == nil)
    let cipher = tbk2.count - 9
    #expect(failure(with(2, at: cipher, tbk2)) == nil)
    #expect(failure(with(3, at: cipher, tbk2))?.message.contains("reserved") == true)
  }

  @Test(arguments: [
    (with(3, at: 3, tbk2), "magic"), (with(3, at: 4, tbk2), "version"),
    (with(0, at: 5, tbk2), "KDF"), (with(3, at: 5, tbk2), "KDF"),
    (with(7, at: 13, tbk2), "salt length"), (with(0, at: 46, tbk2), "nonce length"),
    (with(0, at: tbk2.count - 9, tbk2), "cipher suite"),
    (with(4, at: tbk2.count - 9, tbk2), "cipher suite"),
    (with(payloadLength: 15, tbk2), "payload length"),
    (with(payloadLength: 1 << 36 - 15, tbk2), "payload length"),
    (with(payloadLength: .max, tbk2), "payload length"),
    (with(2, at: 4, tbk1), "version"),
    (Array("TBK1".utf8) + [1, 0, 0, 0, 0] + tbk1[9...], "iterations"),
    (with(15, at: 26, tbk1), "IV length"), (with(17, at: 26, tbk1), "IV length"),
    (with(payloadLength: 0, tbk1), "payload length"),
    (with(payloadLength: 47, tbk1), "payload length"),
    (with(payloadLength: .max - 15, tbk1), "payload length"),
    (Array("PK\u{3}\u{4}".utf8), "magic"),
  ])
  func whatNoArchiveHoldsIsMalformed(_ bytes: [UInt8], _ field: String) {
    let found = failure(bytes)
    #expect(found?.code == .malformed)
    #expect(found?.message.contains(field) == true, "\(found?.message ?? "accepted")")
  }

  @Test func payloadsAtTheEdgesAreRead() {
    #expect(failure(with(payloadLength: 16, tbk2)) == nil)
    #expect(failure(with(payloadLength: 1 << 36 - 16, tbk2)) == nil)
  }

  @Test func theLongestHeaderIsTheMaximum() throws {
    let long = [UInt8](repeating: 1, count: 255)
    let header = try TBK2Header(
      memory: 1, passes: 1, lanes: 1, salt: long, nonce: long, payloadLength: 16)
    #expect(header.bytes.count == ArchiveHeader.maximumLength)
    #expect(try ArchiveHeader(parsing: header.bytes.span) == .tbk2(header))
  }

  @Test func aHeaderWithoutItsLengthIsRefused() throws {
    let header = try TBK2Header(memory: 65536, passes: 3, lanes: 4, salt: salt, nonce: nonce)
    #expect(failure(header.bytes)?.message.contains("payload length") == true)
  }

  @Test func saltsAndNoncesThatDoNotFitCannotBeWritten() {
    for (salt, nonce) in [([UInt8](repeating: 0, count: 256), nonce), (salt, []), ([1], nonce)] {
      #expect(throws: Failure.self) {
        try TBK2Header(memory: 8, passes: 1, lanes: 1, salt: salt, nonce: nonce)
      }
    }
  }
}
