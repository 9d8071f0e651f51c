import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// The result of checking a ledger's signature.
package enum LedgerTrust: Equatable, Sendable {
  /// Signed by a trusted key, with this fingerprint.
  case verified(Digest)
  /// Signed by a key with this fingerprint, which is not available here to check it.
  case unchecked(Digest)
  case unsigned
}

/// The keys that check ledgers' signatures, and the one that signs (tbk(5), "Ledger").
package final class LedgerKeys {
  private var trusted: [Digest: VerifyingKey] = [:]
  private let signer: Signer?
  private let isRequired: Bool
  private let lost: Digest?
  /// Whether the ledgers of this machine's stores should be signed: it signs them, or has been given keys to trust. An
  /// unsigned one is then not changed without confirmation.
  package let expectsSignature: Bool

  /// A key file is a few hundred bytes.
  private static let fileLimit = 64 << 10
  private static let keyLimit = 1000

  /// - Parameters:
  ///   - trusted: keys whose ledgers are trusted.
  ///   - signer: the key that signs; trusted as well.
  ///   - isRequired: whether to accept only ledgers signed by one of them.
  ///   - lost: a key whose public half no longer exists: a ledger signed by it is read unchecked, for
  ///     `LedgerSession.takeOver`.
  ///   - own: this machine's own key among them. Without `signer` signing is off, and this key does not show that
  ///     ledgers here should be signed.
  package init(
    trusted: [VerifyingKey] = [], signer: Signer? = nil, isRequired: Bool = false,
    lost: Digest? = nil, own: VerifyingKey? = nil
  ) throws(Failure) {
    self.isRequired = isRequired
    self.lost = lost
    expectsSignature = isRequired || signer != nil || trusted.contains { $0 != own }
    for key in trusted { self.trusted[try key.fingerprint] = key }
    self.signer = signer
    if let signer { self.trusted[signer.fingerprint] = signer.verifyingKey }
  }

  package var isEmpty: Bool { trusted.isEmpty }

  /// Whether this is a trusted key's signature of an archive, and not of anything else.
  package func hold(_ signature: [UInt8], of archive: Span<UInt8>) throws(Failure) -> Bool {
    guard SignedContent(of: archive) == .archive else { return false }
    for key in trusted.values where try key.verify(signature, of: archive) { return true }
    return false
  }

  private static let ownName = RawPath("signing_key.pub")

  /// The public key in `signing_key.pub` of a home directory, or nil. Throws as `trusted(in:)`.
  package static func own(in home: RawPath?) throws(Failure) -> VerifyingKey? {
    guard let home,
      let directory = try Descriptor.workingDirectory.openIfPresent(home, O_RDONLY | O_DIRECTORY)
    else { return nil }
    return try read(ownName, in: directory, home.appending(ownName))
  }

  /// The public keys in `trusted_keys/` and in `signing_key.pub` of a home directory.
  ///
  /// A file that is not a key is a `.configuration` failure: the user believes that it is trusted. A home that cannot
  /// be read is a failure too: it may have keys.
  package static func trusted(in home: RawPath?) throws(Failure) -> [VerifyingKey] {
    guard let home else { return [] }
    guard
      let directory = try Descriptor.workingDirectory.openIfPresent(home, O_RDONLY | O_DIRECTORY)
    else { return [] }
    var keys: [VerifyingKey] = []
    if let key = try read(ownName, in: directory, home.appending(ownName)) { keys.append(key) }
    let folder = RawPath("trusted_keys")
    guard let others = try directory.openIfPresent(folder, O_RDONLY | O_DIRECTORY) else {
      return keys
    }
    var names: [RawPath] = []
    for (name, _) in try others.names() where name.bytes.first != UInt8(ascii: ".") {
      names.append(name)
    }
    guard names.count <= keyLimit else {
      throw Failure(
        .configuration,
        "\(home.appending(folder).display) holds more than \(keyLimit) files")
    }
    for name in names.sorted(by: { $0.bytes.lexicographicallyPrecedes($1.bytes) }) {
      if let key = try read(name, in: others, home.appending(folder).appending(name)) {
        keys.append(key)
      }
    }
    return keys
  }

  /// Nil if it is not a regular file.
  private static func read(
    _ name: RawPath, in directory: Descriptor, _ display: RawPath
  ) throws(Failure) -> VerifyingKey? {
    guard let file = try directory.openIfPresent(name, O_RDONLY | O_NONBLOCK) else { return nil }
    let facts = try file.status()
    guard facts.st_mode & S_IFMT == S_IFREG else { return nil }
    do throws(Failure) {
      let text = try DescriptorSource(file, name: display)
        .readAll(limit: fileLimit, what: display.display)
      return try VerifyingKey(parsing: text.span)
    } catch {
      throw Failure(
        .configuration, "\(display.display) is not a public key: \(error.reason)",
        hint: "put a public key of Ed25519 in PEM there, or remove it")
    }
  }

  // MARK: Checking

  /// Checks the signature of a ledger. Throws `.integrity` for an invalid signature, one by an untrusted key if any key
  /// is trusted, or a missing one if it is required; and `.configuration` if it is required and no key is trusted.
  ///
  /// - Parameter place: the store's name for failures.
  package func trust(in ledger: Ledger, of place: String) throws(Failure) -> LedgerTrust {
    if isRequired, trusted.isEmpty {
      throw Failure(
        .configuration, "a signature is required, and there is no key to check it with",
        hint: "put public keys into trusted_keys, or give --verify-key")
    }
    guard let json = ledger.signature else {
      if !isRequired { return .unsigned }
      throw Failure(
        .integrity, "the ledger of the store \(place) is not signed, and a signature is required",
        hint: "somebody without a key wrote it, or nobody has signed it yet")
    }
    let signature = try LedgerSignature(json)
    guard let key = trusted[signature.key] else {
      if trusted.isEmpty || signature.key == lost { return .unchecked(signature.key) }
      throw Failure(
        .integrity,
        "the ledger of the store \(place) is signed by the key \(signature.key.hex), which is not "
          + "trusted here",
        hint: "if it is the key of another machine of yours, put its public key into trusted_keys; "
          + "if that is lost, see LOST KEYS in termbackup-security(7)")
    }
    let message = try ledger.signedBytes()
    guard try key.verify(signature.bytes, of: message.span) else {
      throw Failure(
        .integrity,
        "the signature of the ledger of the store \(place) is not valid; it names the key "
          + signature.key.hex,
        hint: "the ledger was altered: find out by whom before anything is stored there")
    }
    return .verified(signature.key)
  }

  // MARK: Signing

  package var canSign: Bool { signer != nil }

  /// The ledger with our signature; unchanged if there is no key to sign with.
  func sign(_ ledger: Ledger) throws(Failure) -> Ledger {
    guard let signer else { return ledger }
    let message = try ledger.signedBytes()
    guard
      let signature = LedgerSignature(
        key: signer.fingerprint, bytes: try signer.sign(message.span))
    else { throw Failure(.library, "an invalid signature") }
    return ledger.signed(signature)
  }
}
