import TBKCore
import Testing

@testable import TBKCrypto

@Suite struct Ed25519VectorTests {
  @Test func whatIsPublishedIsMadeAndHolds() throws {
    for block in try #require(try cryptoVectors()["ed25519.txt"]) {
      let (message, signature) = (try block.bytes("message"), try block.bytes("signature"))
      let key = try publicKey(try block.bytes("public"))
      let (half, made) = try sign(message, seed: try block.bytes("seed"))
      #expect(half == key)
      #expect(made == signature)
      #expect(try key.verify(signature, of: message.span))
      for bit in 0..<signature.count * 8 {
        var altered = signature
        altered[bit / 8] ^= 1 << UInt8(bit % 8)
        #expect(try !key.verify(altered, of: message.span), "bit \(bit)")
      }
      for bit in 0..<min(message.count, 64) * 8 {
        var altered = message
        altered[bit / 8] ^= 1 << UInt8(bit % 8)
        #expect(try !key.verify(signature, of: altered.span), "bit \(bit)")
      }
      #expect(try !key.verify(signature, of: (message + [0]).span))
      for bit in 0..<256 {
        var altered = try block.bytes("public")
        altered[bit / 8] ^= 1 << UInt8(bit % 8)
        #expect(try !publicKey(altered).verify(signature, of: message.span), "bit \(bit)")
      }
    }
  }

  @Test func noOtherSignatureHolds() throws {
    for block in try #require(try cryptoVectors()["ed25519-refused.txt"]) {
      let (message, signature) = (try block.bytes("message"), try block.bytes("signature"))
      let holds = try publicKey(try block.bytes("public")).verify(signature, of: message.span)
      #expect(!holds, "\(block.fields["fact"] ?? "")")
    }
  }
}

/// A signature, and the public key for it.
private func sign(
  _ message: [UInt8], seed: [UInt8]
) throws(Failure) -> (key: VerifyingKey, signature: [UInt8]) {
  let front = [UInt8](hex: "302e020100300506032b657004220420")!
  let text = try PEM.write("PRIVATE KEY", try secret(front + seed))
  let bytes = text.bytes
  let key = try SigningKey(parsing: bytes.span) { () throws(Failure) in try secret([]) }
  let signature = try key.sign(message.span)
  return (key.verifyingKey, signature)
}

private func publicKey(_ raw: [UInt8]) throws(Failure) -> VerifyingKey {
  let front = [UInt8](hex: "302a300506032b6570032100")!
  let text = try PEM.write("PUBLIC KEY", try secret(front + raw))
  let bytes = text.bytes
  return try VerifyingKey(parsing: bytes.span)
}
