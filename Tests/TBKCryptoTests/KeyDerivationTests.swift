import TBKCore
import TBKCrypto
import Testing

@Suite struct KeyDerivationTests {
  /// Computed by Python's hashlib, whose PBKDF2 uses its own BLAKE2s.
  @Test(arguments: [
    (UInt32(1), "ed939d6f351dddb69f591aa693d75eccaab7c8f587384d8ed882d42fe8076474"),
    (UInt32(3000), "b7439d90b75a4325d31eb150b34c75b7cda8b4d5036d4762456f5ff3dd21163d"),
  ])
  func pbkdf2OverBLAKE2s(iterations: UInt32, wanted: String) throws {
    let key = try KeyDerivation.pbkdf2(
      try secret(Array("password".utf8)), .blake2s256, salt: Array("salt".utf8),
      iterations: iterations, length: 32)
    let derived = key.bytes
    #expect(derived.hex == wanted)
  }

  @Test func aPasswordLongerThanABlockIsHashedFirst() throws {
    let key = try KeyDerivation.pbkdf2(
      try secret([UInt8](repeating: UInt8(ascii: "x"), count: 100)), .blake2s256,
      salt: Array(0..<16), iterations: 7, length: 32)
    let derived = key.bytes
    #expect(
      derived.hex
        == "61a17a704f70ea88f0dd40dc794d502413f38902e0045b0af1ffcb3541853306")
  }
}
