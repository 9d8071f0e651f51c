import Glibc
import TBKCore
import TBKCrypto
import Testing

/// Opens an age file like the commands; `bytes` is the output up to the end or the failure.
func openAge(
  _ file: [UInt8], identities: [AgeIdentity], passphrase: [UInt8]?, piece: Int = 1 << 20
) -> (bytes: [UInt8], failure: Failure?) {
  let sink = MemorySink()
  do throws(Failure) {
    let source = PeekingSource(SlowSource(file, piece: piece))
    guard let age = try AgeReader.source(source) else { throw Failure(.malformed, "not an age file") }
    let header = try AgeHeader(reading: age)
    try header.checkStanzas()
    let decryptor: ChunkDecryptor
    if let passphrase {
      let key = try header.unwrap(passphrase: try secret(passphrase), memoryLimit: 1 << 20)
      decryptor = ChunkDecryptor(try AgeReader.payloadCipher(key, of: age), into: sink)
    } else {
      let key = try header.unwrap(identities)
      decryptor = ChunkDecryptor(try AgeReader.payloadCipher(key, of: age), into: sink)
    }
    try age.copy(to: decryptor)
    try decryptor.finish()
    return (sink.bytes, nil)
  } catch {
    return (sink.bytes, error)
  }
}

/// Returns a few bytes at a time.
private final class SlowSource: ByteSource {
  private let bytes: MemorySource
  private let piece: Int

  init(_ bytes: [UInt8], piece: Int) {
    self.bytes = MemorySource(bytes)
    self.piece = piece
  }

  func read(into buffer: inout [UInt8]) -> Int {
    if piece >= buffer.count { return bytes.read(into: &buffer) }
    var few = [UInt8](repeating: 0, count: piece)
    let count = bytes.read(into: &few)
    for index in 0..<count { buffer[index] = few[index] }
    return count
  }
}

@Suite struct AgeTests {
  private func text(_ identity: AgeIdentity) throws(Failure) -> [UInt8] { try identity.text().bytes }

  private func seal(_ message: [UInt8], to recipients: [AgeRecipient]) throws(Failure) -> [UInt8] {
    let sink = MemorySink()
    let stage = try AgeWriter.begin(to: recipients, into: sink)
    try stage.write(message)
    try stage.finish()
    return sink.bytes
  }

  private func seal(_ message: [UInt8], passphrase: [UInt8], into sink: any ByteSink) throws(Failure) {
    let key = try AgeFileKey()
    let header = try AgeHeader.sealing(key, passphrase: try secret(passphrase), logN: 8)
    let stage = try AgeWriter.begin(header, key, into: sink)
    try feed(message, to: stage, piece: 777)
    try stage.finish()
  }

  @Test func vectorsOfAnotherImplementation() throws {
    let folder = RawPath(#filePath).parent.parent.appending("Vectors/age")
    let directory = try Descriptor.workingDirectory.open(folder, O_RDONLY | O_DIRECTORY)
    var tried = 0
    for (name, _) in try directory.names() where name.text.hasSuffix(".txt") {
      let file = try readFile(RawPath(String(name.text.dropLast(4)) + ".age"), in: directory, limit: 1 << 20)
      let lines = String(decoding: try readFile(name, in: directory, limit: 1 << 16), as: UTF8.self)
      var fields: [String: String] = [:]
      var identities: [AgeIdentity] = []
      for line in lines.split(separator: "\n") {
        let (key, value) = (String(line.prefix { $0 != ":" }), String(line.drop { $0 != ":" }.dropFirst(2)))
        fields[key] = value
        if key == "identity" { identities.append(try AgeIdentity(parsing: Array(value.utf8).span)) }
      }
      let passphrase = fields["passphrase"].flatMap { [UInt8](hex: $0) }
      for piece in [1, 1 << 20] {
        let opened = openAge(file, identities: identities, passphrase: passphrase, piece: piece)
        #expect(try SHA256.hash(opened.bytes).hex == fields["sha256"], "\(name.text)")
        let expected = try #require(fields["expect"])
        switch expected {
        case "success": #expect(opened.failure == nil, "\(name.text)")
        case "no match", "mac": #expect(opened.failure?.code == .authentication, "\(name.text)")
        case "header", "armor":
          let code = opened.failure?.code
          #expect(code == .malformed || code == .truncated, "\(name.text): \(String(describing: opened.failure))")
        default: #expect(opened.failure != nil, "\(name.text)")
        }
      }
      tried += 1
    }
    #expect(tried > 20)
  }

  @Test func whatWasSealedToSeveralOpensForEach() throws {
    let identities = [try AgeIdentity.generate(), try AgeIdentity.generate()]
    for size in [0, 1, 65_535, 65_536, 65_537] {
      let file = try seal(pattern(size), to: identities.map(\.recipient))
      for identity in identities {
        let opened = openAge(file, identities: [identity], passphrase: nil)
        #expect(opened.failure == nil)
        #expect(opened.bytes == pattern(size))
      }
      #expect(openAge(file, identities: [try .generate()], passphrase: nil).failure?.code == .authentication)
      #expect(openAge(file, identities: [], passphrase: [1]).failure?.code == .authentication)
    }
  }

  @Test func aPassphraseIsWrittenAndRead() throws {
    let sink = MemorySink()
    try seal(pattern(100_000), passphrase: [1, 2, 3], into: AgeArmorWriter(into: sink))
    #expect(openAge(sink.bytes, identities: [], passphrase: [1, 2, 3]).bytes == pattern(100_000))
    #expect(openAge(sink.bytes, identities: [], passphrase: [1, 2]).failure?.code == .authentication)
    #expect(openAge(sink.bytes, identities: [try .generate()], passphrase: nil).failure?.code == .authentication)
    let lines = sink.bytes.split(separator: 10)
    #expect(lines.allSatisfy { $0.count <= 64 })
  }

  @Test func everyBitOfTheHeaderIsVerified() throws {
    let identity = try AgeIdentity.generate()
    let file = try seal([1, 2, 3], to: [identity.recipient])
    let payload = 16 + 3 + 16
    for index in 0..<(file.count - payload) {
      for bit in 0..<8 {
        var flipped = file
        flipped[index] ^= 1 << UInt8(bit)
        let opened = openAge(flipped, identities: [identity], passphrase: nil)
        #expect(opened.failure != nil, "byte \(index), bit \(bit)")
        #expect(opened.bytes.isEmpty)
      }
    }
  }

  @Test func aHeaderHasOneSpelling() throws {
    let identity = try AgeIdentity.generate()
    let file = try seal([1], to: [identity.recipient, identity.recipient])
    let bytes = Array(file.dropLast(16 + 1 + 16))
    let header = try AgeHeader(parsing: bytes)
    #expect(header.bytes == bytes)
    #expect(header.stanzas.count == 2)
    #expect(throws: Failure.self) { try AgeHeader(parsing: bytes + [10]) }
    for count in 0..<bytes.count {
      #expect(throws: Failure.self) { try AgeHeader(parsing: Array(bytes[..<count])) }
    }
  }

  @Test func keysAreReadAsTheyAreWritten() throws {
    // From age's own test suite.
    let known = Array("AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0".utf8)
    let identity = try AgeIdentity(parsing: known.span)
    #expect(try text(identity) == known)
    #expect(try identity.recipient.text() == "age1xmwwc06ly3ee5rytxm9mflaz2u56jjj36s0mypdrwsvlul66mv4q47ryef")
    let recipient = Array(try identity.recipient.text().utf8)
    #expect(try AgeRecipient(parsing: recipient) == identity.recipient)
    for index in known.indices {
      var wrong = known
      wrong[index] = wrong[index] == UInt8(ascii: "Q") ? UInt8(ascii: "P") : UInt8(ascii: "Q")
      #expect(throws: Failure.self) { try AgeIdentity(parsing: wrong.span) }
    }
    for index in recipient.indices {
      var wrong = recipient
      wrong[index] = wrong[index] == UInt8(ascii: "q") ? UInt8(ascii: "p") : UInt8(ascii: "q")
      #expect(throws: Failure.self) { try AgeRecipient(parsing: wrong) }
    }
    let lower = known.map { (65...90).contains($0) ? $0 | 0x20 : $0 }
    let upper = recipient.map { (97...122).contains($0) ? $0 & 0xdf : $0 }
    #expect(throws: Failure.self) { try AgeIdentity(parsing: lower.span) }
    #expect(throws: Failure.self) { try AgeRecipient(parsing: upper) }
  }

  @Test func whatIsOfAnotherKindIsRefusedByItsName() throws {
    func message(_ body: () throws -> Void) -> String {
      do { try body() } catch { return (error as? Failure)?.message ?? "" }
      return ""
    }
    #expect(message { _ = try AgeIdentity(parsing: Array("AGE-SECRET-KEY-PQ-1QQ".utf8).span) }.contains("hybrid"))
    #expect(message { _ = try AgeRecipient(parsing: Array("age1pq1qq".utf8)) }.contains("hybrid"))
    #expect(message { _ = try AgeRecipient(parsing: Array("ssh-ed25519 AAAA".utf8)) }.contains("SSH"))
    #expect(message { _ = try AgeIdentity(parsing: Array("AGE-PLUGIN-X-1QQ".utf8).span) }.contains("plugin"))
    // The message does not repeat a misplaced secret.
    let identity = try AgeIdentity.generate()
    let wrong = message { _ = try AgeRecipient(parsing: try text(identity)) }
    #expect(wrong.contains("identity") && !wrong.contains("AGE-SECRET"))
  }

  @Test func filesOfKeys() throws {
    let (one, two) = (try AgeIdentity.generate(), try AgeIdentity.generate())
    let whole = Array("# a comment\r\n\n".utf8) + (try text(one)) + Array("\r\n#\n".utf8) + (try text(two))
    #expect(try AgeIdentityFile.parse(whole.span).map(\.recipient) == [one.recipient, two.recipient])
    let text = try written(one)
    #expect(try AgeIdentityFile.parse(text.span).map(\.recipient) == [one.recipient])
    #expect(throws: Failure.self) { try AgeIdentityFile.parse(Array("# nothing\n".utf8).span) }
    #expect(throws: Failure.self) { try AgeIdentityFile.parse((whole + Array("\n x".utf8)).span) }
    let recipients = Array("# both\n\(try one.recipient.text())\n\n\(try two.recipient.text())\n".utf8)
    #expect(try AgeRecipientsFile.parse(recipients.span) == [one.recipient, two.recipient])
  }

  private func written(_ identity: AgeIdentity) throws(Failure) -> [UInt8] {
    try AgeIdentityFile.text(of: identity, created: "now").bytes
  }

  private func isEncrypted(_ file: [UInt8]) throws(Failure) -> Bool {
    try AgeIdentityFile.isEncrypted(try secret(file))
  }

  /// - Parameter passphrase: nil if it must not be asked for.
  private func decrypted(_ file: [UInt8], _ passphrase: [UInt8]?, memoryLimit: UInt64) throws(Failure) -> [UInt8] {
    let text = try AgeIdentityFile.decrypt(try secret(file), memoryLimit: memoryLimit) { () throws(Failure) in
      guard let passphrase else {
        Issue.record("the passphrase was asked for")
        return try secret([])
      }
      return try secret(passphrase)
    }
    return text.bytes
  }

  @Test func anIdentityFileUnderAPassphrase() throws {
    let identity = try AgeIdentity.generate()
    let plain = try written(identity)
    #expect(try !isEncrypted(plain))
    let sink = MemorySink()
    try seal(plain, passphrase: [9], into: sink)
    #expect(try isEncrypted(sink.bytes))
    #expect(try decrypted(sink.bytes, [9], memoryLimit: 1024) == plain)
    #expect(throws: Failure.self) { try decrypted(sink.bytes, [8], memoryLimit: 1024) }
    // The cost is checked before the passphrase is asked for.
    #expect(throws: Failure.self) { try decrypted(sink.bytes, nil, memoryLimit: 128) }
  }
}
