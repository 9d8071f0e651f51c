import TBKCore

/// A private key that can be shared.
package final class Signer {
  private let key: SigningKey
  package let verifyingKey: VerifyingKey
  package let fingerprint: Digest

  package init(_ key: consuming SigningKey) throws(Failure) {
    verifyingKey = key.verifyingKey
    fingerprint = try verifyingKey.fingerprint
    self.key = key
  }

  /// The signature of `message`, which must not change meanwhile: 64 bytes.
  package func sign(_ message: Span<UInt8>) throws(Failure) -> [UInt8] { try key.sign(message) }
}
