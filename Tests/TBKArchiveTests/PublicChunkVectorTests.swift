import CZlib
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

/// The vectors of C2SP chunked-encryption, from the directory in TERMBACKUP_VECTORS.
@Suite(.enabled(if: environment("TERMBACKUP_VECTORS") != nil, "TERMBACKUP_VECTORS is not set"))
struct PublicChunkVectorTests {
  /// The content of a zlib stream (RFC 1950).
  private func inflated(_ bytes: [UInt8]) throws -> [UInt8] {
    var output = [UInt8](repeating: 0, count: 8 << 20)
    var count = uLongf(output.count)
    try #require(unsafe uncompress(&output, &count, bytes, uLong(bytes.count)) == Z_OK)
    return Array(output[..<Int(count)])
  }

  private func opened(_ message: [UInt8], _ key: [UInt8], _ context: [UInt8]) -> (
    bytes: [UInt8], failure: Failure?, knewFront: Bool
  ) {
    let sink = MemorySink()
    var knewFront = false
    do throws(Failure) {
      let front = try ChunkedEncryptionFront(parsing: message.span)
      let cipher = try front.cipher(key: try Secret(copying: key.span), context: context)
      knewFront = true
      let decryptor = ChunkDecryptor(cipher, into: sink)
      try decryptor.write(message.span.extracting(ChunkedEncryptionFront.length..<message.count))
      try decryptor.finish()
      return (sink.bytes, nil, true)
    } catch {
      return (sink.bytes, error, knewFront)
    }
  }

  /// The length, if the last chunk proves it.
  private func lengthIsProved(_ message: [UInt8], _ key: [UInt8], _ context: [UInt8]) -> UInt64? {
    do throws(Failure) {
      let front = try ChunkedEncryptionFront(parsing: message.span)
      let cipher = try front.cipher(key: try Secret(copying: key.span), context: context)
      return try ChunkedMessage(
        cipher, in: MemoryRegion(message), from: UInt64(ChunkedEncryptionFront.length), to: UInt64(message.count)
      ).length
    } catch {
      return nil
    }
  }

  @Test func allOfThem() throws {
    let place = try #require(environment("TERMBACKUP_VECTORS"))
    let folder = RawPath(place).appending("wycheproof")
    let directory = try Descriptor.openForReading(folder)
    var tried = 0
    for (name, _) in try directory.names() where name.text.hasSuffix(".json") {
      let json = try JSON.parse(try readFile(name, in: directory, limit: 1 << 24), what: name.display)
      let groups = try #require(json["testGroups"]?.elements)
      for group in groups {
        let tests = try #require(group["tests"]?.elements)
        for test in tests {
          func bytes(_ key: String) throws -> [UInt8] {
            let text = try #require(test[key]?.text)
            return try #require([UInt8](hex: text))
          }
          let message = try inflated(try bytes("ct"))
          let (key, context) = (try bytes("key"), try bytes("ctx"))
          let comment = Comment(rawValue: test["comment"]?.text ?? "")
          let flags = Set((test["flags"]?.elements ?? []).compactMap(\.text))
          let result = opened(message, key, context)
          #expect((result.failure == nil) == (test["result"]?.text == "valid"), comment)
          #expect(UInt64(result.bytes.count) == test["msgLength"]?.integer(UInt64.self) ?? 0, comment)
          if let hash = test["msgSha512"]?.text {
            var sha512 = try RunningHash(.sha512)
            try sha512.update(result.bytes.span)
            #expect(try sha512.finish().hex == hash, comment)
          } else {
            #expect(result.bytes.isEmpty, comment)
          }
          if flags.contains("HeaderFailure") { #expect(!result.knewFront, comment) }
          let proved = lengthIsProved(message, key, context)
          #expect((proved != nil) == (result.failure == nil || flags.contains("ValidFinalChunk")), comment)
          tried += 1
        }
      }
    }
    #expect(tried > 0, "no vectors where TERMBACKUP_VECTORS says they are")
  }
}
