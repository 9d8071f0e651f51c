import TBKArchive
import TBKCore
import TBKCrypto
import TBKFormat

extension ArchiveFront {
  /// The fields that `--header` prints.
  var fields: [JSON.Member] {
    switch self {
    case .whole(let header): return header.fields
    case .chunked(let header):
      return [
        .init("format", .string("TBK2")), .init("kdf", .string("argon2id")),
        .init("kdf_id", .number(1)), .init("memory_kib", .number(header.memory)),
        .init("iterations", .number(header.passes)), .init("lanes", .number(header.lanes)),
        .init("salt", .string(header.salt.hex)),
        .init("cipher", .string("aes-256-gcm, in chunks of 16 KiB")),
        .init("cipher_id", .number(ChunkedHeader.suite)),
        .init("header_length", .number(header.length)),
      ]
    case .age(let header, let isBinary):
      return [
        .init("format", .string("age")),
        .init("sealed_to", .string(header.stanzaTypes.joined(separator: ", "))),
        .init("cipher", .string("chacha20-poly1305, in chunks of 64 KiB")),
        .init("armored", .bool(!isBinary)),
        .init("header_length", .number(header.bytes.count)),
      ]
    }
  }
}

extension ArchiveHeader {
  fileprivate var fields: [JSON.Member] {
    var fields: [JSON.Member] = [.init("format", .string(format))]
    func add(_ key: String, _ value: JSON) { fields.append(.init(key, value)) }
    switch self {
    case .tbk2(let header):
      add("kdf", .string("argon2id"))
      add("kdf_id", .number(header.kdf))
      add("memory_kib", .number(header.memory))
      add("iterations", .number(header.passes))
      add("lanes", .number(header.lanes))
      add("salt", .string(header.salt.hex))
      add("nonce", .string(header.nonce.hex))
      add("cipher", .string("aes-256-gcm"))
      add("cipher_id", .number(header.cipher))
    case .tbk1(let header):
      add("kdf", .string("pbkdf2-hmac-sha256"))
      add("iterations", .number(header.iterations))
      add("salt", .string(header.salt.hex))
      add("iv", .string(header.iv.hex))
      add("cipher", .string("aes-256-cbc+hmac-sha256"))
    case .mbu: break
    }
    add("payload_length", .number(payloadLength))
    add("header_length", .number(headerLength))
    add("total_length", .number(totalLength))
    return fields
  }
}
