import Glibc
import TBKCore
import TBKCrypto
import TBKFormat

/// What a ledger's signature turned out to be.
package enum LedgerTrust: Equatable, Sendable {
  /// By a key that is trusted here: its fingerprint.
  case verified(Digest)
  /// There is one, and no key is here to hold it against.
  case unchecked(Digest)
  case unsigned
}

/// The keys that ledgers are held against, and the one they are signed with (tbk(5), "Ledger").
package final class LedgerKeys {
  private var trusted: [Digest: VerifyingKey] = [:]
  private let signer: Signer?
  private let isRequired: Bool
  private let lost: Digest?
  /// Whether the ledgers of this machine's stores are signed: it signs them, or it was told whose
  /// signature to believe. Over one that is not, nothing is changed unasked.
  package let expectsSignature: Bool

  /// A key file is a few hundred bytes.
  private static let fileLimit = 64 << 10
  private static let keyLimit = 1000

  /// - Parameters:
  ///   - trusted: whose ledgers are believed.
  ///   - signer: what signs ours; trusted as well.
  ///   - isRequired: whether only a ledger is read that one of them has signed.
  ///   - lost: a key whose public half is nowhere any more: a ledger that names it is read unchecked,
  ///     for `LedgerSession.takeOver`.
  ///   - own: the one of them that is this machine's. Without `signer`, signing is off, and it says
  ///     nothing of whether the ledgers here are signed.
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

  /// Whether one of the trusted keys has made this signature of an archive; of nothing else.
  package func hold(_ signature: [UInt8], of archive: Span<UInt8>) throws(Failure) -> Bool {
    guard SignedContent(of: archive) == .archive else { return false }
    for key in trusted.values where try key.verify(signature, of: archive) { return true }
    return false
  }

  private static let ownName = RawPath("signing_key.pub")

  /// The public key that lies in `signing_key.pub` of a home; nil if there is none. Throws as
  /// `trusted(in:)`.
  package static func own(in home: RawPath?) throws(Failure) -> VerifyingKey? {
    guard let home,
      let directory = try Descriptor.workingDirectory.openIfPresent(home, O_RDONLY | O_DIRECTORY)
    else { return nil }
    return try read(ownName, in: directory, home.appending(ownName))
  }

  /// The public keys that lie in `trusted_keys/` and in `signing_key.pub` of a home.
  ///
  /// A file there that is no key is a `.configuration` failure: whoever put it there believes that
  /// it is trusted. A home that cannot be looked into is a failure too: there may be keys in it.
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

  /// Nil for what is not a file.
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

  /// What the signature of a ledger is worth. Throws `.integrity` for one that does not hold, that
  /// is by a key that is not trusted where some are, or that is missing where it is required, and
  /// `.configuration` where it is required and there is no key.
  ///
  /// - Parameter place: what failures call the store.
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

  /// The ledger with our signature; as it is, if there is no key to sign with.
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
