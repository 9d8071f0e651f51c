import TBKCore

/// The member `ledger_signature` (tbk(5), "Ledger").
package struct LedgerSignature: Equatable, Sendable {
  /// The fingerprint of the public key.
  package let key: Digest
  /// 64 bytes of Ed25519.
  package let bytes: [UInt8]

  package static let byteCount = 64

  /// Nil unless there are 64 bytes.
  package init?(key: Digest, bytes: [UInt8]) {
    guard bytes.count == LedgerSignature.byteCount else { return nil }
    self.key = key
    self.bytes = bytes
  }

  /// Throws `.malformed` unless it is an object of exactly these two members, in lower-case hexadecimal: anything else
  /// in it would not be signed.
  package init(_ json: JSON) throws(Failure) {
    func malformed(_ what: String) -> Failure {
      Failure(.malformed, "ledger: \"ledger_signature\" \(what)")
    }
    guard let members = json.members else { throw malformed("is not an object") }
    if let other = members.first(where: { $0.key != "key" && $0.key != "signature" }) {
      throw malformed("holds \(RawPath(other.key).display)")
    }
    guard let key = json["key"]?.text.flatMap({ Digest(hex: $0) }) else {
      throw malformed("has no \"key\" of 64 hexadecimal digits")
    }
    guard let hex = json["signature"]?.text, let bytes = [UInt8](hex: hex), bytes.hex == hex,
      let signature = LedgerSignature(key: key, bytes: bytes)
    else { throw malformed("has no \"signature\" of 128 hexadecimal digits") }
    self = signature
  }

  package var json: JSON {
    .object(["key": .string(key.hex), "signature": .string(bytes.hex)])
  }
}

extension Ledger {
  /// The start of the signed message in every version, so that a signature of a ledger is valid for nothing else.
  private static let messageName = "termbackup-ledger-"
  private static let signedPrefix = "\(messageName)v1\n"

  /// Whether a signature of these bytes could pass as one of a ledger.
  package static func isMessage(_ bytes: Span<UInt8>) -> Bool {
    let name = Array(messageName.utf8)
    guard bytes.count >= name.count else { return false }
    return name.indices.allSatisfy { bytes[$0] == name[$0] }
  }

  /// The signed message: the prefix, and the canonical JSON of everything but the signature.
  package func signedBytes() throws(Failure) -> [UInt8] {
    Array(Ledger.signedPrefix.utf8) + (try canonical())
  }
}
