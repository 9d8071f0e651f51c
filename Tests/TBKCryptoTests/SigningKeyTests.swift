import TBKCore
import Testing

@testable import TBKCrypto

/// The keys of RFC 8032's first test, as written by openssl.
private let plain = """
  -----BEGIN PRIVATE KEY-----
  MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
  -----END PRIVATE KEY-----

  """
private let publicPEM = """
  -----BEGIN PUBLIC KEY-----
  MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
  -----END PUBLIC KEY-----

  """
private let password = "correct horse"

/// The same key encrypted by `openssl pkcs8 -topk8`, by its options.
private let encrypted = [
  "-v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 1000": """
  MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgJINQMgG1+ogICA+gw
  DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEEpHbnSbx55FT2Z/HERL2+cEQOPo
  PrsknqEVbnZxT7N+/N6lXmNq6xXeNpap3F8pWDMBg6fCrBSHvmj8ON5ZRnwsPU4a
  Wz0BM0wYhBQDe/504s8=
  """,
  "-v2 aes-128-cbc -v2prf hmacWithSHA1 -iter 1": """
  MIGMMEgGCSqGSIb3DQEFDTA7MBoGCSqGSIb3DQEFDDANBAh8+oP4SqsllgIBATAd
  BglghkgBZQMEAQIEEE4Z3l5pyLnOhffoKBP3EWwEQEjZ1htPnV7Yr1TIpMoRs3+Y
  aZUki3kl4R8wy2XO/ZtZsuy1yfPp9Lfw5nWMydGkRF/cUC2gaUoY3cUyR6qd6S8=
  """,
  "-v2 aes-192-cbc -v2prf hmacWithSHA512 -iter 2048": """
  MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiHjr5oqzuzwAICCAAw
  DAYIKoZIhvcNAgsFADAdBglghkgBZQMEARYEEDE60LJAWEtR97qchnVZDs4EQJNF
  LT/qH4n0F1hpLpwnsLcU8u4FhAes+uNm0lr6uYmyzRuXo8LDZp6gbrNZiaD1DO/r
  sBtNaB6xiTH0P+WPP7M=
  """,
  "-scrypt -scrypt_N 1024 -scrypt_r 8 -scrypt_p 2": """
  MIGTME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAjsn9NT1ajUTgICBAAC
  AQgCAQIwHQYJYIZIAWUDBAEqBBC9zmOio+eugRe8h4TBqXTaBECYIY0dRQRj+VJ2
  GMQkrBxWYjAmmVtg7mbS8/rdtQNsCo63T9n9d6QtPGWY3rEfoaxDb7dtSEGC9/eb
  ps6u+EbU
  """,
].mapValues(encryptedPEM)

/// Encryption schemes that are not supported.
private let old = [
  "-v1 PBE-SHA1-3DES": """
  MFgwHAYKKoZIhvcNAQwBAzAOBAgSon39jLE86gICCAAEOHvGRnDfAuPZ5z6BMGpj
  iysBa/z51lvDvlhnxHbF4RxgRTyL3R7DOuUY45kn7u61Q0YLKP6rsuN5
  """,
  "-v2 des3": """
  MIGKME4GCSqGSIb3DQEFDTBBMCkGCSqGSIb3DQEFDDAcBAgMe3rw5BKPPAICCAAw
  DAYIKoZIhvcNAgkFADAUBggqhkiG9w0DBwQIWL7eoepofaAEODERAkh6z6++2tmS
  4bZSO6GlIjz5E47nI/8nJGoWNgP/G95YZx5kh2A5XpKr+WU7anIWUgPWm89H
  """,
].mapValues(encryptedPEM)

private func encryptedPEM(_ body: String) -> String {
  "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\(body)\n-----END ENCRYPTED PRIVATE KEY-----\n"
}

/// The public key of a PEM private key.
private func read(_ text: [UInt8], _ password: String = password) throws(Failure) -> VerifyingKey {
  let key = try SigningKey(parsing: text.span) { () throws(Failure) in
    try secret(Array(password.utf8))
  }
  return key.verifyingKey
}

/// Reads an unencrypted key and writes it again.
private func writtenPlain(_ text: [UInt8]) throws(Failure) -> [UInt8] {
  let key = try SigningKey(parsing: text.span) { () throws(Failure) in
    throw Failure(.usage, "a key in clear needs no password")
  }
  let written = try key.plainPEM()
  return written.bytes
}

/// A new key, and `copies` PEM texts of it.
private func generate(
  password: String, copies: Int
) throws(Failure) -> (key: VerifyingKey, texts: [[UInt8]]) {
  let key = try SigningKey.generate()
  let password = try secret(Array(password.utf8))
  var texts: [[UInt8]] = []
  for _ in 0..<copies {
    let text = try key.pem(password: password)
    texts.append(text.bytes)
  }
  return (key.verifyingKey, texts)
}

private func failure(_ text: String, _ password: String = password) -> Failure? {
  do throws(Failure) {
    _ = try read(Array(text.utf8), password)
    return nil
  } catch {
    return error
  }
}

private func readPublic(_ text: String) throws(Failure) -> VerifyingKey {
  let bytes = Array(text.utf8)
  return try VerifyingKey(parsing: bytes.span)
}

private func readEncrypted(_ der: [UInt8]) throws(Failure) -> EncryptedKey {
  try EncryptedKey(parsing: der.span)
}

private func publicFailure(_ text: String) -> Failure? {
  do throws(Failure) {
    _ = try readPublic(text)
    return nil
  } catch {
    return error
  }
}

private func wrap(_ label: String, _ der: [UInt8]) throws(Failure) -> String {
  let text = try PEM.write(label, try secret(der))
  return String(decoding: text.bytes, as: UTF8.self)
}

private func content(_ text: String) throws(Failure) -> [UInt8] {
  let bytes = Array(text.utf8)
  let content = try PEM(parsing: bytes.span).content(in: bytes.span)
  return content.bytes
}

/// PEM texts and their decoded content, of all lengths.
@Suite struct PEMTests {
  @Test func everyLengthSurvives() throws {
    for count in 0...200 {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
      let text = try wrap("A", bytes)
      #expect(try content(text) == bytes)
      #expect(text.split(separator: "\n").allSatisfy { $0.utf8.count <= 64 })
    }
  }

  @Test func whatStandsAroundABlockIsIgnored() throws {
    let wanted = try content(publicPEM)
    let windows = publicPEM.unicodeScalars.map { $0 == "\n" ? "\r\n" : String($0) }.joined()
    for text in [
      "Key of a machine:\n" + publicPEM + "\nED25519 Public-Key:\npub:\n  d7:5a\n", windows,
      publicPEM.replacing("\n", with: " \t\n"), String(publicPEM.dropLast()),
      publicPEM.replacing("MCow", with: "\n\nMC\now"),
    ] { #expect(try content(text) == wanted, "\(text)") }
  }

  @Test(
    arguments: [
      ("", .malformed), ("nothing", .malformed), ("-----BEGIN A-----", .truncated),
      ("-----BEGIN A-----\nAAAA", .truncated),
      ("-----BEGIN A-----\nAAAA\n-----END B-----", .malformed),
      ("-----BEGIN A-----\nAAA\n-----END A-----", .malformed),
      ("-----BEGIN A-----\nAAAA=\n-----END A-----", .malformed),
      ("-----BEGIN A-----\nA===\n-----END A-----", .malformed),
      ("-----BEGIN A-----\nAB==\n-----END A-----", .malformed),
      ("-----BEGIN A-----\nAAB=\n-----END A-----", .malformed),
      ("-----BEGIN A-----\nAA==AAAA\n-----END A-----", .malformed),
      ("-----BEGIN A-----\nAAAA====\n-----END A-----", .malformed),
      ("-----BEGIN A-----\nAA_A\n-----END A-----", .malformed),
      ("-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END A-----", .malformed),
      ("-----BEGIN A-----\nAAAA\n-----END A-----\n-----BEGIN A-----", .malformed),
      ("-----BEGIN A-----\n-----BEGIN A-----\nAAAA\n-----END A-----", .malformed),
    ] as [(String, Failure.Code)])
  func whatIsNotOneBlockIsRefused(text: String, code: Failure.Code) {
    let error = #expect(throws: Failure.self) { try content(text) }
    #expect(error?.code == code)
  }

  @Test func aFileOf64KiBIsReadAndALongerOneIsNot() throws {
    let rest = String(repeating: "x", count: PEM.lengthLimit - publicPEM.utf8.count)
    #expect(publicFailure(publicPEM + rest) == nil)
    #expect(publicFailure(publicPEM + rest + "x")?.code == .malformed)
  }
}

@Suite struct SigningKeyTests {
  @Test func bothHalvesAreReadAndWrittenAsOpenSSLDoes() throws {
    let key = try readPublic(publicPEM)
    #expect(try read(Array(plain.utf8)) == key)
    #expect(try key.pem == Array(publicPEM.utf8))
    #expect(try writtenPlain(Array(plain.utf8)) == Array(plain.utf8))
    // sha256sum of `openssl pkey -pubout -outform DER`.
    #expect(
      try key.fingerprint.hex == "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9")
  }

  @Test(arguments: encrypted)
  func whatOpenSSLEncryptsIsRead(options: String, text: String) throws {
    #expect(try read(Array(text.utf8)) == readPublic(publicPEM))
    for wrong in ["", "Correct horse", "correct horse\n"] {
      #expect(failure(text, wrong)?.code == .authentication)
    }
  }

  /// One in 256 wrong passwords leaves a padding that looks valid.
  @Test func noWrongPasswordIsTakenForADamagedFile() throws {
    let text = try #require(encrypted["-v2 aes-128-cbc -v2prf hmacWithSHA1 -iter 1"])
    for number in 0..<2000 {
      #expect(failure(text, "\(number)")?.code == .authentication, "\(number)")
    }
  }

  @Test(arguments: old)
  func oldWaysOfEncryptingAreRefusedWithAWayOut(options: String, text: String) {
    let error = failure(text)
    #expect(error?.code == .malformed)
    #expect(error?.hint?.contains("openssl pkcs8") == true)
  }

  @Test func whatIsWrittenIsReadAndTakes600000Iterations() throws {
    let (key, texts) = try generate(password: "päss", copies: 2)
    let text = texts[0]
    #expect(try read(text, "päss") == key)
    #expect(failure(String(decoding: text, as: UTF8.self), "pass")?.code == .authentication)
    let form = try readEncrypted(try content(String(decoding: text, as: UTF8.self)))
    #expect(form.derivation == .pbkdf2(.sha256, iterations: 600_000))
    #expect(form.keyLength == 32 && form.salt.count == 16)
    #expect(texts[1] != text)
  }

  @Test func generatedKeysDiffer() throws {
    #expect(try generate(password: "", copies: 0).key != generate(password: "", copies: 0).key)
  }

  @Test func theOtherHalfIsNamed() {
    #expect(failure(publicPEM)?.message == "it is a public key")
    #expect(publicFailure(plain)?.message == "it is a private key")
    for text in encrypted.values { #expect(publicFailure(text)?.message == "it is a private key") }
  }

  @Test(arguments: [
    "RSA PRIVATE KEY", "EC PRIVATE KEY", "EC PARAMETERS", "OPENSSH PRIVATE KEY", "CERTIFICATE",
  ])
  func otherBlocksAreNamed(label: String) throws {
    let text = try wrap(label, [1, 2, 3])
    for error in [failure(text), publicFailure(text)] {
      #expect(error?.code == .malformed && error?.message.contains(label) == true)
    }
  }

  @Test(
    arguments: [
      ([0x2b, 0x65, 0x6e], "X25519"), ([0x2b, 0x65, 0x71], "Ed448"),
      ([0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01], "RSA"),
      ([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01], "EC"), ([0x2a, 0x03], "another kind"),
    ] as [([UInt8], String)])
  func otherAlgorithmsAreNamed(name: [UInt8], what: String) throws {
    let algorithm = DER.write(sequence: DER.write(.objectIdentifier, name), DER.write(.null, []))
    let half = DER.write(
      sequence: DER.write(integer: 0), algorithm, DER.write(.octetString, [1, 2, 3]))
    let other = DER.write(sequence: algorithm, DER.write(.bitString, [0, 1, 2, 3]))
    for error in [
      failure(try wrap("PRIVATE KEY", half)), publicFailure(try wrap("PUBLIC KEY", other)),
    ] {
      #expect(error?.code == .malformed && error?.message.contains(what) == true)
    }
  }

  @Test func keysForWhichAnybodyCanSignAreRefused() throws {
    let front = Array(try content(publicPEM)[..<12])
    func isRefused(_ raw: [UInt8]) throws -> Bool {
      publicFailure(try wrap("PUBLIC KEY", front + raw))?.message.contains("anyone") == true
    }
    for (number, first) in [(0, 0x00), (1, 0x01), (2, 0xec), (3, 0xed), (4, 0xee)] as [(Int, UInt8)] {
      var raw = [UInt8](repeating: number < 2 ? 0 : 0xff, count: 32)
      raw[0] = first
      for sign in [0x00, 0x80] as [UInt8] {
        raw[31] = (number < 2 ? 0 : 0x7f) | sign
        #expect(try isRefused(raw), "\(raw.hex)")
      }
    }
    for hex in [
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ] { #expect(try isRefused(try #require([UInt8](hex: hex)))) }
  }

  @Test func aKeyIsItsBytesAndNothingAround() throws {
    for (label, text) in [("PRIVATE KEY", plain), ("PUBLIC KEY", publicPEM)] {
      let der = try content(text)
      func error(_ der: [UInt8]) throws -> Failure? {
        let text = try wrap(label, der)
        return label == "PUBLIC KEY" ? publicFailure(text) : failure(text)
      }
      #expect(try error(der) == nil)
      for count in 0..<der.count {
        #expect(try error(Array(der[..<count]))?.code == .malformed, "\(count)")
      }
      #expect(try error(der + [0])?.code == .malformed)
      #expect(try error([0x30, 0x81] + der[1...])?.code == .malformed)
      // The bytes before the last 32, which are the key itself, are the same in all keys.
      for bit in 0..<(der.count - 32) * 8 {
        var altered = der
        altered[bit / 8] ^= 1 << UInt8(bit % 8)
        #expect(try error(altered)?.code == .malformed, "bit \(bit)")
      }
    }
  }

  @Test func noAlteredFileIsMoreThanAFailure() throws {
    for text in encrypted.values {
      let der = try content(text)
      for count in 0..<der.count {
        let code = failure(try wrap("ENCRYPTED PRIVATE KEY", Array(der[..<count])))?.code
        #expect(code == .malformed, "\(count)")
      }
      for bit in 0..<der.count * 8 {
        var altered = der
        altered[bit / 8] ^= 1 << UInt8(bit % 8)
        // Changes in the bytes of the key itself cannot be detected: CBC is not authenticated.
        let code = failure(try wrap("ENCRYPTED PRIVATE KEY", altered))?.code
        #expect([nil, .malformed, .authentication].contains(code), "bit \(bit)")
      }
    }
  }
}

@Suite struct KeyCostTests {
  private let iv = [UInt8](repeating: 1, count: 16)

  private func key(_ function: [UInt8]) -> [UInt8] {
    let pbes2: [UInt8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d]
    let aes: [UInt8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a]
    return DER.write(
      sequence: DER.write(
        sequence: DER.write(.objectIdentifier, pbes2),
        DER.write(
          sequence: function,
          DER.write(sequence: DER.write(.objectIdentifier, aes), DER.write(.octetString, iv)))),
      DER.write(.octetString, [UInt8](repeating: 2, count: 64)))
  }

  private func pbkdf2(_ parameters: [UInt8]...) -> [UInt8] {
    let name: [UInt8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c]
    return key(
      DER.write(
        sequence: DER.write(.objectIdentifier, name),
        DER.write(.sequence, DER.write(.octetString, iv) + parameters.joined())))
  }

  private func scrypt(_ costs: [UInt64]) -> [UInt8] {
    let name: [UInt8] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b]
    return key(
      DER.write(
        sequence: DER.write(.objectIdentifier, name),
        DER.write(
          .sequence,
          DER.write(.octetString, iv) + costs.map { DER.write(integer: $0) }.joined())))
  }

  @Test(arguments: [1, 600_000, 10_000_000] as [UInt64])
  func iterationsUpToTheLimitAreTaken(count: UInt64) throws {
    let form = try readEncrypted(pbkdf2(DER.write(integer: count)))
    #expect(form.derivation == .pbkdf2(.sha1, iterations: count))
    #expect(
      try readEncrypted(pbkdf2(DER.write(integer: count), DER.write(integer: 32))).keyLength == 32)
  }

  @Test(arguments: [0, 10_000_001, 1 << 31, 1 << 32, .max] as [UInt64])
  func iterationsBeyondItAreRefusedBeforeTheyAreDone(count: UInt64) {
    let error = #expect(throws: Failure.self) {
      try readEncrypted(pbkdf2(DER.write(integer: count)))
    }
    #expect(error?.code == .malformed)
  }

  @Test func numbersHaveOneSpelling() {
    for content in [[], [0x00, 0x01], [0x80], [0xff, 0xff], [UInt8](repeating: 0x7f, count: 9)]
      as [[UInt8]]
    {
      #expect(throws: Failure.self) {
        try readEncrypted(pbkdf2(DER.write(.integer, content)))
      }
    }
  }

  @Test func aKeyOfAnotherLengthIsRefused() {
    for length in [0, 16, 31, 33, .max] as [UInt64] {
      #expect(throws: Failure.self) {
        try readEncrypted(pbkdf2(DER.write(integer: 1000), DER.write(integer: length)))
      }
    }
  }

  @Test(
    arguments: [[16_384, 8, 1], [2, 1, 1], [32_768, 1, 1], [131_072, 8, 1], [16_384, 8, 64]]
      as [[UInt64]])
  func costsOfScryptUpToTheLimitAreTaken(costs: [UInt64]) throws {
    let form = try readEncrypted(scrypt(costs))
    #expect(form.derivation == .scrypt(n: costs[0], r: costs[1], p: costs[2]))
  }

  @Test(
    arguments: [
      [0, 8, 1], [1, 8, 1], [3, 8, 1], [16_384, 0, 1], [16_384, 8, 0], [65_536, 1, 1],
      [524_288, 8, 1], [16_384, 8, 65], [2, 1 << 22, 1], [2, 1, 1 << 22], [1 << 63, 8, 1],
      [1 << 63, .max, .max], [2, .max, .max], [2, 1 << 63, 2], [16_384, 8, 1 << 60],
    ] as [[UInt64]])
  func costsOfScryptBeyondItAreRefused(costs: [UInt64]) {
    let error = #expect(throws: Failure.self) { try readEncrypted(scrypt(costs)) }
    #expect(error?.code == .malformed)
  }

  @Test func scryptIsRFC7914s() throws {
    let password = try secret(Array("pleaseletmein".utf8))
    let key = try KeyDerivation.scrypt(
      password, salt: Array("SodiumChloride".utf8), n: 16_384, r: 8, p: 1, length: 64)
    let derived = key.bytes.hex
    #expect(
      derived == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        + "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887")
  }
}
