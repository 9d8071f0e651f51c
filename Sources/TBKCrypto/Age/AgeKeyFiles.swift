import TBKCore

/// The lines of a key file, without empty lines and comments ("#").
private func keyLines(_ text: Span<UInt8>) -> [(number: Int, range: Range<Int>)] {
  var lines: [(number: Int, range: Range<Int>)] = []
  var (start, number) = (0, 0)
  while start < text.count {
    var end = start
    while end < text.count, text[end] != UInt8(ascii: "\n") { end += 1 }
    number += 1
    let next = end + 1
    if end > start, text[end - 1] == UInt8(ascii: "\r") { end -= 1 }
    if end > start, text[start] != UInt8(ascii: "#") { lines.append((number, start..<end)) }
    start = next
  }
  return lines
}

/// Identity files, in the format of age-keygen(1).
package enum AgeIdentityFile {
  /// In bytes.
  package static let maximumLength = 1 << 20

  /// The identities in a text; at least one.
  package static func parse(_ text: Span<UInt8>) throws(Failure) -> [AgeIdentity] {
    var identities: [AgeIdentity] = []
    for line in keyLines(text) {
      do throws(Failure) {
        identities.append(try AgeIdentity(parsing: text.extracting(line.range)))
      } catch {
        throw error.within("line \(line.number)")
      }
    }
    guard !identities.isEmpty else { throw Failure(.malformed, "there is no identity in it") }
    return identities
  }

  /// Whether the text is an age file that contains encrypted identities.
  package static func isEncrypted(_ text: borrowing Secret) throws(Failure) -> Bool {
    try AgeReader.source(front(text)) != nil
  }

  /// Decrypts an identity file that is encrypted with a passphrase.
  ///
  /// - Parameters:
  ///   - memoryLimit: the maximum memory for scrypt, in KiB.
  ///   - passphrase: called only once the header has been checked.
  package static func decrypt(
    _ text: borrowing Secret, memoryLimit: UInt64, passphrase: () throws(Failure) -> Secret
  ) throws(Failure) -> Secret {
    guard let file = try AgeReader.source(front(text)) else {
      throw Failure(.malformed, "this is not an age file")
    }
    let header = try AgeHeader(reading: file)
    guard header.hasPassphrase else {
      throw Failure(
        .malformed, "it is sealed to recipients", hint: "an identity file is encrypted with a passphrase")
    }
    try header.checkPassphraseCost(memoryLimit: memoryLimit)
    let key = try header.unwrap(passphrase: try passphrase(), memoryLimit: memoryLimit)
    let sink = SecretSink(try Secret(count: maximumLength))
    let decryptor = ChunkDecryptor(try AgeReader.payloadCipher(key, of: file), into: sink)
    try file.copy(to: decryptor)
    try decryptor.finish()
    return try sink.content()
  }

  /// Encrypts a text of identities with a passphrase, for `decrypt`.
  package static func encrypt(
    _ text: borrowing Secret, passphrase: borrowing Secret
  ) throws(Failure) -> [UInt8] {
    let key = try AgeFileKey()
    let sink = MemorySink()
    let encryptor = try AgeWriter.begin(try AgeHeader.sealing(key, passphrase: passphrase), key, into: sink)
    try text.withBytes { (text) throws(Failure) in try encryptor.write(text) }
    try encryptor.finish()
    return sink.bytes
  }

  /// The lines of an identity file for one identity, with a final line feed.
  ///
  /// - Parameter created: the time, in RFC 3339 format.
  package static func text(of identity: AgeIdentity, created: String) throws(Failure) -> Secret {
    let front = Array(
      "# created: \(created)\n# public key: \(try identity.recipient.text())\n".utf8)
    let key = try identity.text()
    let text = try Secret(count: front.count + key.count + 1)
    text.withMutableBytes { text in
      text.copy(from: front.span)
      key.withBytes { key in
        for index in key.indices { text[front.count + index] = key[index] }
      }
      text[text.count - 1] = UInt8(ascii: "\n")
    }
    return text
  }

  /// Copies the file into unlocked memory only if its first bytes show that it is encrypted: otherwise it is itself a
  /// secret.
  private static func front(_ text: borrowing Secret) -> PeekingSource {
    let isPlain = text.withBytes { bytes in
      var index = 0
      while index < bytes.count, bytes[index] <= 32 { index += 1 }
      guard index < bytes.count else { return true }
      return bytes[index] != UInt8(ascii: "a") && bytes[index] != UInt8(ascii: "-")
    }
    return PeekingSource(MemorySource(isPlain ? [] : text.withBytes { Array($0) }))
  }
}

/// Files of recipients.
package enum AgeRecipientsFile {
  /// In bytes.
  package static let maximumLength = 1 << 20

  /// The recipients in a text, in order; at least one.
  package static func parse(_ text: Span<UInt8>) throws(Failure) -> [AgeRecipient] {
    var recipients: [AgeRecipient] = []
    for line in keyLines(text) {
      do throws(Failure) {
        recipients.append(try AgeRecipient(parsing: Array(text.extracting(line.range))))
      } catch {
        throw error.within("line \(line.number)")
      }
    }
    guard !recipients.isEmpty else { throw Failure(.malformed, "there is no recipient in it") }
    return recipients
  }
}

/// Collects a secret; more bytes than its capacity are `.malformed`.
private final class SecretSink: ByteSink {
  private let secret: Secret
  private var count = 0

  init(_ secret: consuming Secret) { self.secret = secret }

  func write(_ bytes: Span<UInt8>) throws(Failure) {
    guard bytes.count <= secret.count - count else {
      throw Failure(.malformed, "it is larger than \(secret.count) bytes")
    }
    let start = count
    secret.withMutableBytes { target in
      for index in bytes.indices { target[start + index] = bytes[index] }
    }
    count += bytes.count
  }

  func finish() {}

  func content() throws(Failure) -> Secret {
    let end = count
    return try secret.withBytes { (bytes) throws(Failure) in
      try Secret(copying: bytes.extracting(0..<end))
    }
  }
}
